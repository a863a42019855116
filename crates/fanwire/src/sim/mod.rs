//! A server without a kernel: simulated sockets and clock, all shards in one thread, everything by one seed.
//!
//! In      a seed, options, a handler; what simulated clients do; the passing of time
//! Out     the engine's answers, byte by byte; the same for the same seed; a [`Violation`] if it breaks a rule of its own
//! Bounds  as the engine's own, which is the production code but for its driver
//! Source  docs/architecture.md
//!
//! ```
//! use fanwire::{Auth, Handler, Message, Options, Request, Session, sim::{Faults, SimServer}};
//!
//! struct Refuser;
//! impl Handler for Refuser {
//!     type Value = ();
//!     fn on_auth(&mut self, _: &Request<'_>) -> Auth<()> {
//!         Auth::reject(401, "nobody comes in\n")
//!     }
//!     fn on_message(&mut self, _: &mut Session<'_, ()>, _: Message<'_>) {}
//! }
//!
//! let mut server = SimServer::new(7, Options::default(), Faults::default(), |_shard| Refuser)?;
//! let mut client = server.connect();
//! client.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n");
//! let mut answer = Vec::new();
//! assert!(server.run_until(1_000, |_| { client.receive(&mut answer); client.end().is_some() }));
//! assert!(answer.starts_with(b"HTTP/1.1 404 "));
//! # Ok::<(), fanwire::Error>(())
//! ```

mod client;
mod driver;
mod faults;
mod net;
mod observe;
mod pages;
mod pipe;
mod rng;
mod rules;
mod snapshot;
mod tokens;
mod world;

