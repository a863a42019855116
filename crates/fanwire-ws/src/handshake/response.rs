//! The head of a response, as a client reads it.
//!
//! In      the bytes of a connection from its start, possibly too few
//! Out     whether the server speaks WebSocket now, or what it said instead
//! Bounds  16 KiB, 100 header fields; one allocation per whole head
//! Source  RFC 6455 section 4.1

use super::headers::{self, Headers};
use super::key::{accept_key, encode_key};

/// The head of a server's answer, borrowed from the bytes received.
#[derive(Debug, Clone)]
pub struct ClientResponse<'a> {
    status: u16,
    reason: &'a str,
    headers: Headers<'a>,
}

impl<'a> ClientResponse<'a> {
    /// Reads the answer to a request with this `key` from the front of `bytes`; `None` if it is not whole. The number
    /// is the head's length: what follows it is the server's first frames, or the body of a refusal.
    ///
    /// # Errors
    /// `Malformed` and `TooLarge` for what is no HTTP/1 response that we read; `Upgrade`, `Connection`, `Accept` and
    /// `Extension` for a status 101 that must not be taken for an acceptance.
    pub fn parse(
        bytes: &'a [u8],
        key: &[u8; 16],
    ) -> Result<Option<(ClientResponse<'a>, usize)>, ResponseError> {
        let mut room = headers::room();
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            bytes,
            &mut room,
        );
        let head_bytes = match parsed {
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
            Ok(httparse::Status::Partial) if bytes.len() < RESPONSE_BYTES_MAX => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(ResponseError::TooLarge);
            }
            Err(_) => return Err(ResponseError::Malformed),
        };
        // A head must not pass because it came in one piece.
        if head_bytes > RESPONSE_BYTES_MAX {
            return Err(ResponseError::TooLarge);
        }
        let status = response.code.ok_or(ResponseError::Malformed)?;
        let reason = response.reason.unwrap_or_default();
        let response = ClientResponse { status, reason, headers: Headers::new(response.headers) };
        if response.is_accepted() {
            response.check_accepted(key)?;
        }
        Ok(Some((response, head_bytes)))
    }

    /// Whether the connection speaks WebSocket from here on; else it was refused.
    pub fn is_accepted(&self) -> bool {
        self.status == 101
    }

    /// The status, as 101.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The words beside the status; may be empty.
    pub fn reason(&self) -> &'a str {
        self.reason
    }

    /// The subprotocol that the server chose; not compared with those offered.
    pub fn protocol(&self) -> Option<&'a str> {
        self.header("Sec-WebSocket-Protocol").and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The value of the first header with this name, without regard to case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.first(name)
    }

    fn check_accepted(&self, key: &[u8; 16]) -> Result<(), ResponseError> {
        // RFC 6455 s4.1, second list: what a client must validate, in its order.
        if !self.headers.contains("Upgrade", "websocket") {
            return Err(ResponseError::Upgrade);
        }
        if !self.headers.contains("Connection", "upgrade") {
            return Err(ResponseError::Connection);
        }
        let accepts = self.headers.count("Sec-WebSocket-Accept") == 1
            && self.header("Sec-WebSocket-Accept") == Some(&accept_key(&encode_key(key)));
        if !accepts {
            return Err(ResponseError::Accept);
        }
        // We offer no extension, so the server must not choose one.
        if self.headers.list("Sec-WebSocket-Extensions").next().is_some() {
            return Err(ResponseError::Extension);
        }
        Ok(())
    }
}

/// Why an answer is not one to a WebSocket handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// Not a response of HTTP/1.
    #[error("malformed response head")]
    Malformed,
    /// A head of more than 16 KiB or 100 header fields.
    #[error("response head too large")]
    TooLarge,
    /// Status 101 without `Upgrade: websocket`.
    #[error("status 101 without an upgrade to websocket")]
    Upgrade,
    /// Status 101 without `Connection: Upgrade`.
    #[error("status 101 without a connection upgrade")]
    Connection,
    /// `Sec-WebSocket-Accept` missing, twice, or not the answer to our key.
    #[error("answer does not belong to our key")]
    Accept,
    /// An extension that we did not offer.
    #[error("server chose an extension that was not offered")]
    Extension,
}

