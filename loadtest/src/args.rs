//! Arguments: what the command line asks for.
//!
//! In      the command line
//! Out     `Args`, whose combinations have been checked
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::Parser;

use crate::{measure::affinity::CpuList, truth::stamp::PAYLOAD_BYTES_MIN};

/// Opens many subscribers, publishes to them, and checks that each message arrives once and in order.
///
/// Without --url it starts the server itself. It ends with 0 only if everything that was published was delivered.
#[derive(Clone, Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Args {
    /// Server to connect to.
    #[arg(long, help = with_braces(URL_HELP), conflicts_with_all = ["server", "server_args", "pin_server"])]
    pub url: Option<String>,

    /// Server program to start [default: fanwire-server beside this program, or in target/release]
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,

    /// More arguments for the server program, after --
    #[arg(last = true, value_name = "SERVER ARGUMENTS")]
    pub server_args: Vec<String>,

    /// Process whose CPU and memory are measured when the server is not started here
    #[arg(long, value_name = "PID", requires = "url")]
    pub server_pid: Option<u32>,

    /// Query for the URL.
    #[arg(long, help = with_braces(QUERY_HELP), value_name = "QUERY")]
    pub query: Option<String>,

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

    /// Seconds after which publishing ends, done or not
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub duration: u64,

    /// Seconds without any delivery after which what is missing counts as lost
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub patience: u64,

    /// Threads that receive [default: one per CPU it may run on, less one for the server]
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,

    /// CPUs for this program, such as 1 or 1-3
    #[arg(long, value_name = "CPUS")]
    pub pin_client: Option<CpuList>,

    /// CPUs for the server started here
    #[arg(long, value_name = "CPUS")]
    pub pin_server: Option<CpuList>,

    /// Also write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Args {
    /// Messages to publish: each is delivered to every subscriber.
    #[must_use]
    pub fn publishes(&self) -> u64 {
        self.messages.div_ceil(self.subscribers.get() as u64)
    }

    /// Time between two bursts on schedule; `None`: closed loop.
    #[must_use]
    pub fn burst_interval(&self) -> Option<Duration> {
        (self.rate > 0.0).then(|| Duration::from_secs_f64(self.burst.get() as f64 / self.rate))
    }

    /// All connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.subscribers.get() + usize::from(self.publishers)
    }
}

/// A help text whose `{n}` is shown as it stands: clap would print a line break for it, and has no escape.
fn with_braces(help: &str) -> String {
    help.replace("{n}", &format!("{{{STYLE_RESET}n}}"))
}

fn payload_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("must be {PAYLOAD_BYTES_MIN} (the stamp) to {PAYLOAD_BYTES_MAX} bytes")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e9).contains(&rate) => Ok(rate),
        _ => Err("must be 0 (closed loop) or a number of publishes per second".to_owned()),
    }
}

const URL_HELP: &str =
    "Server to connect to, as ws://HOST:PORT/PATH; {n} stands for the number of the connection";

const QUERY_HELP: &str = "Query for the URL, such as token=u{n}; {n} stands for the number of the connection";

/// Unseen on a terminal, left out by clap elsewhere.
const STYLE_RESET: &str = "\x1b[0m";

const PAYLOAD_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn args(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_default_is_two_million_deliveries_to_a_thousand() {
        let args = args("loadtest").unwrap();
        assert_eq!((args.subscribers.get(), args.publishes()), (1000, 2000));
        assert_eq!(args.burst_interval(), None);
    }

    #[test]
    fn help_shows_the_placeholder_of_the_number() {
        let mut command = Args::command();
        for help in [command.render_help().to_string(), command.render_long_help().to_string()] {
            assert!(help.contains(URL_HELP), "{help}");
            assert!(help.contains(QUERY_HELP), "{help}");
        }
    }

    #[test]
    fn bursts_keep_the_rate() {
        let args = args("loadtest --rate 100 --burst 10 --subscribers 3 --messages 10").unwrap();
        assert_eq!(args.burst_interval(), Some(Duration::from_millis(100)));
        assert_eq!((args.publishes(), args.connections()), (4, 4));
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for wrong in ["--payload-bytes 53", "--rate -1", "--rate nan", "--subscribers 0", "--messages 0"] {
            assert!(args(&format!("loadtest {wrong}")).is_err(), "{wrong}");
        }
        assert!(args("loadtest --url ws://h --pin-server 0").is_err());
    }
}
