//! A server without a kernel: simulated sockets and clock, all shards in one thread, everything by one seed.
//!
//! In      a seed, options, a handler; what simulated clients do; the passing of time
//! Out     the engine's answers, byte by byte; the same for the same seed
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

mod driver;
mod net;
mod observe;
mod rng;

pub(crate) use self::observe::Observer;
pub use self::observe::{Asked, Taken};

use std::{cell::RefCell, fmt, rc::Rc, sync::Arc, time::Duration};

use self::{
    driver::SimDriver,
    net::{Net, PipeEnd, Waiting},
};
use crate::{
    driver::DriverConfig,
    error::{Error, SendError},
    handler::Handler,
    options::Options,
    publisher::Publisher,
    server::DrainReport,
    shard::{Shard, Turn, mesh::MeshShared},
    shared::{Command, Phase, Shared},
    stats::Stats,
};

/// A server on simulated sockets. It does something only inside `step` and what calls it.
pub struct SimServer<H: Handler> {
    net: Rc<RefCell<Net>>,
    /// `None`: it has ended.
    shards: Vec<Option<Shard<SimDriver, H>>>,
    shared: Arc<Shared>,
    report: DrainReport,
    down_bytes: usize,
}

/// What goes wrong by chance, each in so many of a thousand cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// A send takes less than there is room for.
    pub send_short_per_mille: u32,
    /// A send takes nothing, although there is room.
    pub send_refused_per_mille: u32,
    /// A receive gives at most 64 bytes, often one.
    pub receive_short_per_mille: u32,
    /// What is sent, or comes to an end, arrives later: at most by `delay_ns_max`.
    pub delayed_per_mille: u32,
    /// See `delayed_per_mille`.
    pub delay_ns_max: u64,
}

impl Faults {
    /// Nothing goes wrong: for tests of many megabytes.
    pub const fn none() -> Self {
        Self {
            send_short_per_mille: 0,
            send_refused_per_mille: 0,
            receive_short_per_mille: 0,
            delayed_per_mille: 0,
            delay_ns_max: 0,
        }
    }
}

impl Default for Faults {
    /// What any TCP connection may show at any time, but more often.
    fn default() -> Self {
        Self {
            send_short_per_mille: 100,
            send_refused_per_mille: 50,
            receive_short_per_mille: 200,
            delayed_per_mille: 200,
            delay_ns_max: 2_000_000,
        }
    }
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
        let shared = Arc::new(shared);
        let config = DriverConfig {
            accepts_armed_max: options.accepts_armed_max,
            receive_buffer_bytes: options.receive_buffer_bytes,
            receive_buffers: options.receive_buffers,
            send_buffer_bytes: Some(options.send_buffer_bytes),
        };
        let options = Arc::new(options);
        let shards = ends.into_iter().enumerate().map(|(index, end)| {
            let driver = SimDriver::new(net.clone(), index, config.clone());
            Some(Shard::new(driver, make(index), options.clone(), shared.clone(), end, index))
        });
        let shards = shards.collect();
        let down_bytes = options.send_buffer_bytes as usize;
        Ok(Self { net, shards, shared, report: DrainReport::default(), down_bytes })
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
            let ready_at = net.arrival();
            net.backlog.push_back(Waiting { link, shard, ready_at });
        } else {
            net.refuse(link);
        }
        SimClient { net: self.net.clone(), link }
    }

    /// Hands over a connection on which somebody else has answered the handshake: the session opens on `shard`.
    ///
    /// # Errors
    /// As [`Running::adopt`](crate::Running::adopt).
    pub fn adopt(&self, shard: usize, value: H::Value, received: Vec<u8>) -> Result<SimClient, SendError> {
        let (link, descriptor) = {
            let mut net = self.net.borrow_mut();
            let link = net.add_link(self.down_bytes + CLIENT_BUFFER_BYTES);
            let descriptor = net.token(link);
            (link, descriptor)
        };
        let command = Command::Adopt { descriptor, value: Box::new(value), received };
        self.shared.adopt(shard, command)?;
        Ok(SimClient { net: self.net.clone(), link })
    }

    /// The next accepts fail so often, as they do when no descriptor is left.
    pub fn fail_accepts(&self, count: u32) {
        self.net.borrow_mut().accepts_failing += count;
    }

    /// From now on `observer` hears of every command that a shard takes in, right after its effect. It must not call
    /// into the server.
    pub fn observe(&mut self, observer: impl FnMut(Taken) + 'static) {
        let observer: Observer = Rc::new(RefCell::new(observer));
        self.shards.iter_mut().flatten().for_each(|shard| shard.observe(observer.clone()));
    }

    // --- turns ---

    /// Gives one shard that has something to do a turn. If none has, the clock goes on to the next thing that is due.
    /// `false`: nothing will ever happen by itself.
    pub fn step(&mut self) -> bool {
        match self.turn() {
            Turned::Shard => true,
            Turned::Nobody { next_ns: Some(next) } => {
                self.net.borrow_mut().now = next;
                true
            }
            Turned::Nobody { next_ns: None } => false,
        }
    }

    /// Steps until something is so; `false` if it is not after `steps_max` steps, or if nothing happens any more.
    pub fn run_until(&mut self, steps_max: usize, mut is_so: impl FnMut(&Self) -> bool) -> bool {
        for _ in 0..steps_max {
            if is_so(self) {
                return true;
            }
            if !self.step() {
                return is_so(self);
            }
        }
        is_so(self)
    }

    /// Lets time pass, and everything happen that is due meanwhile.
    pub fn pass(&mut self, time: Duration) {
        let end = self.net.borrow().now.saturating_add(nanoseconds(time));
        while self.net.borrow().now < end {
            if let Turned::Nobody { next_ns } = self.turn() {
                self.net.borrow_mut().now = next_ns.unwrap_or(end).min(end);
            }
        }
    }

    /// Sets the clock forward at once, as after a machine's suspension.
    pub fn jump(&mut self, time: Duration) {
        self.net.borrow_mut().now += nanoseconds(time);
    }

    /// Time since an arbitrary start.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.net.borrow().now)
    }

    fn turn(&mut self) -> Turned {
        self.net.borrow_mut().reap_tokens();
        let now = self.net.borrow().now;
        let mut runnable = Vec::new();
        let mut next = self.net.borrow().next_arrival();
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let Some(shard) = shard else { continue };
            let due = shard.due_ns();
            if shard.driver().has_events() || due.is_some_and(|due| due <= now) {
                runnable.push(index);
            }
            next = [next, due, shard.driver().next_event_at()].into_iter().flatten().min();
        }
        if runnable.is_empty() {
            return Turned::Nobody { next_ns: next };
        }
        let mut net = self.net.borrow_mut();
        let chosen = runnable[net.rng.below(runnable.len())];
        // A turn takes time, so that one shard that always has work cannot stop the clock.
        net.now += 1 + net.rng.number() % TURN_NS_MAX;
        drop(net);
        self.tick(chosen);
        Turned::Shard
    }

    fn tick(&mut self, index: usize) {
        let Some(shard) = &mut self.shards[index] else { return };
        if shard.tick() == Turn::Next {
            return;
        }
        let report = shard.report();
        self.report.drained += report.drained;
        self.report.cut += report.cut;
        self.shards[index] = None;
    }

    // --- as `Running` ---

    /// Publishes as a thread that is no shard does.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.shared.clone())
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Begins a drain; `ended` tells when it is over.
    pub fn begin_drain(&self, deadline: Duration) {
        self.shared.enter_phase(Phase::Draining, deadline);
    }

    /// Cuts everything at each shard's next turn.
    pub fn begin_shutdown(&self) {
        self.shared.enter_phase(Phase::Stopping, Duration::ZERO);
    }

    /// The report, once all shards have ended.
    pub fn ended(&self) -> Option<DrainReport> {
        self.shards.iter().all(Option::is_none).then_some(self.report)
    }
}

