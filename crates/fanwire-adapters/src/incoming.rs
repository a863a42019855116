//! Incoming connections: reads a request, and answers it or has it adopted.
//!
//! In      a stream that was just accepted
//! Out     its request; then a session, or an answer that ends the connection
//! Bounds  the server's `head_bytes_max` and `handshake_timeout`; an answer takes `ANSWER_TIME` at most, and
//!         `DISCARD_BYTES_MAX` are read of what still comes
//! Source  RFC 6455 sections 4.2 and 7.1.1; RFC 7230 section 6.6 for closing without a reset

use std::{io, net::SocketAddr, time::Duration};

use fanwire::{Admission, Adopter, Refusal, RequestHead};
use fanwire_ws::{HeadError, is_header_name, write_accept, write_response};

use crate::{AdoptError, Transport};

/// A connection of tokio, monoio or tokio-uring whose request has been read.
///
/// ```
/// # #[cfg(feature = "tokio")] mod example {
/// use fanwire::Adopter;
/// use fanwire_adapters::{AdoptError, Incoming};
/// use tokio::net::TcpListener;
///
/// async fn accept_all(listener: TcpListener, adopter: Adopter<String>) -> std::io::Result<()> {
///     loop {
///         let (stream, peer) = listener.accept().await?;
///         let adopter = adopter.clone();
///         tokio::spawn(async move {
///             let incoming = Incoming::read(stream, peer, &adopter).await?;
///             if incoming.head().path() != "/ws" {
///                 return incoming.respond(404, "there is only /ws\n").await;
///             }
///             let admitted = incoming.admit().await?;
///             match admitted.head().query_value("name").map(|name| name.into_owned()) {
///                 Some(name) => admitted.accept(name).await,
///                 None => admitted.respond(401, "say who you are: /ws?name=…\n").await,
///             }
///         });
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Incoming<S, V: Send + 'static> {
    stream: S,
    peer: Option<SocketAddr>,
    adopter: Adopter<V>,
    bytes: Vec<u8>,
    /// INVARIANT: so many of `bytes` are a head that parses.
    head_bytes: usize,
}

impl<S: Transport, V: Send + 'static> Incoming<S, V> {
    /// Reads a request's head. `peer` is what the server's `check_origin` gets to see; a Unix stream has
    /// none.
    ///
    /// # Errors
    /// [`AdoptError::Refused`] for what is no sound head, is too large, or is not whole in time: the client
    /// has been told. [`AdoptError::Gone`] and [`AdoptError::Socket`].
    pub async fn read(
        stream: S,
        peer: impl Into<Option<SocketAddr>>,
        adopter: &Adopter<V>,
    ) -> Result<Self, AdoptError> {
        let (peer, adopter) = (peer.into(), adopter.clone());
        let mut incoming = Self { stream, peer, adopter, bytes: Vec::new(), head_bytes: 0 };
        let limit = incoming.adopter.handshake_timeout();
        let refusal = match S::within(limit, incoming.read_head()).await {
            Some(Ok(())) => return Ok(incoming),
            Some(Err(ReadError::Head(error))) => error.refusal(),
            Some(Err(ReadError::Gone)) => return Err(AdoptError::Gone),
            Some(Err(ReadError::Socket(error))) => return Err(error.into()),
            None => Refusal::new(408, "the handshake took too long\n"),
        };
        incoming.adopter.count(&refusal);
        Err(incoming.refuse(refusal, false).await)
    }

    async fn read_head(&mut self) -> Result<(), ReadError> {
        let limits = self.adopter.head_limits();
        loop {
            let chunk = self.stream.receive(CHUNK_BYTES).await?;
            // A head ends with a line: until one has, a peer that sends byte by byte causes no parsing.
            let ends_line = chunk.contains(&b'\n');
            if chunk.is_empty() {
                return Err(ReadError::Gone);
            }
            self.bytes.extend_from_slice(&chunk);
            let is_first = self.bytes.len() == chunk.len();
            if (ends_line || is_first || self.bytes.len() >= limits.bytes_max)
                && let Some((_, head_bytes)) = RequestHead::parse(&self.bytes, &limits)?
            {
                self.head_bytes = head_bytes;
                return Ok(());
            }
        }
    }

    /// The request: path, query, headers, cookies. Cost: it is parsed again at each call.
    pub fn head(&self) -> RequestHead<'_> {
        let parsed = RequestHead::parse(&self.bytes, &self.adopter.head_limits());
        let (head, _) = parsed.ok().flatten().expect("it has been parsed before");
        head
    }

    /// Who is at the other end, as `read` was told.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Checks that it is a WebSocket request which the server would take, and keeps a place for its session.
    ///
    /// # Errors
    /// [`AdoptError::Refused`], after the client has been told: 405, 400, 426, 403 or 503.
    pub async fn admit(self) -> Result<Admitted<S, V>, AdoptError> {
        let (admission, is_head) = {
            let head = self.head();
            (self.adopter.admit(&head, self.peer), head.method() == "HEAD")
        };
        match admission {
            Ok(admission) => Ok(Admitted { incoming: self, admission, protocol: None }),
            Err(refusal) => Err(self.refuse(refusal, is_head).await),
        }
    }

    /// Answers with a status from 200 to 599 (else 500) and a text, then closes the connection: for other
    /// paths, and for who may not come in.
    ///
    /// # Errors
    /// [`AdoptError::Socket`], [`AdoptError::Gone`] if the client does not read its answer.
    pub async fn respond(self, status: u16, text: &str) -> Result<(), AdoptError> {
        let status = if (200..600).contains(&status) { status } else { 500 };
        let is_head = self.head().method() == "HEAD";
        let mut response = Vec::new();
        write_response(&mut response, status, &[], TEXT, text.as_bytes(), is_head);
        self.finish(response).await
    }

    async fn refuse(self, refusal: Refusal, head_only: bool) -> AdoptError {
        let mut response = Vec::new();
        refusal.write(&mut response, head_only);
        // Whether the client has read it makes no difference to the caller.
        let _ = self.finish(response).await;
        AdoptError::Refused(refusal)
    }

    /// Sends the last bytes of a connection, and closes it when the client has read them.
    async fn finish(mut self, response: Vec<u8>) -> Result<(), AdoptError> {
        let stream = &mut self.stream;
        let finished = S::within(ANSWER_TIME, async {
            stream.send(response).await?;
            stream.end().await?;
            // RFC 7230 s6.6: to close with unread input would reset the connection, and the answer be lost.
            let mut discarded = 0;
            while discarded < DISCARD_BYTES_MAX {
                let chunk = stream.receive(CHUNK_BYTES).await?;
                if chunk.is_empty() {
                    break;
                }
                discarded += chunk.len();
            }
            Ok::<_, io::Error>(())
        });
        let finished = finished.await;
        self.stream.cut();
        Ok(finished.ok_or(AdoptError::Gone)??)
    }
}

