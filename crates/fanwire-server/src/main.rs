//! The standalone server: one binary that needs no configuration and nothing beside it.
//!
//! In      the command line, the environment, a file of settings, signals
//! Out     a server until it is told to stop; exit code 0 after a drain, 1 if it could not start, 2 for settings
//!         that cannot be, 101 if a shard has panicked, 128 and the signal's number if a second signal stopped it
//! Bounds  as set
//! Source  docs/protocol.md, docs/configuration.md

mod api;
mod app;
mod args;
mod auth;
mod choices;
mod console;
mod forms;
mod host;
mod live;
mod logs;
mod metrics;
mod notify;
mod origin;
mod page;
mod places;
mod problem;
mod refused;
mod reload;
mod reply;
mod report;
mod rules;
mod settings;
mod signals;
mod topics;
mod units;
mod visitor;

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use clap::CommandFactory as _;
use fanwire::{Error, Server};

use crate::{
    api::{Api, Bound},
    app::App,
    args::{Args, ConfigTask, Task},
    auth::{Caller, Expiry},
    choices::LogFormat,
    live::Live,
    logs::Logs,
    refused::Refused,
    reload::Reload,
    rules::Rules,
    settings::{Settings, Trouble},
    signals::{Ending, Signals, Watched},
};

fn main() -> ExitCode {
    let line: Vec<OsString> = env::args_os().collect();
    let settings = match Settings::read(&line, env::vars_os()) {
        Ok(settings) => settings,
        Err(Trouble::CommandLine(error)) => {
            // If nobody reads it, the code still tells.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
        Err(Trouble::Wrong(wrong)) => return fail(&wrong.join("\nerror: "), 2),
    };
    match &settings.args.task {
        None => run(line, settings),
        Some(Task::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), env!("CARGO_BIN_NAME"), &mut script);
            say(&script)
        }
        Some(Task::Config(ConfigTask::Print)) => say(settings::printed(&settings).as_bytes()),
        Some(Task::Config(ConfigTask::Check)) => match reload::check(&settings) {
            Ok(()) => {
                for idle in settings::idle(&settings) {
                    let _ = writeln!(io::stderr(), "warning: {idle}");
                }
                say(b"the settings are in order\n")
            }
            Err(wrong) => fail(&wrong, 2),
        },
    }
}

/// Serves, and says how it ended.
fn run(line: Vec<OsString>, settings: Settings) -> ExitCode {
    let (form, logs) = (settings.args.log_format, Logs::begin(&settings.args.log, settings.args.log_format));
    let (text, code) = match serve(line, settings, logs) {
        Ok(code) => return code,
        Err(Failure::Settings(text)) => (text, 2),
        Err(Failure::Start(text)) => (text, 1),
    };
    // Whoever reads JSON reads nothing else.
    if form == LogFormat::Json {
        tracing::error!("{text}");
        return ExitCode::from(code);
    }
    fail(&text, code)
}

/// Serves until a signal has ended it.
fn serve(line: Vec<OsString>, mut settings: Settings, logs: Logs) -> Result<ExitCode, Failure> {
    metrics::started();
    // Before there are threads: it takes variables out of the environment.
    let places = places::take(&mut settings.args).map_err(Failure::Settings)?;
    settings::idle(&settings).for_each(|idle| tracing::warn!("{idle}"));
    let signals = Signals::new().map_err(|error| Failure::Start(format!("cannot catch signals: {error}")))?;
    let args = settings.args.clone();
    args.check_exposure().map_err(Failure::Settings)?;
    let rules = Live::new(Rules::new(&args).map_err(Failure::Settings)?);
    let origins = rules.clone();
    let api = args.api_listen.as_deref().map(Api::bind).transpose().map_err(Failure::Start)?;
    let console = api.as_ref().map(Bound::port);
    let options = args.options().check_origin(move |request| origins.load().origins.allow(request, console));
    let refused = |error: Error| match error {
        Error::Option { .. } => Failure::Settings(reload::refusal(&error, &settings)),
        error => Failure::Start(error.to_string()),
    };
    let server = Server::bind_all(places, options).map_err(refused)?;
    let ending = Ending::default();
    let thread = |error: io::Error| Failure::Start(format!("cannot start a thread: {error}"));
    let expiry = Expiry::start().map_err(thread)?;
    let caller = Caller::new(&args);
    caller.start_for(&rules.load().gate).map_err(Failure::Start)?;
    let is_local = args.is_local(&server.addresses());
    let refusals = Refused::new();
    let app = App::new(&args, is_local, &rules, expiry, caller.clone(), refusals.clone(), ending.clone());
    let running = Arc::new(server.start(|_| app.clone()).map_err(refused)?);
    let (drain_delay, drain_timeout) = (args.drain_delay, args.drain_timeout);
    let start_api = |api: Bound| {
        api.start(&args, running.clone(), rules.clone(), caller.clone(), refusals, ending.clone())
    };
    let api = api.map(start_api);
    let api = api.transpose().map_err(thread)?;
    let reload = Reload::new(line, settings, rules, caller.clone(), logs);
    let stopped = signals
        .watch(Watched { running: running.clone(), reload, ending, drain_delay, drain_timeout })
        .map_err(thread)?;
    report::started(&args, &running, api.as_ref());
    notify::notify("READY=1");
    let report = running.wait();
    api.into_iter().for_each(Api::stop);
    report::ended(report);
    report::asked(&caller);
    Ok(stopped.signal().map_or(ExitCode::SUCCESS, code_of))
}

/// Why there is no server.
enum Failure {
    Settings(String),
    Start(String),
}

fn say(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
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
