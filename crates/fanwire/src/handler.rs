//! Hooks: what a user's program decides and hears.
//!
//! In      requests and messages, on the shard's thread
//! Out     accept or refuse, answers to plain requests
//! Bounds  hooks run one at a time per shard and must not block; a ticket's answer comes at most once
//! Source  RFC 6455 sections 4.2 and 7; RFC 7231 for plain responses

use std::{
    borrow::Cow,
    fmt,
    marker::PhantomData,
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use fanwire_ws::{RequestHead, is_header_name, is_header_value};

use crate::{
    close::CloseReason,
    codec::Message,
    driver::Key,
    session::Session,
    shared::{Command, Shared},
};

/// A program on top of Fanwire: one value per shard, so `&mut self` needs no locks.
///
/// Hooks run on the shard's thread, one after the other, never inside another hook and never during a fan-out:
/// what they send, publish and close is queued. They must not block; for slow decisions there is
/// [`Auth::later`], for slow work a thread of yours and a [`SessionHandle`](crate::SessionHandle). A hook that
/// panics closes its session with 1011; the shard lives on.
pub trait Handler: Send + 'static {
    /// What `on_auth` stores with a session. It lives and dies on the session's shard.
    type Value: Send + 'static;

    /// Decides about a WebSocket request whose form and origin are in order. Unless you write it, nobody is let in:
    /// right for a server all of whose connections are adopted.
    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<Self::Value> {
        Auth::reject(
            403,
            "this server takes no connections of its own: write Handler::on_auth to change that\n",
        )
    }

    /// The session is open; what is sent here follows the handshake response.
    fn on_open(&mut self, _session: &mut Session<'_, Self::Value>) {}

    /// A message came whose form the codec understands.
    fn on_message(&mut self, session: &mut Session<'_, Self::Value>, message: Message<'_>);

    /// The session has ended; called exactly once for each session that was opened. It has already left its
    /// topics (`topics()` still lists them) and the session count; `send` gives `Closed`.
    fn on_close(&mut self, _session: &mut Session<'_, Self::Value>, _why: &CloseReason) {}

    /// A request for another path than the WebSocket's. The connection is closed after the response.
    fn on_http(&mut self, _request: &Request<'_>) -> Http {
        Http::not_found()
    }
}

/// A request head, and who sent it.
pub struct Request<'a> {
    head: &'a RequestHead<'a>,
    peer: SocketAddr,
    parking: Parking<'a>,
}

/// Where a ticket for this request must be answered.
#[derive(Clone, Copy)]
struct Parking<'a> {
    shared: &'a Arc<Shared>,
    shard: u16,
    key: Key,
}

impl<'a> Request<'a> {
    pub(crate) fn new(
        head: &'a RequestHead<'a>,
        peer: SocketAddr,
        shared: &'a Arc<Shared>,
        shard: u16,
        key: Key,
    ) -> Self {
        Self { head, peer, parking: Parking { shared, shard, key } }
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &'a str {
        self.head.method()
    }

    /// The target's path, without the query, as it came (not percent-decoded).
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// The first value of this name in the query, decoded. `None` if it is absent or not UTF-8.
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        self.head.query_value(name)
    }

    /// The whole query, as it came.
    pub fn query_string(&self) -> Option<&'a str> {
        self.head.query()
    }

    /// The first header of this name, in any case. `None` if it is absent or not UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.head.header(name)?).ok()
    }

    /// All headers in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        self.head.headers()
    }

    /// The subprotocols that the client offers, in its order.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.head.protocols()
    }

    /// The peer's address. Behind proxies it is the one that the PROXY header names, if the listener expects one
    /// ([`Listen::behind`](crate::Listen::behind)), else the proxy's own. `0.0.0.0:0` of a Unix socket's.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method()).field("path", &self.path()).finish()
    }
}

/// The answer of `on_auth`.
#[derive(Debug)]
pub struct Auth<V> {
    pub(crate) verdict: Verdict<V>,
}

#[derive(Debug)]
pub(crate) enum Verdict<V> {
    Accept { value: V, protocol: Option<String> },
    Reject { status: u16, text: String },
    Later,
}

impl<V> Auth<V> {
    /// Opens the session with this value.
    pub fn accept(value: V) -> Self {
        Self { verdict: Verdict::Accept { value, protocol: None } }
    }

