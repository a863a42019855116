//! RFC 6455 without I/O: both ends of the WebSocket protocol as plain functions over byte slices.
//!
//! In      bytes as they came from a socket, split anywhere
//! Out     events, typed errors with the close code they call for, and bytes to send
//! Bounds  no clock, no I/O, no randomness, no unsafe code; what a peer makes us hold is limited by
//!         [`Rules`] and [`Budget`]
//! Source  RFC 6455; RFC 7230 for the handshake's head
//!
//! The server's side of a connection: read the head, answer it, then decode frames.
//! ```
//! use fanwire_ws::{Budget, Decoder, Event, HeadLimits, RequestHead, Role, Rules, write_accept};
//!
//! let received = b"GET /ws?token=ada HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\n\
//!     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
//! let (head, head_bytes) = RequestHead::parse(received, &HeadLimits::default())?.expect("the head is whole");
//! assert_eq!((head.path(), head_bytes), ("/ws", received.len()));
//!
//! let mut answer = Vec::new();
//! match head.upgrade() {
//!     Ok(upgrade) => write_accept(&mut answer, upgrade.key(), None, &[]),
//!     Err(refusal) => refusal.write(&mut answer, false),
//! }
//! assert!(answer.starts_with(b"HTTP/1.1 101 "));
//!
//! let rules = Rules { role: Role::Server, message_bytes_max: 4 << 20 };
//! let mut budget = Budget::new(64 << 20);
//! let mut decoder = Decoder::new();
//! let mut input = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
//! let (consumed, event) = decoder.decode(&rules, &mut budget, &mut input);
//! assert!(matches!(event?, Event::Message { payload: b"Hello", .. }));
//! assert_eq!(consumed, 11);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod budget;
mod close;
mod decode;
mod encode;
mod error;
mod handshake;
mod header;
pub mod mask;
mod opcode;
mod rules;
mod utf8;

pub use budget::Budget;
pub use close::{CloseCode, CloseFrame, REASON_BYTES_MAX};
pub use decode::{Decoder, Event};
pub use encode::{encode_close, encode_frame};
pub use error::{DecodeError, Limit, Violation};
pub use handshake::{
    ClientRequest, ClientResponse, HEADERS_MAX, HeadError, HeadLimits, Refusal, RequestHead, ResponseError,
    Upgrade, accept_key, is_header_name, is_header_value, write_accept, write_response,
};
pub use header::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Parsed};
pub use opcode::{Kind, Opcode};
pub use rules::{Role, Rules};
pub use utf8::{InvalidUtf8, Utf8};
