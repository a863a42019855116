//! The ground a scenario stands on: a server, a way to connect to it, and its clocks.
//!
//! In      the arguments about the server
//! Out     a `Ground`; at the end, how the server ended if it did
//! Bounds  a server started here has 10 s to say its URL, and dies with the ground
//! Source  none

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use serde_json::Value;
use time::OffsetDateTime;

use super::server::{Server, ServerError, default_program};
use crate::{
    args::{output::Output, target::Target},
    client::{address::Address, connection::Opener, endpoint::EndpointError, error::OpenError},
    dialect::{Dialect, DialectError, Needs},
    measure::{
        affinity::CpuList,
        descriptors::{TooFewDescriptors, connections_max, raise_limit},
        footprint::Footprint,
        host,
        process::Process,
        reading::{Clocks, Reading},
    },
    report::{Report, require::RequirementError},
    watch::{Display, Watch},
};

/// A server that can be loaded and watched.
#[derive(Debug)]
pub struct Ground {
    server: Option<Server>,
    observed: Option<Process>,
    clocks: Clocks,
    /// What it was called on the command line.
    name: String,
    /// Where the server runs, as far as it is known here.
    server_cpus: Option<String>,
    /// When it began.
    started: String,
    /// Threads that hold connections, once that is decided.
    threads: AtomicUsize,
    /// Sees what happens on it.
    pub watch: Watch,
    /// Opens connections to it.
    pub opener: Opener,
    /// How many processes hold the receiving connections.
    pub processes: usize,
    /// How many CPUs this program may use.
    pub client_cpus: usize,
    /// Whether it may use them all: the server has others.
    pub is_client_pinned: bool,
}

impl Ground {
    /// Starts the server if there is none, pins this thread, and makes room for the connections.
    ///
    /// # Errors
    /// No server, a URL that is none, not enough descriptors.
    pub fn prepare(target: &Target, output: &Output, room: Room, needs: Needs) -> Result<Self, RunError> {
        let dialect = Dialect::load(&target.dialect)?;
        dialect.check(needs)?;
        let processes = room.processes(target.processes.map(usize::from))?;
        raise_limit(room.others + if processes == 1 { room.receivers } else { 0 })?;
        if let Some(cpus) = &target.pin_client {
            cpus.pin_current_thread().map_err(RunError::Pin)?;
        }
        let server = match &target.url {
            Some(_) => None,
            None => Some(start_server(target)?),
        };
        let observed = match &server {
            Some(server) => Some(server.process()),
            None => target.server_pid.map(Process::new),
        };
        let current = CpuList::current().map_err(RunError::Proc)?;
        let clocks =
            Clocks::new(observed, target.pin_server.as_ref().unwrap_or(&current)).map_err(RunError::Proc)?;
        let opener = Opener::new(address(target, server.as_ref()), dialect)?;
        let (client_cpus, is_client_pinned) = (current.cpus().len(), target.pin_client.is_some());
        let display = Display::on_stderr(output.quiet);
        let watch = Watch::new(clocks.clone(), observed, client_cpus, output.interval, display);
        let name = name(target);
        let server_cpus = match (&target.pin_server, &server) {
            (Some(cpus), _) => Some(cpus.to_string()),
            (None, Some(_)) => Some(current.to_string()),
            (None, None) => None,
        };
        Ok(Self {
            server,
            observed,
            clocks,
            name,
            server_cpus,
            started: now(),
            threads: AtomicUsize::new(1),
            watch,
            opener,
            processes,
            client_cpus,
            is_client_pinned,
        })
    }

    /// Counts these processes as this program's.
    pub fn add_helpers(&self, processes: impl Iterator<Item = u32>) {
        self.clocks.add_helpers(processes.map(Process::new));
    }

