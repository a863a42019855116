//! The server: from an address to running shards, and to their end.
//!
//! In      an address, options, a handler per shard
//! Out     one thread per shard; `Running`, which ends them
//! Bounds  at most 64 shards; `Running::memory` adds up everything else
//! Source  docs/architecture.md

mod start;

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

pub(crate) use self::start::StartedShard;
use self::start::{EndedShards, Start};
use crate::{
    adopt::{Adopter, Stream},
    codec::Message,
    driver::{
        listener::{ListenAddress, ListenerOptions},
        socket::NO_ADDRESS,
    },
    error::{Error, SendError},
    handler::{Auth, Handler, Request},
    listen::{Bound, LISTENERS_MAX, Listen},
    memory::MemoryBound,
    options::Options,
    publisher::Publisher,
    session::Session,
    shard::{ShardReport, greeting::Listeners, mesh::MeshShared},
    shared::{Command, Phase, Shared},
    stats::Stats,
    visit::Sessions,
};

/// A server that has its addresses but takes no connection yet.
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
    places: Vec<Bound>,
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
        Self::bind_all([Listen::tcp(address)?], options)
    }

    /// Takes several addresses, socket files and sockets that somebody hands over, at most 64. Every shard takes
    /// connections from all of them.
    ///
    /// # Errors
    /// As [`Server::bind_with`].
    pub fn bind_all(places: impl IntoIterator<Item = Listen>, options: Options) -> Result<Self, Error> {
        places.into_iter().try_fold(Self::adopting(options)?, Self::bind_also)
    }

    /// Takes one more.
    ///
    /// ```
    /// use fanwire::{Listen, Server};
    ///
    /// let server = Server::bind("127.0.0.1:0")?.bind_also(Listen::tcp("127.0.0.1:0")?)?;
    /// assert_ne!(server.addresses()[0], server.addresses()[1]);
    /// # Ok::<(), fanwire::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Listen`] if it cannot be had, [`Error::Option`] if it is one too many, for `handshakes_max` too.
    pub fn bind_also(mut self, place: Listen) -> Result<Self, Error> {
        let count = self.places.len() + 1;
        if count > LISTENERS_MAX {
            let advice = format!("one server has at most {LISTENERS_MAX}: start another one for the rest");
            return Err(Error::Option { option: "listeners", advice });
        }
        // Each shard keeps room for one handshake of each, so that none waits for another's clients.
        if (self.options.handshakes_max as usize) < count {
            let advice = format!("at least {count}, one for each listener");
            return Err(Error::Option { option: "handshakes_max", advice });
        }
        self.places.push(place.bind(&listener_options(&self.options))?);
        Ok(self)
    }

    /// A server that listens nowhere: all its connections come through its [`Adopter`], so that who may come in is
    /// decided in one place only. `on_auth` and `on_http` are never called.
    ///
    /// # Errors
    /// [`Error::Option`] for options that are out of range or do not fit together.
    pub fn adopting(options: Options) -> Result<Self, Error> {
        options.check()?;
        Ok(Self { places: Vec::new(), options })
    }

    /// The first address of TCP that it will listen on; `0.0.0.0:0` if there is none.
    pub fn address(&self) -> SocketAddr {
        first_tcp(&self.addresses())
    }

    /// All that it will listen on, as they were bound: port 0 has become the real one.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.places.iter().map(|place| place.listener.address().clone()).collect()
    }

    /// Starts the shards, each with its own handler, and returns.
    ///
    /// A shard that panics (a fault of Fanwire or of a subscriber to its log, for hooks are guarded) ends the whole
    /// server: all sessions are closed, the address is free, and [`Running::wait`] panics.
    ///
    /// # Errors
    /// [`Error::Listen`], [`Error::Descriptors`], [`Error::Driver`] or [`Error::Thread`].
    pub fn start<H: Handler>(self, make: impl FnMut(usize) -> H) -> Result<Running<H::Value>, Error> {
        let addresses = self.addresses();
        let Self { places, options } = self;
        let shard_count = start::shard_count(&options);
        let descriptors = start::descriptors_free(shard_count, places.len(), options.descriptors_reserved)?;
        for place in &places {
            place.listener.listen(&listener_options(&options))?;
        }
        let (listeners, proxies): (Vec<_>, Vec<_>) =
            places.into_iter().map(|place| (Arc::new(place.listener), place.proxies)).unzip();
        let (mesh, ends) = MeshShared::build::<Command>(shard_count, options.mesh_size as usize);
        let limits = options.limits(descriptors);
        let parkings = (0..shard_count).map(|shard| mesh.parking(shard).clone()).collect();
        let shared =
            Shared::new(options.codec.clone(), limits, start::seeds(), options.inbox_size as usize, parkings);
        let shared = Arc::new(shared.with_listeners(Listeners::new(proxies)));
        let ended = Arc::new(EndedShards::default());
        let start = Start { listeners, options: Arc::new(options), shared, ended };
        let shards = start.spawn(ends, make)?;
        let memory = MemoryBound::new(&start.options, &shards, start.shared.limits.connections_max);
        shards.iter().for_each(|shard| tracing::debug!("{}", shard.driver));
        if addresses.is_empty() {
            tracing::debug!("listening nowhere; {memory}");
        }
        addresses.iter().for_each(|address| tracing::debug!("listening on {address}; {memory}"));
        Ok(Running {
            addresses,
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
    addresses: Vec<ListenAddress>,
    drivers: Vec<String>,
    memory: MemoryBound,
    shared: Arc<Shared>,
    ended: Arc<EndedShards>,
    adopter: Adopter<V>,
}

impl<V: Send + 'static> Running<V> {
    /// The first address of TCP that it listens on, with the real port; `0.0.0.0:0` if there is none.
    pub fn address(&self) -> SocketAddr {
        first_tcp(&self.addresses)
    }

    /// All that it listens on, in the order of binding.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
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

    /// All open sessions, to be visited from any thread: listed, searched, closed.
    pub fn sessions(&self) -> Sessions<V> {
        Sessions::new(self.shared.clone())
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
        f.debug_struct("Running").field("addresses", &self.addresses).finish_non_exhaustive()
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

fn listener_options(options: &Options) -> ListenerOptions {
    ListenerOptions {
        backlog: options.backlog,
        send_buffer_bytes: Some(options.send_buffer_bytes),
        congestion_control: options.congestion_control.clone(),
        reuse_port: options.reuse_port,
    }
}

fn first_tcp(addresses: &[ListenAddress]) -> SocketAddr {
    let tcp = addresses.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    });
    tcp.unwrap_or(NO_ADDRESS)
}