    /// Chooses one of the subprotocols that the client offered. One that it did not offer is not sent, since the
    /// client would have to fail the connection (RFC 6455 section 4.1).
    #[must_use]
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        if let Verdict::Accept { protocol, .. } = &mut self.verdict {
            *protocol = Some(name.into());
        }
        self
    }

    /// Refuses with this status (400 to 599; anything else becomes 401) and a short text for a person.
    pub fn reject(status: u16, text: impl Into<String>) -> Self {
        let status = if (400..=599).contains(&status) { status } else { 401 };
        Self { verdict: Verdict::Reject { status, text: text.into() } }
    }
}

impl<V: Send + 'static> Auth<V> {
    /// Parks the handshake without blocking the shard: return the `Auth`, and answer the ticket from any thread
    /// within `handshake_timeout`.
    ///
    /// ```
    /// # use fanwire::{Auth, Request};
    /// fn on_auth(request: &Request<'_>) -> Auth<String> {
    ///     let (auth, ticket) = Auth::later(request);
    ///     std::thread::spawn(move || ticket.answer(Auth::accept("somebody".to_owned())));
    ///     auth
    /// }
    /// ```
    pub fn later(request: &Request<'_>) -> (Self, Ticket<V>) {
        let Parking { shared, shard, key } = request.parking;
        let ticket = Ticket { shared: shared.clone(), shard, key, answered: false, value: PhantomData };
        (Self { verdict: Verdict::Later }, ticket)
    }
}

/// The right to answer a parked handshake, from any thread or runtime. Dropped unanswered, the request is refused
/// with 503. It dies with its connection: an answer that comes too late is dropped, its value with it.
pub struct Ticket<V: Send + 'static> {
    shared: Arc<Shared>,
    shard: u16,
    key: Key,
    answered: bool,
    value: PhantomData<fn(V)>,
}

impl<V: Send + 'static> Ticket<V> {
    /// Lets the session in or refuses it. Never blocks.
    pub fn answer(mut self, auth: Auth<V>) {
        self.send(auth);
    }

    fn send(&mut self, auth: Auth<V>) {
        self.answered = true;
        let command = Command::Answer { key: self.key, auth: Box::new(auth) };
        self.shared.answer(self.shard.into(), command);
    }
}

impl<V: Send + 'static> Drop for Ticket<V> {
    fn drop(&mut self) {
        if !self.answered {
            self.send(Auth::reject(503, "nobody decided about this request, try again later"));
        }
    }
}

impl<V: Send + 'static> fmt::Debug for Ticket<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("shard", &self.shard).field("key", &self.key).finish_non_exhaustive()
    }
}

/// The answer to a plain HTTP request: small, and the connection's last.
pub struct Http {
    pub(crate) answer: HttpAnswer,
}

pub(crate) enum HttpAnswer {
    Response { status: u16, content_type: &'static str, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    TakeOver(TakeOver),
}

pub(crate) type TakeOver = Box<dyn FnOnce(TcpStream, Vec<u8>, SocketAddr) + Send>;

impl Http {
    /// A plain-text answer.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into())
    }

    /// A page.
    pub fn html(page: impl Into<String>) -> Self {
        Self::new(200, "text/html; charset=utf-8", page.into())
    }

    /// Any body.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { answer: HttpAnswer::Response { status, content_type, headers: Vec::new(), body: body.into() } }
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::text(404, "not found")
    }

    /// Adds a header. One whose name or value HTTP does not allow is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if let HttpAnswer::Response { headers, .. } = &mut self.answer
            && is_header_name(name)
            && is_header_value(&value)
        {
            headers.push((name, value));
        }
        self
    }

    /// Takes the connection out of Fanwire: `take` gets the socket (non-blocking), the bytes read from it so far
    /// (the head included, a PROXY header left out) and the peer. That of a Unix socket is a `TcpStream` as well,
    /// which reads and writes as one but refuses options of TCP. It runs on the shard's thread and must not block: hand them to whoever
    /// goes on.
    pub fn take_over(take: impl FnOnce(TcpStream, Vec<u8>, SocketAddr) + Send + 'static) -> Self {
        Self { answer: HttpAnswer::TakeOver(Box::new(take)) }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            HttpAnswer::Response { status, .. } => f.debug_struct("Http").field("status", status).finish(),
            HttpAnswer::TakeOver(_) => f.write_str("Http::take_over"),
        }
    }
}
