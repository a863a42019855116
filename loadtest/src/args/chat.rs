//! Arguments of the chat.
//!
//! In      the command line
//! Out     `Chat`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{
    common::Common,
    numbers::{payload_bytes, rate_above_0, seconds},
};

/// Opens connections that all talk to all: each message of each goes to everybody.
#[derive(Clone, Debug, Args)]
pub struct Chat {
    /// Topic that all subscribe to and publish on
    #[arg(long, default_value = "load")]
    pub topic: String,

    /// Connections
    #[arg(long, default_value = "200")]
    pub members: NonZeroUsize,

    /// Messages per second over all members, in turn, sent on schedule whatever the server does. Each of them
    /// causes as many deliveries as there are members
    #[arg(long, default_value_t = 200.0, value_parser = rate_above_0)]
    pub rate: f64,

    /// Length of each message's data, a JSON string
    #[arg(long, default_value_t = 128, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// Seconds of talking; the warm-up is not in it
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub duration: Duration,

    /// How it is run.
    #[command(flatten)]
    pub common: Common,
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: that a subscriber may publish, as fanwire-server, rooms, broadcast and nats have it.

Examples:
  loadtest chat
      our server, 200 members, 200 messages a second: 40,000 deliveries a second
  loadtest chat --members 1000 --rate 500 --duration 30 --require 'p99<50ms'
      half a million deliveries a second
  loadtest chat --dialect rooms --server target/release/examples/rooms
      the example `rooms` of the engine";
