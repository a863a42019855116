//! Why a request is not answered with 101, and what it is answered with.
//!
//! Source  RFC 6455 sections 4.2.1, 4.2.2 and 4.4; RFC 7230 sections 3 and 5.4; RFC 7231 section 6.5;
//!         RFC 6585 section 5

use super::write::write_response;

/// The answer to a request that is refused: a status, a line that says what was wrong, at most one more header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status, as 400.
    pub status: u16,
    /// What was wrong, in plain text; the answer's body.
    pub text: &'static str,
    /// A header that the status calls for, as `Allow` for 405.
    pub header: Option<(&'static str, &'static str)>,
}

impl Refusal {
    /// A refusal without another header.
    pub const fn new(status: u16, text: &'static str) -> Refusal {
        Refusal { status, text, header: None }
    }

    /// The same refusal with one more header.
    pub const fn with_header(self, name: &'static str, value: &'static str) -> Refusal {
        Refusal { header: Some((name, value)), ..self }
    }

    /// Appends the whole response, which ends the connection; without the body if `head_only` (the request was HEAD).
    /// 426 also says to what protocol to upgrade.
    ///
    /// # Panics
    /// If the header is not one that can be sent, as in [`write_response`].
    pub fn write(&self, out: &mut Vec<u8>, head_only: bool) {
        let headers: Vec<_> = self.headers().collect();
        write_response(out, self.status, &headers, TEXT, self.text.as_bytes(), head_only);
    }

    /// The headers that belong to it, for who writes responses by other means: all but type, length and `Connection`
    /// of the text.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        // RFC 7231 s6.5.15: 426 names the protocol in `Upgrade`, which `Connection` lists (RFC 7230 s6.7).
        let upgrade: &[_] =
            if self.status == 426 { &[("Upgrade", "websocket"), ("Connection", "Upgrade")] } else { &[] };
        upgrade.iter().copied().chain(self.header)
    }
}

/// Bytes that are no head of a request we answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// Not HTTP/1, or a line that breaks its grammar, obsolete folding included.
    #[error("malformed request head")]
    Malformed,
    /// The start of a TLS handshake.
    #[error("TLS where plain text is spoken")]
    Tls,
    /// An HTTP/1.1 request without a `Host`.
    #[error("no Host header")]
    HostMissing,
    /// A `Host` that is no host and port, or another one than the target names.
    #[error("Host header is no host, or not the target's")]
    HostInvalid,
    /// `Content-Length` and `Transfer-Encoding` do not say clearly where the body ends.
    #[error("unclear where the body ends")]
    BodyUnclear,
    /// A header that may stand only once stands more than once.
    #[error("{0} header more than once")]
    Repeated(&'static str),
    /// The request line alone has more bytes than `HeadLimits::bytes_max`.
    #[error("request target too long")]
    TargetTooLong,
    /// The head has more bytes than `HeadLimits::bytes_max`.
    #[error("request head too large")]
    TooLarge,
    /// The head has more than `HEADERS_MAX` header fields.
    #[error("too many header fields")]
    TooManyHeaders,
}

impl HeadError {
    /// The answer: 414 or 431 if it was too much, else 400.
    pub const fn refusal(self) -> Refusal {
        match self {
            HeadError::Malformed => Refusal::new(400, "malformed request head\n"),
            HeadError::Tls => {
                Refusal::new(400, "this port speaks no TLS: use ws://, or a proxy that ends TLS\n")
            }
            HeadError::HostMissing => Refusal::new(400, "the Host header is missing\n"),
            HeadError::HostInvalid => {
                Refusal::new(400, "the Host header is no host, or not the one of the target\n")
            }
            HeadError::BodyUnclear => {
                Refusal::new(400, "the request does not say clearly where its body ends\n")
            }
            HeadError::Repeated(_) => {
                Refusal::new(400, "a header that may stand once stands more than once\n")
            }
            HeadError::TargetTooLong => Refusal::new(414, "request target too long\n"),
            HeadError::TooLarge => Refusal::new(431, "request head too large\n"),
            HeadError::TooManyHeaders => Refusal::new(431, "too many header fields\n"),
        }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_whole_response_that_ends_the_connection() {
        let mut out = Vec::new();
        Refusal::new(405, "only GET\n").with_header("Allow", "GET").write(&mut out, false);
        let expected = "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Length: 9\r\nConnection: close\r\nAllow: GET\r\n\r\nonly GET\n";
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
    }

    #[test]
    fn a_refusal_for_the_version_names_the_protocol_and_its_version() {
        let mut out = Vec::new();
        Refusal::new(426, "").with_header("Sec-WebSocket-Version", "13").write(&mut out, false);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with(
            "\r\nConnection: close\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        ));
    }

    #[test]
    fn too_much_is_414_or_431_and_all_else_400() {
        assert_eq!(HeadError::TargetTooLong.refusal().status, 414);
        assert_eq!(HeadError::TooLarge.refusal().status, 431);
        assert_eq!(HeadError::TooManyHeaders.refusal().status, 431);
        for error in [
            HeadError::Malformed,
            HeadError::Tls,
            HeadError::HostMissing,
            HeadError::HostInvalid,
            HeadError::BodyUnclear,
            HeadError::Repeated("Host"),
        ] {
            assert_eq!(error.refusal().status, 400);
        }
    }
}
