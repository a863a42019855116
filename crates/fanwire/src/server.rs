//! The server: from an address to running shards, and to their end.
//!
//! In      an address, options, a handler per shard
//! Out     one thread per shard; `Running`, which ends them
//! Bounds  at most 64 shards; `Running::memory` adds up everything else
//! Source  docs/architecture.md

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use crate::{
    adopt::{Adopter, Stream},
    codec::Message,
    driver::{
        Driver, DriverConfig, DriverMemory,
        epoll::EpollDriver,
        socket::{self, ListenError, Listener, ListenerOptions, NO_ADDRESS},
        uring::{self, UringDriver},
    },
    error::{Error, SendError},
    handler::{Auth, Handler, Request},
    memory::MemoryBound,
    options::{DriverChoice, Options, Pinning, SHARDS_MAX},
    publisher::Publisher,
    session::Session,
    shard::{
        Shard, ShardReport, Turn,
        mesh::{MeshEnd, MeshShared},
    },
    shared::{Command, Phase, ShardSide, Shared},
    stats::Stats,
};

/// A server that has its address but does not listen yet.
///
/// ```no_run
/// use fanwire::{Message, Server, Session};
///
/// // A chat room: everybody gets what anybody sends.
/// Server::bind("127.0.0.1:8080")?.run_fn(|session: &mut Session<'_, ()>, message: Message<'_>| {
///     match message.topic() {
///         "join" => drop(session.subscribe("room")),
///         "say" => drop(session.publish("room", message.data())),
///         _ => {}
///     }
/// })?;
/// # Ok::<(), fanwire::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    /// None: it has only the connections that it is given.
    listener: Option<Listener>,
    options: Options,
}

impl Server {
    /// Takes an address with all options at their defaults. Port 0 asks the system for a free one.
    ///
    /// # Errors
    /// [`Error::Address`] if it cannot be resolved, [`Error::Listen`] if it cannot be had.
    pub fn bind(address: impl ToSocketAddrs) -> Result<Self, Error> {
        Self::bind_with(address, Options::default())
    }

