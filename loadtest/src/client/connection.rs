//! Connections: one WebSocket, client side.
//!
//! In      an endpoint and the number of the connection
//! Out     messages received, as slices of a buffer that many connections share
//! Bounds  `STEP_WAIT` for each step of opening; `MESSAGE_BYTES_MAX` per message
//! Source  RFC 6455 section 4.1 (client handshake), 5.3 (masking), 5.5.2 (ping)

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use fanwire_ws::{
    Budget, ClientRequest, ClientResponse, CloseCode, CloseFrame, DecodeError, Decoder, Event, Kind, Opcode,
    ResponseError, Role, Rules, encode_frame,
};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use socket2::{Domain, Socket, Type};

use super::{
    endpoint::{Endpoint, ports_per_source},
    envelope::{Envelope, Incoming},
};

/// Opens connections to one endpoint.
#[derive(Clone, Debug)]
pub struct Opener {
    endpoint: Endpoint,
    ports_per_source: usize,
}

impl Opener {
    /// For this endpoint.
    ///
    /// # Errors
    /// The kernel's port range cannot be read.
    pub fn new(endpoint: Endpoint) -> io::Result<Self> {
        Ok(Self { endpoint, ports_per_source: ports_per_source()? })
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// Whatever the system or the server has against it.
    pub fn open(&self, number: usize) -> Result<Connection, OpenError> {
        let stream = self.connect(number).map_err(|error| self.connect_error(number, error))?;
        let mut connection = Connection {
            stream,
            decoder: Decoder::new(),
            budget: Budget::new(MESSAGE_BYTES_MAX),
            early: Vec::new(),
        };
        connection.shake_hands(&self.endpoint.host, &self.endpoint.target(number))?;
        Ok(connection)
    }

    fn connect(&self, number: usize) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.endpoint.address), Type::STREAM, None)?;
        if let Some(source) = self.endpoint.source(number, self.ports_per_source) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(STEP_WAIT))?;
        socket.set_write_timeout(Some(STEP_WAIT))?;
        socket.connect_timeout(&self.endpoint.address.into(), STEP_WAIT)?;
        Ok(socket.into())
    }

    fn connect_error(&self, number: usize, error: io::Error) -> OpenError {
        let address = self.endpoint.address;
        match error.kind() {
            io::ErrorKind::ConnectionRefused => OpenError::Refused { address },
            _ => OpenError::Connect { address, number, error },
        }
    }
}

/// An open WebSocket. Its socket blocks, except in `receive`.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    budget: Budget,
    /// Bytes that came with the handshake's answer, until `receive` decodes them.
    early: Vec<u8>,
}

impl Connection {
    /// Subscribes, and waits until the subscription is in force.
    ///
    /// # Errors
    /// The server refuses, ends the connection, or does not answer in time.
    pub fn subscribe(&mut self, envelope: &Envelope) -> Result<(), OpenError> {
        self.send(Kind::Text, envelope.subscribe()).map_err(OpenError::Socket)?;
        let mut buffer = vec![0; 4096];
        let mut answer = None;
        while answer.is_none() {
            self.wait_readable()?;
            self.receive(&mut buffer, |message| match envelope.read(message) {
                Incoming::Subscribed => answer = Some(Ok(())),
                Incoming::Error(text) => answer = Some(Err(OpenError::Subscribe { text: text.to_owned() })),
                Incoming::Delivery(_) | Incoming::Other => {}
            })?;
        }
        answer.unwrap_or(Ok(()))
    }

