//! Arguments of the slow subscribers.
//!
//! In      the command line
//! Out     `Slow`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{
    common::Common,
    numbers::{payload_bytes, percent, rate_above_0, seconds},
};

/// Publishes to subscribers of one topic, first while all read, then while some do not, or slowly.
#[derive(Clone, Debug, Args)]
pub struct Slow {
    /// Topic that all subscribers subscribe to
    #[arg(long, default_value = "load")]
    pub topic: String,

    /// Connections that subscribe
    #[arg(long, default_value = "1000")]
    pub subscribers: NonZeroUsize,

    /// Percent of them that become slow, at least one
    #[arg(long, default_value_t = 1.0, value_parser = percent)]
    pub percent: f64,

    /// KB (1,000 bytes) that each of the slow ones reads per second; 0: they do not read at all
    #[arg(long, value_name = "KB", default_value_t = 0)]
    pub read_kb_per_s: u32,

    /// Publishes per second, sent on schedule whatever the server does
    #[arg(long, default_value_t = 100.0, value_parser = rate_above_0)]
    pub rate: f64,

    /// Length of each message's data, a JSON string
    #[arg(long, default_value_t = 1024, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// Seconds of each of the two phases
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub duration: Duration,

    /// How it is run.
    #[command(flatten)]
    pub common: Common,
}

impl Slow {
    /// How many subscribers become slow.
    #[must_use]
    pub fn slow(&self) -> usize {
        // A percentage of a count of connections is one, too.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let slow = (self.subscribers.get() as f64 * self.percent / 100.0).round() as usize;
        slow.clamp(1, self.subscribers.get())
    }
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: subscribing and publishing. What becomes of the slow ones is the server's policy and no
failure: they are counted apart (slow_closed, slow_missing). What counts is that the others notice nothing.

Examples:
  loadtest slow
      our server, 1,000 subscribers, 10 s while all read, 10 s while 10 of them do not
  loadtest slow --percent 10 --read-kb-per-s 5 --require 'p99_ratio<1.1' --require 'lost==0'
      a tenth reads 5 KB a second of 100; the others' p99 must not grow by more than a tenth";
