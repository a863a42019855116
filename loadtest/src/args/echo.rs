//! Arguments of the echo.
//!
//! In      the command line
//! Out     `Echo`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{
    common::Common,
    numbers::{payload_bytes, rate, seconds},
};

/// Opens connections, each of which sends its next message when the last one has come back.
#[derive(Clone, Debug, Args)]
pub struct Echo {
    /// Connections
    #[arg(long, default_value = "100")]
    pub connections: NonZeroUsize,

    /// Messages to send, over all connections (rounded up to whole rounds)
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: u64,

    /// Length of each message's data, a JSON string
    #[arg(long, default_value_t = 128, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// Messages per second over all connections, in turn, sent on schedule whatever the server does; 0: each
    /// connection sends when its last message has come back
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    pub rate: f64,

    /// Seconds after which sending ends, done or not; the warm-up is not in it
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub duration: Duration,

    /// How it is run.
    #[command(flatten)]
    pub common: Common,
}

impl Echo {
    /// Messages that each connection sends.
    #[must_use]
    pub fn messages_each(&self) -> u64 {
        self.messages.div_ceil(self.connections.get() as u64)
    }
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: that it answers {\"topic\":\"ping\",\"data\":D} with {\"topic\":\"pong\",\"data\":D},
as fanwire-server does. Servers that send every message back as it came are loaded with --dialect broadcast.

Examples:
  loadtest echo
      our server, 100 connections, one message on its way on each
  loadtest echo --rate 20000 --require 'p99<5ms'
      20,000 messages a second, whatever the server does
  loadtest echo --dialect broadcast --server target/release/examples/echo
      the example `echo` of the engine
  loadtest echo --dialect broadcast --url ws://127.0.0.1:9001/ --server-pid 4711
      any echo server; its CPU and memory are measured, too";
