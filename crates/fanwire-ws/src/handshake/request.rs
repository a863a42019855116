//! The head of a request, as a server reads it.
//!
//! In      the bytes of a connection from its start, possibly too few
//! Out     a borrowed head and its length, or why it is refused
//! Bounds  `HeadLimits::bytes_max`, 100 header fields; one allocation per whole head
//! Source  RFC 6455 section 4.2.1; RFC 7230 sections 3 and 5.4, of whose choices the strict ones are taken:
//!         a proxy that reads a head otherwise than we do is how requests are smuggled

use std::borrow::Cow;

use super::body::check_body;
use super::headers::{self, Headers};
use super::host::is_host;
use super::key::{accept_key, is_key};
use super::offers::{are_extensions, are_protocols};
use super::refusal::{HeadError, Refusal};
use super::target::Target;

/// The head of an HTTP/1 request, borrowed from the bytes received.
#[derive(Debug, Clone)]
pub struct RequestHead<'a> {
    method: &'a str,
    target: &'a str,
    version: u8,
    headers: Headers<'a>,
}

impl<'a> RequestHead<'a> {
    /// Reads a head from the front of `bytes`; `None` if it is sound so far but not whole. The number is the head's
    /// length: what follows it is the client's first frames.
    ///
    /// Cost: `O(bytes)` on every call, so a head that arrives in pieces is read again from its start.
    ///
    /// # Errors
    /// As soon as the bytes show it. `TooLarge` and `TargetTooLong` also if `bytes` reach the limit without a
    /// whole head.
    pub fn parse(
        bytes: &'a [u8],
        limits: &HeadLimits,
    ) -> Result<Option<(RequestHead<'a>, usize)>, HeadError> {
        let mut room = headers::room();
        let mut request = httparse::Request::new(&mut []);
        let head_bytes = match request.parse_with_uninit_headers(bytes, &mut room) {
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
            Ok(httparse::Status::Partial) if has_bare_line_feed(bytes) => return Err(HeadError::Malformed),
            Ok(httparse::Status::Partial) if bytes.len() < limits.bytes_max => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(too_large(bytes, limits)),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
            // RFC 8446 s5.1: a record of type handshake, version 3.x.
            Err(_) if bytes.starts_with(&[0x16, 0x03]) => return Err(HeadError::Tls),
            Err(_) => return Err(HeadError::Malformed),
        };
        if head_bytes > limits.bytes_max {
            return Err(too_large(bytes, limits));
        }
        if has_bare_line_feed(&bytes[..head_bytes]) {
            return Err(HeadError::Malformed);
        }
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(HeadError::Malformed);
        };
        let head = RequestHead { method, target, version, headers: Headers::new(request.headers) };
        head.check_fields()?;
        Ok(Some((head, head_bytes)))
    }

    /// A head that another HTTP stack has read: the same checks as of one read here, but for the grammar of lines,
    /// which that stack has checked. `version` is the minor one of HTTP/1.
    ///
    /// # Errors
    /// As [`RequestHead::parse`].
    pub fn from_parts(
        method: &'a str,
        target: &'a str,
        version: u8,
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<RequestHead<'a>, HeadError> {
        let fields = fields.take(headers::HEADERS_MAX + 1);
        let fields: Vec<_> = fields.map(|(name, value)| httparse::Header { name, value }).collect();
        if fields.len() > headers::HEADERS_MAX {
            return Err(HeadError::TooManyHeaders);
        }
        let head = RequestHead { method, target, version, headers: Headers::of(fields) };
        head.check_fields()?;
        Ok(head)
    }

    /// The method, as `GET`; methods are case-sensitive.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// What was asked for, as the request line says it: path and query, still percent-encoded.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The minor version of HTTP/1: 0 or 1.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The target's path, without query, still percent-encoded.
    pub fn path(&self) -> &'a str {
        Target::parse(self.target).path
    }

    /// The target's query, after the `?`, still percent-encoded.
    pub fn query(&self) -> Option<&'a str> {
        Target::parse(self.target).query
    }

    /// The value of the first parameter of the query with this name: percent-decoded, `+` as a space. `None` also if
    /// it does not decode to UTF-8. A parameter without `=` has an empty value.
    pub fn query_value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query()?
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(other, _)| decode_component(other).is_some_and(|other| other == name))
            .and_then(|(_, value)| decode_component(value))
    }

    /// The value of the first header with this name, without regard to case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.first(name)
    }

    /// The same as text; `None` also if it is not UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All headers in the order of the wire, those of one name several times if they came so.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter()
    }

    /// Where the page came from that opened the connection; browsers always say it. `None` also if it is not UTF-8:
    /// compare [`RequestHead::header`] where that makes a difference.
    pub fn origin(&self) -> Option<&'a str> {
        self.header_str("Origin")
    }

    /// The subprotocols that the client offers, the one it likes best first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> {
        self.headers.list("Sec-WebSocket-Protocol")
    }

    /// Whether this is a WebSocket handshake that can be accepted.
    ///
    /// # Errors
    /// The answer to send instead, of the first check that fails: method (405), `Upgrade` and `Connection`, HTTP/1.1
    /// and no body (400), version (426), key (400).
    pub fn upgrade(&self) -> Result<Upgrade<'a>, Refusal> {
        if self.method != "GET" {
            return Err(Refusal::new(405, "only GET opens a WebSocket\n").with_header("Allow", "GET"));
        }
        // RFC 6455 s4.2.1: the tokens are compared without regard to case.
        let asks =
            self.headers.contains("Upgrade", "websocket") && self.headers.contains("Connection", "upgrade");
        if !asks {
            return Err(Refusal::new(
                400,
                "this address speaks WebSocket: Upgrade and Connection headers missing\n",
            ));
        }
        if self.version == 0 {
            return Err(Refusal::new(400, "a WebSocket opens with HTTP/1.1\n"));
        }
        if self.has_body() {
            return Err(Refusal::new(400, "a request that opens a WebSocket has no body\n"));
        }
        if self.header("Sec-WebSocket-Version") != Some(b"13") {
            let refusal = Refusal::new(426, "Sec-WebSocket-Version must be 13\n");
            return Err(refusal.with_header("Sec-WebSocket-Version", "13"));
        }
        let key = match self.header("Sec-WebSocket-Key") {
            Some(key) if is_key(key) => key,
            Some(_) => return Err(Refusal::new(400, "Sec-WebSocket-Key must be 16 bytes in base64\n")),
            None => return Err(Refusal::new(400, "the Sec-WebSocket-Key header is missing\n")),
        };
        self.check_offers()?;
        Ok(Upgrade { key })
    }

    /// RFC 6455 s4.2.1 and s9.1: what breaks the grammar of these lists is refused, not skipped.
    fn check_offers(&self) -> Result<(), Refusal> {
        const PROTOCOLS: &str = "Sec-WebSocket-Protocol";
        const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
        if self.header(PROTOCOLS).is_some() && !are_protocols(self.headers.all(PROTOCOLS)) {
            return Err(Refusal::new(400, "Sec-WebSocket-Protocol must be a list of tokens\n"));
        }
        if self.header(EXTENSIONS).is_some() && !are_extensions(self.headers.all(EXTENSIONS)) {
            return Err(Refusal::new(400, "Sec-WebSocket-Extensions must be a list of extensions\n"));
        }
        Ok(())
    }

    fn has_body(&self) -> bool {
        let announces = self.header("Content-Length").is_some_and(|length| length != b"0");
        announces || self.header("Transfer-Encoding").is_some()
    }

    fn check_fields(&self) -> Result<(), HeadError> {
        for name in SINGLE {
            if self.headers.count(name) > 1 {
                return Err(HeadError::Repeated(name));
            }
        }
        check_body(&self.headers, self.version)?;
        self.check_host()
    }

    fn check_host(&self) -> Result<(), HeadError> {
        let Some(host) = self.header("Host") else {
            // RFC 7230 s5.4: a request of HTTP/1.1 without a Host is answered with 400.
            return if self.version == 1 { Err(HeadError::HostMissing) } else { Ok(()) };
        };
        // The same section: a client sends the authority of the target. Where the two differ, RFC 9112 s3.2.2
        // has us believe the target, and some proxy may have believed the other.
        let authority = Target::parse(self.target).authority.unwrap_or_default().as_bytes();
        let is_the_target = authority.is_empty() || authority.eq_ignore_ascii_case(host);
        if is_host(host) && is_the_target { Ok(()) } else { Err(HeadError::HostInvalid) }
    }
}

