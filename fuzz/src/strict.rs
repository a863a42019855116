//! What tungstenite makes of the same frames, and where it is known to differ.
//!
//! In      all bytes of a connection after the handshake
//! Out     its messages in order, and whether it refused, waits for more, or saw the connection closed
//! Bounds  the payloads once
//! Source  tungstenite 0.30
//!
//! It differs, and may, in this:
//! - it takes lengths that are not in their shortest form, which RFC 6455 s5.2 forbids, in control frames too;
//! - it looks at frames once they are whole, so what it refuses it refuses later;
//! - a close frame with a code that must not be sent it hands on as 1002 instead of failing;
//! - 1014 (bad gateway), which is in the registry, it takes for such a code.

use std::io::{self, Read, Write};

use fanwire_ws::{Kind, Role};
use tungstenite::{
    Error, Message,
    error::ProtocolError,
    protocol::{self, WebSocket, WebSocketConfig},
};

use crate::rfc6455::Said;

/// What tungstenite says of some bytes.
pub(crate) struct Verdict {
    pub(crate) said: Vec<Said>,
    pub(crate) end: End,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    Closed,
    Refused,
}

/// Lets tungstenite read `bytes`.
pub(crate) fn read(bytes: &[u8], role: Role, message_bytes_max: usize) -> Verdict {
    let role = match role {
        Role::Server => protocol::Role::Server,
        Role::Client => protocol::Role::Client,
    };
    // A limit on frames would count for control frames as well, which have their own.
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max.max(125)));
    let mut socket = WebSocket::from_raw_socket(Stream(bytes), role, Some(config));
    let mut said = Vec::new();
    loop {
        said.push(match socket.read() {
            Ok(Message::Text(text)) => Said::Message(Kind::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(payload)) => Said::Message(Kind::Binary, payload.to_vec()),
            Ok(Message::Ping(payload)) => Said::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Said::Pong(payload.to_vec()),
            Ok(Message::Close(frame)) => {
                said.push(Said::Close(frame.map(|frame| (frame.code.into(), frame.reason.to_string()))));
                return Verdict { said, end: End::Closed };
            }
            Ok(Message::Frame(_)) => unreachable!("raw frames are only written"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return Verdict { said, end: End::Open };
            }
            Err(_) => return Verdict { said, end: End::Refused },
        });
    }
}

/// The close frame that tungstenite makes of one whose code it does not know.
pub(crate) fn close_replaced() -> Said {
    Said::Close(Some((1002, "Protocol violation".to_owned())))
}

/// The bytes to read; what is written is lost.
struct Stream<'a>(&'a [u8]);

impl Read for Stream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
