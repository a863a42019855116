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
    numbers::{payload_bytes, rate, rate_above_0, seconds},
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

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: subscribing and publishing. The hostile clients send garbage, half a handshake, a frame
without a mask, an endless frame or pings without reading, subscribe and never read, or reset at once. The group and
the visitors must notice nothing. Drift is the slope of a line through the run's moments,
without its first tenth, in which a server warms up: it says something of hours, not of a minute.

Examples:
  loadtest soak --report soak.html
      our server, one hour, with plots
  loadtest soak --duration 60 --require 'lost==0' --require 'hostile_unended==0'
      a minute of it
  loadtest soak --duration 28800 --interval 60 -- --driver epoll
      a night";
