//! Arguments of the many topics.
//!
//! In      the command line
//! Out     `Topics`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{
    common::Common,
    numbers::{payload_bytes, rate, seconds, skew},
};

/// Opens subscribers of many topics, and publishes to some topics more often than to others.
#[derive(Clone, Debug, Args)]
pub struct Topics {
    /// Start of the topics' names: load.0, load.1 and so on
    #[arg(long, default_value = "load")]
    pub topic: String,

    /// Topics
    #[arg(long, default_value = "1000")]
    pub topics: NonZeroUsize,

    /// Connections that subscribe
    #[arg(long, default_value = "1000")]
    pub subscribers: NonZeroUsize,

    /// Topics that each of them subscribes to; the topics are spread evenly
    #[arg(long, default_value = "10")]
    pub topics_each: NonZeroUsize,

    /// How unequal the topics are: the k-th gets a share of 1/k^SKEW of the publishes; 0: all alike
    #[arg(long, default_value_t = 1.0, value_parser = skew)]
    pub skew: f64,

    /// Which topics are drawn: the same for the same seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Publish to each topic once before any comes again, and to those of the same subscribers as late as can be,
    /// instead of drawing them
    #[arg(long, conflicts_with_all = ["skew", "seed"])]
    pub in_turn: bool,

    /// Messages to publish
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub publishes: u64,

    /// Length of each message's data, a JSON string
    #[arg(long, default_value_t = 128, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// Publishes per second, sent on schedule whatever the server does; 0: the next burst leaves when
    /// everyone has the last one
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    pub rate: f64,

    /// Connections that publish; all messages of a topic are published by the same one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub publishers: u16,

    /// Messages published at once, each to a topic of its own
    #[arg(long, default_value = "16")]
    pub burst: NonZeroUsize,

    /// Seconds after which publishing ends, done or not; the warm-up is not in it
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub duration: Duration,

    /// How it is run.
    #[command(flatten)]
    pub common: Common,
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: subscribing to more than one topic, as fanwire-server and nats have it.

Examples:
  loadtest topics
      our server, 1,000 topics with 10 subscribers each, some 100 times as popular as others
  loadtest topics --topics 100000 --subscribers 10000 --topics-each 100 --skew 0
      a million subscriptions, all topics alike
  loadtest topics --topics 1000 --topics-each 100 --in-turn --burst 10
      a burst brings each subscriber one message, of ten topics
  loadtest topics --rate 5000 --duration 30 --require 'p99<20ms'
      an open loop: latency counts from when each publish was due";
