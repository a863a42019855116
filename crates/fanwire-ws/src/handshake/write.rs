//! Heads to send: a server's answers and a client's request.
//!
//! In      status, headers, body; or what a client asks for
//! Out     bytes appended to a buffer
//! Bounds  header names and values that could break out of their line are refused by assertion
//! Source  RFC 6455 sections 4.1 and 4.2.2; RFC 7230 section 3

use std::io::Write as _;

use super::key::{accept_key, encode_key};

/// Appends the response that accepts a handshake: 101, with the client's `key` answered, the subprotocol chosen from
/// those it offered, and more headers.
///
/// # Panics
/// If `protocol` is not a token, or a header is not one that can be sent ([`is_header_name`], [`is_header_value`]).
pub fn write_accept(out: &mut Vec<u8>, key: &[u8], protocol: Option<&str>, extra_headers: &[(&str, &str)]) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(&accept_key(key));
    out.extend_from_slice(b"\r\n");
    if let Some(protocol) = protocol {
        assert!(is_header_name(protocol), "subprotocol {protocol:?} is not a token");
        write_header(out, "Sec-WebSocket-Protocol", protocol);
    }
    write_headers_end(out, extra_headers);
}

/// Appends a plain response that ends the connection; without `body` if `head_only` (the request was HEAD) or the
/// status is 204 or 304. An empty `content_type` is left out.
///
/// ```
/// let mut out = Vec::new();
/// fanwire_ws::write_response(&mut out, 200, &[], "text/plain", b"ok\n", false);
/// let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
///     Connection: close\r\n\r\nok\n";
/// assert_eq!(out, expected.as_bytes());
/// ```
///
/// # Panics
/// If `status` is not 200 to 599, or a header is not one that can be sent ([`is_header_name`], [`is_header_value`]).
pub fn write_response(
    out: &mut Vec<u8>,
    status: u16,
    extra_headers: &[(&str, &str)],
    content_type: &str,
    body: &[u8],
    head_only: bool,
) {
    assert!((200..600).contains(&status), "status {status} is no final one");
    write!(out, "HTTP/1.1 {status} {}\r\n", reason_phrase(status)).expect("writing to memory does not fail");
    // RFC 7230 s3.3: these two have no body, and 204 must not even give a length.
    let has_body = !matches!(status, 204 | 304);
    if has_body {
        if !content_type.is_empty() {
            write_header(out, "Content-Type", content_type);
        }
        write!(out, "Content-Length: {}\r\n", body.len()).expect("writing to memory does not fail");
    }
    out.extend_from_slice(b"Connection: close\r\n");
    write_headers_end(out, extra_headers);
    if has_body && !head_only {
        out.extend_from_slice(body);
    }
}

/// What a client asks for.
///
/// ```
/// use fanwire_ws::ClientRequest;
///
/// let request = ClientRequest {
///     host: "localhost:8080",
///     target: "/ws?token=ada",
///     key: *b"the sample nonce",
///     origin: None,
///     protocols: &["chat.v1"],
///     headers: &[("User-Agent", "example")],
/// };
/// let mut out = Vec::new();
/// request.write(&mut out);
/// assert!(out.starts_with(b"GET /ws?token=ada HTTP/1.1\r\nHost: localhost:8080\r\n"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ClientRequest<'a> {
    /// Host, and port if it is not the scheme's own.
    pub host: &'a str,
    /// Path and query, as `/ws`.
    pub target: &'a str,
    /// 16 random bytes, fresh for every connection.
    pub key: [u8; 16],
    /// What `Origin` says; only browsers must send one.
    pub origin: Option<&'a str>,
    /// Subprotocols offered, the best first.
    pub protocols: &'a [&'a str],
    /// More headers.
    pub headers: &'a [(&'a str, &'a str)],
}

impl ClientRequest<'_> {
    /// Appends the request.
    ///
    /// # Panics
    /// If the target is not printable ASCII without spaces, a protocol is not a token, or a header is not one that
    /// can be sent ([`is_header_name`], [`is_header_value`]).
    pub fn write(&self, out: &mut Vec<u8>) {
        let is_target = !self.target.is_empty() && self.target.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(is_target, "request target {:?} breaks its line", self.target);
        for part in ["GET ", self.target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        write_header(out, "Host", self.host);
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
        out.extend_from_slice(b"Sec-WebSocket-Key: ");
        out.extend_from_slice(&encode_key(&self.key));
        out.extend_from_slice(b"\r\n");
        if let Some(origin) = self.origin {
            write_header(out, "Origin", origin);
        }
        for protocol in self.protocols {
            assert!(is_header_name(protocol), "subprotocol {protocol:?} is not a token");
            write_header(out, "Sec-WebSocket-Protocol", protocol);
        }
        write_headers_end(out, self.headers);
    }
}

