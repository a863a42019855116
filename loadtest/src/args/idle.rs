//! Arguments of the idle connections.
//!
//! In      the command line
//! Out     `Idle`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{numbers::seconds, output::Output, target::Target};

/// Opens connections that only answer pings, and measures what they cost the server.
#[derive(Clone, Debug, Args)]
pub struct Idle {
    /// Connections
    #[arg(long, default_value = "1000")]
    pub connections: NonZeroUsize,

    /// Topic that each connection subscribes to [default: none, they do not subscribe]
    #[arg(long)]
    pub topic: Option<String>,

    /// Seconds to hold them
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub duration: Duration,

    /// Threads that hold the connections [default: one per CPU it may run on, less one for the server]
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,

    /// The server under load.
    #[command(flatten)]
    pub target: Target,

    /// What becomes of the figures.
    #[command(flatten)]
    pub output: Output,
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: the handshake; with --topic, subscribing as fanwire-server has it. Memory is user
memory, as the difference to the server before anybody connected; what the kernel holds is not in it.

Examples:
  loadtest idle --connections 10000
      our server, with its pings every 25 s
  loadtest idle --duration 10 --require 'anonymous_per_connection<1KiB' -- --ping 1s
      with a ping a second to each: what they cost is in server_cpu_per_connection_s
  loadtest idle --topic news --url ws://127.0.0.1:8080/ws --server-pid 4711
      a server that runs already, each connection with a subscription";