const RESPONSE_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_accept;

    const KEY: [u8; 16] = *b"the sample nonce";

    fn accepted() -> String {
        let mut out = Vec::new();
        write_accept(&mut out, &encode_key(&KEY), Some("chat.v1"), &[]);
        String::from_utf8(out).unwrap()
    }

    fn error(bytes: &str) -> Option<ResponseError> {
        ClientResponse::parse(bytes.as_bytes(), &KEY).err()
    }

    #[test]
    fn an_acceptance_is_recognised_once_it_is_whole() {
        let bytes = accepted() + "\u{81}";
        for end in 0..accepted().len() {
            assert!(matches!(ClientResponse::parse(&bytes.as_bytes()[..end], &KEY), Ok(None)), "{end}");
        }
        let (response, head_bytes) = ClientResponse::parse(bytes.as_bytes(), &KEY).unwrap().unwrap();
        assert!(response.is_accepted());
        assert_eq!((response.status(), response.reason()), (101, "Switching Protocols"));
        assert_eq!((response.protocol(), head_bytes), (Some("chat.v1"), accepted().len()));
    }

    #[test]
    fn acceptances_that_are_none_name_what_is_wrong() {
        let accepted = accepted();
        for (from, to, expected) in [
            ("Upgrade: websocket", "Upgrade: h2c", ResponseError::Upgrade),
            ("Connection: Upgrade", "Connection: close", ResponseError::Connection),
            ("s3pP", "s3pQ", ResponseError::Accept),
            ("Sec-WebSocket-Accept", "X-Accept", ResponseError::Accept),
            ("Sec-WebSocket-Protocol: ", "Sec-WebSocket-Extensions: ", ResponseError::Extension),
            ("HTTP/1.1", "HTTP/2.0", ResponseError::Malformed),
        ] {
            assert_eq!(error(&accepted.replace(from, to)), Some(expected));
        }
        let twice = accepted.replace("Upgrade: websocket", "Sec-WebSocket-Accept: x\r\nUpgrade: websocket");
        assert_eq!(error(&twice), Some(ResponseError::Accept));
    }

    #[test]
    fn refusals_give_status_and_the_start_of_the_body() {
        let bytes = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\nfull";
        let (response, head_bytes) = ClientResponse::parse(bytes, &KEY).unwrap().unwrap();
        assert!(!response.is_accepted());
        assert_eq!((response.status(), response.reason()), (503, "Service Unavailable"));
        assert_eq!(response.header("retry-after"), Some(&b"1"[..]));
        assert_eq!(&bytes[head_bytes..], b"full");
    }

    #[test]
    fn endless_heads_are_refused() {
        let start = "HTTP/1.1 200 OK\r\nA: ";
        let partial = |bytes: usize| format!("{start}{}", "x".repeat(bytes - start.len()));
        assert!(matches!(ClientResponse::parse(partial(RESPONSE_BYTES_MAX - 1).as_bytes(), &KEY), Ok(None)));
        assert_eq!(error(&partial(RESPONSE_BYTES_MAX)), Some(ResponseError::TooLarge));
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(RESPONSE_BYTES_MAX));
        assert_eq!(error(&long), Some(ResponseError::TooLarge));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
        assert_eq!(error(&many), Some(ResponseError::TooLarge));
    }

    #[test]
    fn a_head_that_is_too_large_is_refused_also_if_it_comes_at_once() {
        let padded = |bytes: usize| format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(bytes - 24));
        let largest = padded(RESPONSE_BYTES_MAX);
        assert!(matches!(ClientResponse::parse(largest.as_bytes(), &KEY), Ok(Some((_, RESPONSE_BYTES_MAX)))));
        assert_eq!(error(&padded(RESPONSE_BYTES_MAX + 1)), Some(ResponseError::TooLarge));
    }
}