use std::{
    cell::{Cell, RefCell},
    fmt,
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

pub use self::{
    client::{SimClient, SimEnd, SimStream},
    faults::Faults,
    observe::{Asked, Taken},
    rules::Violation,
    snapshot::{SessionSnapshot, ShardSnapshot, TopicSnapshot},
};
pub(crate) use self::{driver::SimDriver, observe::Observer};
use self::{
    net::{Net, Waiting},
    world::Body,
};
pub use crate::shard::bounds::Bounds;
use crate::{
    driver::{Driver, DriverConfig},
    error::{Error, SendError},
    handler::Handler,
    memory::MemoryBound,
    network::Network,
    options::Options,
    proxy,
    publisher::Publisher,
    server::{DrainReport, StartedShard},
    shard::{Shard, greeting::Listeners, mesh::MeshShared},
    shared::{Command, Phase, Shared},
    stats::Stats,
    visit::Sessions,
};

/// A server on simulated sockets. It does something only inside `step` and what calls it.
///
/// After each turn a shard is audited; the first violation stops the simulation and stays in
/// [`SimServer::violation`]. One that nobody asks for is a panic at the latest when the server is dropped.
pub struct SimServer<H: Handler> {
    net: Rc<RefCell<Net>>,
    /// `None`: it has ended.
    bodies: Vec<Option<Body<H>>>,
    shared: Arc<Shared>,
    memory: MemoryBound,
    report: DrainReport,
    down_bytes: usize,
    /// Shards that have something to do, while one is chosen.
    runnable: Vec<usize>,
    audit_every: Option<u32>,
    /// Full audits, of whatever shard.
    audits: u32,
    inbox_size: usize,
    violation: Option<Violation>,
    is_violation_seen: Cell<bool>,
}

impl<H: Handler> SimServer<H> {
    /// A server with as many shards as `options` says (0: one).
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn new(
        seed: u64,
        options: Options,
        faults: Faults,
        make: impl FnMut(usize) -> H,
    ) -> Result<Self, Error> {
        Self::with_listener(seed, options, faults, None, make)
    }

    /// A server whose one listener expects PROXY headers, from these networks. Clients come from 127.0.0.1.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn behind(
        seed: u64,
        options: Options,
        faults: Faults,
        proxies: impl IntoIterator<Item = Network>,
        make: impl FnMut(usize) -> H,
    ) -> Result<Self, Error> {
        Self::with_listener(seed, options, faults, Some(proxies.into_iter().collect()), make)
    }

    fn with_listener(
        seed: u64,
        options: Options,
        faults: Faults,
        proxies: Option<Box<[Network]>>,
        mut make: impl FnMut(usize) -> H,
    ) -> Result<Self, Error> {
        options.check()?;
        let shard_count = usize::from(options.shards).max(1);
        let mut net = Net::new(seed, faults);
        let seeds = std::array::from_fn(|_| net.rng.number());
        let net = Rc::new(RefCell::new(net));
        let (mesh, ends) = MeshShared::build::<Command>(shard_count, options.mesh_size as usize);
        let limits = options.limits(u32::MAX);
        let parkings = (0..shard_count).map(|shard| mesh.parking(shard).clone()).collect();
        let shared = Shared::new(options.codec.clone(), limits, seeds, options.inbox_size as usize, parkings);
        let shared = Arc::new(shared.with_listeners(Listeners::new([proxies])));
        let config = DriverConfig {
            accepts_armed_max: options.accepts_armed_max,
            shares_listeners: shard_count > 1,
            receive_buffer_bytes: options.receive_buffer_bytes,
            receive_buffers: options.receive_buffers,
            send_buffer_bytes: Some(options.send_buffer_bytes),
            shares_pages: options.page_share_bytes_min > 0,
        };
        let options = Arc::new(options);
        let mut started = Vec::with_capacity(shard_count);
        let bodies = ends.into_iter().enumerate().map(|(index, end)| {
            let driver = SimDriver::new(net.clone(), seed, index, config.clone());
            started.push(StartedShard { driver: driver.describe(), memory: driver.memory() });
            let shard = Shard::new(driver, make(index), options.clone(), shared.clone(), end, index);
            Some(Body::new(shard))
        });
        let bodies = bodies.collect();
        let memory = MemoryBound::new(&options, &started, u32::MAX);
        let inbox_size = options.inbox_size as usize;
        let down_bytes = options.send_buffer_bytes as usize;
        Ok(Self {
            net,
            bodies,
            shared,
            memory,
            report: DrainReport::default(),
            down_bytes,
            runnable: Vec::with_capacity(shard_count),
            audit_every: None,
            audits: 0,
            inbox_size,
            violation: None,
            is_violation_seen: Cell::new(false),
        })
    }

    // --- clients ---

    /// A client whose connection waits to be accepted by any shard.
    pub fn connect(&self) -> SimClient {
        self.connect_with(None, CLIENT_BUFFER_BYTES)
    }

    /// A client that only this shard accepts (if it is given), and that holds at most so many unread bytes beyond
    /// the server's send buffer.
    pub fn connect_with(&self, shard: Option<usize>, receive_buffer_bytes: usize) -> SimClient {
        let mut net = self.net.borrow_mut();
        let link = net.add_link(self.down_bytes + receive_buffer_bytes);
        if net.is_listening {
            let ready_at = net.arrival(link);
            net.backlog.push_back(Waiting { link, shard, ready_at });
        } else {
            net.refuse(link);
        }
        SimClient::new(self.net.clone(), link)
    }

    /// Hands over a connection on which somebody else has answered the handshake: the session opens on `shard`.
    ///
    /// # Errors
    /// As [`Running::adopt`](crate::Running::adopt).
    pub fn adopt(&self, shard: usize, value: H::Value, received: Vec<u8>) -> Result<SimClient, SendError> {
        let (client, stream) = self.pair(CLIENT_BUFFER_BYTES);
        self.adopt_stream(shard, stream, value, received)?;
        Ok(client)
    }

    /// Hands over the server's end of a connection, as [`SimServer::pair`] or a take-over gave it.
    ///
    /// # Errors
    /// As [`Running::adopt`](crate::Running::adopt).
    pub fn adopt_stream(
        &self,
        shard: usize,
        stream: TcpStream,
        value: H::Value,
        received: Vec<u8>,
    ) -> Result<(), SendError> {
        if self.shared.phase() != Phase::Running {
            return Err(SendError::Closed);
        }
        let command = Command::Adopt {
            descriptor: OwnedFd::from(stream),
            has_place: false,
            value: Box::new(value),
            received,
        };
        self.shared.hand_over(shard, command, false)
    }

    /// A connection that somebody else has accepted: the client's end, and what stands for the server's end where a
    /// real program has a socket. It carries no bytes itself; [`SimServer::redeem`] makes a stream of it.
    pub fn pair(&self, receive_buffer_bytes: usize) -> (SimClient, TcpStream) {
        let mut net = self.net.borrow_mut();
        let link = net.add_link(self.down_bytes + receive_buffer_bytes);
        let stream = TcpStream::from(net.token(link));
        (SimClient::new(self.net.clone(), link), stream)
    }

    /// The server's end of the connection that a taken socket stands for: what
    /// [`Http::take_over`](crate::Http::take_over) gave away. `None` if it stands for none.
    pub fn redeem(&self, taken: TcpStream) -> Option<SimStream> {
        let link = self.net.borrow_mut().redeem(&OwnedFd::from(taken)).ok()?;
        Some(SimStream::new(self.net.clone(), link))
    }

    // --- the world ---

    /// From now on each shard does no more than this before the rest waits, so that a small world comes to its bounds.
    ///
    /// # Panics
    /// If `sends` is more than 256, or a bound is 0.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bodies.iter_mut().flatten().for_each(|body| body.shard.set_bounds(bounds));
    }

    /// The next accepts fail so often, as they do when no descriptor is left.
    pub fn fail_accepts(&self, count: u32) {
        self.net.borrow_mut().accepts_failing += count;
    }

    /// From now on `observer` hears of every command that a shard takes in, right after its effect. It must not call
    /// into the server.
    pub fn observe(&mut self, observer: impl FnMut(Taken) + 'static) {
        let observer: Observer = Rc::new(RefCell::new(observer));
        self.bodies.iter_mut().flatten().for_each(|body| body.shard.observe(observer.clone()));
    }

    /// From now on these things go wrong: nothing, so that everything comes to rest, say.
    pub fn set_faults(&self, faults: Faults) {
        self.net.borrow_mut().faults = faults;
    }

    /// Time since an arbitrary start.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.net.borrow().now)
    }

    // --- as `Running` ---

    /// Publishes as a thread that is no shard does.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.shared.clone())
    }

    /// All open sessions, to be visited.
    pub fn sessions(&self) -> Sessions<H::Value> {
        Sessions::new(self.shared.clone())
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The limits of memory and what they add up to.
    pub fn memory(&self) -> &MemoryBound {
        &self.memory
    }

    /// Begins a drain; `ended` tells when it is over.
    pub fn begin_drain(&self, deadline: Duration) {
        self.shared.enter_phase(Phase::Draining, deadline);
    }

    /// Cuts everything at each shard's next turn.
    pub fn begin_shutdown(&self) {
        self.shared.enter_phase(Phase::Stopping, Duration::ZERO);
    }

    /// A shard, to be corrupted.
    #[cfg(test)]
    pub(crate) fn shard(&mut self, index: usize) -> &mut Shard<SimDriver, H> {
        &mut self.bodies[index].as_mut().expect("it has not ended").shard
    }

    /// The report, once all shards have ended.
    pub fn ended(&self) -> Option<DrainReport> {
        self.bodies.iter().all(Option::is_none).then_some(self.report)
    }
}

/// What a listener for proxies makes of the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// More of a header must come.
    Partial,
    /// There is one, so long, and it names this peer if it names any.
    Whole {
        /// Its length.
        bytes: usize,
        /// Whose the connection is.
        peer: Option<SocketAddr>,
    },
    /// There is none in front, or none that can be read.
    Malformed,
}

/// Reads a PROXY header as the engine does, for whoever looks for bytes that it reads wrongly.
pub fn read_proxy_header(bytes: &[u8]) -> ProxyHeader {
    match proxy::parse(bytes) {
        Ok(None) => ProxyHeader::Partial,
        Ok(Some(header)) => ProxyHeader::Whole { bytes: header.bytes, peer: header.peer },
        Err(proxy::Malformed) => ProxyHeader::Malformed,
    }
}

impl<H: Handler> fmt::Debug for SimServer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimServer").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// What a client holds of bytes that it has not received.
const CLIENT_BUFFER_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests;
