//! Numbers, sizes and times as people read them.

use rhizome_schema::Timestamp;
use std::time::Duration;

/// A count with thin groups: `1 284`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `1 change`, `2 changes`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A size: `1.2 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut whole = number;
    let mut rest = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    if unit == 0 || whole >= 100 {
        return format!("{whole} {}", UNITS[unit]);
    }
    format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit])
}

/// How long something takes or took: `340 ms`, `2.1 s`, `3 min`.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        10_000..60_000 => format!("{} s", ms / 1_000),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// How long ago: `now`, `2 min ago`.
pub(crate) fn ago(now_ms: u64, then_ms: u64) -> String {
    match now_ms.saturating_sub(then_ms) {
        0..2_000 => "now".to_owned(),
        since => format!("{} ago", span(since)),
    }
}

/// A moment, to the second.
pub(crate) fn moment(ms: u64) -> String {
    Timestamp::at_ms(ms / 1_000 * 1_000).to_string()
}

/// Reads `500ms`, `30s`, `2m`, `1h`, or a bare number of seconds.
pub(crate) fn read_span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("`{text}` is not a time; write `500ms`, `30s`, `2m` or `1h`");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(number.checked_mul(factor).ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        let shown: Vec<String> = [0, 12, 999, 1_284, 100_000, 1_234_567].map(count).to_vec();
        assert_eq!(shown, ["0", "12", "999", "1 284", "100 000", "1 234 567"]);
        assert_eq!(counted(1, "change", "changes"), "1 change");
        assert_eq!(counted(0, "change", "changes"), "0 changes");
    }

    #[test]
    fn sizes_have_two_or_three_digits() {
        let shown = [0, 1_023, 1_024, 1_258_291, 150 << 20, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.1 MiB", "150 MiB", "16777215 TiB"]);
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        assert_eq!(ago(1_500, 0), "now");
        assert_eq!(ago(0, 99), "now");
        let shown = [340, 2_140, 42_000, 180_000, 90_000_000, 864_000_000].map(span);
        assert_eq!(shown, ["340 ms", "2.1 s", "42 s", "3 min", "25 h", "10 days"]);
    }

    #[test]
    fn spans_are_read_and_refused() {
        assert_eq!(read_span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(read_span("30"), Ok(Duration::from_secs(30)));
        assert_eq!(read_span("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(read_span("1h"), Ok(Duration::from_secs(3_600)));
        for wrong in ["", "s", "3 days", "-1", "99999999999999999999", "18446744073709551615h"] {
            assert!(read_span(wrong).is_err(), "{wrong}");
        }
    }
}
