//! A token bucket: so many per second, and no more than that at once.

/// Counts what one peer sends. Pure: the time comes in.
#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    per_s: u64,
    /// Thousandths of a token, so that short intervals count too.
    left: u64,
    at_ms: u64,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) const fn new(per_s: u64, now_ms: u64) -> Self {
        Self { per_s, left: per_s * 1_000, at_ms: now_ms }
    }

    /// Takes `count` tokens if they are there. A clock that goes backwards adds none.
    pub(crate) fn take(&mut self, count: u64, now_ms: u64) -> bool {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let earned = passed.saturating_mul(self.per_s);
        self.left = self.left.saturating_add(earned).min(self.per_s * 1_000);
        let Some(left) = self.left.checked_sub(count.saturating_mul(1_000)) else { return false };
        self.left = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_empties_the_bucket_and_time_refills_it() {
        let mut bucket = TokenBucket::new(10, 0);
        assert!((0..10).all(|_| bucket.take(1, 0)));
        assert!(!bucket.take(1, 99));
        assert!(bucket.take(1, 100));
        assert!(!bucket.take(1, 100));
        assert!(bucket.take(10, 10_000));
        assert!(!bucket.take(1, 10_000), "it holds no more than one second's worth");
    }

    #[test]
    fn neither_a_clock_that_jumps_nor_a_huge_count_overflows() {
        let mut bucket = TokenBucket::new(u64::MAX / 1_000, 5);
        assert!(bucket.take(1, u64::MAX));
        assert!(bucket.take(1, 0));
        assert!(!TokenBucket::new(10, 0).take(u64::MAX, 0));
    }
}
