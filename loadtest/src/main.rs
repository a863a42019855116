//! The load generator's command line.
//!
//! In      arguments
//! Out     a report on standard output; the exit codes that --help lists
//! Bounds  none
//! Source  none

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use loadtest::{
    args::{Cli, Order, Task, compare::Compare, output::Output},
    client::remote,
    compare::{self, run::Recorded},
    report::{Report, html::page},
    scenario,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

fn main() -> ExitCode {
    // A run that needs more processes starts this program again; it ends those itself.
    if env::args().nth(1).is_some_and(|word| word == remote::COMMAND) {
        return match remote::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("worker process: {error}")),
        };
    }
    let Order { task, requirements, asked } = Cli::parse_or_exit();
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
    match task {
        Task::Scenario(scenario) => match scenario::run(&scenario, &is_interrupted) {
            Ok(report) => {
                let report = report.judged(&requirements).with_run(asked);
                finish(&named(report, scenario.output()), scenario.output())
            }
            Err(error) => fail(&error.to_string()),
        },
        Task::Compare(args) => compare(&args, &is_interrupted),
    }
}

fn compare(args: &Compare, is_interrupted: &AtomicBool) -> ExitCode {
    let Recorded { comparison, files } = match compare::run::run(args, is_interrupted) {
        Ok(recorded) => recorded,
        Err(error) => return fail(&error.to_string()),
    };
    // Who reads it may have gone; the files are written.
    let mut out = io::stdout();
    let _ = write!(out, "{comparison}");
    files.iter().for_each(|file| drop(writeln!(out, "written to {}", file.display())));
    match (comparison.is_interrupted, comparison.has_failures()) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    }
}

/// Says which profile it was.
fn named(report: Report, output: &Output) -> Report {
    match &output.profile {
        Some(path) => report.with_setting("profile", path.display().to_string().into()),
        None => report,
    }
}

fn finish(report: &Report, output: &Output) -> ExitCode {
    // Who reads it may have gone, as `head` does; files and the exit code are not its business.
    let _ = write!(io::stdout(), "{report}");
    let json = || serde_json::to_vec_pretty(report).map_err(Into::into);
    let html = || Ok(page(report).into_bytes());
    for written in [write(output.json.as_deref(), json), write(output.report.as_deref(), html)] {
        if let Err(error) = written {
            return fail(&error);
        }
    }
    // What the user requires comes first: who asks for lost==0 asks for this exit code.
    match (report.is_as_required(), report.is_clean(), report.is_interrupted) {
        (false, _, _) => ExitCode::from(NOT_AS_REQUIRED),
        (true, false, _) => ExitCode::FAILURE,
        (true, true, true) => ExitCode::from(INTERRUPTED),
        (true, true, false) => ExitCode::SUCCESS,
    }
}

/// Writes a file, if it is asked for.
fn write(path: Option<&Path>, bytes: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    bytes().and_then(|bytes| fs::write(path, bytes)).map_err(|error| format!("{}: {error}", path.display()))
}

fn fail(error: &str) -> ExitCode {
    eprintln!("loadtest: {error}");
    ExitCode::from(NOTHING_MEASURED)
}

const NOTHING_MEASURED: u8 = 2;

const NOT_AS_REQUIRED: u8 = 3;

/// As shells report an end by SIGINT.
const INTERRUPTED: u8 = 130;
