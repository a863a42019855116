//! Arguments of the large messages.
//!
//! In      the command line
//! Out     `Large`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{
    common::Common,
    numbers::{payload_bytes, rate, seconds},
};

/// Publishes messages of growing length to subscribers of one topic, one length after the other.
#[derive(Clone, Debug, Args)]
pub struct Large {
    /// Topic that all subscribers subscribe to
    #[arg(long, default_value = "load")]
    pub topic: String,

    /// Connections that subscribe
    #[arg(long, default_value = "100")]
    pub subscribers: NonZeroUsize,

    /// Lengths of the messages' data in bytes, each a step
    #[arg(long, value_delimiter = ',', default_value = "16384,65536,262144,1048576", value_parser = payload_bytes)]
    pub sizes: Vec<usize>,

    /// MiB to deliver at each step, over all subscribers (rounded up to whole publishes)
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub mebibytes: u64,

    /// Publishes per second, sent on schedule whatever the server does; 0: the next leaves when everyone has
    /// the last one
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    pub rate: f64,

    /// Seconds after which a step ends, done or not
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub duration: Duration,

    /// How it is run.
    #[command(flatten)]
    pub common: Common,
}

impl Large {
    /// Messages to publish at a step.
    #[must_use]
    pub fn publishes(&self, payload_bytes: usize) -> u64 {
        let bytes_each = (payload_bytes * self.subscribers.get()) as u64;
        (self.mebibytes << 20).div_ceil(bytes_each)
    }
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: subscribing and publishing, and that it takes messages of these lengths: fanwire-server up
to 4 MiB (--read-limit).

Examples:
  loadtest large
      our server, 100 subscribers, 16 KiB to 1 MiB, 512 MiB delivered at each step
  loadtest large --sizes 65536 --subscribers 1000 --mebibytes 4096 --require 'p99<100ms'
      one length, 1,000 subscribers";
