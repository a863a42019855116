//! Units: sizes and times as people write them.
//!
//! In      `64KiB`, `16MiB`, `1024`; `500ms`, `25s`, `2m`, `1h`, `0`
//! Out     bytes and durations, the same written back, or what is wrong with the text
//! Bounds  whole numbers only: 1.5s is written 1500ms
//! Source  IEC 80000-13 for the binary prefixes

use std::time::Duration;

/// Reads a number of bytes. A bare number is bytes; `k`, `KB` and `KiB` all mean 1,024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err("write bytes as a whole number with KiB, MiB, GiB or nothing behind it".to_owned()),
    };
    let number: u64 =
        number.parse().map_err(|_| "write bytes as a whole number, such as 64KiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too large".to_owned())
}

/// As [`parse_bytes`], for options of 32 bits.
pub(crate) fn parse_bytes_u32(text: &str) -> Result<u32, String> {
    u32::try_from(parse_bytes(text)?).map_err(|_| "too large: at most 4GiB less one byte".to_owned())
}

/// Bytes in the largest binary unit that shows them exactly.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}

/// Reads a duration. Zero needs no unit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if number.parse() == Ok(0) => 1,
        _ => {
            return Err("write a time as a whole number with ms, s, m or h behind it, such as 25s".to_owned());
        }
    };
    let number: u64 =
        number.parse().map_err(|_| "write a time as a whole number, such as 500ms or 25s".to_owned())?;
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

/// As [`parse_duration`], where zero would mean that something never ends.
pub(crate) fn parse_duration_not_zero(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must not be zero: sockets would stay for ever".to_owned()),
        duration => Ok(duration),
    }
}

/// As [`parse_duration`], for what no two clocks should differ by.
pub(crate) fn parse_leeway(text: &str) -> Result<Duration, String> {
    let leeway = parse_duration(text)?;
    let is_whole = leeway.subsec_nanos() == 0 && leeway <= LEEWAY_MAX;
    if is_whole { Ok(leeway) } else { Err("give whole seconds, 10m at most".to_owned()) }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A clock that is off by more needs mending.
const LEEWAY_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("7B", 7),
            ("64k", 65_536),
            ("64 KiB", 65_536),
            ("4MB", 4 << 20),
            ("16MiB", 16 << 20),
            ("2g", 2 << 30),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        for text in ["", "KiB", "-1", "+1", "1.5MiB", "1TiB", "x", "16MiB!", "20000000000GiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert_eq!(parse_bytes_u32("4294967295"), Ok(u32::MAX));
        assert!(parse_bytes_u32("4GiB").is_err());
    }

    #[test]
    fn bytes_are_shown_exactly() {
        for (bytes, text) in [
            (0, "0 B"),
            (1, "1 B"),
            (1_000, "1000 B"),
            (1_024, "1 KiB"),
            (1_536, "1536 B"),
            (16 << 20, "16 MiB"),
            (3 << 30, "3 GiB"),
        ] {
            assert_eq!(show_bytes(bytes), text);
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
    }

    #[test]
    fn durations_are_read_with_units_only() {
        for (text, ms) in
            [("500ms", 500), ("25s", 25_000), ("2m", 120_000), ("1 h", 3_600_000), ("0", 0), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "25", "1.5s", "-1s", "1d", "99999999999999999999h", "9999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration_not_zero("0").is_err());
        assert_eq!(parse_duration_not_zero("1ms"), Ok(Duration::from_millis(1)));
    }
}