    /// Sends one message, masked; blocks until the kernel has it.
    ///
    /// # Errors
    /// The connection has ended, or the server does not read.
    pub fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, kind.opcode(), Some(random()?), payload);
        self.send_encoded(&frame)
    }

    /// Sends frames that are encoded already.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_encoded(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames)
    }

    /// Reads once, without waiting, and hands over each message that is now whole. Pings are answered.
    ///
    /// # Errors
    /// The connection has ended, or what came is no WebSocket.
    pub fn receive(&mut self, buffer: &mut [u8], mut on_message: impl FnMut(&[u8])) -> Result<(), Ended> {
        if !self.early.is_empty() {
            let mut early = std::mem::take(&mut self.early);
            self.decode(&mut early, &mut on_message)?;
        }
        match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Ended::Eof),
            Ok((count, _)) => self.decode(&mut buffer[..count], &mut on_message),
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(Ended::Socket(error.into())),
        }
    }

    fn decode(&mut self, mut bytes: &mut [u8], on_message: &mut impl FnMut(&[u8])) -> Result<(), Ended> {
        loop {
            let (consumed, event) = self.decoder.decode(&RULES, &mut self.budget, bytes);
            match event? {
                Event::Partial => return Ok(()),
                Event::Message { payload, .. } => on_message(payload),
                Event::Ping(payload) => {
                    let mut pong = Vec::new();
                    encode_frame(&mut pong, true, Opcode::Pong, Some(random()?), payload);
                    self.stream.write_all(&pong)?;
                }
                Event::Pong(_) => {}
                Event::Close(frame) => return Err(Ended::closed(frame)),
            }
            bytes = &mut bytes[consumed..];
        }
    }

    fn shake_hands(&mut self, host: &str, target: &str) -> Result<(), OpenError> {
        let key = random().map_err(OpenError::Socket)?;
        let mut request = Vec::new();
        ClientRequest { host, target, key, origin: None, protocols: &[], headers: &[] }.write(&mut request);
        self.stream.write_all(&request).map_err(OpenError::Socket)?;
        let mut received = Vec::with_capacity(1024);
        loop {
            let mut part = [0; 1024];
            match self.stream.read(&mut part) {
                Ok(0) => return Err(OpenError::Ended(Ended::Eof)),
                Ok(count) => received.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(OpenError::Silent),
                Err(error) => return Err(OpenError::Socket(error)),
            }
            if let Some((response, head_bytes)) = ClientResponse::parse(&received, &key)? {
                if !response.is_accepted() {
                    let said = String::from_utf8_lossy(&received[head_bytes..]).trim().to_owned();
                    return Err(OpenError::Status { status: response.status(), said });
                }
                self.early = received.split_off(head_bytes);
                return Ok(());
            }
        }
    }

    fn wait_readable(&self) -> Result<(), OpenError> {
        if !self.early.is_empty() {
            return Ok(());
        }
        match self.stream.peek(&mut [0]) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(OpenError::Silent),
            Err(error) => Err(OpenError::Socket(error)),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nobody listens there.
    #[error("nothing listens on {address}: start the server, or look at --url")]
    Refused {
        /// Tried.
        address: SocketAddr,
    },
    /// The system could not connect.
    #[error("connection {number} to {address}: {error}")]
    Connect {
        /// Tried.
        address: SocketAddr,
        /// Which connection.
        number: usize,
        /// What it said.
        #[source]
        error: io::Error,
    },
    /// The server answered with another status than 101.
    #[error("the server refused the handshake with {status}: {said}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The body's start.
        said: String,
    },
    /// The server's answer is no acceptance.
    #[error("handshake: {0}")]
    Handshake(#[from] ResponseError),
    /// The server does not let us subscribe.
    #[error("the server refused to subscribe: {text}")]
    Subscribe {
        /// What it said.
        text: String,
    },
    /// No answer.
    #[error("the server did not answer within {} s", STEP_WAIT.as_secs())]
    Silent,
    /// The connection ended before it was ready.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// A system call failed.
    #[error("socket: {0}")]
    Socket(#[source] io::Error),
    /// The run was interrupted, or has failed elsewhere.
    #[error("interrupted before all connections were open")]
    Interrupted,
}

/// Why an open connection is none any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The server sent a close frame.
    #[error("closed by the server with code {code} {reason}")]
    Closed {
        /// 1005 if it gave none.
        code: u16,
        /// In words; may be empty.
        reason: String,
    },
    /// The stream ended.
    #[error("the server ended the connection without a close frame")]
    Eof,
    /// What came is no WebSocket.
    #[error("the server broke the protocol: {0}")]
    Decode(#[from] DecodeError),
    /// A system call failed, as when the server resets.
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
}

impl Ended {
    /// The close code that this end counts as; `None` if it is not the server's choice but its fault.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Closed { code, .. } => Some(*code),
            // RFC 6455 s7.1.5: 1006 stands for an end without a close frame, and so for a reset.
            Self::Eof | Self::Socket(_) => Some(CloseCode::ABNORMAL.value()),
            Self::Decode(_) => None,
        }
    }

    fn closed(frame: Option<CloseFrame<'_>>) -> Self {
        let (code, reason) = frame.map_or((1005, ""), |frame| (frame.code.value(), frame.reason));
        Self::Closed { code, reason: reason.to_owned() }
    }
}

/// Random bytes: a handshake key, a mask.
///
/// # Errors
/// The system has none.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

const RULES: Rules = Rules { role: Role::Client, message_bytes_max: MESSAGE_BYTES_MAX };

/// Room for the largest payload and its envelope.
const MESSAGE_BYTES_MAX: u64 = 32 << 20;

/// Connecting, the handshake's answer and a subscription's may each take this long.
const STEP_WAIT: Duration = Duration::from_secs(10);
