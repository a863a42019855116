//! Arguments of the storm of connects.
//!
//! In      the command line
//! Out     `Connect`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{
    numbers::{payload_bytes, rate, seconds},
    output::Output,
    target::Target,
};

/// Opens many connections while messages are published to a small group that was there before.
#[derive(Clone, Debug, Args)]
pub struct Connect {
    /// Connections to open; they stay open until the end
    #[arg(long, default_value = "2000")]
    pub connections: NonZeroUsize,

    /// Connects per second, on schedule whatever the server does; 0: as fast as they are answered
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    pub rate: f64,

    /// Connects that may be on their way at once; one that has to wait for others counts from when it was due
    #[arg(long, default_value = "64")]
    pub at_once: NonZeroUsize,

    /// Topic of the group
    #[arg(long, default_value = "load")]
    pub topic: String,

    /// Connections of the group, which subscribe before the storm
    #[arg(long, default_value = "10")]
    pub subscribers: NonZeroUsize,

    /// Publishes to the group per second, before and during the storm; 0: the next when all have the last
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub publish_rate: f64,

    /// Length of each message's data, a JSON string
    #[arg(long, default_value_t = 128, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// Seconds of publishing without a storm before that: checked, but in no latency, rate or CPU figure
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub warm_up: Option<Duration>,

    /// Seconds after which the storm ends, done or not
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub duration: Duration,

    /// Seconds without any delivery after which what is missing counts as lost
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub patience: Duration,

    /// The server under load.
    #[command(flatten)]
    pub target: Target,

    /// What becomes of the figures.
    #[command(flatten)]
    pub output: Output,
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: the handshake for the storm; for the group, subscribing and publishing as
fanwire-server has them. A refused connect is no failure but a figure: require 'refused==0' if it shall be one. The
server's CPU per connect has the group's messages in it: --publish-rate 1 makes them few.

Examples:
  loadtest connect
      our server, 2,000 connects as fast as it answers, 64 on their way at a time
  loadtest connect --connections 10000 --rate 2000 --require 'handshake_p99<50ms' --require 'refused==0'
      2,000 connects a second; latency counts from when each was due
  loadtest connect --warm-up 2 --publish-rate 1000 --require 'p99<10ms'
      how long the group waits for its messages in the storm";
