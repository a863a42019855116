//! A run: server, connections, publishing, and what was measured.
//!
//! In      arguments that have been checked; a flag that an interrupt sets
//! Out     a `Report`, also of a run that failed half-way, or why there was nothing to measure
//! Bounds  opening: 10 s per step; publishing: --duration; the rest: --patience
//! Source  design: CPU and memory are differences around what is measured

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::server::{Server, ServerError, default_program};
use crate::{
    args::Args,
    client::{
        connection::{Connection, OpenError, Opener},
        endpoint::{Endpoint, EndpointError},
        envelope::Envelope,
        progress::{LOOK_AGAIN, Progress},
        publisher::Publishers,
        worker::{Outcome, Worker, thread_cpu},
    },
    measure::{
        affinity::CpuList,
        descriptors::{TooFewDescriptors, raise_limit},
        machine::Machine,
        process::{Memory, Process},
        softirq::Softirq,
    },
    report::figures::{Report, Taken},
};

/// Runs the whole test.
///
/// # Errors
/// Nothing was published: no server, no connections, not enough descriptors.
pub fn run(args: &Args, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    raise_limit(args.connections())?;
    if let Some(cpus) = &args.pin_client {
        cpus.pin_current_thread().map_err(RunError::Pin)?;
    }
    let mut server = match &args.url {
        Some(_) => None,
        None => Some(start_server(args)?),
    };
    let opener = Opener::new(endpoint(args, server.as_ref())?).map_err(RunError::Proc)?;
    let observed = match &server {
        Some(server) => Some(server.process()),
        None => args.server_pid.map(Process::new),
    };
    let ran = measure(args, &opener, observed, is_interrupted);
    let wait = if ran.as_ref().is_ok_and(Report::is_clean) { Duration::ZERO } else { ENDING_WAIT };
    let ended = server.as_mut().and_then(|server| server.ended(wait));
    match (ran, ended) {
        (Ok(report), Some(status)) => Ok(report.with_failure(format!("the server ended ({status})"))),
        (Err(error), Some(status)) => {
            Err(RunError::ServerEnded { status: status.to_string(), error: Box::new(error) })
        }
        (ran, None) => ran,
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Of the limit on open files.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
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
    /// Of /proc.
    #[error("cannot observe the server: {0}")]
    Proc(#[source] io::Error),
}

fn start_server(args: &Args) -> Result<Server, ServerError> {
    let program = args.server.clone().unwrap_or_else(default_program);
    Server::start(&program, &args.server_args, args.pin_server.as_ref())
}

fn endpoint(args: &Args, server: Option<&Server>) -> Result<Endpoint, EndpointError> {
    let url = args.url.as_deref().or(server.map(Server::url)).unwrap_or_default();
    let endpoint = Endpoint::parse(url)?;
    Ok(match &args.query {
        Some(query) => endpoint.with_query(query),
        None => endpoint,
    })
}

fn measure(
    args: &Args,
    opener: &Opener,
    observed: Option<Process>,
    is_interrupted: &AtomicBool,
) -> Result<Report, RunError> {
    let server_cpus = args.pin_server.clone().map_or_else(CpuList::current, Ok).map_err(RunError::Proc)?;
    let softirq = Softirq::of(&server_cpus).map_err(RunError::Proc)?;
    let envelope = Envelope::new(&args.topic);
    let progress = Arc::new(Progress::new());

    let memory_before = memory(observed)?;
    let workers = open_workers(args, opener, &envelope, &progress, is_interrupted)?;
    let memory_connected = memory(observed)?;
    let publishing = open_publishers(args, opener)?;

    let deadline = Instant::now() + Duration::from_secs(args.duration);
    let is_over = || is_interrupted.load(SeqCst) || Instant::now() >= deadline;
    let before = Reading::take(observed, &softirq)?;
    let started_ns = progress.now_ns();
    let published = Publishers::new(publishing, &envelope, &progress, &is_over).run(args);
    let after = Reading::take(observed, &softirq)?;
    // A server that has died in the run has no memory any more; the report says that it died.
    let memory_after = memory(observed).ok().flatten();

    progress.finish(published.clone());
    let outcomes: Vec<Outcome> = workers.into_iter().filter_map(|worker| worker.join().ok()).collect();
    let elapsed = Duration::from_nanos(progress.delivered_last_ns().saturating_sub(started_ns));
    Ok(Report::new(
        args,
        Taken {
            outcomes,
            published: published.iter().sum(),
            elapsed,
            failure: progress.failure(),
            is_interrupted: is_interrupted.load(SeqCst),
            server_cpu: after
                .server_cpu
                .zip(before.server_cpu)
                .map(|(after, before)| after.saturating_sub(before)),
            softirq_cpu: after.softirq_cpu.saturating_sub(before.softirq_cpu),
            client_cpu: after.client_cpu.saturating_sub(before.client_cpu),
            publisher_cpu: after.publisher_cpu.saturating_sub(before.publisher_cpu),
            client_cpus: CpuList::current().map_err(RunError::Proc)?.cpus().len(),
            memory: memories([memory_before, memory_connected, memory_after]),
            machine: (before.machine, after.machine),
        },
    ))
}

/// Clocks at one moment.
struct Reading {
    server_cpu: Option<Duration>,
    softirq_cpu: Duration,
    client_cpu: Duration,
    publisher_cpu: Duration,
    machine: Machine,
}

impl Reading {
    fn take(observed: Option<Process>, softirq: &Softirq) -> Result<Self, RunError> {
        // A server that has died in the run has no clock any more; the report says that it died.
        let server_cpu = observed.and_then(|process| process.cpu().ok());
        let client_cpu = Process::current().cpu().map_err(RunError::Proc)?;
        let softirq_cpu = softirq.cpu().map_err(RunError::Proc)?;
        let machine = Machine::read().map_err(RunError::Proc)?;
        Ok(Self { server_cpu, softirq_cpu, client_cpu, publisher_cpu: thread_cpu(), machine })
    }
}

fn memory(observed: Option<Process>) -> Result<Option<Memory>, RunError> {
    observed.map(|process| process.memory().map_err(RunError::Proc)).transpose()
}

fn memories(readings: [Option<Memory>; 3]) -> Option<[Memory; 3]> {
    let [Some(before), Some(connected), Some(after)] = readings else { return None };
    Some([before, connected, after])
}

/// Starts the receiving threads, and returns when all their connections are subscribed.
fn open_workers(
    args: &Args,
    opener: &Opener,
    envelope: &Envelope,
    progress: &Arc<Progress>,
    is_interrupted: &AtomicBool,
) -> Result<Vec<JoinHandle<Outcome>>, OpenError> {
    let (opened, openings) = channel();
    let shares = shares(args.subscribers.get(), threads(args));
    let workers: Vec<_> = shares
        .into_iter()
        .map(|share| {
            start_worker(opener.clone(), share, envelope.clone(), args, Arc::clone(progress), opened.clone())
        })
        .collect();
    let mut waiting = workers.len();
    while waiting > 0 {
        match openings.recv_timeout(LOOK_AGAIN) {
            Ok(Ok(())) => waiting -= 1,
            Ok(Err(error)) => {
                progress.fail(error.to_string());
                return Err(error);
            }
            Err(_) if is_interrupted.load(SeqCst) => {
                progress.fail("interrupted".to_owned());
                return Err(OpenError::Interrupted);
            }
            Err(_) => {}
        }
    }
    Ok(workers)
}

fn start_worker(
    opener: Opener,
    share: Range<usize>,
    envelope: Envelope,
    args: &Args,
    progress: Arc<Progress>,
    opened: Sender<Result<(), OpenError>>,
) -> JoinHandle<Outcome> {
    let publishers = usize::from(args.publishers);
    thread::spawn(move || {
        let worker = match Worker::open(&opener, share, &envelope, publishers, &progress) {
            Ok(worker) => worker,
            Err(error) => {
                // The run ends before anything is published; nobody asks for this outcome.
                drop(opened.send(Err(error)));
                return Outcome::default();
            }
        };
        drop(opened.send(Ok(())));
        worker.run()
    })
}

fn open_publishers(args: &Args, opener: &Opener) -> Result<Vec<Connection>, OpenError> {
    (args.subscribers.get()..args.connections()).map(|number| opener.open(number)).collect()
}

fn threads(args: &Args) -> usize {
    let cpus = CpuList::current().map_or(1, |list| list.cpus().len());
    let spare = if args.pin_client.is_some() { cpus } else { cpus - 1 };
    args.threads.map_or(spare.max(1), usize::from).min(args.subscribers.get())
}

/// `count` numbers in `parts` ranges of nearly equal length.
fn shares(count: usize, parts: usize) -> Vec<Range<usize>> {
    (0..parts).map(|part| count * part / parts..count * (part + 1) / parts).collect()
}

/// Between the first thing seen of a server that dies and its end.
const ENDING_WAIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_each_number_once() {
        for (count, parts) in [(10, 3), (3, 3), (1000, 7), (1, 1)] {
            let numbers: Vec<usize> = shares(count, parts).into_iter().flatten().collect();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        }
    }
}
