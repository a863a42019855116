//! Errors of connections: why one could not be opened, and why one is none any more.
//!
//! In      what the system or the server said
//! Out     errors that say what to do, and the close code that an end counts as
//! Bounds  none
//! Source  RFC 6455 section 7.4

use std::{io, net::SocketAddr, time::Duration};

use fanwire_ws::{CloseCode, CloseFrame, DecodeError, ResponseError};

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
    #[error("connection {number} to {address}: {error}{}", remedy(error))]
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
    #[error("the server refused the handshake with {status}: {said}{}", remedy_of_status(*status))]
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
    #[error(
        "the server did not answer within {} s: does it speak this --dialect at this path of --url?",
        STEP_WAIT.as_secs()
    )]
    Silent,
    /// The connection ended before it was ready.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// A system call failed.
    #[error("socket: {0}")]
    Socket(#[source] io::Error),
    /// A worker process could not open its connections.
    #[error("a worker process: {said}")]
    Worker {
        /// What it said.
        said: String,
    },
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
    /// A message of the dialect has no end.
    #[error("the server sent a message of the dialect that has no end: is it the right --dialect?")]
    Endless,
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
            Self::Decode(_) | Self::Endless => None,
        }
    }

    /// By a close frame, which may be empty.
    #[must_use]
    pub fn closed(frame: Option<CloseFrame<'_>>) -> Self {
        let (code, reason) = frame.map_or((1005, ""), |frame| (frame.code.value(), frame.reason));
        Self::Closed { code, reason: reason.to_owned() }
    }
}

/// What to do where the system cannot connect.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "; no port is left here for one more connection to this address: widen net.ipv4.ip_local_port_range, \
             or load it from several machines"
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            "; is the address of --url right, does a firewall drop packets, is the server's backlog full?"
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "; is the address of --url right?"
        }
        // EMFILE and ENFILE have no kind of their own.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => {
            "; raise the limit on open files (ulimit -n), or give --processes"
        }
        _ => "",
    }
}

/// What to do where the server does not accept the handshake.
fn remedy_of_status(status: u16) -> &'static str {
    match status {
        401 | 403 => "; if it asks for a name or a token, give --query 'token=…'",
        404 => "; look at the path of --url",
        _ => "",
    }
}

/// Connecting, the handshake's answer and a subscription's may each take this long.
pub const STEP_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_or_the_server_refuses_says_what_to_do() {
        let connect = |errno: i32| {
            let error = io::Error::from_raw_os_error(errno);
            OpenError::Connect { address: ([127, 0, 0, 1], 1).into(), number: 7, error }.to_string()
        };
        let [eaddrnotavail, emfile, etimedout, enetunreach] = [99, 24, 110, 101];
        assert!(
            connect(eaddrnotavail).contains("net.ipv4.ip_local_port_range"),
            "{}",
            connect(eaddrnotavail)
        );
        assert!(connect(emfile).contains("ulimit -n"), "{}", connect(emfile));
        assert!(connect(etimedout).contains("backlog"), "{}", connect(etimedout));
        assert!(connect(enetunreach).contains("--url"), "{}", connect(enetunreach));
        let refused = |status| OpenError::Status { status, said: "no".to_owned() }.to_string();
        assert!(refused(401).contains("--query") && refused(404).contains("path"));
        assert_eq!(refused(503), "the server refused the handshake with 503: no");
    }
}
