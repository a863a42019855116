//! Arguments of the churn.
//!
//! In      the command line
//! Out     `Churn`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    common::Common,
    numbers::{payload_bytes, rate_above_0, seconds},
};

/// Publishes to a group that stays, while others come and go all the time.
#[derive(Clone, Debug, Args)]
pub struct Churn {
    /// Topic of the group and its visitors
    #[arg(long, default_value = "load")]
    pub topic: String,

    /// Connections that stay
    #[arg(long, default_value = "100")]
    pub subscribers: NonZeroUsize,

    /// Visitors that come per second, on schedule whatever the server does
    #[arg(long, default_value_t = 100.0, value_parser = rate_above_0)]
    pub joins: f64,

    /// Seconds that each of them stays subscribed
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub stay: Duration,

    /// How they come and go
    #[arg(long, value_enum, default_value_t = Manner::Reconnect)]
    pub by: Manner,

    /// Publishes per second, sent on schedule whatever the server does
    #[arg(long, default_value_t = 100.0, value_parser = rate_above_0)]
    pub rate: f64,

    /// Length of each message's data, a JSON string
    #[arg(long, default_value_t = 128, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// Seconds of churn; the warm-up, without churn, is not in it
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub duration: Duration,

    /// How it is run.
    #[command(flatten)]
    pub common: Common,
}

/// How visitors come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Manner {
    /// A new connection each time, closed with 1001 when it leaves
    Reconnect,
    /// Connections that stay, and subscribe and unsubscribe
    Resubscribe,
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: subscribing and publishing; with --by resubscribe, unsubscribing. A visitor is checked, too:
from its subscription on it must get every message, in order, and none after it has unsubscribed.

Examples:
  loadtest churn
      our server, 100 joins and 100 leaves a second while 100 stay
  loadtest churn --joins 1000 --stay 0.5 --duration 30 --require 'lost==0' --require 'join_p99<20ms'
      1,000 a second
  loadtest churn --by resubscribe
      the same connections, which subscribe and unsubscribe";
