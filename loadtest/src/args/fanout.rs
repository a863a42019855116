//! Arguments of the fan-out.
//!
//! In      the command line
//! Out     `Fanout`, whose numbers have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{
    common::Common,
    numbers::{payload_bytes, rate, seconds},
};

/// Opens many subscribers of one topic, and publishes to them.
#[derive(Clone, Debug, Args)]
pub struct Fanout {
    /// Topic that all subscribers subscribe to
    #[arg(long, default_value = "load")]
    pub topic: String,

    /// Connections that subscribe
    #[arg(long, default_value = "1000")]
    pub subscribers: NonZeroUsize,

    /// Messages to deliver, over all subscribers (rounded up to whole publishes)
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: u64,

    /// Length of each message's data, a JSON string
    #[arg(long, default_value_t = 128, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// Publishes per second, sent on schedule whatever the server does; 0: the next burst leaves when
    /// everyone has the last one
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    pub rate: f64,

    /// Connections that publish, in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub publishers: u16,

    /// Messages published at once
    #[arg(long, default_value = "1")]
    pub burst: NonZeroUsize,

    /// Seconds after which publishing ends, done or not; the warm-up is not in it
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub duration: Duration,

    /// How it is run.
    #[command(flatten)]
    pub common: Common,
}

impl Fanout {
    /// Messages to publish: each is delivered to every subscriber.
    #[must_use]
    pub fn publishes(&self) -> u64 {
        self.messages.div_ceil(self.subscribers.get() as u64)
    }
}

/// For --help.
pub const EXAMPLES: &str = "\
What it needs of a server: subscribing and publishing, as fanwire-server and the example `rooms` have them.

Examples:
  loadtest fanout --subscribers 10000 --messages 1000000 --require 'p99<200ms'
      our server, 100 publishes to 10,000 subscribers, each when all have the last
  loadtest fanout --rate 500 --duration 30 --warm-up 5 --pin-server 0 --pin-client 1
      an open loop: latency counts from when each publish was due
  loadtest fanout --burst 16 --require 'server_cpu_per_frame<2us' -- --driver epoll
      16 messages at once; what stands after -- is for the server
  loadtest fanout --url 'ws://127.0.0.1:8080/ws' --query 'token=u{n}' --server-pid 4711
      a server that runs already; each connection has its own number in the query";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::{Cli, Scenario},
        *,
    };

    fn args(line: &str) -> Result<Fanout, clap::Error> {
        match Cli::try_parse_from(line.split_whitespace())?.scenario() {
            Scenario::Fanout(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_default_is_two_million_deliveries_to_a_thousand() {
        let args = args("loadtest").unwrap();
        assert_eq!((args.subscribers.get(), args.publishes()), (1000, 2000));
    }

    #[test]
    fn publishes_are_rounded_up_to_whole_ones() {
        let args = args("loadtest --subscribers 3 --messages 10").unwrap();
        assert_eq!(args.publishes(), 4);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for wrong in ["--payload-bytes 57", "--rate -1", "--rate nan", "--subscribers 0", "--messages 0"] {
            assert!(args(&format!("loadtest {wrong}")).is_err(), "{wrong}");
        }
        assert!(args("loadtest --url ws://h --server x").is_err());
    }
}
