//! Numbers on the command line that several scenarios take.
//!
//! In      text
//! Out     a number in its range, or what the range is
//! Bounds  payloads of 16 MiB, 10^9 a second, a day
//! Source  none

use std::time::Duration;

use crate::truth::stamp::PAYLOAD_BYTES_MIN;

/// Length of a message's data.
///
/// # Errors
/// Not a number in range.
pub(super) fn payload_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("must be {PAYLOAD_BYTES_MIN} (the stamp) to {PAYLOAD_BYTES_MAX} bytes")),
    }
}

/// A number per second.
///
/// # Errors
/// Not a number in range.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate == 0.0 || (RATE_MIN..=RATE_MAX).contains(&rate) => Ok(rate),
        _ => Err(format!("must be 0 (no schedule) or a number per second, {RATE_MIN} to {RATE_MAX}")),
    }
}

/// A number per second that is not 0.
///
/// # Errors
/// Not a number in range.
pub(super) fn rate_above_0(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (RATE_MIN..=RATE_MAX).contains(&rate) => Ok(rate),
        _ => Err(format!("must be a number per second, {RATE_MIN} to {RATE_MAX}")),
    }
}

/// A part of all.
///
/// # Errors
/// Not a number in range.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(percent),
        _ => Err("must be a percentage, above 0 and below 100".to_owned()),
    }
}

/// A part of all, or nothing.
///
/// # Errors
/// Not a number in range.
pub(super) fn percent_or_0(text: &str) -> Result<f64, String> {
    if text.parse() == Ok(0.0) { Ok(0.0) } else { percent(text).map_err(|error| format!("{error}, or 0")) }
}

/// The exponent of Zipf's law.
///
/// # Errors
/// Not a number in range.
pub(super) fn skew(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(skew) if (0.0..=SKEW_MAX).contains(&skew) => Ok(skew),
        _ => Err(format!("must be 0 (all alike) to {SKEW_MAX}")),
    }
}

/// A time that is over some time.
///
/// # Errors
/// Not a number in range.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (SECONDS_MIN..=SECONDS_MAX).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("must be seconds, {SECONDS_MIN} to {SECONDS_MAX}")),
    }
}

/// A time between two looks.
///
/// # Errors
/// Not a number in range.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (INTERVAL_MIN..=SECONDS_MAX).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!("must be seconds, {INTERVAL_MIN} to {SECONDS_MAX}")),
    }
}

const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Below one in a day nothing happens.
const RATE_MIN: f64 = 1.0 / SECONDS_MAX;
const RATE_MAX: f64 = 1e9;

/// Beyond that only the first topics are ever drawn.
const SKEW_MAX: f64 = 4.0;
/// A look is answered within a fifth of that.
const INTERVAL_MIN: f64 = 0.1;

const SECONDS_MIN: f64 = 0.001;
const SECONDS_MAX: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_say_the_range() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(rate("0"), Ok(0.0));
        assert!(interval("0.1").is_ok() && interval("0.09").unwrap_err().contains("0.1 to"));
        for wrong in ["0", "-1", "nan", "inf", "1e5", "x", ""] {
            assert!(seconds(wrong).unwrap_err().contains("86400"), "{wrong}");
        }
        for wrong in ["-1", "nan", "inf", "2e9", "1e-9"] {
            assert!(rate(wrong).unwrap_err().contains("per second"), "{wrong}");
        }
        for wrong in ["0", "100", "-1", "nan"] {
            assert!(percent(wrong).unwrap_err().contains("percentage"), "{wrong}");
        }
        assert_eq!(percent_or_0("0"), Ok(0.0));
        assert!(percent_or_0("0.5").is_ok() && percent_or_0("100").is_err());
        assert!(rate_above_0("0").is_err() && rate_above_0("0.5").is_ok());
        assert!(skew("5").unwrap_err().contains("all alike") && skew("0").is_ok());
        for wrong in ["57", "16777217", "-1", "1.5"] {
            assert!(payload_bytes(wrong).unwrap_err().contains("58"), "{wrong}");
        }
    }
}