/// How large a request's head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the request line to the empty line, both included.
    pub bytes_max: usize,
}

impl Default for HeadLimits {
    /// 16 KiB: cookies and tokens pass, and 10,000 handshakes at once hold 160 MB at most.
    fn default() -> HeadLimits {
        HeadLimits { bytes_max: 16 << 10 }
    }
}

/// A handshake that can be accepted: with `write_accept` and this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade<'a> {
    key: &'a [u8],
}

impl<'a> Upgrade<'a> {
    /// `Sec-WebSocket-Key` as the client sent it.
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// What `Sec-WebSocket-Accept` must answer.
    pub fn accept_key(&self) -> [u8; 28] {
        accept_key(self.key)
    }
}

/// What of a head that has no end within the limit is too much: its first line, or all of it.
fn too_large(bytes: &[u8], limits: &HeadLimits) -> HeadError {
    let mut rest = &bytes[..bytes.len().min(limits.bytes_max)];
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    // RFC 7230 s3.1.1: a target longer than we read is answered with 414.
    if rest.contains(&b'\n') { HeadError::TooLarge } else { HeadError::TargetTooLong }
}

/// RFC 7230 s3.5 leaves it to us whether a line may end with LF alone. Proxies differ in it, so it may not.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let [first, after @ ..] = bytes else { return false };
    // All pairs are looked at, and without a branch, so that it can become vectors.
    let bare = |found: bool, (before, byte): (&u8, &u8)| found | ((*byte == b'\n') & (*before != b'\r'));
    bytes.iter().zip(after).fold(*first == b'\n', bare)
}

/// `component` percent-decoded, with `+` as a space; `None` if an escape is broken or the result is not UTF-8.
fn decode_component(component: &str) -> Option<Cow<'_, str>> {
    if !component.contains(['%', '+']) {
        return Some(Cow::Borrowed(component));
    }
    let mut decoded = Vec::with_capacity(component.len());
    let mut rest = component.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        decoded.push(match first {
            b'+' => b' ',
            b'%' => {
                let ([high, low], after) = rest.split_first_chunk()?;
                rest = after;
                hex_digit(*high)? << 4 | hex_digit(*low)?
            }
            byte => *byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Headers whose second value would leave it to chance which one counts: for us, or for a proxy in front of us.
const SINGLE: [&str; 7] = [
    "Host",
    "Origin",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Content-Length",
    "Content-Type",
    "Authorization",
];

#[cfg(test)]
mod tests;
