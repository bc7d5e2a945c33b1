//! Whether a stranger's handshake may begin: now, after it proved its address, or not at all.
//!
//! Pure: it takes the time and counts. Nothing is remembered about an address that has not been
//! proven, because anybody can write any address on a datagram: a forger could otherwise spend the
//! budget of a victim. Who is admitted afterwards is decided far above.

use crate::config::NetConfig;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// How many addresses have a budget of their own. Later ones share one until somebody's is full
/// again. 4,096 cost about 300 KiB.
const ADDRESSES_MAX: usize = 4096;

/// How often, at most, full budgets are forgotten while the table is full, so that a flood does
/// not make us walk the table for each datagram.
const SWEEP_INTERVAL_MS: u64 = 1000;

/// What becomes of a handshake that wants to begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It begins.
    Accept,
    /// It must come back with proof of its address. We keep nothing.
    Retry,
    /// It is refused.
    Refuse,
}

/// What one address may still do.
#[derive(Clone, Debug)]
struct Budget {
    /// Thousandths of handshakes.
    tokens: u64,
    /// When `tokens` was right.
    at_ms: u64,
    /// Handshakes under way.
    in_progress: u32,
}

/// Counts handshakes, in all and per proven address.
#[derive(Debug)]
pub(crate) struct Admission {
    handshakes_max: u32,
    retry_above: u32,
    per_address_max: u32,
    burst: u64,
    rate_per_s: u64,
    in_progress: u32,
    addresses: HashMap<IpAddr, Budget>,
    shared: Budget,
    swept_ms: u64,
}

impl Admission {
    pub(crate) fn new(config: &NetConfig) -> Self {
        let burst = u64::from(config.address_burst) * 1000;
        Self {
            handshakes_max: config.handshakes_max,
            retry_above: config.retry_above,
            per_address_max: config.handshakes_per_address_max,
            burst,
            rate_per_s: u64::from(config.address_rate_per_s),
            in_progress: 0,
            addresses: HashMap::new(),
            shared: Budget { tokens: burst, at_ms: 0, in_progress: 0 },
            swept_ms: 0,
        }
    }

    /// Handshakes under way.
    pub(crate) fn in_progress(&self) -> u32 {
        self.in_progress
    }

    /// Decides about a handshake from `address`, and counts it if the answer is
    /// [`Verdict::Accept`]; then [`Self::ended`] must follow with the same address and proof.
    pub(crate) fn consider(&mut self, now_ms: u64, address: IpAddr, proven: bool) -> Verdict {
        let address = subject(address);
        if !proven {
            let spent =
                self.addresses.contains_key(&address) && self.budget(now_ms, address).tokens < 1000;
            if spent || self.in_progress >= self.retry_above.min(self.handshakes_max) {
                return Verdict::Retry;
            }
            self.in_progress += 1;
            return Verdict::Accept;
        }
        let full = self.in_progress >= self.handshakes_max;
        let per_address_max = self.per_address_max;
        let budget = self.budget(now_ms, address);
        if full || budget.tokens < 1000 || budget.in_progress >= per_address_max {
            return Verdict::Refuse;
        }
        budget.tokens -= 1000;
        budget.in_progress += 1;
        self.in_progress += 1;
        Verdict::Accept
    }

    /// A handshake is over. One that began without proof and `completed` has given it since, and
    /// is charged now.
    pub(crate) fn ended(&mut self, now_ms: u64, address: IpAddr, proven: bool, completed: bool) {
        self.in_progress = self.in_progress.saturating_sub(1);
        let budget = match (proven, completed) {
            (false, false) => return,
            _ => self.budget(now_ms, subject(address)),
        };
        if proven {
            budget.in_progress = budget.in_progress.saturating_sub(1);
        } else {
            budget.tokens = budget.tokens.saturating_sub(1000);
        }
    }

    /// The budget of `address`, filled up to `now_ms`.
    fn budget(&mut self, now_ms: u64, address: IpAddr) -> &mut Budget {
        let (burst, rate_per_s) = (self.burst, self.rate_per_s);
        if !self.addresses.contains_key(&address) {
            self.make_room(now_ms);
        }
        let room = self.addresses.len() < ADDRESSES_MAX || self.addresses.contains_key(&address);
        let budget = if room {
            let fresh = Budget { tokens: burst, at_ms: now_ms, in_progress: 0 };
            self.addresses.entry(address).or_insert(fresh)
        } else {
            &mut self.shared
        };
        let earned = now_ms.saturating_sub(budget.at_ms).saturating_mul(rate_per_s);
        budget.tokens = budget.tokens.saturating_add(earned).min(burst);
        budget.at_ms = now_ms;
        budget
    }

