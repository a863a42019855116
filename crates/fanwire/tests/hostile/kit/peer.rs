//! One attacker's connection: bytes, without manners.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use fanwire_ws::{
    Budget, ClientRequest, CloseCode, Decoder, Event, Opcode, Role, Rules, encode_close, encode_frame,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;

/// A connection, and what was read of it too early.
pub struct Peer {
    pub stream: TcpStream,
    input: Vec<u8>,
    decoder: Decoder,
    budget: Budget,
}

/// What came, as far as attackers care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    Message(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The end of the stream, in order or not.
    End,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        let start = Instant::now();
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => return Self::of(stream),
                // All ports were used within the last second.
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable && start.elapsed() < PATIENCE => {
                    std::thread::park_timeout(Duration::from_millis(10));
                }
                Err(error) => panic!("the server does not listen: {error}"),
            }
        }
    }

    /// With a receive buffer as small as the kernel allows.
    pub fn connect_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(NARROW_BYTES).unwrap();
        socket.connect(&address.into()).expect("the server listens");
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, input: Vec::new(), decoder: Decoder::new(), budget: Budget::new(64 << 20) }
    }

    /// A session.
    pub fn open(address: SocketAddr) -> Self {
        Self::connect(address).opened()
    }

    /// A session that will not read.
    pub fn open_narrow(address: SocketAddr) -> Self {
        Self::connect_narrow(address).opened()
    }

    fn opened(mut self) -> Self {
        self.send(&request_head("/ws"));
        self.await_open();
        self
    }

    /// Many sessions: all ask before the first answer is looked at.
    pub fn open_many(address: SocketAddr, count: usize) -> Vec<Self> {
        let mut peers = Vec::with_capacity(count);
        while peers.len() < count {
            let part = (count - peers.len()).min(OPEN_AT_ONCE);
            let mut more: Vec<_> = (0..part).map(|_| Self::connect(address)).collect();
            more.iter_mut().for_each(|peer| peer.send(&request_head("/ws")));
            more.iter_mut().for_each(Self::await_open);
            peers.append(&mut more);
        }
        peers
    }

    /// Reads the answer to a request, which must be 101.
    #[track_caller]
    pub fn await_open(&mut self) {
        let head = self.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// Reads the head of a response; what follows is kept.
    #[track_caller]
    pub fn read_head(&mut self) -> String {
        loop {
            if let Some(end) = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let rest = self.input.split_off(end + 4);
                let head = std::mem::replace(&mut self.input, rest);
                return String::from_utf8(head).expect("responses are text");
            }
            assert!(self.read_more(), "the connection ended before a response: {:?}", self.input);
        }
    }

    /// Everything to the end of the stream. `None`: it was reset, or nobody ended it in time.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_more() {}
        std::mem::take(&mut self.input)
    }

    /// Reads once; `false` at the end of the stream, in order or not.
    #[track_caller]
    fn read_more(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(count) => {
                    self.input.extend_from_slice(&bytes[..count]);
                    return true;
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!("nothing came for {PATIENCE:?}"),
                    _ => return false,
                },
            }
        }
    }

    /// The next frame.
    #[track_caller]
    pub fn next(&mut self) -> Came {
        loop {
            if let Some(came) = self.next_ready() {
                return came;
            }
            if !self.read_more() {
                return Came::End;
            }
        }
    }

    /// The next frame, if it has been taken in. Pings are answered on the way.
    #[track_caller]
    pub fn next_ready(&mut self) -> Option<Came> {
        loop {
            let (used, event) = self.decoder.decode(&CLIENT_RULES, &mut self.budget, &mut self.input);
            let mut pong = None;
            let came = match event.expect("the server keeps to the protocol") {
                Event::Partial => None,
                Event::Message { payload, .. } => Some(Came::Message(payload.to_vec())),
                Event::Ping(payload) => {
                    pong = Some(frame(true, Opcode::Pong, payload));
                    None
                }
                Event::Pong(payload) => Some(Came::Pong(payload.to_vec())),
                Event::Close(frame) => Some(Came::Close(frame.map(|frame| frame.code.value()))),
            };
            self.input.drain(..used);
            match pong {
                Some(pong) => self.send(&pong),
                None => return came,
            }
        }
    }

    /// Reads frames until the server closes; its code, if there was a frame.
    #[track_caller]
    pub fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.next() {
                Came::Close(code) => return code,
                Came::End => return None,
                Came::Message(_) | Came::Pong(_) => {}
            }
        }
    }

    /// Sends all of it; what the server no longer takes is lost.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server took no bytes for {PATIENCE:?}")
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Sends what goes at once; `None` if the connection has gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> Option<usize> {
        self.stream.set_nonblocking(true).unwrap();
        let sent = self.stream.write(bytes);
        self.stream.set_nonblocking(false).unwrap();
        match sent {
            Ok(count) => Some(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Some(0),
            Err(_) => None,
        }
    }

    /// Takes in what has come, without waiting; `false` if the connection has ended.
    pub fn take_in(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let mut bytes = [0; 16 << 10];
        let read = self.stream.read(&mut bytes);
        self.stream.set_nonblocking(false).unwrap();
        match read {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    pub fn say(&mut self, topic: &str, data: &str) {
        self.send(&message(topic, data));
    }

    /// Subscribes, and waits until that is done.
    #[track_caller]
    pub fn subscribe(&mut self, topic: &str) {
        self.say("sub", &format!("\"{topic}\""));
        self.echo("subscribed");
    }

    /// Asks for an answer, and waits for it.
    #[track_caller]
    pub fn echo(&mut self, word: &str) {
        self.say("echo", &format!("\"{word}\""));
        self.await_echo(word);
    }

    #[track_caller]
    pub fn await_echo(&mut self, word: &str) {
        let expected = format!(r#"{{"topic":"echo","data":"{word}"}}"#).into_bytes();
        assert_eq!(self.next(), Came::Message(expected));
    }

    /// Breaks the connection: the server sees a reset.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Waits until one of them takes bytes or has some; which of them have changed.
pub fn await_any(peers: &[Peer], flags: PollFlags) -> Vec<bool> {
    let wait = Timespec { tv_sec: i64::try_from(PATIENCE.as_secs()).unwrap(), tv_nsec: 0 };
    let mut polled: Vec<_> = peers.iter().map(|peer| PollFd::new(&peer.stream, flags)).collect();
    match poll(&mut polled, Some(&wait)) {
        Ok(0) => panic!("no attacker could go on for {PATIENCE:?}"),
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => panic!("{error}"),
    }
    polled.iter().map(|polled| !polled.revents().is_empty()).collect()
}

pub fn request_head(target: &str) -> Vec<u8> {
    request_head_with(target, &[])
}

pub fn request_head_with(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = Vec::new();
    let key = *b"the sample nonce";
    ClientRequest { host: "test", target, key, origin: None, protocols: &[], headers }.write(&mut head);
    head
}

/// A message of the Json codec, as a masked frame.
pub fn message(topic: &str, data: &str) -> Vec<u8> {
    frame(true, Opcode::Text, format!(r#"{{"topic":"{topic}","data":{data}}}"#).as_bytes())
}

/// A masked frame.
pub fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, fin, opcode, Some(MASK), payload);
    bytes
}

/// A masked close frame.
pub fn close_frame(code: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_close(&mut bytes, Some(MASK), CloseCode::new(code), "");
    bytes
}

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
const CLIENT_RULES: Rules = Rules { role: Role::Client, message_bytes_max: 64 << 20 };
const NARROW_BYTES: usize = 4 << 10;
const OPEN_AT_ONCE: usize = 400;
