//! Adoption: connections that another HTTP stack has accepted become sessions.
//!
//! In      requests that such a stack has read, and the sockets that they came on
//! Out     a place for a session, or the refusal to answer with; then sockets in the shards' inboxes
//! Bounds  `sessions_max`, counted from the place on; `inbox_size` per shard; never blocks
//! Source  docs/adapters.md; docs/protocol.md for the order of refusals

use std::{
    fmt,
    marker::PhantomData,
    net::{SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanwire_ws::{HeadLimits, Refusal, RequestHead};

use crate::{
    driver::{Key, socket::NO_ADDRESS},
    error::SendError,
    handler::Request,
    options::Options,
    origin,
    publisher::Publisher,
    shard::refuse::{going_away, too_many_sessions},
    shared::{Command, Phase, Shared},
};

/// Hands connections to a running server, from any thread or task. Cheap to clone; it does not keep the
/// server running.
///
/// `V` is the handler's value type. Most programs use it through an adapter of `fanwire-adapters`; a program
/// with an HTTP stack of its own does this:
///
/// ```
/// use std::net::TcpStream;
///
/// use fanwire::{Adopter, Refusal, RequestHead, SendError};
/// use fanwire_ws::write_accept;
///
/// /// Answers a request whose head and socket are here. `rest` came behind the head.
/// fn serve(adopter: &Adopter<String>, head: &RequestHead<'_>, stream: TcpStream, rest: Vec<u8>) {
///     let mut answer = Vec::new();
///     match adopter.admit(head, stream.peer_addr().ok()) {
///         Ok(admission) => {
///             write_accept(&mut answer, &admission.accept_key(), None, &[]);
///             // … send `answer`, then:
///             let adopted: Result<(), SendError> = admission.adopt(stream, "ada".to_owned(), rest);
///         }
///         Err(refusal) => refusal.write(&mut answer, false), // … and send that.
///     }
/// }
/// ```
pub struct Adopter<V: Send + 'static> {
    shared: Arc<Shared>,
    options: Arc<Options>,
    next_shard: Arc<AtomicUsize>,
    value: PhantomData<fn(V)>,
}

impl<V: Send + 'static> Adopter<V> {
    pub(crate) fn new(shared: Arc<Shared>, options: Arc<Options>) -> Self {
        Self { shared, options, next_shard: Arc::default(), value: PhantomData }
    }

    /// Decides about a request as the server does about its own, up to `on_auth`: the form of the handshake,
    /// the origin, room for another session. The path and who may come in are for the caller to decide.
    ///
    /// `peer` is what [`Options::check_origin`] gets to see; without one, `0.0.0.0:0`.
    ///
    /// # Errors
    /// The answer to send instead. It is counted in [`Stats`](crate::Stats)' total.
    pub fn admit(&self, head: &RequestHead<'_>, peer: Option<SocketAddr>) -> Result<Admission<V>, Refusal> {
        self.try_admit(head, peer.unwrap_or(NO_ADDRESS)).inspect_err(|refusal| self.count(refusal))
    }

    fn try_admit(&self, head: &RequestHead<'_>, peer: SocketAddr) -> Result<Admission<V>, Refusal> {
        // No handshake waits under this key: a ticket for it answers nobody.
        let request = Request::new(head, peer, &self.shared, 0, Key { slot: 0, generation: 0 });
        let upgrade = origin::check_request(&self.options, head, &request)?;
        if self.shared.phase() != Phase::Running {
            return Err(going_away());
        }
        if !self.shared.take_session_place() {
            return Err(too_many_sessions());
        }
        Ok(Admission { adopter: self.clone(), accept_key: upgrade.accept_key(), has_place: true })
    }

    /// Counts a request that the caller has refused by itself: a head that is none, or one that came too
    /// slowly.
    pub fn count(&self, refusal: &Refusal) {
        self.shared.outside.of_refusal(refusal.status).add_shared(1);
    }

    /// Hands over a connection whose WebSocket handshake somebody else has checked and answered. `received`
    /// is what was read behind the request. The session opens with `value`, as after `on_auth`.
    ///
    /// The connection is made non-blocking; a duplicate of its descriptor that somebody keeps must leave it
    /// so, or sends from shared pages would wait for its peer.
    ///
    /// # Errors
    /// [`SendError::Full`] if the shard's inbox is full, [`SendError::Closed`] if the server is ending. The
    /// connection is closed then. What is no stream of TCP or of a Unix socket is found out by the shard,
    /// which closes it, says so in the log and counts it in `handshakes_abandoned`.
    pub fn adopt(&self, stream: impl Into<Stream>, value: V, received: Vec<u8>) -> Result<(), SendError> {
        self.hand_over(stream.into(), false, value, received)
    }

    fn hand_over(
        &self,
        stream: Stream,
        has_place: bool,
        value: V,
        received: Vec<u8>,
    ) -> Result<(), SendError> {
        if self.shared.phase() != Phase::Running {
            return Err(SendError::Closed);
        }
        let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) % self.shared.shards.len();
        let Stream(descriptor) = stream;
        // Whoever has been told 101 is not turned away by what others publish; its place bounds it.
        let is_bounded = has_place && received.is_empty();
        let command = Command::Adopt { descriptor, has_place, value: Box::new(value), received };
        self.shared.hand_over(shard, command, is_bounded)
    }

    /// How large a request's head may be, for who reads it: [`Options::head_bytes_max`].
    pub fn head_limits(&self) -> HeadLimits {
        HeadLimits { bytes_max: self.options.head_bytes_max as usize }
    }

    /// How long a handshake may take, for who answers it: [`Options::handshake_timeout`].
    pub fn handshake_timeout(&self) -> Duration {
        self.options.handshake_timeout
    }

    /// Publishes from any thread.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.shared.clone())
    }
}