    /// Reads all clocks now.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn read(&self) -> Result<Reading, RunError> {
        self.clocks.read().map_err(RunError::Proc)
    }

    /// What the server holds now, if it is observed.
    ///
    /// # Errors
    /// /proc cannot be read, or the server is gone.
    pub fn footprint(&self) -> Result<Option<Footprint>, RunError> {
        self.observed.map(|process| Footprint::of(process).map_err(RunError::Proc)).transpose()
    }

    /// Threads that hold connections: one per CPU this program may use, less one for the server.
    #[must_use]
    pub fn threads(&self, wanted: Option<usize>, connections: usize) -> usize {
        let spare = if self.is_client_pinned { self.client_cpus } else { self.client_cpus - 1 };
        let threads = wanted.unwrap_or(spare.max(1)).min(connections);
        self.threads.store(threads, SeqCst);
        threads
    }

    /// With what it was run, and on what.
    fn run(&self) -> Vec<(String, Value)> {
        let cpus = |cpus: io::Result<CpuList>| cpus.map(|cpus| cpus.to_string()).ok();
        let entries: [(&str, Value); 8] = [
            ("loadtest_version", env!("CARGO_PKG_VERSION").into()),
            ("started", self.started.clone().into()),
            ("kernel", host::kernel().into()),
            ("cpu", host::cpu_model().into()),
            ("client_cpus", cpus(CpuList::current()).into()),
            ("server_cpus", self.server_cpus.clone().into()),
            ("client_processes", self.processes.into()),
            ("client_threads", self.threads.load(SeqCst).into()),
        ];
        entries.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Adds to what a scenario has shown how it went, and how the server ended if it did.
    ///
    /// # Errors
    /// Those of `ran`.
    pub fn end(mut self, ran: Result<Report, RunError>) -> Result<Report, RunError> {
        let series = self.watch.end();
        let wait = if ran.as_ref().is_ok_and(Report::is_clean) { Duration::ZERO } else { ENDING_WAIT };
        let ended =
            self.server.as_mut().and_then(|server| server.ended(wait)).map(|status| status.to_string());
        match (ran, ended.or_else(|| self.gone())) {
            (Ok(report), ended) => {
                let run = self.run();
                let report =
                    report.with_series(series).with_setting("server", self.name.into()).with_run(run);
                Ok(match ended {
                    Some(how) => report
                        .with_failure(format!("the server ended ({how})"))
                        .with_note(ENDED_NOTE.to_owned()),
                    None => report,
                })
            }
            (Err(error), Some(status)) => Err(RunError::ServerEnded { status, error: Box::new(error) }),
            (Err(error), None) => Err(error),
        }
    }

    /// Whether a server that was not started here is there no more.
    fn gone(&self) -> Option<String> {
        let is_gone = self.server.is_none() && self.observed.is_some_and(|process| !process.is_alive());
        is_gone.then(|| "its process is gone".to_owned())
    }
}

/// Connections that a scenario opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Those that may be held by other processes.
    pub receivers: usize,
    /// Those that this process holds.
    pub others: usize,
}

impl Room {
    /// How many processes hold the receivers: as many as are wanted, or as few as their descriptors allow.
    fn processes(self, wanted: Option<usize>) -> Result<usize, RunError> {
        if let Some(wanted) = wanted.filter(|wanted| *wanted > self.receivers.max(1)) {
            return Err(RunError::Processes { wanted, receivers: self.receivers });
        }
        let most = connections_max();
        let fits = self.receivers + self.others <= most;
        let needed = if fits { 1 } else { self.receivers.div_ceil(most.max(1)) };
        match wanted.unwrap_or(needed).max(1) {
            processes @ 0..=PROCESSES_MAX => Ok(processes),
            _ => Err(TooFewDescriptors::of_processes(self.receivers, PROCESSES_MAX).into()),
        }
    }
}

/// Processes that hold receivers: more would be no load test but a strain on the system.
const PROCESSES_MAX: usize = 64;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Of the limit on open files.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// Of --processes.
    #[error(
        "--processes {wanted}: only connections that receive are spread over processes, and here these are \
         {receivers}: ask for fewer processes, or leave the option out"
    )]
    Processes {
        /// As asked for.
        wanted: usize,
        /// That there are to spread.
        receivers: usize,
    },
    /// Of the dialect.
    #[error(transparent)]
    Dialect(#[from] DialectError),
    /// Of an objective.
    #[error(transparent)]
    Objective(#[from] RequirementError),
    /// Of the URL.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Of the server we start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Of a connection.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server ended while connections were opened.
    #[error("the server ended ({status}); before that: {error}")]
    ServerEnded {
        /// How.
        status: String,
        /// What was seen of it.
        error: Box<RunError>,
    },
    /// Of --pin-client.
    #[error("--pin-client: {0}")]
    Pin(#[source] io::Error),
    /// Of this program.
    #[error("a thread of this program panicked; its message stands above")]
    Panic,
    /// Of /proc.
    #[error("cannot observe the server: {0}")]
    Proc(#[source] io::Error),
}

fn start_server(target: &Target) -> Result<Server, ServerError> {
    let program = target.server.clone().unwrap_or_else(default_program);
    Server::start(&program, &target.server_args, target.pin_server.as_ref())
}

fn address(target: &Target, server: Option<&Server>) -> Address {
    let url = target.url.as_deref().or(server.map(Server::url)).unwrap_or_default();
    Address { query: target.query.clone(), ..Address::new(url, &target.dialect) }
}

/// For who reads the report, what was loaded.
fn name(target: &Target) -> String {
    match (&target.url, &target.server) {
        (Some(url), _) => url.clone(),
        (None, program) => {
            let program = program.clone().unwrap_or_else(default_program);
            // Where it was built says nothing about it.
            let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
            [name].into_iter().chain(target.server_args.iter().cloned()).collect::<Vec<_>>().join(" ")
        }
    }
}

/// Connections whose end is not looked at any more are not counted.
const ENDED_NOTE: &str = "the run ended with the server: `closed` counts the connections that were seen to end until then, no others";

/// Between the first thing seen of a server that dies and its end.
const ENDING_WAIT: Duration = Duration::from_millis(500);

/// Now, as RFC 3339 has it.
fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let (hour, minute, second) = now.to_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", now.date())
}