/// Whether `name` can be the name of a header: a token of RFC 7230. Subprotocols are tokens as well.
pub fn is_header_name(name: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// Whether `value` can be the value of a header: no control characters, so no line break that would begin another
/// header, and no space at either end.
pub fn is_header_value(value: &str) -> bool {
    !value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') && value.trim_ascii() == value
}

fn write_headers_end(out: &mut Vec<u8>, headers: &[(&str, &str)]) {
    for (name, value) in headers {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    assert!(is_header_name(name), "header name {name:?} is not a token");
    assert!(is_header_value(value), "value {value:?} of header {name} breaks its line");
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The words beside a status; they may be empty (RFC 7230 s3.1.2).
const fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn accepting_answers_the_key_and_the_protocol() {
        let accepted = text(|out| write_accept(out, KEY, Some("chat.v1"), &[("Server", "x")]));
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat.v1\r\n\
            Server: x\r\n\r\n";
        assert_eq!(accepted, expected);
    }

    #[test]
    fn responses_to_head_have_the_length_but_not_the_body() {
        let response = text(|out| write_response(out, 404, &[], "text/plain", b"no\n", true));
        assert!(response.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(response.contains("\r\nContent-Length: 3\r\n") && response.ends_with("\r\n\r\n"));
    }

    #[test]
    fn responses_without_content_have_neither_body_nor_length() {
        for status in [204, 304] {
            let response =
                text(|out| write_response(out, status, &[("ETag", "x")], "text/plain", b"no\n", false));
            assert!(
                response.ends_with("\r\nConnection: close\r\nETag: x\r\n\r\n")
                    && !response.contains("Content-")
            );
        }
        let untyped = text(|out| write_response(out, 302, &[("Location", "/")], "", b"", false));
        assert!(!untyped.contains("Content-Type") && untyped.contains("\r\nContent-Length: 0\r\n"));
    }

    #[test]
    fn unusual_statuses_have_no_reason_phrase() {
        assert!(
            text(|out| write_response(out, 499, &[], "text/plain", b"", false))
                .starts_with("HTTP/1.1 499 \r\n")
        );
    }

    /// As the registry of HTTP status codes has them.
    #[test]
    fn usual_statuses_have_their_own_reason_phrase() {
        let phrases = [
            (200, "OK"),
            (201, "Created"),
            (202, "Accepted"),
            (204, "No Content"),
            (301, "Moved Permanently"),
            (302, "Found"),
            (303, "See Other"),
            (304, "Not Modified"),
            (307, "Temporary Redirect"),
            (308, "Permanent Redirect"),
            (400, "Bad Request"),
            (401, "Unauthorized"),
            (402, "Payment Required"),
            (403, "Forbidden"),
            (404, "Not Found"),
            (405, "Method Not Allowed"),
            (406, "Not Acceptable"),
            (408, "Request Timeout"),
            (409, "Conflict"),
            (410, "Gone"),
            (411, "Length Required"),
            (413, "Content Too Large"),
            (414, "URI Too Long"),
            (415, "Unsupported Media Type"),
            (417, "Expectation Failed"),
            (421, "Misdirected Request"),
            (422, "Unprocessable Content"),
            (426, "Upgrade Required"),
            (428, "Precondition Required"),
            (429, "Too Many Requests"),
            (431, "Request Header Fields Too Large"),
            (500, "Internal Server Error"),
            (501, "Not Implemented"),
            (502, "Bad Gateway"),
            (503, "Service Unavailable"),
            (504, "Gateway Timeout"),
            (505, "HTTP Version Not Supported"),
        ];
        for (status, phrase) in phrases {
            let response = text(|out| write_response(out, status, &[], "", b"", false));
            assert_eq!(response.lines().next(), Some(format!("HTTP/1.1 {status} {phrase}").as_str()));
        }
    }

    #[test]
    fn requests_bear_what_they_ask_for() {
        let request = ClientRequest {
            host: "example.org",
            target: "/ws",
            key: *b"the sample nonce",
            origin: Some("https://example.org"),
            protocols: &["b", "a"],
            headers: &[("X-Test", "yes")],
        };
        let expected = "GET /ws HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Origin: https://example.org\r\nSec-WebSocket-Protocol: b\r\nSec-WebSocket-Protocol: a\r\n\
            X-Test: yes\r\n\r\n";
        assert_eq!(text(|out| request.write(out)), expected);
    }

    #[test]
    #[should_panic(expected = "breaks its line")]
    fn an_empty_target_panics() {
        let request =
            ClientRequest { host: "a", target: "", key: [0; 16], origin: None, protocols: &[], headers: &[] };
        text(|out| request.write(out));
    }

    #[test]
    fn names_are_tokens_and_values_stay_in_their_line() {
        assert!(is_header_name("X-Request-Id") && is_header_name("chat.v1") && is_header_name("a|b~c"));
        for name in ["", "a b", "a:b", "a\r", "a,b", "é", "\"a\""] {
            assert!(!is_header_name(name), "{name:?}");
        }
        assert!(is_header_value("") && is_header_value("a b\tc; é"));
        for value in ["a\r\nb: c", "a\n", "\0", "\x7F", " a", "a "] {
            assert!(!is_header_value(value), "{value:?}");
        }
    }

    #[test]
    #[should_panic(expected = "breaks its line")]
    fn a_line_break_in_a_value_panics() {
        text(|out| {
            write_response(out, 302, &[("Location", "/\r\nSet-Cookie: a=b")], "text/plain", b"", false)
        });
    }

    #[test]
    #[should_panic(expected = "not a token")]
    fn a_line_break_in_a_protocol_panics() {
        text(|out| write_accept(out, KEY, Some("a\r\nb: c"), &[]));
    }

    #[test]
    #[should_panic(expected = "breaks its line")]
    fn a_space_in_a_target_panics() {
        let request = ClientRequest {
            host: "a",
            target: "/ HTTP/1.1",
            key: [0; 16],
            origin: None,
            protocols: &[],
            headers: &[],
        };
        text(|out| request.write(out));
    }
}
