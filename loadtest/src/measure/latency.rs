//! Latencies: how long things took, without averaging it away.
//!
//! In      nanoseconds
//! Out     a histogram
//! Bounds  a minute, to three digits; what takes longer counts as a minute
//! Source  none

use hdrhistogram::Histogram;

/// An empty histogram of nanoseconds.
///
/// # Panics
/// Never: its bounds are constants that it accepts.
#[must_use]
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS).expect("constant bounds are sound")
}

/// Above that a run counts as stalled anyway.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
const LATENCY_DIGITS: u8 = 3;
