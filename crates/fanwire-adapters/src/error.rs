//! Why a connection has not become a session.
//!
//! In      refusals, and failures of sockets, of HTTP servers and of Fanwire
//! Out     one error that says what to do
//! Bounds  none
//! Source  none

use std::io;

use fanwire::{Refusal, SendError};
use thiserror::Error;

/// Why a connection has not become a session. It is closed by then, after an answer where there was one to
/// give.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The request was refused, and the client has been told.
    #[error("the request was refused with {}: {}", .0.status, .0.text.trim_end())]
    Refused(Refusal),
    /// The client left before its request was whole, or before it was answered.
    #[error("the client left before its request was answered")]
    Gone,
    /// The connection is no plain socket but something around one: TLS, or a wrapper that counts or limits.
    #[error(
        "Fanwire writes to sockets itself, and this connection has something around its own (TLS, or a \
         wrapper): end TLS in a proxy in front of this server, or serve this path on an address without TLS \
         and without wrappers"
    )]
    Wrapped,
    /// The HTTP server did not give the connection away in time.
    #[error(
        "the HTTP server did not give the connection away within handshake_timeout: it must serve with \
         upgrades, and the client must read its answer"
    )]
    Late,
    /// The HTTP server did not give the connection away.
    #[cfg(feature = "hyper")]
    #[error("the HTTP server did not give the connection away, is it served with upgrades? {0}")]
    Upgrade(#[source] ::hyper::Error),
    /// The socket failed, or could not leave its runtime.
    #[error("the connection failed: {0}")]
    Socket(#[from] io::Error),
    /// The server did not take it: it is ending, or a shard's inbox is full.
    #[error("the server did not take the connection: {0}")]
    Server(#[from] SendError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        assert!(AdoptError::Wrapped.to_string().contains("end TLS in a proxy"));
        assert!(AdoptError::Late.to_string().contains("with upgrades"));
        let refused = AdoptError::Refused(Refusal::new(403, "this origin is not allowed\n"));
        assert_eq!(refused.to_string(), "the request was refused with 403: this origin is not allowed");
    }
}
