//! Arguments about the results: where they go, and what they must be.
//!
//! In      the command line
//! Out     `Output`
//! Bounds  requirements are only text here: their names depend on the scenario
//! Source  none

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::numbers::interval;

/// What becomes of the figures.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Results")]
pub struct Output {
    /// Also write the report as JSON
    #[arg(long, value_name = "FILE", value_parser = file)]
    pub json: Option<PathBuf>,

    /// Also write the report as one HTML page, with plots, that needs nothing beside it
    #[arg(long, value_name = "FILE", value_parser = file)]
    pub report: Option<PathBuf>,

    /// Options from a TOML file; those given here win. `loadtest --help` shows one
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,

    /// Seconds between two rows of the series in --json and --report
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,

    /// Say nothing while it runs; else a bar on a terminal, or a line every 5 s, tells how it goes
    #[arg(long)]
    pub quiet: bool,

    /// What a figure must be, by its name in the report, such as 'p99<5ms' or 'lost==0'; else the exit code
    /// is 3. Operators: < <= == >= >; units: ns us ms s, B KiB MiB GiB, %. May be given more than once
    #[arg(long, value_name = "'NAME<VALUE'")]
    pub require: Vec<String>,
}

/// A file that is to be written; that it cannot be is better known before a run than after it.
fn file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() || folder.is_dir() => Ok(path),
        Some(folder) => Err(format!("there is no directory {}", folder.display())),
        None => Err("is no file".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_directory_is_refused_before_the_run() {
        assert!(file("report.html").is_ok() && file("/tmp/report.html").is_ok());
        assert!(file("/nonexistent/report.html").unwrap_err().contains("/nonexistent"));
        assert!(file("/").is_err());
    }
}
