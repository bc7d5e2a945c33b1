//! Times as people write them in front matter, turned into microseconds since 1970.

/// Microseconds in a second.
const SECOND: i64 = 1_000_000;

/// Reads `2026-01-14`, `2026-01-14 09:30`, `2026-01-14T09:30:15.5Z` or with an offset such as
/// `+02:00`. A time without an offset counts as UTC, because no file says where it was written.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    if parts.next().is_some() {
        return None;
    }
    let midnight = from_civil(year, month, day)?;
    let Some(rest) = rest.strip_prefix(['T', 't', ' ']) else {
        return rest.is_empty().then_some(midnight);
    };
    let rest = rest.trim_start();
    let offset_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, offset) = rest.split_at_checked(offset_at)?;
    Some(midnight + clock_micros(clock.trim_end())? - offset_micros(offset)?)
}

/// Microseconds of a calendar day's start, for years 1 to 9999.
pub(crate) fn from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=9_999).contains(&year) || !(1..=days_in_month).contains(&day) {
        return None;
    }
    // Days from civil, as in Howard Hinnant's "chrono-compatible low-level date algorithms".
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era - 719_468) * 86_400 * SECOND)
}

fn clock_micros(clock: &str) -> Option<i64> {
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let (second, fraction) = match parts.next() {
        None => (0, 0),
        Some(seconds) => match seconds.split_once(['.', ',']) {
            None => (digits(seconds, 2)?, 0),
            Some((whole, fraction)) => (digits(whole, 2)?, fraction_micros(fraction)?),
        },
    };
    let fits = hour < 24 && minute < 60 && second < 61 && parts.next().is_none();
    fits.then_some((hour * 3_600 + minute * 60 + second) * SECOND + fraction)
}

fn fraction_micros(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let six: String = fraction.chars().chain("000000".chars()).take(6).collect();
    six.parse().ok()
}

fn offset_micros(offset: &str) -> Option<i64> {
    if offset.is_empty() || offset.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match offset.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let plain: String = rest.chars().filter(|letter| *letter != ':').collect();
    let (hours, minutes) = match plain.len() {
        2 => (digits(&plain, 2)?, 0),
        4 => {
            let (hours, minutes) = plain.split_at_checked(2)?;
            (digits(hours, 2)?, digits(minutes, 2)?)
        }
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60) * SECOND)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let plain = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_spellings_of_a_time_are_understood() {
        assert_eq!(parse("1970-01-01"), Some(0));
        assert_eq!(parse("2026-01-14"), Some(1_768_348_800 * SECOND));
        assert_eq!(parse("2024-02-29 12:30"), Some(1_709_209_800 * SECOND));
        assert_eq!(parse("2024-02-29T12:30:15.25Z"), Some(1_709_209_815 * SECOND + 250_000));
        assert_eq!(parse("2024-02-29T12:30:00+02:00"), Some(1_709_202_600 * SECOND));
        assert_eq!(parse("2024-02-29T12:30:00 -0130"), Some(1_709_215_200 * SECOND));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in ["", "2024", "2023-02-29", "2024-13-01", "2024-01-01x", "2024-01-01T25:00"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
