//! What a host can do: it orders, stores and carries, holds no keys to read with, and lies.

mod carry;
mod control;
mod order;

use super::script::Entry;
use super::script::Must::{Detect, Refuse};

/// The scripts of a host.
pub fn scripts() -> Vec<Entry> {
    let all = [about_the_order(), about_others(), about_devices()];
    all.into_iter().flatten().collect()
}

fn about_the_order() -> Vec<Entry> {
    vec![
        Entry {
            name: "equivocation",
            line: "confirms one order to one device and another to the rest",
            must: Detect,
            make: || Box::new(order::Equivocation),
        },
        Entry {
            name: "rollback",
            line: "goes back to an older disk and confirms another order from there",
            must: Detect,
            make: || Box::<order::Rollback>::default(),
        },
        Entry {
            name: "forged-commit",
            line: "says that an order is confirmed, without the voter's signature",
            must: Refuse,
            make: || Box::<order::ForgedCommit>::default(),
        },
        Entry {
            name: "forged-vote",
            line: "confirms in the name of devices that did not, or without a vote",
            must: Refuse,
            make: || Box::<order::ForgedVote>::default(),
        },
        Entry {
            name: "term-max",
            line: "names generations, places and heads as high as numbers go",
            must: Refuse,
            make: || Box::<order::Highest>::default(),
        },
        Entry {
            name: "phantom",
            line: "confirms events that nobody wrote, as some honest device's",
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
            must: Refuse,
            make: || Box::new(carry::Withholding),
        },
        Entry {
            name: "reordering",
            line: "says things later than others, and lists the other way round",
            must: Refuse,
            make: || Box::<carry::Reordering>::default(),
        },
        Entry {
            name: "truncation",
            line: "cuts the end off runs, orders and control logs",
            must: Refuse,
            make: || Box::new(carry::Truncation),
        },
        Entry {
            name: "replay",
            line: "says again to anybody what anybody said",
            must: Refuse,
            make: || Box::<carry::Replay>::default(),
        },
        Entry {
            name: "ciphertext-swap",
            line: "swaps, moves and changes the bodies of events",
            must: Refuse,
            make: || Box::new(carry::CiphertextSwap),
        },
    ]
}

fn about_devices() -> Vec<Entry> {
    vec![Entry {
        name: "invented-device",
        line: "admits a device of its own making",
        must: Refuse,
        make: || Box::<control::InventedDevice>::default(),
    }]
}