impl<H: Handler> fmt::Debug for SimServer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimServer").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The client's end of a simulated connection. Dropping it closes it.
pub struct SimClient {
    net: Rc<RefCell<Net>>,
    link: usize,
}

/// How the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimEnd {
    /// In order, behind its last byte.
    Fin,
    /// By a reset; what was under way is lost.
    Reset,
}

impl SimClient {
    /// Sends what the connection takes at once, and says how much that is. A client that does not `receive` holds
    /// bytes until the server's sends are refused.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        self.net.borrow_mut().send_up(self.link, bytes)
    }

    /// Moves what has arrived to the end of `into`; whether that was anything.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> bool {
        let mut net = self.net.borrow_mut();
        let (now, before) = (net.now, into.len());
        net.links[self.link].down.pull(now, usize::MAX, into);
        into.len() > before
    }

    /// How the server has ended, once everything before that has been received.
    pub fn end(&self) -> Option<SimEnd> {
        let net = self.net.borrow();
        net.links[self.link].down.arrived_end(net.now).map(|end| match end {
            PipeEnd::Fin => SimEnd::Fin,
            PipeEnd::Reset => SimEnd::Reset,
        })
    }

    /// Ends the client's direction.
    pub fn shutdown_write(&mut self) {
        self.net.borrow_mut().end_up(self.link, PipeEnd::Fin);
    }

    /// Breaks the connection.
    pub fn reset(&mut self) {
        self.net.borrow_mut().end_up(self.link, PipeEnd::Reset);
    }
}

impl Drop for SimClient {
    fn drop(&mut self) {
        self.net.borrow_mut().close_client_end(self.link);
    }
}

impl fmt::Debug for SimClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimClient").field("link", &self.link).finish_non_exhaustive()
    }
}

/// What `turn` has done.
enum Turned {
    Shard,
    /// No shard has anything to do before `next_ns`.
    Nobody {
        next_ns: Option<u64>,
    },
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A shard's turn takes at most so long.
const TURN_NS_MAX: u64 = 4_000;

/// What a client holds of bytes that it has not received.
const CLIENT_BUFFER_BYTES: usize = 256 << 10;
