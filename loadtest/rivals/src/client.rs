//! A client that checks: one message at a time, with a limit on every wait.
//!
//! In      an address and a path
//! Out     what comes, in order
//! Bounds  `WAIT` for each read and write
//! Source  RFC 6455 through fanwire-ws
#![expect(clippy::missing_errors_doc, reason = "all are: the socket failed, or nothing came within WAIT")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use fanwire_ws::{
    Budget, ClientRequest, ClientResponse, Decoder, Event, Kind, Opcode, Role, Rules, encode_frame,
};

use crate::MESSAGE_BYTES_MAX;

/// Where a server listens, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    address: SocketAddr,
    /// What stands before `/sub` in a request.
    prefix: String,
}

impl Place {
    /// The one in a line that has `ws://ADDRESS:PORT[PREFIX]`.
    #[must_use]
    pub fn in_line(line: &str) -> Option<Self> {
        let url = line.split_once("ws://")?.1.split_whitespace().next()?;
        let (address, prefix) = url.split_at(url.find('/').unwrap_or(url.len()));
        Some(Self { address: address.parse().ok()?, prefix: prefix.to_owned() })
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    decoder: Decoder,
    budget: Budget,
    buffer: Vec<u8>,
    /// What of the buffer was read, less what was decoded.
    rest: std::ops::Range<usize>,
}

/// What comes.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message.
    Message(Kind, Vec<u8>),
    /// The answer to a ping.
    Pong,
    /// A close frame, or the connection's end without one.
    End,
}

impl Client {
    /// Opens a WebSocket, and waits for the answer to a ping: from then on it is subscribed.
    pub fn open(place: &Place, path: &str) -> io::Result<Self> {
        let mut client = Self::connect(place, path)?;
        client.expect_silence()?;
        Ok(client)
    }

    /// Opens a WebSocket.
    pub fn connect(place: &Place, path: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&place.address, WAIT)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        stream.set_nodelay(true)?;
        let mut request = Vec::new();
        let (host, target) = (&place.address.to_string(), &format!("{}{path}", place.prefix));
        ClientRequest { host, target, key: KEY, origin: None, protocols: &[], headers: &[] }
            .write(&mut request);
        stream.write_all(&request)?;
        let (mut buffer, mut read) = (vec![0; BUFFER_BYTES], 0);
        let head_bytes = loop {
            match stream.read(&mut buffer[read..])? {
                0 => return Err(invalid(format!("{path}: the connection ends during the handshake"))),
                count => read += count,
            }
            match ClientResponse::parse(&buffer[..read], &KEY).map_err(invalid)? {
                Some((response, head_bytes)) if response.is_accepted() => break head_bytes,
                Some(_) => return Err(invalid(format!("{path} is refused"))),
                None => {}
            }
        };
        let budget = Budget::new(4 * MESSAGE_BYTES_MAX as u64);
        Ok(Self { stream, decoder: Decoder::new(), budget, buffer, rest: head_bytes..read })
    }

    /// Another handle for sending.
    pub fn sender(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Pings, and demands that nothing comes before the answer.
    pub fn expect_silence(&mut self) -> io::Result<()> {
        let mut ping = Vec::new();
        encode_frame(&mut ping, true, Opcode::Ping, Some(MASK), b"there?");
        self.stream.write_all(&ping)?;
        match self.receive()? {
            Incoming::Pong => Ok(()),
            Incoming::Message(_, payload) => {
                Err(invalid(format!("{} bytes came that nobody sent here", payload.len())))
            }
            Incoming::End => Err(invalid("the connection ends instead of answering a ping")),
        }
    }

    /// Waits for what comes next.
    pub fn receive(&mut self) -> io::Result<Incoming> {
        loop {
            let input = &mut self.buffer[self.rest.clone()];
            let (consumed, event) = self.decoder.decode(&RULES, &mut self.budget, input);
            let incoming = match event.map_err(invalid)? {
                Event::Partial => None,
                Event::Message { kind, payload } => Some(Incoming::Message(kind, payload.to_vec())),
                Event::Pong(_) => Some(Incoming::Pong),
                Event::Close(_) => Some(Incoming::End),
                Event::Ping(_) => return Err(invalid("a ping, though the contract has none")),
            };
            self.rest.start += consumed;
            if let Some(incoming) = incoming {
                return Ok(incoming);
            }
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Ok(Incoming::End),
                Ok(count) => self.rest = 0..count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Incoming::End),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Appends a message as a client sends it.
pub fn encode_message(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    encode_frame(out, true, kind.opcode(), Some(MASK), payload);
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// How long anything may take.
pub const WAIT: Duration = Duration::from_secs(20);

const RULES: Rules = Rules { role: Role::Client, message_bytes_max: MESSAGE_BYTES_MAX as u64 };

const KEY: [u8; 16] = *b"fanwire's rivals";

/// Nobody has to be kept from guessing it here.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

const BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_in_what_servers_print() {
        let place = |port, prefix: &str| {
            Some(Place { address: SocketAddr::from(([127, 0, 0, 1], port)), prefix: prefix.to_owned() })
        };
        assert_eq!(Place::in_line("listening on ws://127.0.0.1:80"), place(80, ""));
        assert_eq!(Place::in_line("listening on ws://127.0.0.1:9/ws?role="), place(9, "/ws?role="));
        assert_eq!(Place::in_line("on ws://127.0.0.1:80 now"), place(80, ""));
        assert_eq!(Place::in_line("ws://here"), None);
    }
}
