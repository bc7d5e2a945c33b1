//! What the demo measured: one object for programs, a table for people.

use super::story::short;
use crate::format::{bytes, count, counted};
use crate::look::Look;
use crate::table::Table;
use serde::Serialize;
use std::time::Duration;

/// Everything that was measured. Times are in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    /// The folder with the three pods.
    pub(super) dir: String,
    /// Until all three processes answered.
    pub(super) started_ms: f64,
    /// Creating the identity.
    pub(super) identity_ms: f64,
    /// Adding the cloud peer.
    pub(super) peer_ms: f64,
    /// Linking the phone, from the code to its first copy.
    pub(super) link_ms: f64,
    /// What was imported.
    pub(super) import: Import,
    /// The cut network.
    pub(super) cut: Cut,
    /// One synchronised block after the other.
    pub(super) floor: Rate,
    /// Writing without the cloud peer.
    pub(super) outage: Outage,
    /// The checkpoint.
    pub(super) checkpoint: Checkpoint,
    /// Bringing the laptop back.
    pub(super) recovery: Recovery,
    /// What all cables carried.
    pub(super) wire: Wire,
    /// The hash of `data export`, the same on every device at the end.
    pub(super) export_hash: String,
    /// The state hash, the same on every device at the end.
    pub(super) state_hash: String,
    /// All of it.
    pub(super) took_ms: f64,
}

/// An import, and how it arrived.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Import {
    /// What the source was: `markdown`, `keep` or `csv`.
    pub(super) kind: String,
    /// Where it was.
    pub(super) path: String,
    /// Where the documents went.
    pub(super) collection: String,
    /// How many came.
    pub(super) documents: u64,
    /// How many attachments came along.
    pub(super) attachments: u64,
    /// How many items could not be read.
    pub(super) failed: u64,
    /// How large documents and attachments are.
    pub(super) bytes: u64,
    /// How long it took.
    pub(super) took_ms: f64,
    /// From the start of the import to the first document on the phone.
    pub(super) first_on_phone_ms: f64,
    /// From the start of the import to the last document on the phone.
    pub(super) all_on_phone_ms: f64,
}

/// A network that was cut.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Cut {
    /// The write on the laptop, acknowledged without network.
    pub(super) laptop_write_ms: f64,
    /// The write on the phone, acknowledged without network.
    pub(super) phone_write_ms: f64,
    /// Packets that went nowhere.
    pub(super) dropped_packets: u64,
    /// From mending to the same confirmed state on both.
    pub(super) merged_ms: f64,
    /// Values that yielded and are kept.
    pub(super) conflicts: u64,
}

/// How fast operations were.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Rate {
    /// How many.
    pub(super) count: u64,
    /// How long all took.
    pub(super) took_ms: f64,
    /// How many in a second.
    pub(super) per_second: u64,
    /// How long the middle one took.
    pub(super) p50_ms: f64,
    /// How long the slowest of a hundred took.
    pub(super) p99_ms: f64,
    /// How much faster than the floor of the same run.
    pub(super) ratio_to_floor: Option<f64>,
}

/// A cloud peer that was gone.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Outage {
    /// One writer on the laptop, each write waiting for the one before.
    pub(super) one_writer: Rate,
    /// Many writers on the laptop.
    pub(super) many_writers: Rate,
    /// How many those are.
    pub(super) writers: u64,
    /// One writer on the phone.
    pub(super) phone_writer: Rate,
    /// From the last write to all of them on both, directly.
    pub(super) exchanged_ms: f64,
    /// From its new start to the same confirmed state on both.
    pub(super) settled_ms: f64,
}

/// A checkpoint.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Checkpoint {
    /// The Cid of its manifest.
    pub(super) id: String,
    /// How many documents it holds.
    pub(super) documents: u64,
    /// How large it is.
    pub(super) bytes: u64,
    /// Cutting it.
    pub(super) created_ms: f64,
    /// Until the cloud peer acknowledged holding it.
    pub(super) pinned_ms: f64,
}