    /// Takes an address.
    ///
    /// # Errors
    /// As [`Server::bind`], and [`Error::Option`] for options that are out of range or do not fit together.
    pub fn bind_with(address: impl ToSocketAddrs, options: Options) -> Result<Self, Error> {
        options.check()?;
        let listener_options = listener_options(&options);
        let mut last = None;
        for address in address.to_socket_addrs().map_err(Error::Address)? {
            match Listener::bind(address, &listener_options) {
                Ok(listener) => return Ok(Self { listener: Some(listener), options }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| Error::Address(std::io::ErrorKind::NotFound.into()), Error::from))
    }

    /// A server that listens nowhere: all its connections come through its [`Adopter`], so that who may come in is
    /// decided in one place only. `on_auth` and `on_http` are never called.
    ///
    /// # Errors
    /// [`Error::Option`] for options that are out of range or do not fit together.
    pub fn adopting(options: Options) -> Result<Self, Error> {
        options.check()?;
        Ok(Self { listener: None, options })
    }

    /// The address that it will listen on; `0.0.0.0:0` of one that listens nowhere.
    pub fn address(&self) -> SocketAddr {
        self.listener.as_ref().map_or(NO_ADDRESS, Listener::local_addr)
    }

    /// Starts the shards, each with its own handler, and returns.
    ///
    /// A shard that panics (a fault of Fanwire or of a subscriber to its log, for hooks are guarded) ends the whole
    /// server: all sessions are closed, the address is free, and [`Running::wait`] panics.
    ///
    /// # Errors
    /// [`Error::Listen`], [`Error::Descriptors`], [`Error::Driver`] or [`Error::Thread`].
    pub fn start<H: Handler>(self, make: impl FnMut(usize) -> H) -> Result<Running<H::Value>, Error> {
        let address = self.address();
        let Self { listener, options } = self;
        let shard_count = shard_count(&options);
        let descriptors = descriptors_free(shard_count)?;
        if let Some(listener) = &listener {
            listener.listen(&listener_options(&options))?;
        }
        let (mesh, ends) = MeshShared::build::<Command>(shard_count, options.mesh_size as usize);
        let limits = options.limits(descriptors);
        let parkings = (0..shard_count).map(|shard| mesh.parking(shard).clone()).collect();
        let shared = Arc::new(Shared::new(
            options.codec.clone(),
            limits,
            seeds(),
            options.inbox_size as usize,
            parkings,
        ));
        let ended = Arc::new(EndedShards::default());
        let start = Start { listener: listener.map(Arc::new), options: Arc::new(options), shared, ended };
        let shards = start.spawn(ends, make)?;
        let memory = MemoryBound::new(&start.options, &shards, start.shared.limits.connections_max);
        shards.iter().for_each(|shard| tracing::debug!("{}", shard.driver));
        match address {
            NO_ADDRESS => tracing::debug!("listening nowhere; {memory}"),
            address => tracing::debug!("listening on {address}; {memory}"),
        }
        Ok(Running {
            address,
            drivers: shards.into_iter().map(|shard| shard.driver).collect(),
            memory,
            adopter: Adopter::new(start.shared.clone(), start.options),
            shared: start.shared,
            ended: start.ended,
        })
    }

    /// Starts the shards with a clone of the handler each, and blocks until the server has ended (by
    /// [`Handler`]s there is no way to end it: use [`Server::start`] where one is needed).
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn run<H: Handler + Clone>(self, handler: H) -> Result<DrainReport, Error> {
        Ok(self.start(|_| handler.clone())?.wait())
    }

    /// Runs a single hook for messages; everybody is let in.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn run_fn<F>(self, on_message: F) -> Result<DrainReport, Error>
    where
        F: FnMut(&mut Session<'_, ()>, Message<'_>) + Clone + Send + 'static,
    {
        self.run(OnMessage(on_message))
    }
}

/// A running server. Dropping it shuts it down.
///
/// `V` is the handler's value type.
pub struct Running<V: Send + 'static> {
    address: SocketAddr,
    drivers: Vec<String>,
    memory: MemoryBound,
    shared: Arc<Shared>,
    ended: Arc<EndedShards>,
    adopter: Adopter<V>,
}

impl<V: Send + 'static> Running<V> {
    /// The address that it listens on, with the real port; `0.0.0.0:0` of one that listens nowhere.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What drives each shard, and why: a line for the operator.
    pub fn drivers(&self) -> &[String] {
        &self.drivers
    }

    /// The limits of memory and what they add up to.
    pub fn memory(&self) -> &MemoryBound {
        &self.memory
    }

    /// Publishes from any thread.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.shared.clone())
    }

    /// Counters and gauges. Shards go on counting meanwhile.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Hands connections over from any thread or task, also where this value cannot be.
    pub fn adopter(&self) -> Adopter<V> {
        self.adopter.clone()
    }

    /// Hands over a connection whose WebSocket handshake somebody else has checked and answered:
    /// [`Adopter::adopt`].
    ///
    /// # Errors
    /// As [`Adopter::adopt`].
    pub fn adopt(&self, stream: impl Into<Stream>, value: V, received: Vec<u8>) -> Result<(), SendError> {
        self.adopter.adopt(stream, value, received)
    }

    /// Stops accepting, sends what is queued, and closes sessions with 1001 at a steady pace, so that their
    /// reconnects come spread out; what is left at the deadline is cut. Returns when the shards have ended.
    pub fn drain(&self, deadline: Duration) -> DrainReport {
        self.shared.enter_phase(Phase::Draining, deadline);
        self.wait()
    }

    /// Cuts everything now. Returns when the shards have ended. It also ends a `drain` that another thread waits
    /// for.
    pub fn shutdown(&self) -> DrainReport {
        self.shared.enter_phase(Phase::Stopping, Duration::ZERO);
        self.wait()
    }

    /// Blocks until the server has ended.
    ///
    /// # Panics
    /// If a shard has panicked, which is a fault of Fanwire: hooks that panic end their session only.
    pub fn wait(&self) -> DrainReport {
        let reports = self.ended.wait(self.shared.shards.len());
        assert!(
            reports.iter().all(Option::is_some),
            "a shard has panicked and the whole server has ended: the message above says where"
        );
        let sum = |count: fn(&ShardReport) -> u64| reports.iter().flatten().map(count).sum();
        DrainReport { drained: sum(|report| report.drained), cut: sum(|report| report.cut) }
    }
}