impl<V: Send + 'static> Clone for Adopter<V> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            options: self.options.clone(),
            next_shard: self.next_shard.clone(),
            value: PhantomData,
        }
    }
}

impl<V: Send + 'static> fmt::Debug for Adopter<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adopter").finish_non_exhaustive()
    }
}

/// A place for a session: its request may be answered with 101. Dropped, the place is free again.
pub struct Admission<V: Send + 'static> {
    adopter: Adopter<V>,
    accept_key: [u8; 28],
    /// INVARIANT: a place of `sessions_max` is ours exactly while this is true.
    has_place: bool,
}

impl<V: Send + 'static> Admission<V> {
    /// What `Sec-WebSocket-Accept` must answer.
    pub fn accept_key(&self) -> [u8; 28] {
        self.accept_key
    }

    /// Hands over the connection, after 101 has been sent on it: see [`Adopter::adopt`].
    ///
    /// # Errors
    /// As [`Adopter::adopt`].
    pub fn adopt(mut self, stream: impl Into<Stream>, value: V, received: Vec<u8>) -> Result<(), SendError> {
        let adopted = self.adopter.hand_over(stream.into(), true, value, received);
        // The place went with the command, if it went.
        self.has_place = adopted.is_err();
        adopted
    }
}

impl<V: Send + 'static> Drop for Admission<V> {
    fn drop(&mut self) {
        if self.has_place {
            self.adopter.shared.give_session_place_back();
        }
    }
}

impl<V: Send + 'static> fmt::Debug for Admission<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