/// A recovery.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Recovery {
    /// How many documents came back.
    pub(super) documents: u64,
    /// How many bytes came.
    pub(super) bytes: u64,
    /// From the words to everything.
    pub(super) took_ms: f64,
    /// From there until laptop and phone were in the same confirmed state.
    pub(super) settled_ms: f64,
}

/// What cables carried.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Wire {
    /// Packets that arrived.
    pub(super) packets: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Packets that went nowhere.
    pub(super) dropped_packets: u64,
}

impl Wire {
    /// Both together.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
            dropped_packets: self.dropped_packets + other.dropped_packets,
        }
    }
}

/// A time as a figure: milliseconds with three digits behind the point.
pub(super) fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

/// A figure as people read it.
fn time(ms: f64) -> String {
    short(Duration::from_secs_f64(ms / 1e3))
}

impl Rate {
    /// The faster of two: what else a machine does makes a floor look lower, never higher.
    pub(super) fn or_faster(self, other: Self) -> Self {
        if other.per_second > self.per_second { other } else { self }
    }

    /// The same beside the floor.
    pub(super) fn beside(mut self, floor: &Self) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^52")]
        let ratio = |ours: u64, floor: u64| ours as f64 / floor as f64;
        self.ratio_to_floor = (floor.per_second > 0)
            .then(|| (ratio(self.per_second, floor.per_second) * 100.0).round() / 100.0);
        self
    }

    fn speed(&self) -> String {
        format!("{}/s", count(self.per_second))
    }

    fn detail(&self) -> String {
        let latency = format!("p50 {}, p99 {}", time(self.p50_ms), time(self.p99_ms));
        match self.ratio_to_floor {
            Some(ratio) => format!("{ratio:.2} × the floor · {latency}"),
            None => latency,
        }
    }
}

impl Figures {
    /// The table for people, or rows of tabs.
    pub(super) fn table(&self, look: &Look) -> String {
        let rows = [self.rows_until_cut(), self.rows_from_floor(), self.rows_at_end()].concat();
        let width = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
        let mut table = Table::new(&["what", "measured", "detail"]);
        for (what, value, detail) in rows {
            let value = if look.plain { value } else { format!("{value:>width$}") };
            table.row(&[what, &value, &detail]);
        }
        table.text(look)
    }

    fn rows_until_cut(&self) -> Vec<Row> {
        let (import, cut) = (&self.import, &self.cut);
        let attachments = counted(import.attachments, "attachment", "attachments");
        let documents = format!("{} with {attachments}, {}", import.kind, bytes(import.bytes));
        let first = format!("the first after {}", time(import.first_on_phone_ms));
        let conflicts = counted(cut.conflicts, "value", "values");
        let merged = format!(
            "{conflicts} yielded and kept, {} packets dropped by the cut",
            count(cut.dropped_packets)
        );
        vec![
            ("Three processes up", time(self.started_ms), "laptop, phone, cloud".to_owned()),
            ("Identity", time(self.identity_ms), String::new()),
            ("Cloud peer added", time(self.peer_ms), String::new()),
            ("Phone linked", time(self.link_ms), "code, digits, first copy".to_owned()),
            ("Documents", count(import.documents), documents),
            ("Imported", time(import.took_ms), "on the laptop".to_owned()),
            ("All on the phone", time(import.all_on_phone_ms), first),
            ("Write while cut, laptop", time(cut.laptop_write_ms), "durable there".to_owned()),
            ("Write while cut, phone", time(cut.phone_write_ms), "durable there".to_owned()),
            ("Mended until merged", time(cut.merged_ms), merged),
        ]
    }

