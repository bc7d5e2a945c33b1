//! What a host can do: it orders, stores and carries, holds no keys to read with, and lies.

mod block;
mod carry;
mod control;
pub(super) mod order;

use super::script::Entry;
use super::script::Must::{Detect, Refuse};
use super::script::Role::Host;

/// The scripts of a host.
pub fn scripts() -> Vec<Entry> {
    let all = [about_the_order(), about_others(), about_devices_and_blocks()];
    all.into_iter().flatten().collect()
}

fn about_the_order() -> Vec<Entry> {
    vec![
        Entry {
            name: "equivocation",
            line: "confirms one order to one device and another to the rest",
            role: Host,
            must: Detect,
            make: || Box::new(order::Equivocation),
        },
        Entry {
            name: "rollback",
            line: "goes back to an older disk and confirms another order from there",
            role: Host,
            must: Detect,
            make: || Box::<order::Rollback>::default(),
        },
        Entry {
            name: "forged-commit",
            line: "says that an order is confirmed, without the voter's signature",
            role: Host,
            must: Refuse,
            make: || Box::<order::ForgedCommit>::default(),
        },
        Entry {
            name: "forged-vote",
            line: "confirms in the name of devices that did not, or without a vote",
            role: Host,
            must: Refuse,
            make: || Box::<order::ForgedVote>::default(),
        },
        Entry {
            name: "term-max",
            line: "names generations, places and heads as high as numbers go",
            role: Host,
            must: Refuse,
            make: || Box::<order::Highest>::default(),
        },
        Entry {
            name: "phantom",
            line: "confirms events that nobody wrote, as some honest device's",
            role: Host,
            must: Refuse,
            make: || Box::<order::Phantom>::default(),
        },
    ]
}

fn about_others() -> Vec<Entry> {
    vec![
        Entry {
            name: "withholding",
            line: "carries everything but what one device wrote",
            role: Host,
            must: Refuse,
            make: || Box::new(carry::Withholding),
        },
        Entry {
            name: "reordering",
            line: "says things later than others, and lists the other way round",
            role: Host,
            must: Refuse,
            make: || Box::<carry::Reordering>::default(),
        },
        Entry {
            name: "truncation",
            line: "cuts the end off runs, orders and control logs",
            role: Host,
            must: Refuse,
            make: || Box::new(carry::Truncation),
        },
        Entry {
            name: "replay",
            line: "says again to anybody what anybody said",
            role: Host,
            must: Refuse,
            make: || Box::<carry::Replay>::default(),
        },
        Entry {
            name: "ciphertext-swap",
            line: "swaps, moves and changes the bodies of events",
            role: Host,
            must: Refuse,
            make: || Box::new(carry::CiphertextSwap),
        },
        Entry {
            name: "forged-run",
            line: "changes events, and says that their author signed what they lead to",
            role: Host,
            must: Refuse,
            make: || Box::new(carry::ForgedRun),
        },
    ]
}

fn about_devices_and_blocks() -> Vec<Entry> {
    vec![
        Entry {
            name: "invented-device",
            line: "admits a device of its own making",
            role: Host,
            must: Refuse,
            make: || Box::<control::InventedDevice>::default(),
        },
        Entry {
            name: "stale-control-log",
            line: "shows a newcomer an older control log and orders for it apart",
            role: Host,
            must: Refuse,
            make: || Box::<control::StaleControl>::default(),
        },
        Entry {
            name: "key-substitution",
            line: "puts a key of its own in the place of a device's, in records that admit it",
            role: Host,
            must: Refuse,
            make: || Box::<control::KeySubstitution>::default(),
        },
        Entry {
            name: "corrupt-blocks",
            line: "answers with other bytes than the blocks that were asked for",
            role: Host,
            must: Refuse,
            make: || Box::<block::CorruptBlocks>::default(),
        },
    ]
}
