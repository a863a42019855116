//! Arguments of the soak.
//!
//! In      the command line
//! Out     `Soak`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{
    common::Common,
    numbers::{payload_bytes, percent_or_0, rate, rate_above_0, seconds},
};

/// Publishes for hours to a group that stays, while others come and go, do not read, or attack; what drifts is told.
#[derive(Clone, Debug, Args)]
pub struct Soak {
    /// Topic of the group and its visitors
    #[arg(long, default_value = "load")]
    pub topic: String,

    /// Connections that stay
    #[arg(long, default_value = "500")]
    pub subscribers: NonZeroUsize,

    /// Publishes per second, sent on schedule whatever the server does
    #[arg(long, default_value_t = 20.0, value_parser = rate_above_0)]
    pub rate: f64,

    /// Length of each message's data, a JSON string
    #[arg(long, default_value_t = 256, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// Visitors that come per second
    #[arg(long, default_value_t = 20.0, value_parser = rate_above_0)]
    pub joins: f64,

    /// Seconds that each of them stays subscribed
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub stay: Duration,

    /// Percent of the group that are slow readers, at least one if it is not 0, and never all
    #[arg(long, default_value_t = 1.0, value_parser = percent_or_0)]
    pub slow: f64,

    /// KB (1,000 bytes) that each of the slow ones reads per second; 0: they do not read at all
    #[arg(long, value_name = "KB", default_value_t = 1)]
    pub read_kb_per_s: u32,

    /// Hostile clients per second, of seven kinds in turn; 0: none
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    pub hostile: f64,

    /// Seconds of all that
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub duration: Duration,

    /// How it is run.
    #[command(flatten)]
    pub common: Common,
}

impl Soak {
    /// How many of the group read slowly.
    #[must_use]
    pub fn slow(&self) -> usize {
        // A percentage of a count of connections is one, too.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let slow = (self.subscribers.get() as f64 * self.slow / 100.0).round() as usize;
        slow.max(usize::from(self.slow > 0.0)).min(self.subscribers.get() - 1)
    }
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: subscribing and publishing. The hostile clients send garbage, half a handshake, a frame
without a mask, an endless frame or pings without reading, subscribe and never read, or reset at once. What becomes of
the slow readers of the group is the server's policy and no failure: they are counted apart (slow_closed, slow_missing).
The others of the group and the visitors must notice nothing. Drift is the slope of a line through the run's moments,
without its first tenth, in which a server warms up: it says something of hours, not of a minute.

Examples:
  loadtest soak --report soak.html
      our server, one hour, with plots
  loadtest soak --duration 60 --require 'lost==0' --require 'hostile_unended==0'
      a minute of it
  loadtest soak --duration 28800 --interval 60 -- --driver epoll
      a night";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Scenario};

    fn slow(line: &str) -> usize {
        match Cli::parse_from(line.split_whitespace()).scenario() {
            Scenario::Soak(args) => args.slow(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_few_are_slow_unless_nobody_is_to_be_and_somebody_always_reads() {
        assert_eq!(slow("loadtest soak"), 5);
        assert_eq!(slow("loadtest soak --slow 0"), 0);
        assert_eq!(slow("loadtest soak --slow 0.001"), 1);
        assert_eq!(slow("loadtest soak --subscribers 1"), 0);
        assert_eq!(slow("loadtest soak --subscribers 2 --slow 99"), 1);
    }
}