    fn rows_from_floor(&self) -> Vec<Row> {
        let (floor, outage) = (&self.floor, &self.outage);
        let blocks = format!("fdatasync alone · {}", floor.detail());
        let many = format!("{} at once · {}", outage.writers, outage.many_writers.detail());
        let exchanged = "both have all, laptop and phone alone".to_owned();
        vec![
            ("Floor of this disk", floor.speed(), blocks),
            ("No cloud: one writer", outage.one_writer.speed(), outage.one_writer.detail()),
            ("No cloud: many writers", outage.many_writers.speed(), many),
            ("No cloud: on the phone", outage.phone_writer.speed(), outage.phone_writer.detail()),
            ("No cloud: exchanged", time(outage.exchanged_ms), exchanged),
            (
                "Cloud back until agreed",
                time(outage.settled_ms),
                "same order, same state".to_owned(),
            ),
        ]
    }

    fn rows_at_end(&self) -> Vec<Row> {
        let (checkpoint, recovery) = (&self.checkpoint, &self.recovery);
        let cut = counted(checkpoint.documents, "document", "documents");
        let cut = format!("{cut}, {}", bytes(checkpoint.bytes));
        let back = counted(recovery.documents, "document", "documents");
        let back = format!("{back}, {}, from 24 words and ciphertext", bytes(recovery.bytes));
        let packets = format!("{} packets through three cables", count(self.wire.packets));
        let hash: String = self.export_hash.chars().take(12).collect();
        vec![
            ("Checkpoint cut", time(checkpoint.created_ms), cut),
            ("Kept by the cloud", time(checkpoint.pinned_ms), "acknowledged".to_owned()),
            ("Laptop recovered", time(recovery.took_ms), back),
            (
                "Agreed with the phone",
                time(recovery.settled_ms),
                "same order, same state".to_owned(),
            ),
            ("On the wire", bytes(self.wire.bytes), packets),
            ("Export hash", hash, "the same on every device".to_owned()),
            ("Everything", time(self.took_ms), String::new()),
        ]
    }
}

/// A row: what, how much, and what else there is to say.
type Row = (&'static str, String, String);

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let rate = |per_second, p50_ms, p99_ms| Rate {
            per_second,
            p50_ms,
            p99_ms,
            count: 200,
            ..Rate::default()
        };
        let floor = rate(4_000, 0.22, 0.9);
        Figures {
            started_ms: 81.0,
            import: Import { kind: "markdown".into(), documents: 12, ..Import::default() },
            cut: Cut { merged_ms: 1_400.0, conflicts: 1, ..Cut::default() },
            outage: Outage {
                one_writer: rate(3_200, 0.29, 1.25).beside(&floor),
                many_writers: rate(48_000, 1.2, 4.0).beside(&floor),
                writers: 64,
                ..Outage::default()
            },
            floor,
            export_hash: "0123456789abcdef".into(),
            ..Figures::default()
        }
    }

    #[test]
    fn numbers_stand_below_each_other() {
        let table = figures().table(&Look::bare());
        let shown: Vec<&str> = table.lines().filter(|line| !line.contains("  0 ")).collect();
        let expected = "\
WHAT                     MEASURED      DETAIL
Three processes up              81 ms  laptop, phone, cloud
Documents                          12  markdown with 0 attachments, 0 B
Mended until merged             1.4 s  1 value yielded and kept, 0 packets dropped by the cut
Floor of this disk            4 000/s  fdatasync alone · p50 220 µs, p99 900 µs
No cloud: one writer          3 200/s  0.80 × the floor · p50 290 µs, p99 1.2 ms
No cloud: many writers       48 000/s  64 at once · 12.00 × the floor · p50 1.2 ms, p99 4.0 ms
No cloud: on the phone            0/s  p50 0 µs, p99 0 µs
Export hash              0123456789ab  the same on every device";
        assert_eq!(shown.join("\n"), expected);
    }

    #[test]
    fn programs_get_plain_rows() {
        let table = figures().table(&Look { plain: true, ..Look::bare() });
        assert_eq!(table.lines().next(), Some("Three processes up\t81 ms\tlaptop, phone, cloud"));
    }

    #[test]
    fn times_become_figures_with_three_digits() {
        assert!((ms(Duration::from_nanos(1_234_567)) - 1.235).abs() < 1e-9);
    }
}
