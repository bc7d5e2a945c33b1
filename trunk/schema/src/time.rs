//! Timestamps as text (RFC 3339, UTC): `2026-03-01T12:00:00.5Z`.
//!
//! The calendar arithmetic is Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms"
//! (`days_from_civil`, `civil_from_days`); it holds for all years we allow.

use crate::value::Timestamp;
use std::fmt;
use std::str::FromStr;

const DAY_S: i64 = 86_400;

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.micros.div_euclid(1_000_000);
        let micros = self.micros.rem_euclid(1_000_000);
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY_S));
        let of_day = seconds.rem_euclid(DAY_S);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if micros != 0 {
            f.write_str(format!(".{micros:06}").trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// The text is not a moment.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a timestamp; write it as 2026-03-01T12:00:00.5Z")]
pub struct TimestampError {
    /// The text.
    pub text: String,
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        parse(text).ok_or_else(|| TimestampError { text: text.to_owned() })
    }
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let all_digits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

/// Reads a moment with `Z` or an offset; digits past microseconds are cut off.
fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = (text.get(..10)?, text.get(11..)?);
    let (clock, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-'])?);
    if !matches!(text.as_bytes()[10], b'T' | b't' | b' ') || clock.len() < 8 {
        return None;
    }
    let field = |text: &str, at: usize| digits(text.get(at..at + 2)?, 2);
    let (year, month, day) = (digits(date.get(..4)?, 4)?, field(date, 5)?, field(date, 8)?);
    let (hour, minute, second) = (field(clock, 0)?, field(clock, 3)?, field(clock, 6)?);
    let separators = [date.as_bytes()[4], date.as_bytes()[7]] == *b"--"
        && [clock.as_bytes()[2], clock.as_bytes()[5]] == *b"::";
    if !separators || hour > 23 || minute > 59 || second > 59 || year < 1 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if !(1..=12).contains(&month) || civil_from_days(days) != (year, month, day) {
        return None;
    }
    let micros = match clock.get(8..)?.strip_prefix('.') {
        None if clock.len() == 8 => 0,
        None => return None,
        Some(fraction) => {
            digits(fraction, fraction.len().max(1))?;
            digits(&format!("{fraction:0<6}")[..6], 6)?
        }
    };
    let offset_s = match zone {
        "Z" | "z" => 0,
        zone => {
            let (hours, minutes) = (field(zone, 1)?, field(zone, 4)?);
            if zone.len() != 6 || zone.as_bytes()[3] != b':' || hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3_600 + minutes * 60) * if zone.starts_with('-') { -1 } else { 1 }
        }
    };
    let seconds = days * DAY_S + hour * 3_600 + minute * 60 + second - offset_s;
    Some(Timestamp { micros: seconds * 1_000_000 + micros })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments_are_read_and_written() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (1_772_366_400_500_000, "2026-03-01T12:00:00.5Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp { micros }.to_string(), text);
            assert_eq!(text.parse::<Timestamp>().unwrap().micros, micros);
        }
        let shifted: Timestamp = "2026-03-01T13:00:00.500000999+01:00".parse().unwrap();
        assert_eq!(shifted.to_string(), "2026-03-01T12:00:00.5Z");
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2026",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00.1x",
            "äöüäö-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_allowed_moment_survives_as_text(
            micros in -62_135_596_800_000_000_i64..=253_402_300_799_999_999,
        ) {
            let at = Timestamp { micros };
            prop_assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            drop(text.parse::<Timestamp>());
        }
    }
}