/// A connection that can be adopted: a stream of TCP or of a Unix socket.
///
/// It has nothing between the program and the kernel: what TLS or another layer wraps cannot be one.
#[derive(Debug)]
pub struct Stream(OwnedFd);

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self(stream.into())
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self(stream.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DriverChoice, Handler, Message, Running, Server, Session};

    struct Nothing;

    impl Handler for Nothing {
        type Value = u32;

        fn on_message(&mut self, _session: &mut Session<'_, u32>, _message: Message<'_>) {}
    }

    fn start(options: Options) -> Running<u32> {
        let options = options.driver(DriverChoice::Epoll).shards(1);
        Server::adopting(options).unwrap().start(|_| Nothing).unwrap()
    }

    fn admit(adopter: &Adopter<u32>, more: &[(&str, &str)]) -> Result<Admission<u32>, Refusal> {
        let fields = [
            ("host", "example.org"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        // A later value takes the place of an earlier one.
        let kept = fields.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let fields = kept.chain(more).map(|(name, value)| (*name, value.as_bytes()));
        let head = RequestHead::from_parts("GET", "/ws", 1, fields).unwrap();
        adopter.admit(&head, None)
    }

    #[test]
    fn refusals_are_those_of_the_engine_and_are_counted() {
        let running = start(Options::default().origins(["https://example.org"]));
        let adopter = running.adopter();
        assert!(admit(&adopter, &[("origin", "https://example.org")]).is_ok());
        assert_eq!(admit(&adopter, &[("origin", "https://elsewhere.org")]).unwrap_err().status, 403);
        assert_eq!(admit(&adopter, &[("upgrade", "h2c")]).unwrap_err().status, 400);
        assert_eq!(admit(&adopter, &[("sec-websocket-version", "8")]).unwrap_err().status, 426);
        let total = running.stats().total;
        let counts = [total.refused_origin, total.refused_malformed, total.refused_version];
        assert_eq!(counts, [1, 1, 1]);
    }

    #[test]
    fn a_server_that_only_adopts_listens_nowhere() {
        let running = start(Options::default());
        assert_eq!(running.address(), NO_ADDRESS);
        assert!(Server::adopting(Options::default().queue_size(0)).is_err());
    }

    #[test]
    fn who_writes_no_on_auth_lets_nobody_in() {
        use std::io::{Read, Write};
        let server = Server::bind_with("127.0.0.1:0", Options::default().driver(DriverChoice::Epoll));
        let running = server.unwrap().start(|_| Nothing).unwrap();
        let mut client = TcpStream::connect(running.address()).unwrap();
        let request = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 403 ") && response.contains("on_auth"), "{response}");
    }

    #[test]
    fn an_admission_is_a_place_until_it_is_dropped() {
        let running = start(Options::default().sessions_max(1));
        let adopter = running.adopter();
        let admission = admit(&adopter, &[]).unwrap();
        assert_eq!(&admission.accept_key(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let refusal = admit(&adopter, &[]).unwrap_err();
        assert_eq!((refusal.status, refusal.header), (503, Some(("Retry-After", "5"))));
        drop(admission);
        assert!(admit(&adopter, &[]).is_ok());
        assert_eq!(running.stats().total.refused_capacity, 1);
    }

    #[test]
    fn an_adopted_session_has_the_place_of_its_admission_and_gives_it_back() {
        let running = start(Options::default().sessions_max(1));
        let adopter = running.adopter();
        for _ in 0..3 {
            // The shard gives the place back in a later turn than the one in which it ends the session.
            let admission = loop {
                match admit(&adopter, &[]) {
                    Ok(admission) => break admission,
                    Err(_) => std::thread::yield_now(),
                }
            };
            let (ours, theirs) = UnixStream::pair().unwrap();
            admission.adopt(theirs, 1, Vec::new()).unwrap();
            while running.publisher().session_count() == 0 {
                std::thread::yield_now();
            }
            assert!(admit(&adopter, &[]).is_err(), "its place is taken");
            drop(ours);
        }
        assert_eq!(running.stats().total.connections_adopted, 3);
    }

    #[test]
    fn nothing_is_adopted_when_the_server_has_ended() {
        let running = start(Options::default());
        let adopter = running.adopter();
        let admission = admit(&adopter, &[]).unwrap();
        running.drain(Duration::from_secs(5));
        assert_eq!(admit(&adopter, &[]).unwrap_err().status, 503);
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        assert_eq!(admission.adopt(theirs, 1, Vec::new()), Err(SendError::Closed));
        assert_eq!(std::io::Read::read(&mut ours, &mut [0; 1]).unwrap(), 0, "it is closed");
    }
}
