//! Starting: one thread per shard, each with its driver, and how their ends are told.
//!
//! In      listeners, options, a handler per shard
//! Out     shards that run, with what drives each; or the first error, and none of them
//! Bounds  at most 64 shards; descriptors are counted before the first is taken
//! Source  docs/architecture.md

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use crate::{
    driver::{
        Driver, DriverConfig, DriverMemory,
        epoll::EpollDriver,
        listener::Listener,
        socket,
        uring::{self, UringDriver},
    },
    error::Error,
    handler::Handler,
    options::{DriverChoice, Options, Pinning, SHARDS_MAX},
    shard::{Shard, ShardReport, Turn, mesh::MeshEnd},
    shared::{Command, Phase, ShardSide, Shared},
};

/// What every shard's thread is started with.
pub(super) struct Start {
    pub(super) listeners: Vec<Arc<Listener>>,
    pub(super) options: Arc<Options>,
    pub(super) shared: Arc<Shared>,
    pub(super) ended: Arc<EndedShards>,
}

/// What a shard's thread says when its driver stands.
pub(crate) struct StartedShard {
    pub(crate) driver: String,
    pub(crate) memory: DriverMemory,
}

impl Start {
    /// Starts all threads and waits until each has its driver; if one fails, all end.
    pub(super) fn spawn<H: Handler>(
        &self,
        ends: Vec<MeshEnd<Command>>,
        mut make: impl FnMut(usize) -> H,
    ) -> Result<Vec<StartedShard>, Error> {
        let choice = Choice::of(self.options.driver)?;
        let cpus = pinned_cpus(self.options.pinning, ends.len());
        let mut answers = Vec::with_capacity(ends.len());
        let mut failed = None;
        let mut begun = Begun { shared: &self.shared, ended: &self.ended, threads: 0 };
        for (index, end) in ends.into_iter().enumerate() {
            let (sender, answer) = mpsc::channel();
            let (listeners, handler) = (self.listeners.clone(), make(index));
            begun.threads += 1;
            let thread = ShardThread {
                index,
                choice: choice.clone(),
                cpu: cpus.as_ref().map(|cpus| cpus[index % cpus.len()]),
                options: self.options.clone(),
                shared: self.shared.clone(),
                ended: Report { ended: self.ended.clone(), shared: self.shared.clone(), report: None },
                answer: sender,
            };
            let name = format!("fanwire-{index}");
            match thread::Builder::new().name(name).spawn(move || thread.run(listeners, end, handler)) {
                Ok(_) => answers.push(answer),
                Err(error) => {
                    failed = Some(Error::Thread(error));
                    break;
                }
            }
        }
        let mut shards = Vec::with_capacity(answers.len());
        for answer in &answers {
            match answer.recv() {
                Ok(Ok(started)) => shards.push(started),
                Ok(Err(error)) => failed = Some(error),
                Err(mpsc::RecvError) => {
                    failed = Some(Error::Thread(std::io::Error::other("the shard panicked at its start")));
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        begun.threads = 0;
        Ok(shards)
    }
}

/// Threads of a server that has not started yet. If it does not, because one of them fails or the user's closure
/// panics, they end.
struct Begun<'a> {
    shared: &'a Shared,
    ended: &'a EndedShards,
    threads: usize,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.threads > 0 {
            self.shared.enter_phase(Phase::Stopping, Duration::ZERO);
            self.ended.wait(self.threads);
        }
    }
}

/// The driver to use, and what to tell the operator.
#[derive(Clone, Debug)]
enum Choice {
    Uring { why: String, or_epoll: bool },
    Epoll { why: String },
}

impl Choice {
    fn of(option: DriverChoice) -> Result<Self, Error> {
        Self::from_probe(option, uring::probe())
    }

