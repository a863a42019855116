//! A client, made of the protocol crate: it reads, answers pings, and sees how its connection ends.
//!
//! In      texts to send
//! Out     texts, close frames and ends as they come
//! Bounds  a read that takes longer than `WAIT_MAX` fails the test
//! Source  RFC 6455

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use fanwire_ws::{
    Budget, ClientRequest, ClientResponse, CloseCode, Decoder, Event, Opcode, Role, Rules, encode_close,
    encode_frame,
};

use crate::WAIT_MAX;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    decoder: Decoder,
    budget: Budget,
    /// Read and not yet decoded.
    input: Vec<u8>,
    /// Pings and close frames.
    answers: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    /// A ping, answered unless the client is silent.
    Ping,
    Close(u16),
    Eof,
    Reset,
}

/// An answer other than 101.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    pub(crate) fn try_connect(address: SocketAddr) -> Result<Self, Refused> {
        Self::open(TcpStream::connect(address).unwrap())
    }

    /// Shakes hands on a connection that stands.
    pub(crate) fn open(mut stream: TcpStream) -> Result<Self, Refused> {
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream.set_write_timeout(Some(WAIT_MAX)).unwrap();
        stream.set_nodelay(true).unwrap();
        let host = stream.peer_addr().unwrap().to_string();
        let mut out = Vec::new();
        ClientRequest { host: &host, target: "/ws", key: KEY, origin: None, protocols: &[], headers: &[] }
            .write(&mut out);
        stream.write_all(&out).unwrap();
        let mut input = Vec::new();
        loop {
            if let Some((response, head_bytes)) = ClientResponse::parse(&input, &KEY).unwrap() {
                let status = response.status();
                if status != 101 {
                    let text = String::from_utf8_lossy(&input[..head_bytes]).into_owned();
                    let header = text.lines().find_map(|line| line.strip_prefix("Retry-After: "));
                    return Err(Refused { status, retry_after: header.map(str::to_owned) });
                }
                input.drain(..head_bytes);
                let (decoder, budget) = (Decoder::new(), Budget::new(MESSAGE_BYTES_MAX));
                return Ok(Self { stream, decoder, budget, input, answers: true });
            }
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the server answers before it closes");
            input.extend_from_slice(&buffer[..count]);
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.try_send(text).unwrap();
    }

    pub(crate) fn try_send(&mut self, text: &str) -> std::io::Result<()> {
        let mut out = Vec::new();
        encode_frame(&mut out, true, Opcode::Text, Some(MASK), text.as_bytes());
        self.stream.write_all(&out)
    }

    /// Bytes as they are, frames or not.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        // The server may have heard enough before all have left.
        let _ = self.stream.write_all(bytes);
    }

    /// Subscribes, and waits until it is in force.
    pub(crate) fn subscribe(&mut self, topic: &str) {
        self.send(&format!(r#"{{"topic":"subscribe","data":{{"topic":"{topic}"}}}}"#));
        let answer = format!(r#"{{"topic":"subscribed","data":{{"topic":"{topic}"}}}}"#);
        self.await_text(&answer);
    }

    /// A request that is answered when all before it has been handled.
    pub(crate) fn sync(&mut self) {
        self.send(r#"{"topic":"ping","data":"sync"}"#);
        self.await_text(r#"{"topic":"pong","data":"sync"}"#);
    }

    /// Passes over other messages.
    fn await_text(&mut self, expected: &str) {
        loop {
            match self.receive() {
                Received::Text(text) if text == expected => return,
                Received::Text(_) | Received::Ping => {}
                end => panic!("{end:?} before {expected}"),
            }
        }
    }

    /// What comes next; a close frame is answered.
    pub(crate) fn receive(&mut self) -> Received {
        let rules = Rules { role: Role::Client, message_bytes_max: MESSAGE_BYTES_MAX };
        loop {
            let (consumed, event) = self.decoder.decode(&rules, &mut self.budget, &mut self.input);
            let mut answer = Vec::new();
            let found = match event.unwrap() {
                Event::Message { payload, .. } => {
                    Some(Received::Text(String::from_utf8(payload.to_vec()).unwrap()))
                }
                Event::Ping(payload) => {
                    encode_frame(&mut answer, true, Opcode::Pong, Some(MASK), payload);
                    Some(Received::Ping)
                }
                Event::Close(frame) => {
                    let code = frame.expect("the server says why it closes").code.value();
                    encode_close(&mut answer, Some(MASK), CloseCode::new(code), "");
                    Some(Received::Close(code))
                }
                Event::Pong(_) => panic!("nobody has sent a ping frame"),
                Event::Partial => None,
            };
            self.input.drain(..consumed);
            if self.answers {
                // The server may have gone meanwhile, which the next read tells.
                let _ = self.stream.write_all(&answer);
            }
            match found {
                Some(found) => return found,
                None => match self.read() {
                    Ok(0) => return Received::Eof,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return Received::Reset,
                    Err(error) => panic!("{error}"),
                },
            }
        }
    }

    /// The next that is no ping.
    pub(crate) fn receive_more(&mut self) -> Received {
        loop {
            match self.receive() {
                Received::Ping => {}
                other => return other,
            }
        }
    }

    /// The next that is no ping; from now on it answers neither pings nor close frames.
    pub(crate) fn receive_silently(&mut self) -> Received {
        self.answers = false;
        self.receive_more()
    }

    fn read(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 16 << 10];
        let count = self.stream.read(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

const KEY: [u8; 16] = *b"sixteen bytes ..";

const MASK: [u8; 4] = [1, 2, 3, 4];

const MESSAGE_BYTES_MAX: u64 = 16 << 20;
