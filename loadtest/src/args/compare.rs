//! Arguments of the comparison.
//!
//! In      the command line
//! Out     `Compare`
//! Bounds  each number's range stands at its option
//! Source  none

use std::path::PathBuf;

use clap::Args;

use super::numbers::rate_above_0;
use crate::{compare::cells::Scale, measure::affinity::CpuList};

/// Measures servers beside each other, in rounds: A B C, then C B A, each pinned to one core and the client to others.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Compare {
    /// How much is compared
    #[arg(long, value_enum, default_value_t = Scale::Full)]
    pub scale: Scale,

    /// Rounds of each cell [default: 5, of latencies 9; quick: 2]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: Option<u16>,

    /// Servers to compare, by their names, such as 'fanwire io_uring,floor' [default: all that are there]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub only: Vec<String>,

    /// Cells whose names contain this; may be given more than once [default: all]
    #[arg(long, value_name = "TEXT")]
    pub cell: Vec<String>,

    /// List of the servers; its paths are relative to the directory in which this is started
    #[arg(long, value_name = "FILE", default_value = "loadtest/rivals/rivals.toml")]
    pub manifest: PathBuf,

    /// Directory for the record: compare.md, compare.json and compare.svg
    /// [default: benches/records/DATE-MACHINE]
    #[arg(long, value_name = "DIRECTORY")]
    pub out: Option<PathBuf>,

    /// CPU for the servers, each in turn [default: the first this program may use]
    #[arg(long, value_name = "CPUS")]
    pub pin_server: Option<CpuList>,

    /// CPUs for this program [default: all others]
    #[arg(long, value_name = "CPUS")]
    pub pin_client: Option<CpuList>,

    /// File to lock during each round, for a machine on which builds go on between them: flock FILE cargo build
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,

    /// Publishes per second of the latency cell [default: 70 % of the least
    /// server's saturation, measured before it]
    #[arg(long, value_parser = rate_above_0)]
    pub latency_rate: Option<f64>,
}

const EXAMPLES: &str = "\
What it needs: cargo build --release, cargo build --release -p fanwire --example broadcast, and scripts/rivals for the
rivals; those that are not there are said to be missing. Run it at the root of the repository, on a machine that does
nothing else: the record says how much it did, and calls a cell void whose rounds were disturbed by others. It is
written after each cell, so that an end before the last one loses none.

Examples:
  loadtest compare --scale quick --only 'fanwire io_uring,floor' --out /tmp/compare
      a minute: does it work?
  loadtest compare
      the record, about two hours
  loadtest compare --cell 'burst 16' --rounds 9
      some cells, more exactly";
