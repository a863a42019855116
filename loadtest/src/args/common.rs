//! Arguments that all scenarios with messages have.
//!
//! In      the command line
//! Out     `Common`
//! Bounds  each number's range stands at its option
//! Source  none

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;

use super::{numbers::seconds, output::Output, target::Target};

/// How a scenario is run, whatever it does.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Seconds of the same before that: checked, but in no latency, rate or CPU figure
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub warm_up: Option<Duration>,

    /// Seconds without any delivery after which what is missing counts as lost
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub patience: Duration,

    /// Threads that receive [default: one per CPU it may run on, less one for the server]
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,

    /// The server under load.
    #[command(flatten)]
    pub target: Target,

    /// What becomes of the figures.
    #[command(flatten)]
    pub output: Output,
}

impl Common {
    /// The wanted number of threads.
    #[must_use]
    pub fn threads(&self) -> Option<usize> {
        self.threads.map(usize::from)
    }
}