    fn from_probe(
        option: DriverChoice,
        probed: Result<impl fmt::Display, impl fmt::Display>,
    ) -> Result<Self, Error> {
        match (option, probed) {
            (DriverChoice::Epoll, _) => Ok(Self::Epoll { why: "as asked for".to_owned() }),
            (DriverChoice::Auto, Ok(features)) => {
                Ok(Self::Uring { why: features.to_string(), or_epoll: true })
            }
            (DriverChoice::Uring, Ok(features)) => {
                Ok(Self::Uring { why: features.to_string(), or_epoll: false })
            }
            (DriverChoice::Auto, Err(error)) => {
                tracing::warn!("epoll instead of io_uring: {error}");
                Ok(Self::Epoll { why: error.to_string() })
            }
            (DriverChoice::Uring, Err(error)) => {
                Err(Error::Driver { driver: "io_uring", reason: error.to_string() })
            }
        }
    }
}

/// One shard's thread before its loop.
struct ShardThread {
    index: usize,
    choice: Choice,
    cpu: Option<usize>,
    options: Arc<Options>,
    shared: Arc<Shared>,
    ended: Report,
    answer: mpsc::Sender<Result<StartedShard, Error>>,
}

impl ShardThread {
    /// The driver alone keeps the listening sockets, so that a drain can close them.
    fn run<H: Handler>(self, listeners: Vec<Arc<Listener>>, end: MeshEnd<Command>, handler: H) {
        if let Some(cpu) = self.cpu {
            pin(cpu);
        }
        let config = driver_config(&self.options);
        let why = match &self.choice {
            Choice::Uring { why, or_epoll } => match UringDriver::new(&config, &listeners) {
                Ok(driver) => {
                    let why = why.clone();
                    drop(listeners);
                    return self.run_on(driver, &why, end, handler);
                }
                Err(error) if *or_epoll => error.to_string(),
                Err(error) => {
                    let error = Error::Driver { driver: "io_uring", reason: error.to_string() };
                    return self.fail(error);
                }
            },
            Choice::Epoll { why } => why.clone(),
        };
        match EpollDriver::new(&config, &listeners) {
            Ok(driver) => {
                drop(listeners);
                self.run_on(driver, &why, end, handler);
            }
            Err(error) => self.fail(Error::Driver { driver: "epoll", reason: error.to_string() }),
        }
    }

    fn run_on<D: Driver, H: Handler>(mut self, driver: D, why: &str, end: MeshEnd<Command>, handler: H) {
        let started = StartedShard {
            driver: format!("shard {}: {} ({why})", self.index, driver.describe()),
            memory: driver.memory(),
        };
        let mut shard =
            Shard::new(driver, handler, self.options.clone(), self.shared.clone(), end, self.index);
        // The receiver waits for every shard; only a panic there could have dropped it.
        let _ = self.answer.send(Ok(started));
        let alarm = Alarm(self.shared.clone());
        while shard.tick() == Turn::Next {}
        drop(alarm);
        self.ended.report = Some(shard.report());
        self.shared.shards[self.index].discard_commands();
    }

    fn fail(mut self, error: Error) {
        self.ended.report = Some(ShardReport::default());
        let _ = self.answer.send(Err(error));
    }
}

/// Ends the whole server when a shard panics, for half of one helps nobody. It is dropped before the shard, whose
/// dropping runs the user's code and may take its time.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.enter_phase(Phase::Stopping, Duration::ZERO);
        }
    }
}

/// Tells of a shard's end, also when it panics.
struct Report {
    ended: Arc<EndedShards>,
    shared: Arc<Shared>,
    report: Option<ShardReport>,
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.report.is_none() {
            self.shared.enter_phase(Phase::Stopping, Duration::ZERO);
        }
        if self.ended.add(self.report) == self.shared.shards.len() {
            // Nobody will take what is published from now on.
            self.shared.enter_phase(Phase::Stopping, Duration::ZERO);
            // What came while the others ended. Who adds more from now on takes it out again.
            self.shared.shards.iter().for_each(ShardSide::discard_commands);
        }
    }
}

