//! Arguments of the capacity.
//!
//! In      the command line
//! Out     `Capacity`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{
    common::Common,
    numbers::{payload_bytes, rate_above_0, seconds},
};

/// Looks for the highest rate at which an objective is met: doubles, then halves the interval.
#[derive(Clone, Debug, Args)]
pub struct Capacity {
    /// Topic that all subscribers subscribe to
    #[arg(long, default_value = "load")]
    pub topic: String,

    /// Connections that subscribe
    #[arg(long, default_value = "1000")]
    pub subscribers: NonZeroUsize,

    /// What must hold at a rate, as --require takes it; may be given more than once. That nothing is lost and no
    /// connection is closed must always hold
    #[arg(long, value_name = "'NAME<VALUE'", default_value = "p99<10ms")]
    pub objective: Vec<String>,

    /// Publishes per second of the first step
    #[arg(long, default_value_t = 10.0, value_parser = rate_above_0)]
    pub rate_first: f64,

    /// Publishes per second beyond which it does not look
    #[arg(long, default_value_t = 1e6, value_parser = rate_above_0)]
    pub rate_max: f64,

    /// Percent: the rate found is the capacity within this
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub precision: u8,

    /// Messages published at once
    #[arg(long, default_value = "1")]
    pub burst: NonZeroUsize,

    /// Length of each message's data, a JSON string
    #[arg(long, default_value_t = 128, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// Seconds of each step; the last one, whose figures are reported, takes twice that
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub step: Duration,

    /// How it is run.
    #[command(flatten)]
    pub common: Common,
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: subscribing and publishing. Publishes leave on schedule at each rate, so latency counts from
when each was due. At most 40 steps.

Examples:
  loadtest capacity --pin-server 0 --pin-client 1
      our server on one core: the highest rate to 1,000 subscribers with p99 below 10 ms
  loadtest capacity --objective 'last_p99<50ms' --objective 'server_cpus<0.8' --subscribers 5000
      another objective
  loadtest capacity --json capacity.json -- --flush-delay 1ms
      with the curve on the way in the JSON's tables";