impl<V: Send + 'static> Drop for Running<V> {
    fn drop(&mut self) {
        self.shared.enter_phase(Phase::Stopping, Duration::ZERO);
        self.ended.wait(self.shared.shards.len());
    }
}

impl<V: Send + 'static> fmt::Debug for Running<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What became of the sessions when a server ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Sessions closed with 1001.
    pub drained: u64,
    /// Sessions that were still open, or had not finished their closing handshake, at the deadline.
    pub cut: u64,
}

/// A closure as a handler.
#[derive(Clone)]
struct OnMessage<F>(F);

impl<F> Handler for OnMessage<F>
where
    F: FnMut(&mut Session<'_, ()>, Message<'_>) + Send + 'static,
{
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        (self.0)(session, message);
    }
}

/// What every shard's thread is started with.
struct Start {
    listener: Option<Arc<Listener>>,
    options: Arc<Options>,
    shared: Arc<Shared>,
    ended: Arc<EndedShards>,
}

/// What a shard's thread says when its driver stands.
pub(crate) struct StartedShard {
    pub(crate) driver: String,
    pub(crate) memory: DriverMemory,
}

impl Start {
    /// Starts all threads and waits until each has its driver; if one fails, all end.
    fn spawn<H: Handler>(
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
            let (listener, handler) = (self.listener.clone(), make(index));
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
            match thread::Builder::new().name(name).spawn(move || thread.run(listener, end, handler)) {
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
    /// The driver alone keeps the listening socket, so that a drain can close it.
    fn run<H: Handler>(self, listener: Option<Arc<Listener>>, end: MeshEnd<Command>, handler: H) {
        if let Some(cpu) = self.cpu {
            pin(cpu);
        }
        let config = driver_config(&self.options);
        let listeners = Vec::from_iter(listener);
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
struct EndedShards {
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

    fn wait(&self, count: usize) -> Vec<Option<ShardReport>> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let reports = self.changed.wait_while(reports, |reports| reports.len() < count);
        reports.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn shard_count(options: &Options) -> usize {
    match usize::from(options.shards) {
        0 => thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX),
        count => count,
    }
}

/// Raises the limit of open files, and says how many of them connections may use.
fn descriptors_free(shards: usize) -> Result<u32, Error> {
    let limit = socket::raise_descriptor_limit();
    let used = std::fs::read_dir("/proc/self/fd").map_or(DESCRIPTORS_USED_GUESS, Iterator::count);
    let reserved = (used + shards * DESCRIPTORS_PER_SHARD + DESCRIPTORS_RESERVED) as u64;
    let needed = reserved + DESCRIPTORS_NEEDED;
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

fn listener_options(options: &Options) -> ListenerOptions {
    ListenerOptions {
        backlog: options.backlog,
        send_buffer_bytes: Some(options.send_buffer_bytes),
        congestion_control: options.congestion_control.clone(),
        reuse_port: options.reuse_port,
    }
}

fn driver_config(options: &Options) -> DriverConfig {
    DriverConfig {
        accepts_armed_max: options.accepts_armed_max,
        receive_buffer_bytes: options.receive_buffer_bytes,
        receive_buffers: options.receive_buffers,
        send_buffer_bytes: Some(options.send_buffer_bytes),
        shares_pages: options.page_share_bytes_min > 0,
    }
}

/// Seeds for the hashes that all shards share.
fn seeds() -> [u64; 4] {
    let mut random = socket::RandomBytes::new();
    std::array::from_fn(|_| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    })
}

impl From<ListenError> for Error {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}

/// A ring or epoll instance, an eventfd, the file of shared pages, and one to spare.
const DESCRIPTORS_PER_SHARD: usize = 4;

/// For the program's own files and sockets.
const DESCRIPTORS_RESERVED: usize = 32;

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
