//! The load generator's command line.
//!
//! In      arguments
//! Out     a report on standard output; exit code 0 clean, 1 not clean, 2 nothing measured, 130 interrupted
//! Bounds  none
//! Source  none

use std::{
    fs,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use clap::Parser;
use loadtest::{args::Args, report::figures::Report, scenario::fanout::run};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

fn main() -> ExitCode {
    let args = Args::parse();
    let is_interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second signal ends the process at once: the order of these two matters.
        let registered =
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&is_interrupted))
                .and_then(|_| flag::register(signal, Arc::clone(&is_interrupted)));
        if let Err(error) = registered {
            return fail(&format!("cannot catch signals: {error}"));
        }
    }
    match run(&args, &is_interrupted) {
        Ok(report) => finish(&args, &report),
        Err(error) => fail(&error.to_string()),
    }
}

fn finish(args: &Args, report: &Report) -> ExitCode {
    print!("{report}");
    if let Some(path) = &args.json {
        let written =
            serde_json::to_vec_pretty(report).map_err(Into::into).and_then(|json| fs::write(path, json));
        if let Err(error) = written {
            return fail(&format!("{}: {error}", path.display()));
        }
    }
    match (report.is_clean(), report.is_interrupted) {
        (true, false) => ExitCode::SUCCESS,
        (true, true) => ExitCode::from(INTERRUPTED),
        (false, _) => ExitCode::FAILURE,
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("loadtest: {error}");
    ExitCode::from(NOTHING_MEASURED)
}

const NOTHING_MEASURED: u8 = 2;

/// As shells report an end by SIGINT.
const INTERRUPTED: u8 = 130;