    /// Forgets budgets that are full again, once the table is.
    fn make_room(&mut self, now_ms: u64) {
        let due = now_ms.saturating_sub(self.swept_ms) >= SWEEP_INTERVAL_MS;
        if self.addresses.len() < ADDRESSES_MAX || !due {
            return;
        }
        self.swept_ms = now_ms;
        let (burst, rate_per_s) = (self.burst, self.rate_per_s);
        self.addresses.retain(|_, budget| {
            let earned = now_ms.saturating_sub(budget.at_ms).saturating_mul(rate_per_s);
            budget.in_progress > 0 || budget.tokens.saturating_add(earned) < burst
        });
    }
}

/// Whose budget an address spends: an IPv6 customer has a whole /64.
fn subject(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn admission() -> Admission {
        Admission::new(&NetConfig {
            handshakes_max: 8,
            retry_above: 2,
            handshakes_per_address_max: 3,
            address_burst: 5,
            address_rate_per_s: 1,
            ..NetConfig::default()
        })
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))
    }

    #[test]
    fn strangers_must_prove_their_address_once_it_gets_crowded() {
        let mut admission = admission();
        let verdicts: Vec<_> = (0..4).map(|n| admission.consider(0, address(n), false)).collect();
        use Verdict::{Accept, Retry};
        assert_eq!(verdicts, [Accept, Accept, Retry, Retry]);
        assert_eq!(admission.consider(0, address(2), true), Accept, "proof gets in");
    }

    #[test]
    fn an_address_that_was_not_proven_is_not_charged() {
        let mut admission = admission();
        for _ in 0..100 {
            assert_eq!(admission.consider(0, address(1), false), Verdict::Accept);
            admission.ended(0, address(1), false, false);
        }
        assert!(admission.addresses.is_empty());
        assert_eq!(admission.consider(0, address(1), true), Verdict::Accept, "the victim gets in");
    }

    #[test]
    fn one_address_holds_only_its_share_of_the_slots() {
        let mut admission = admission();
        for _ in 0..3 {
            assert_eq!(admission.consider(0, address(1), true), Verdict::Accept);
        }
        assert_eq!(admission.consider(0, address(1), true), Verdict::Refuse);
        assert_eq!(admission.consider(0, address(2), true), Verdict::Accept);
    }

    #[test]
    fn no_more_handshakes_are_under_way_than_there_are_slots() {
        let mut admission = admission();
        let accepted =
            (0..100).filter(|n| admission.consider(0, address(*n), true) == Verdict::Accept);
        assert_eq!(accepted.count(), 8);
        assert_eq!(admission.in_progress(), 8);
    }

    #[test]
    fn a_spent_address_earns_handshakes_with_time() {
        let mut admission = admission();
        for _ in 0..5 {
            assert_eq!(admission.consider(0, address(1), false), Verdict::Accept);
            admission.ended(0, address(1), false, true);
        }
        assert_eq!(admission.consider(0, address(1), false), Verdict::Retry);
        assert_eq!(admission.consider(0, address(1), true), Verdict::Refuse);
        assert_eq!(admission.consider(1000, address(1), true), Verdict::Accept);
        assert_eq!(admission.consider(1000, address(1), true), Verdict::Refuse);
    }

    #[test]
    fn the_neighbours_in_one_ipv6_network_share_a_budget() {
        let mut admission = admission();
        for n in 0..3 {
            let address = IpAddr::V6(Ipv6Addr::from_bits((0x2001 << 112) + n));
            assert_eq!(admission.consider(0, address, true), Verdict::Accept);
        }
        let neighbour = IpAddr::V6(Ipv6Addr::from_bits((0x2001 << 112) + 9));
        assert_eq!(admission.consider(0, neighbour, true), Verdict::Refuse);
    }

    #[test]
    fn the_table_of_addresses_stays_bounded_and_forgets_the_quiet() {
        let mut admission = admission();
        for n in 0..10_000 {
            admission.consider(0, address(n), true);
            admission.ended(0, address(n), true, true);
        }
        assert_eq!(admission.addresses.len(), ADDRESSES_MAX);
        admission.consider(60_000, address(20_000), true);
        assert_eq!(admission.addresses.len(), 1);
    }
}