/// A request that the server would take: answer it.
#[derive(Debug)]
pub struct Admitted<S, V: Send + 'static> {
    incoming: Incoming<S, V>,
    admission: Admission<V>,
    protocol: Option<String>,
}

impl<S: Transport, V: Send + 'static> Admitted<S, V> {
    /// The request.
    pub fn head(&self) -> RequestHead<'_> {
        self.incoming.head()
    }

    /// Who is at the other end, as [`Incoming::read`] was told.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.incoming.peer
    }

    /// Chooses one of the subprotocols that the client offered. One that it did not offer is not sent, since
    /// the client would have to fail the connection (RFC 6455 section 4.1).
    #[must_use]
    pub fn protocol(mut self, name: &str) -> Self {
        let is_offered = is_header_name(name) && self.head().protocols().any(|offered| offered == name);
        self.protocol = is_offered.then(|| name.to_owned());
        self
    }

    /// Answers 101 and hands the connection over. The session opens with `value`; what the client has sent
    /// ahead comes first.
    ///
    /// # Errors
    /// [`AdoptError::Gone`] if the client does not read the answer, [`AdoptError::Socket`],
    /// [`AdoptError::Server`].
    pub async fn accept(self, value: V) -> Result<(), AdoptError> {
        let Self { mut incoming, admission, protocol } = self;
        let mut response = Vec::new();
        let key = incoming.head().header("Sec-WebSocket-Key").unwrap_or_default().to_vec();
        write_accept(&mut response, &key, protocol.as_deref(), &[]);
        S::within(ANSWER_TIME, incoming.stream.send(response)).await.ok_or(AdoptError::Gone)??;
        let received = incoming.bytes.split_off(incoming.head_bytes);
        Ok(admission.adopt(incoming.stream.leave()?, value, received)?)
    }

    /// Refuses after all: see [`Incoming::respond`].
    ///
    /// # Errors
    /// As [`Incoming::respond`].
    pub async fn respond(self, status: u16, text: &str) -> Result<(), AdoptError> {
        drop(self.admission);
        self.incoming.respond(status, text).await
    }
}

/// Why there is no head.
enum ReadError {
    Head(HeadError),
    Gone,
    Socket(io::Error),
}

impl From<HeadError> for ReadError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Most heads come in one piece of this length.
const CHUNK_BYTES: usize = 2048;

/// For an answer to leave, and for the client to close after a refusal.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What a refused client may go on sending.
const DISCARD_BYTES_MAX: usize = 64 << 10;
