//! Streams: what a publisher is to send, at what pace, and when it is to stop.
//!
//! In      numbers from the command line
//! Out     a plan that `client::publisher` follows
//! Bounds  `publishes_max` messages; patience for each delivery
//! Source  none

use std::time::Duration;

/// Messages to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    /// When each burst leaves.
    pub pace: Pace,
    /// Messages that leave together.
    pub burst: u64,
    /// Length of each message's data.
    pub payload_bytes: usize,
    /// The stream ends after so many.
    pub publishes_max: u64,
    /// Time without any delivery after which what is missing counts as lost.
    pub patience: Duration,
    /// How long what was due by the end of an open loop may be sent after it.
    pub overtime: Duration,
}

/// When the next message leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// When the last one has arrived everywhere.
    Closed,
    /// On schedule, whatever the server does.
    Open {
        /// Messages per second.
        per_s: f64,
    },
}

impl Pace {
    /// As the command line says it: 0 is the closed loop.
    #[must_use]
    pub fn per_second(rate: f64) -> Self {
        if rate > 0.0 { Self::Open { per_s: rate } } else { Self::Closed }
    }
}
