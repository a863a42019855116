//! Units: how figures are written and read.
//!
//! In      a value in its base unit, or text with a unit
//! Out     text for people; a value in its base unit
//! Bounds  binary prefixes only; durations down to a nanosecond
//! Source  IEC 80000-13 (KiB, MiB, GiB)

use serde::Serialize;

/// Of a figure; its values are `f64` in the base unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Of messages or connections.
    #[serde(rename = "count")]
    Count,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Time,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// Per second.
    #[serde(rename = "per_s")]
    Rate,
    /// 1 is all.
    #[serde(rename = "share")]
    Share,
    /// None: a mean, a load.
    #[serde(rename = "number")]
    Number,
}

impl Unit {
    /// A value for people.
    #[must_use]
    pub fn write(self, value: f64) -> String {
        match self {
            Self::Count => format!("{value:.0}"),
            Self::Rate => format!("{value:.0}/s"),
            Self::Share => format!("{:.1} %", value * 100.0),
            // A few per thousand are something, too.
            Self::Number if value.abs() < 0.1 => format!("{value:.4}"),
            Self::Number => format!("{value:.2}"),
            Self::Time => scaled(value, &TIMES),
            Self::Bytes => scaled(value, &BYTES),
        }
    }

    /// Reads a number with one of `suffixes()`.
    #[must_use]
    pub fn read(self, text: &str) -> Option<f64> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%').len();
        let (number, suffix) = text.split_at(digits);
        let number: f64 = number.trim().parse().ok().filter(|number: &f64| number.is_finite())?;
        let scale = |scales: &[(f64, &str)]| {
            scales.iter().find(|(_, name)| *name == suffix).map(|(scale, _)| number * scale)
        };
        match self {
            Self::Time => scale(&TIMES),
            Self::Bytes if suffix.is_empty() => Some(number),
            Self::Bytes => scale(&BYTES),
            Self::Share => (suffix == "%").then_some(number / 100.0),
            Self::Count | Self::Rate | Self::Number => suffix.is_empty().then_some(number),
        }
    }

    /// What may stand behind the number, in words.
    #[must_use]
    pub fn suffixes(self) -> &'static str {
        match self {
            Self::Time => "ns, us, ms or s",
            Self::Bytes => "nothing, B, KiB, MiB or GiB",
            Self::Share => "%",
            Self::Count | Self::Rate | Self::Number => "nothing",
        }
    }
}

/// In the largest unit of which there is one.
fn scaled(value: f64, scales: &[(f64, &str)]) -> String {
    let fits = scales.iter().rev().find(|(scale, _)| value.abs() >= *scale);
    let Some((scale, name)) = fits.or(scales.first()) else { return value.to_string() };
    let digits = if *scale == 1.0 { 0 } else { 3 };
    format!("{:.digits$} {name}", value / scale)
}

const TIMES: [(f64, &str); 4] = [(1.0, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s")];

const BYTES: [(f64, &str); 4] = [(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_the_unit_that_fits() {
        assert_eq!(Unit::Time.write(0.0), "0 ns");
        assert_eq!(Unit::Time.write(1500.0), "1.500 us");
        assert_eq!(Unit::Time.write(2.5e9), "2.500 s");
        assert_eq!(Unit::Bytes.write(-512.0), "-512 B");
        assert_eq!(Unit::Bytes.write(1536.0), "1.500 KiB");
        assert_eq!(Unit::Share.write(0.915), "91.5 %");
        assert_eq!(Unit::Rate.write(1234.5), "1234/s");
        assert_eq!([0.0012, 1.234].map(|value| Unit::Number.write(value)), ["0.0012", "1.23"]);
    }

    #[test]
    fn numbers_are_read_with_the_units_of_their_kind_only() {
        assert_eq!(Unit::Time.read("5ms"), Some(5e6));
        assert_eq!(Unit::Time.read("0.5 us"), Some(500.0));
        assert_eq!(Unit::Bytes.read("1.5KiB"), Some(1536.0));
        assert_eq!(Unit::Bytes.read("400"), Some(400.0));
        assert_eq!(Unit::Share.read("90%"), Some(0.9));
        assert_eq!(Unit::Count.read("1e6"), Some(1e6));
        for (unit, wrong) in [
            (Unit::Time, "5"),
            (Unit::Time, "5KiB"),
            (Unit::Count, "5ms"),
            (Unit::Share, "0.9"),
            (Unit::Count, "inf"),
            (Unit::Count, ""),
            (Unit::Time, "ms"),
        ] {
            assert_eq!(unit.read(wrong), None, "{wrong}");
        }
    }
}
