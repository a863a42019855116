//! A client: just enough of one, made of the protocol crate.
//!
//! In      texts to send
//! Out     texts, close frames and the end of the stream as they come
//! Bounds  a read that takes longer than `WAIT_MAX` fails the test
//! Source  RFC 6455

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
};

use fanwire_ws::{
    Budget, ClientRequest, ClientResponse, CloseCode, Decoder, Event, Opcode, Role, Rules, encode_close,
    encode_frame,
};

use crate::{WAIT_MAX, process::Process};

pub(crate) struct Client {
    stream: TcpStream,
    decoder: Decoder,
    budget: Budget,
    /// Read and not yet decoded.
    input: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Close(u16, String),
    Eof,
}

impl Client {
    /// Opens a session as a program that is no browser.
    pub(crate) fn connect(server: &Process) -> Self {
        Self::try_connect(server, "/ws", &[], &[]).map_err(|(status, _)| status).unwrap().0
    }

    /// Tries to open one, with subprotocols and headers: it and the subprotocol chosen, or the refusal's status and
    /// text.
    pub(crate) fn try_connect(
        server: &Process,
        target: &str,
        protocols: &[&str],
        headers: &[(&str, &str)],
    ) -> Result<(Self, Option<String>), (u16, String)> {
        let host = server.address.to_string();
        let key = *b"sixteen bytes ..";
        let request = ClientRequest { host: &host, target, key, origin: None, protocols, headers };
        let Answer { mut stream, status, protocol, mut input } = handshake(server, &request);
        if status == 101 {
            return Ok((
                Self { stream, decoder: Decoder::new(), budget: Budget::new(1 << 24), input },
                protocol,
            ));
        }
        stream.read_to_end(&mut input).unwrap();
        Err((status, String::from_utf8(input).unwrap()))
    }

    /// How a handshake with this origin is answered.
    pub(crate) fn status(server: &Process, origin: Option<&str>) -> u16 {
        Self::status_as(server, &server.address.to_string(), origin)
    }

    /// How one is answered that asks for this host.
    pub(crate) fn status_as(server: &Process, host: &str, origin: Option<&str>) -> u16 {
        status_of(server, "/ws", host, origin)
    }

    /// How one is answered on this path.
    pub(crate) fn status_on(server: &Process, path: &str, origin: Option<&str>) -> u16 {
        status_of(server, path, &server.address.to_string(), origin)
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.send_frame(Opcode::Text, text.as_bytes());
    }

    pub(crate) fn send_binary(&mut self, payload: &[u8]) {
        self.send_frame(Opcode::Binary, payload);
    }

    pub(crate) fn answer_close(&mut self, code: u16) {
        let mut out = Vec::new();
        encode_close(&mut out, Some(MASK), CloseCode::new(code), "");
        self.stream.write_all(&out).unwrap();
    }

    /// The next message, or how it ended; pings are passed over.
    pub(crate) fn receive(&mut self) -> Received {
        let rules = Rules { role: Role::Client, message_bytes_max: 1 << 24 };
        loop {
            let (consumed, event) = self.decoder.decode(&rules, &mut self.budget, &mut self.input);
            let found = match event.unwrap() {
                Event::Message { payload, .. } => {
                    Some(Received::Text(String::from_utf8(payload.to_vec()).unwrap()))
                }
                Event::Close(frame) => {
                    let frame = frame.expect("the server says why it closes");
                    Some(Received::Close(frame.code.value(), frame.reason.to_owned()))
                }
                Event::Partial => None,
                Event::Ping(_) | Event::Pong(_) => {
                    self.input.drain(..consumed);
                    continue;
                }
            };
            self.input.drain(..consumed);
            match found {
                Some(found) => return found,
                None if !self.read() => return Received::Eof,
                None => {}
            }
        }
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).unwrap();
        self.input.extend_from_slice(&buffer[..count]);
        count > 0
    }

    fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut out = Vec::new();
        encode_frame(&mut out, true, opcode, Some(MASK), payload);
        self.stream.write_all(&out).unwrap();
    }
}

/// A plain request, and the whole answer as text.
pub(crate) fn http(server: &Process, method: &str, path: &str) -> String {
    let mut stream = connect(server);
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn connect(server: &Process) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream
}

/// How a handshake was answered.
struct Answer {
    stream: TcpStream,
    status: u16,
    protocol: Option<String>,
    /// What followed the head.
    input: Vec<u8>,
}

fn status_of(server: &Process, target: &str, host: &str, origin: Option<&str>) -> u16 {
    let key = *b"sixteen bytes ..";
    handshake(server, &ClientRequest { host, target, key, origin, protocols: &[], headers: &[] }).status
}

fn handshake(server: &Process, request: &ClientRequest<'_>) -> Answer {
    let mut stream = connect(server);
    let mut out = Vec::new();
    request.write(&mut out);
    stream.write_all(&out).unwrap();
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((response, head_bytes)) = ClientResponse::parse(&input, &request.key).unwrap() {
            let (status, protocol) = (response.status(), response.protocol().map(str::to_owned));
            return Answer { stream, status, protocol, input: input.split_off(head_bytes) };
        }
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the server answers before it closes"),
            Ok(count) => input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

const MASK: [u8; 4] = [1, 2, 3, 4];
