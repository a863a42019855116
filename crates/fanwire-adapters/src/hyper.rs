//! hyper: any service of hyper 1 answers a WebSocket request, and the connection becomes a session.
//!
//! In      requests as hyper has read them
//! Out     the response to return; when hyper has sent it, the socket goes to the server
//! Bounds  one short task per upgrade, which ends with it, after `handshake_timeout` at the latest
//! Source  RFC 6455 section 4.2; hyper's `upgrade` module
//!
//! ```
//! # mod example {
//! use std::convert::Infallible;
//!
//! use fanwire::Adopter;
//! use fanwire_adapters::hyper::Upgrade;
//! use http_body_util::Full;
//! use hyper::{Request, Response, body::{Bytes, Incoming}};
//!
//! async fn serve(
//!     mut request: Request<Incoming>,
//!     adopter: Adopter<String>,
//! ) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(match Upgrade::new(&mut request, &adopter, None) {
//!         Ok(upgrade) => upgrade.accept("ada".to_owned()),
//!         Err(refused) => refused.into_response(),
//!     })
//! }
//! # }
//! ```
//! Serve the connection with upgrades (`serve_connection(…).with_upgrades()`, or hyper-util's
//! `serve_connection_with_upgrades`), on a `TokioIo` around tokio's `TcpStream` or `UnixStream` itself.

use std::{fmt, future::poll_fn, io, net::SocketAddr, pin::Pin, time::Duration};

use ::hyper::{
    HeaderMap, Method, Request, Response, Uri, Version,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
    http::Extensions,
    rt::Write,
    upgrade::{OnUpgrade, Upgraded},
};
use ::tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use fanwire::{Admission, Adopter, Refusal, RequestHead};
use fanwire_ws::{CloseCode, encode_close, is_header_name};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};

use crate::{AdoptError, transport::sealed::Stream as _};

/// A WebSocket request that the server would take: a place for its session is kept.
pub struct Upgrade<V: Send + 'static> {
    on_upgrade: OnUpgrade,
    admission: Admission<V>,
    time_max: Duration,
    /// Those that the client offers, with commas between them.
    offered: String,
    protocol: Option<HeaderValue>,
    on_failure: OnFailure,
}

type OnFailure = Box<dyn FnOnce(AdoptError) + Send>;

impl<V: Send + 'static> Upgrade<V> {
    /// Checks a request as the server does its own: RFC 6455 section 4.2.1, the origin, room for a session, a
    /// drain. The path and who may come in are the caller's. `peer` is what `check_origin` gets to see.
    ///
    /// # Errors
    /// The answer to return instead: 405, 400, 426, 403, 503; or 500 if hyper cannot give this connection
    /// away.
    pub fn new<B>(
        request: &mut Request<B>,
        adopter: &Adopter<V>,
        peer: Option<SocketAddr>,
    ) -> Result<Self, Refused> {
        let on_upgrade = request.extensions_mut().remove();
        let (method, uri, fields) = (request.method(), request.uri(), request.headers());
        Self::check(method, uri, request.version(), fields, on_upgrade, adopter, peer)
    }

    /// The same for a request that was taken apart. Its `extensions` have what hyper put there.
    ///
    /// # Errors
    /// As [`Upgrade::new`].
    pub fn from_parts(
        parts: &mut ::hyper::http::request::Parts,
        adopter: &Adopter<V>,
        peer: Option<SocketAddr>,
    ) -> Result<Self, Refused> {
        let on_upgrade = Extensions::remove(&mut parts.extensions);
        Self::check(&parts.method, &parts.uri, parts.version, &parts.headers, on_upgrade, adopter, peer)
    }

    fn check(
        method: &Method,
        uri: &Uri,
        version: Version,
        fields: &HeaderMap,
        on_upgrade: Option<OnUpgrade>,
        adopter: &Adopter<V>,
        peer: Option<SocketAddr>,
    ) -> Result<Self, Refused> {
        let refused = |refusal| {
            adopter.count(&refusal);
            Refused(refusal)
        };
        let minor = match version {
            Version::HTTP_10 => 0,
            Version::HTTP_11 => 1,
            _ => return Err(refused(Refusal::new(400, "a WebSocket opens with HTTP/1.1 here\n"))),
        };
        let target = uri.to_string();
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let head = RequestHead::from_parts(method.as_str(), &target, minor, fields)
            .map_err(|error| refused(error.refusal()))?;
        let admission = adopter.admit(&head, peer).map_err(Refused)?;
        let Some(on_upgrade) = on_upgrade else {
            tracing::error!("no connection to hand over: serve it by hyper, with upgrades");
            return Err(Refused(Refusal::new(500, "this server cannot hand connections over\n")));
        };
        Ok(Self {
            on_upgrade,
            admission,
            time_max: adopter.handshake_timeout(),
            offered: head.protocols().collect::<Vec<_>>().join(","),
            protocol: None,
            on_failure: Box::new(|error| tracing::warn!(%error, "a connection was not adopted")),
        })
    }

    /// The subprotocols that the client offers, the one it likes best first.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.offered.split(',').filter(|name| !name.is_empty())
    }

    /// Chooses one of the subprotocols that the client offered. One that it did not offer is not sent, since
    /// the client would have to fail the connection (RFC 6455 section 4.1).
    #[must_use]
    pub fn protocol(mut self, name: &str) -> Self {
        let is_offered = is_header_name(name) && self.protocols().any(|offered| offered == name);
        self.protocol = HeaderValue::from_str(name).ok().filter(|_| is_offered);
        self
    }

    /// What to do if the connection does not become a session after all, instead of a line in the log.
    #[must_use]
    pub fn on_failure(mut self, act: impl FnOnce(AdoptError) + Send + 'static) -> Self {
        self.on_failure = Box::new(act);
        self
    }

    /// The response to return: 101. When hyper has sent it, the session opens with `value`; what the client
    /// has sent ahead comes first.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn accept<B: From<&'static str>>(self, value: V) -> Response<B> {
        let Self { on_upgrade, admission, time_max, protocol, on_failure, .. } = self;
        let accept_key = HeaderValue::from_bytes(&admission.accept_key()).expect("base64 is ASCII");
        ::tokio::spawn(async move {
            let adopted = match timeout(time_max, on_upgrade).await {
                Ok(Ok(upgraded)) => hand_over(upgraded, admission, value).await,
                Ok(Err(error)) => Err(AdoptError::Upgrade(error)),
                Err(_) => Err(AdoptError::Late),
            };
            if let Err(error) = adopted {
                on_failure(error);
            }
        });
        let mut response = Response::new(B::from(""));
        *response.status_mut() = ::hyper::StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept_key);
        if let Some(protocol) = protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

