//! The standalone server: one binary that needs no configuration and nothing beside it.
//!
//! In      the command line, signals
//! Out     a server until it is told to stop; exit code 0 after a drain, 1 if it could not start, 2 for arguments
//!         that cannot be, 101 if a shard has panicked, 128 and the signal's number if a second signal stopped it
//! Bounds  as set on the command line
//! Source  docs/protocol.md

mod app;
mod args;
mod host;
mod origin;
mod page;
mod problem;
mod report;
mod signals;
mod units;

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser as _;
use fanwire::{Error, Server};

use crate::{
    app::App,
    args::{Args, in_flags},
    signals::Signals,
};

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_max_level(args.log)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // It would tell of a line that could not be written by writing another one, and panic if that fails too.
        .log_internal_errors(false)
        .init();
    match serve(&args) {
        Ok(code) => code,
        Err(Failure::Arguments(text)) => fail(&text, 2),
        Err(Failure::Start(text)) => fail(&text, 1),
    }
}

/// Serves until a signal has ended it.
fn serve(args: &Args) -> Result<ExitCode, Failure> {
    let signals = Signals::new().map_err(|error| Failure::Start(format!("cannot catch signals: {error}")))?;
    let server = Server::bind_with(&*args.listen, args.options())?;
    let app = App::new(&args.path, args.may_publish(server.address().ip()), args.limits());
    let running = Arc::new(server.start(|_| app.clone())?);
    let stopped = signals
        .watch(running.clone(), args.drain_timeout)
        .map_err(|error| Failure::Start(format!("cannot start a thread: {error}")))?;
    report::started(args, &running);
    report::ended(running.wait());
    Ok(stopped.signal().map_or(ExitCode::SUCCESS, code_of))
}

/// Why there is no server.
enum Failure {
    Arguments(String),
    Start(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Option { option, advice } => Self::Arguments(in_flags(&format!("{option}: {advice}"))),
            error => Self::Start(error.to_string()),
        }
    }
}

fn fail(text: &str, code: u8) -> ExitCode {
    // If nobody reads it, the code still tells.
    let _ = writeln!(io::stderr(), "error: {text}");
    ExitCode::from(code)
}

/// What a shell would say of a process that the signal had killed.
fn code_of(signal: i32) -> ExitCode {
    u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from)
}
