//! Heads of HTTP/1 read line by line: the twin of the parsers under test.
//!
//! In      the bytes of a connection from its start
//! Out     the first line and the fields, or that bytes are missing, or that the grammar is broken
//! Bounds  none: it copies everything
//! Source  RFC 7230 sections 3 to 3.2.6, and 3.5 for what a recipient may forgive: empty lines in front, and in a
//!         response line ends without a carriage return

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// No empty line yet: nothing is said about the lines there are.
    Partial,
    Bad,
    Whole {
        start: Start,
        fields: Vec<(String, Vec<u8>)>,
        bytes: usize,
    },
}

/// The first line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Request { method: String, target: String, version: u8 },
    Status { status: u16, reason: String },
}

/// Reads a request's head.
pub(crate) fn read_request(bytes: &[u8]) -> Head {
    read(bytes, true, request_line)
}

/// Reads a response's head.
pub(crate) fn read_response(bytes: &[u8]) -> Head {
    read(bytes, false, status_line)
}

fn read(bytes: &[u8], is_strict: bool, start: fn(&[u8]) -> Option<Start>) -> Head {
    let mut at = 0;
    let mut lines = Vec::new();
    loop {
        let Some(end) = bytes[at..].iter().position(|byte| *byte == b'\n') else { return Head::Partial };
        let line = &bytes[at..at + end];
        at += end + 1;
        let line = match line.strip_suffix(b"\r") {
            None if is_strict => return Head::Bad,
            line_before => line_before.unwrap_or(line),
        };
        match line {
            [] if lines.is_empty() => {}
            [] => break,
            line => lines.push(line),
        }
    }
    let start = lines.first().and_then(|line| start(line));
    let fields = lines.iter().skip(1).map(|line| field(line)).collect();
    match (start, fields) {
        (Some(start), Some(fields)) => Head::Whole { start, fields, bytes: at },
        _ => Head::Bad,
    }
}

/// s3.1.1: "method SP request-target SP HTTP-version"
fn request_line(line: &[u8]) -> Option<Start> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let target_is_sound = !target.is_empty() && !target.iter().any(u8::is_ascii_control);
    if parts.next().is_some() || !is_token(method) || !target_is_sound {
        return None;
    }
    let target = String::from_utf8(target.to_vec()).ok()?;
    Some(Start::Request { method: text(method), target, version: version_minor(version)? })
}

/// s3.1.2: "HTTP-version SP status-code SP reason-phrase", of which many leave out the last two parts together.
fn status_line(line: &[u8]) -> Option<Start> {
    let (version, after) = line.split_at_checked(8)?;
    version_minor(version)?;
    let [b' ', hundreds @ b'0'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', reason @ ..] = after else {
        return None;
    };
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] if !reason.iter().any(is_breaking) => reason,
        _ => return None,
    };
    let digits = [hundreds, tens, ones].map(|digit| u16::from(digit - b'0'));
    // What is no ASCII has no meaning that anybody could know.
    let reason = if reason.is_ascii() { text(reason) } else { String::new() };
    Some(Start::Status { status: digits[0] * 100 + digits[1] * 10 + digits[2], reason })
}

fn version_minor(version: &[u8]) -> Option<u8> {
    match version {
        b"HTTP/1.0" => Some(0),
        b"HTTP/1.1" => Some(1),
        _ => None,
    }
}

/// s3.2: "field-name ":" OWS field-value OWS"; s3.2.4: no space before the colon; no line folding.
fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, mut value) = (&line[..colon], &line[colon + 1..]);
    while let [b' ' | b'\t', after @ ..] = value {
        value = after;
    }
    while let [before @ .., b' ' | b'\t'] = value {
        value = before;
    }
    (is_token(name) && !value.iter().any(is_breaking)).then(|| (text(name), value.to_vec()))
}

/// s3.2.6
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let is_token_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_token_byte)
}

/// Control characters, but for the tabulator.
fn is_breaking(byte: &u8) -> bool {
    byte.is_ascii_control() && *byte != b'\t'
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_line_by_line() {
        let start = Start::Request { method: "GET".into(), target: "/ws".into(), version: 1 };
        let fields = vec![("Host".into(), b"x".to_vec()), ("A".into(), vec![])];
        let head = Head::Whole { start, fields, bytes: 36 };
        assert_eq!(read_request(b"\r\nGET /ws HTTP/1.1\r\nHost: x\r\nA: \r\n\r\nrest"), head);
        assert_eq!(read_request(b"GET /ws HTTP/1.1\r\nHost: x\n\r\n"), Head::Bad);
        assert_eq!(read_request(b"GET /ws HTTP/1.1\r\nHost: x\r\n"), Head::Partial);
        assert_eq!(read_request(b"GET  /ws HTTP/1.1\r\n\r\n"), Head::Bad);
        assert_eq!(read_request(b"GET /ws HTTP/1.1\r\nHost : x\r\n\r\n"), Head::Bad);
        let start = Start::Status { status: 101, reason: "Go on".into() };
        assert_eq!(
            read_response(b"HTTP/1.0 101 Go on\r\n\r\n"),
            Head::Whole { start, fields: vec![], bytes: 22 }
        );
    }
}
