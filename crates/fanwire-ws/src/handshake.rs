//! The opening handshake: an HTTP/1.1 request that asks for WebSocket, and its answer.
//!
//! In      heads as they came from a socket, possibly too few bytes
//! Out     borrowed heads, refusals with their status, and heads to send
//! Bounds  heads up to a limit, at most 100 header fields, one allocation per head parsed
//! Source  RFC 6455 sections 4 and 11.3; RFC 7230

mod body;
mod headers;
mod host;
mod key;
mod offers;
mod refusal;
mod request;
mod response;
mod target;
mod write;

pub use headers::HEADERS_MAX;
pub use key::accept_key;
pub use refusal::{HeadError, Refusal};
pub use request::{HeadLimits, RequestHead, Upgrade};
pub use response::{ClientResponse, ResponseError};
pub use write::{ClientRequest, is_header_name, is_header_value, write_accept, write_response};
