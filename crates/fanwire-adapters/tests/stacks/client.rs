//! Clients: tungstenite over any stream, and bytes written by hand.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
};

use fanwire_ws::{ClientRequest, Opcode, encode_frame};
use tungstenite::{
    Message, WebSocket,
    client::IntoClientRequest,
    handshake::client::{Request, Response as Accepted},
    http::HeaderValue,
    protocol::Role,
};

use crate::{
    PATIENCE,
    servers::Address,
    tls::{self, Secured},
};

/// A stream to a server, whichever way.
pub enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Secured>),
}

impl Address {
    pub fn connect(&self) -> Wire {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                Wire::Tcp(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Wire::Unix(stream)
            }
        }
    }

    pub fn connect_with_tls(&self) -> Wire {
        let Self::Tcp(address) = self else { panic!("TLS is over TCP here") };
        Wire::Tls(Box::new(tls::connect(*address)))
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let outcome = match self {
                Self::Tcp(stream) => stream.read(bytes),
                Self::Unix(stream) => stream.read(bytes),
                Self::Tls(stream) => stream.read(bytes),
            };
            // The rings of this process interrupt calls that have a time limit.
            match outcome {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// An open WebSocket.
pub struct Client(WebSocket<Wire>);

/// Opens a session by tungstenite, which checks the answer.
pub fn connect(address: &Address, target: &str, protocols: &[&str]) -> (Client, Accepted) {
    connect_with(address, target, protocols, &[])
}

pub fn connect_with(
    address: &Address,
    target: &str,
    protocols: &[&str],
    headers: &[(&'static str, &str)],
) -> (Client, Accepted) {
    let mut request = format!("ws://localhost{target}").into_client_request().unwrap();
    if !protocols.is_empty() {
        let value = HeaderValue::from_str(&protocols.join(", ")).unwrap();
        request.headers_mut().insert("sec-websocket-protocol", value);
    }
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    open(request, address.connect())
}

/// The same with TLS around the socket.
pub fn connect_with_tls(address: &Address, target: &str) -> Client {
    let request = format!("ws://localhost{target}").into_client_request().unwrap();
    open(request, address.connect_with_tls()).0
}

fn open(request: Request, wire: Wire) -> (Client, Accepted) {
    let target = request.uri().clone();
    let (socket, response) =
        tungstenite::client(request, wire).unwrap_or_else(|error| panic!("{target} is refused: {error}"));
    (Client(socket), response)
}

/// A session on a stream whose request was written by hand.
pub fn raw_session(mut stream: Wire) -> Client {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    Client(WebSocket::from_raw_socket(stream, Role::Client, None))
}

impl Client {
    pub fn say(&mut self, topic: &str, data: &str) {
        self.0.send(Message::text(format!(r#"{{"topic":"{topic}","data":{data}}}"#))).unwrap();
    }

    pub fn hear(&mut self) -> String {
        self.0.read().unwrap().into_text().unwrap().to_string()
    }

    pub fn get_mut(&mut self) -> &mut Wire {
        self.0.get_mut()
    }

    /// Closes as RFC 6455 asks for.
    pub fn close(mut self) {
        self.0.close(None).unwrap();
        while self.0.read().is_ok() {}
    }

    /// Waits for the server's close frame, answers it, and gives its code.
    pub fn hear_close(mut self) -> u16 {
        loop {
            match self.0.read().unwrap() {
                Message::Close(frame) => {
                    while self.0.read().is_ok() {}
                    return frame.expect("it has a code").code.into();
                }
                Message::Text(_) | Message::Ping(_) => {}
                other => panic!("{other:?} instead of a close frame"),
            }
        }
    }
}

/// A WebSocket request; what is named in `headers` takes the place of what it has.
pub fn request_with(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let key = *b"the sample nonce";
    let mut head = Vec::new();
    ClientRequest { host: "localhost", target, key, origin: None, protocols: &[], headers }.write(&mut head);
    let text = String::from_utf8(head).unwrap();
    let mut lines: Vec<&str> = text.split_inclusive("\r\n").collect();
    let first_own = lines.len() - 1 - headers.len();
    let is_replaced = |line: &str| headers.iter().any(|(name, _)| line.starts_with(&format!("{name}:")));
    let mut index = 0;
    lines.retain(|line| {
        index += 1;
        index > first_own || !is_replaced(line)
    });
    lines.concat().into_bytes()
}

/// A text frame of a client.
pub fn masked(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, true, Opcode::Text, Some([1, 2, 3, 4]), text.as_bytes());
    bytes
}

/// A plain HTTP response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: String,
    head: String,
}

impl Response {
    /// Reads as much as `Content-Length` says.
    pub fn read(stream: &mut Wire) -> Self {
        let mut bytes = Vec::new();
        let body_start = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "it ends after {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&chunk[..count]);
        };
        let head = String::from_utf8(bytes[..body_start].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut response = Self { status, body: String::new(), head };
        let length = response.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        let mut body = bytes.split_off(body_start);
        while body.len() < length {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            body.push(byte[0]);
        }
        response.body = String::from_utf8_lossy(&body).into_owned();
        response
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (other, value) = line.split_once(": ")?;
            other.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}