impl<V: Send + 'static> fmt::Debug for Upgrade<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// A request that is refused: the server's own answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub Refusal);

impl Refused {
    /// The response to return.
    pub fn into_response<B: From<&'static str>>(self) -> Response<B> {
        let Self(refusal) = self;
        let mut response = Response::new(B::from(refusal.text));
        *response.status_mut() = ::hyper::StatusCode::from_u16(refusal.status).expect("it is an HTTP status");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        for (name, value) in refusal.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("it is a header's name");
            headers.append(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        AdoptError::Refused(self.0).fmt(f)
    }
}

impl std::error::Error for Refused {}

async fn hand_over<V: Send + 'static>(
    upgraded: Upgraded,
    admission: Admission<V>,
    value: V,
) -> Result<(), AdoptError> {
    match socket_of(upgraded) {
        Ok(Socket { stream, received }) => Ok(admission.adopt(stream?, value, received.to_vec())?),
        Err(upgraded) => {
            // The client has its 101, and is told why nothing follows.
            let _ = timeout(CLOSE_TIME, close(upgraded)).await;
            Err(AdoptError::Wrapped)
        }
    }
}

/// A socket that has left tokio, and what hyper had read from it behind the request.
struct Socket {
    stream: io::Result<fanwire::Stream>,
    received: Bytes,
}

/// Takes the socket out of hyper, whichever of its servers it was in.
fn socket_of(upgraded: Upgraded) -> Result<Socket, Upgraded> {
    macro_rules! of {
        ($parts:expr) => {{
            let parts = $parts;
            Socket { stream: parts.io.into_inner().leave(), received: parts.read_buf }
        }};
    }
    let upgraded = match downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => return Ok(of!(parts)),
        Err(upgraded) => upgraded,
    };
    let upgraded = match downcast::<TokioIo<UnixStream>>(upgraded) {
        Ok(parts) => return Ok(of!(parts)),
        Err(upgraded) => upgraded,
    };
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Ok(of!(parts)),
        Err(upgraded) => upgraded,
    };
    upgraded.downcast::<TokioIo<UnixStream>>().map(|parts| of!(parts))
}

/// Says 1011 by whatever is around the socket.
async fn close(mut upgraded: Upgraded) -> io::Result<()> {
    let mut frame = Vec::new();
    encode_close(
        &mut frame,
        None,
        CloseCode::INTERNAL_ERROR,
        "this server can serve WebSockets on plain sockets only",
    );
    let mut rest = &*frame;
    while !rest.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut upgraded).poll_write(context, rest)).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = &rest[count..];
    }
    poll_fn(|context| Pin::new(&mut upgraded).poll_flush(context)).await?;
    poll_fn(|context| Pin::new(&mut upgraded).poll_shutdown(context)).await
}

const CLOSE_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use fanwire::{DriverChoice, Handler, Message, Options, Running, Server, Session};

    use super::*;

    struct Nothing;

    impl Handler for Nothing {
        type Value = ();

        fn on_message(&mut self, _session: &mut Session<'_, ()>, _message: Message<'_>) {}
    }

    fn start() -> Running<()> {
        let options = Options::default().driver(DriverChoice::Epoll).shards(1).sessions_max(1);
        Server::adopting(options).unwrap().start(|_| Nothing).unwrap()
    }

    fn request(version: Version, websocket_version: &str) -> Request<()> {
        let request = Request::get("/ws")
            .version(version)
            .header("host", "example.org")
            .header("upgrade", "websocket")
            .header("connection", "Upgrade")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-version", websocket_version);
        request.body(()).unwrap()
    }

    fn refused(running: &Running<()>, mut request: Request<()>) -> Response<String> {
        Upgrade::new(&mut request, &running.adopter(), None).unwrap_err().into_response()
    }

    #[test]
    fn a_refusal_has_the_headers_of_the_engine() {
        let response = refused(&start(), request(Version::HTTP_11, "8"));
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        assert_eq!(response.headers()["upgrade"], "websocket");
        assert_eq!(response.body(), "Sec-WebSocket-Version must be 13\n");
    }

    #[test]
    fn http_2_is_refused_and_counted() {
        let running = start();
        let response = refused(&running, request(Version::HTTP_2, "13"));
        assert!(response.status() == 400 && response.body().contains("HTTP/1.1"), "{response:?}");
        assert_eq!(running.stats().total.refused_malformed, 1);
    }

    #[test]
    fn a_request_that_no_connection_belongs_to_is_500_and_takes_no_place() {
        let running = start();
        for _ in 0..2 {
            assert_eq!(refused(&running, request(Version::HTTP_11, "13")).status(), 500);
        }
    }
}
