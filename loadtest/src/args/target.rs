//! Arguments about the server: which one, where it runs, and how to get in.
//!
//! In      the command line
//! Out     `Target`
//! Bounds  none
//! Source  none

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;

use super::help::with_braces;
use crate::measure::affinity::CpuList;

/// The server under load.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct Target {
    /// Server to connect to.
    #[arg(long, help = with_braces(URL_HELP), conflicts_with_all = ["server", "server_args"])]
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

    /// How the server is spoken to: fanwire (its JSON, the default), rooms, paths (raw payloads: /sub, /pub,
    /// /echo), broadcast (raw payloads to all), nats, or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "fanwire")]
    pub dialect: String,

    /// Query for the URL.
    #[arg(long, help = with_braces(QUERY_HELP), value_name = "QUERY")]
    pub query: Option<String>,

    /// Processes that hold the receiving connections [default: 1, or as many as the limit on open files asks
    /// for]
    #[arg(long)]
    pub processes: Option<NonZeroUsize>,

    /// CPUs for this program, such as 1 or 1-3
    #[arg(long, value_name = "CPUS")]
    pub pin_client: Option<CpuList>,

    /// CPUs for the server started here; with --url: where it runs, so that their ksoftirqd counts, too
    #[arg(long, value_name = "CPUS")]
    pub pin_server: Option<CpuList>,
}

const URL_HELP: &str =
    "Server to connect to, as ws://HOST:PORT/PATH; {n} stands for the number of the connection";

const QUERY_HELP: &str = "Query for the URL, such as token=u{n}; {n} stands for the number of the connection";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{super::Cli, *};

    #[test]
    fn help_shows_the_placeholder_of_the_number() {
        let mut command = Cli::command();
        for help in [command.render_help().to_string(), command.render_long_help().to_string()] {
            assert!(help.contains(URL_HELP), "{help}");
            assert!(help.contains(QUERY_HELP), "{help}");
        }
    }
}