/// The reports of the shards that have ended; `None` of one that panicked.
#[derive(Default)]
pub(super) struct EndedShards {
    reports: Mutex<Vec<Option<ShardReport>>>,
    changed: Condvar,
}

impl EndedShards {
    /// Says how many there are now.
    fn add(&self, report: Option<ShardReport>) -> usize {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(report);
        self.changed.notify_all();
        reports.len()
    }

    pub(super) fn wait(&self, count: usize) -> Vec<Option<ShardReport>> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let reports = self.changed.wait_while(reports, |reports| reports.len() < count);
        reports.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn shard_count(options: &Options) -> usize {
    match usize::from(options.shards) {
        0 => thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX),
        count => count,
    }
}

/// Raises the limit of open files, and says how many of them connections may use, beside so many `reserved` ones.
pub(super) fn descriptors_free(shards: usize, listeners: usize, reserved: u32) -> Result<u32, Error> {
    let limit = socket::raise_descriptor_limit();
    let used = std::fs::read_dir("/proc/self/fd").map_or(DESCRIPTORS_USED_GUESS, Iterator::count);
    let reserved = (used + shards * DESCRIPTORS_PER_SHARD) as u64 + u64::from(reserved);
    let needed = reserved + DESCRIPTORS_NEEDED + listeners as u64;
    if limit < needed {
        return Err(Error::Descriptors { limit, needed });
    }
    Ok(u32::try_from(limit - reserved).unwrap_or(u32::MAX))
}

fn pinned_cpus(pinning: Pinning, shards: usize) -> Option<Vec<usize>> {
    let mask = rustix::thread::sched_getaffinity(None).ok()?;
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| mask.is_set(cpu)).collect();
    let wanted = match pinning {
        Pinning::Auto => cpus.len() == shards,
        Pinning::On => !cpus.is_empty(),
        Pinning::Off => false,
    };
    wanted.then_some(cpus)
}

fn pin(cpu: usize) {
    let mut mask = rustix::thread::CpuSet::new();
    mask.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &mask) {
        tracing::warn!(cpu, %error, "a shard could not be pinned to its CPU and runs anywhere");
    }
}

fn driver_config(options: &Options) -> DriverConfig {
    DriverConfig {
        accepts_armed_max: options.accepts_armed_max,
        shares_listeners: shard_count(options) > 1,
        receive_buffer_bytes: options.receive_buffer_bytes,
        receive_buffers: options.receive_buffers,
        send_buffer_bytes: Some(options.send_buffer_bytes),
        shares_pages: options.page_share_bytes_min > 0,
    }
}

/// Seeds for the hashes that all shards share.
pub(super) fn seeds() -> [u64; 4] {
    let mut random = socket::RandomBytes::new();
    std::array::from_fn(|_| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    })
}

/// A ring or epoll instance, an eventfd, the file of shared pages, and one to spare.
const DESCRIPTORS_PER_SHARD: usize = 4;

/// If the process cannot list its own.
const DESCRIPTORS_USED_GUESS: usize = 32;

/// Fewer connections than this are no server.
const DESCRIPTORS_NEEDED: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_servers_hash_alike() {
        assert_ne!(seeds(), seeds());
    }

    #[test]
    fn auto_falls_back_to_epoll_and_says_why() {
        let forbidden = || Err::<&str, _>("io_uring is forbidden here");
        let choice = Choice::from_probe(DriverChoice::Auto, forbidden()).unwrap();
        assert!(matches!(&choice, Choice::Epoll { why } if why.contains("forbidden")), "{choice:?}");
        let error = Choice::from_probe(DriverChoice::Uring, forbidden()).unwrap_err().to_string();
        assert!(error.contains("io_uring") && error.contains("forbidden"), "{error}");
        assert!(matches!(Choice::from_probe(DriverChoice::Epoll, forbidden()), Ok(Choice::Epoll { .. })));
    }
}
