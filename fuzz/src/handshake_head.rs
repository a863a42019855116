//! Heads of the handshake: requests as a server reads them, responses as a client reads them, both in any split.
//!
//! In      mode and limit; then a head as it is, or one to be built of the lines in `LINES`, or a request to write
//! Out     the parsers agree with a twin that reads line by line; what more bytes make of a prefix is consistent; the
//!         look-ups on a head agree with naive ones; what one side writes the other reads
//! Source  RFC 6455 section 4; RFC 7230
//!
//! Layout: the mode (modulo 5: request, response, built request, built response, written request), a byte that chooses
//! the limit, the rest.

use fanwire_ws::{
    ClientRequest, ClientResponse, HEADERS_MAX, HeadError, HeadLimits, RequestHead, ResponseError,
    accept_key, is_header_name, is_header_value, write_accept,
};

use crate::{
    head_rules::{
        Fields, all, authority_and_local, body_is_clear, borrowed, decoded, is_host, is_key, list, names,
        offers_are_sound, path_and_query,
    },
    head_twin::{Head, Start, read_request, read_response},
    input::Input,
};

/// Checks one head.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mode = input.byte() % 5;
    let limits = HeadLimits { bytes_max: input.choice([16 << 10, 1_024, 256, 64]) };
    match mode {
        0 => check_request(input.rest(), &limits),
        1 => check_response(input.rest()),
        2 => check_request(&built(&mut input, "GET /ws HTTP/1.1\r\n"), &limits),
        3 => check_response(&built(&mut input, "HTTP/1.1 101 Switching Protocols\r\n")),
        _ => check_written(&mut input),
    }
}

// --- requests ---

fn check_request(bytes: &[u8], limits: &HeadLimits) {
    let whole = RequestHead::parse(bytes, limits);
    for end in prefixes(bytes.len()) {
        let front = RequestHead::parse(&bytes[..end], limits);
        match (&front, &whole) {
            (Ok(None), Ok(None)) => assert!(end < limits.bytes_max),
            (Ok(None), Ok(Some((_, head_bytes)))) => assert!(end < *head_bytes, "the head was whole"),
            (Ok(None), Err(_)) => {}
            (Ok(Some((front, front_bytes))), Ok(Some((whole, head_bytes)))) => {
                assert_eq!(front_bytes, head_bytes);
                assert!(front.target() == whole.target() && front.headers().eq(whole.headers()));
            }
            (Err(_), Err(_)) => {}
            _ => panic!("{end} bytes are {front:?}, all are {whole:?}"),
        }
    }
    match (read_request(bytes), &whole) {
        (Head::Partial, Ok(None) | Err(_)) => {}
        (Head::Bad, Err(error)) => assert!(
            matches!(error, HeadError::Malformed | HeadError::Tls | HeadError::TooManyHeaders)
                || *error == too_large(bytes, limits),
            "{error}"
        ),
        (
            Head::Whole { start: Start::Request { method, target, version }, fields, bytes: head_bytes },
            whole,
        ) => match (whole, refused(bytes, &target, &fields, version, head_bytes, limits)) {
            (Ok(Some((head, found_bytes))), None) => {
                assert_eq!(*found_bytes, head_bytes);
                assert_eq!((head.method(), head.target(), head.version()), (&*method, &*target, version));
                assert!(head.headers().eq(borrowed(&fields)), "{fields:?}");
                check_lookups(head, &fields);
                check_upgrade(head, &fields);
            }
            (Err(error), Some(expected)) => assert_eq!(*error, expected),
            (whole, expected) => panic!("{whole:?}, the twin says {expected:?}"),
        },
        (twin, whole) => panic!("{whole:?}, the twin says {twin:?}"),
    }
}

/// Why a head whose grammar is sound is refused all the same.
fn refused(
    bytes: &[u8],
    target: &str,
    fields: &Fields,
    version: u8,
    head_bytes: usize,
    limits: &HeadLimits,
) -> Option<HeadError> {
    if fields.len() > HEADERS_MAX {
        return Some(HeadError::TooManyHeaders);
    }
    if head_bytes > limits.bytes_max {
        return Some(too_large(bytes, limits));
    }
    for name in ONCE {
        if all(fields, name).count() > 1 {
            return Some(HeadError::Repeated(name));
        }
    }
    if !body_is_clear(fields, version) {
        return Some(HeadError::BodyUnclear);
    }
    let Some(host) = all(fields, "Host").next() else {
        return (version == 1).then_some(HeadError::HostMissing);
    };
    let (authority, _) = authority_and_local(target);
    let is_other = !authority.is_empty() && !authority.as_bytes().eq_ignore_ascii_case(host);
    (!is_host(host) || is_other).then_some(HeadError::HostInvalid)
}

/// What is too much, if something is: the first line if it does not end within the limit.
fn too_large(bytes: &[u8], limits: &HeadLimits) -> HeadError {
    let mut front = &bytes[..bytes.len().min(limits.bytes_max)];
    while let [b'\r', b'\n', after @ ..] = front {
        front = after;
    }
    let has_first_line = front.contains(&b'\n');
    if has_first_line { HeadError::TooLarge } else { HeadError::TargetTooLong }
}

fn check_lookups(head: &RequestHead<'_>, fields: &Fields) {
    for (name, _) in fields {
        assert_eq!(head.header(&name.to_uppercase()), all(fields, name).next());
    }
    let (path, query) = path_and_query(head.target());
    assert_eq!((head.path(), head.query()), (path, query));
    let pairs: Vec<_> =
        query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    for (name, _) in &pairs {
        let Some(name) = decoded(name) else { continue };
        let first = pairs.iter().find(|pair| decoded(pair.0).as_ref() == Some(&name)).expect("it is there");
        if query.is_some() {
            assert_eq!(head.query_value(&name).map(String::from), decoded(first.1), "{name}");
        }
    }
    assert!(head.protocols().eq(list(fields, "Sec-WebSocket-Protocol")));
}

fn check_upgrade(head: &RequestHead<'_>, fields: &Fields) {
    let key = all(fields, "Sec-WebSocket-Key").next();
    let has_body = all(fields, "Transfer-Encoding").next().is_some()
        || all(fields, "Content-Length").any(|length| length != b"0");
    let asks = names(fields, "Upgrade", "websocket") && names(fields, "Connection", "upgrade");
    let expected = if head.method() != "GET" {
        Err(405)
    } else if !asks || head.version() == 0 || has_body {
        Err(400)
    } else if all(fields, "Sec-WebSocket-Version").next() != Some(b"13") {
        Err(426)
    } else {
        key.filter(|key| is_key(key) && offers_are_sound(fields)).ok_or(400)
    };
    let found = head.upgrade();
    assert_eq!(found.map(|upgrade| upgrade.key()).map_err(|refusal| refusal.status), expected);
    let mut answer = Vec::new();
    match found {
        Ok(upgrade) => {
            let key = upgrade.key();
            let strict = tungstenite::handshake::derive_accept_key(key);
            assert_eq!(&upgrade.accept_key(), strict.as_bytes());
            write_accept(&mut answer, key, head.protocols().find(|name| is_header_name(name)), &[]);
            check_response(&answer);
        }
        Err(refusal) => {
            refusal.write(&mut answer, false);
            let (response, head_bytes) = ClientResponse::parse(&answer, &KEY).expect("sound").expect("whole");
            assert_eq!(response.status(), refusal.status);
            assert_eq!(response.header("Content-Length"), Some(refusal.text.len().to_string().as_bytes()));
            assert_eq!(&answer[head_bytes..], refusal.text.as_bytes());
        }
    }
}

// --- responses ---

fn check_response(bytes: &[u8]) {
    let whole = ClientResponse::parse(bytes, &KEY);
    for end in prefixes(bytes.len()) {
        let front = ClientResponse::parse(&bytes[..end], &KEY);
        match (&front, &whole) {
            (Ok(None), Ok(None)) => assert!(end < RESPONSE_BYTES_MAX),
            (Ok(None), Ok(Some((_, head_bytes)))) => assert!(end < *head_bytes, "the head was whole"),
            (Ok(None), Err(_)) => {}
            (Ok(Some((front, front_bytes))), Ok(Some((whole, head_bytes)))) => {
                assert_eq!((front_bytes, front.status()), (head_bytes, whole.status()));
            }
            (Err(_), Err(_)) => {}
            _ => panic!("{end} bytes are {front:?}, all are {whole:?}"),
        }
    }
    match (read_response(bytes), whole) {
        (Head::Partial, Ok(None) | Err(_)) => {}
        (Head::Bad, Err(ResponseError::Malformed | ResponseError::TooLarge)) => {}
        (Head::Whole { start: Start::Status { status, reason }, fields, bytes: head_bytes }, whole) => {
            match (whole, not_accepted(status, &fields, head_bytes)) {
                (Ok(Some((response, found_bytes))), None) => {
                    assert_eq!(
                        (response.status(), response.reason(), found_bytes),
                        (status, &*reason, head_bytes)
                    );
                    assert_eq!(response.is_accepted(), status == 101);
                    for (name, _) in &fields {
                        assert_eq!(response.header(&name.to_lowercase()), all(&fields, name).next());
                    }
                    let protocol = all(&fields, "Sec-WebSocket-Protocol").next();
                    assert_eq!(
                        response.protocol(),
                        protocol.and_then(|value| std::str::from_utf8(value).ok())
                    );
                }
                (Err(error), Some(expected)) => assert_eq!(error, expected),
                (whole, expected) => panic!("{whole:?}, the twin says {expected:?}"),
            }
        }
        (twin, whole) => panic!("{whole:?}, the twin says {twin:?}"),
    }
}

/// RFC 6455 s4.1, second list.
fn not_accepted(status: u16, fields: &Fields, head_bytes: usize) -> Option<ResponseError> {
    if fields.len() > HEADERS_MAX || head_bytes > RESPONSE_BYTES_MAX {
        return Some(ResponseError::TooLarge);
    }
    let accepts: Vec<_> = all(fields, "Sec-WebSocket-Accept").collect();
    if status != 101 {
        None
    } else if !names(fields, "Upgrade", "websocket") {
        Some(ResponseError::Upgrade)
    } else if !names(fields, "Connection", "upgrade") {
        Some(ResponseError::Connection)
    } else if accepts != [ACCEPT.as_bytes()] {
        Some(ResponseError::Accept)
    } else {
        list(fields, "Sec-WebSocket-Extensions").next().map(|_| ResponseError::Extension)
    }
}

// --- both ---

/// A request written by us is the one that a server reads.
fn check_written(input: &mut Input<'_>) {
    let mut word = |or: &str| {
        let word = String::from_utf8_lossy(input.short()).into_owned();
        if is_header_value(&word) { word } else { or.to_owned() }
    };
    let (host, target, origin, name, value) = (word("h"), word("/"), word("o"), word("X-A"), word("v"));
    let protocols =
        [word("p"), word("q")].map(|name| if is_header_name(&name) { name } else { "chat".into() });
    let host = if is_host(host.as_bytes()) { host } else { "h".into() };
    // The absolute form must name the host.
    let is_local =
        !target.is_empty() && !target.contains("://") && target.bytes().all(|byte| byte.is_ascii_graphic());
    let target = if is_local { target } else { "/".into() };
    let name = format!("X-{}", if is_header_name(&name) { &name } else { "A" });
    let request = ClientRequest {
        host: &host,
        target: &target,
        key: KEY,
        origin: Some(&origin),
        protocols: &[&protocols[0], &protocols[1]],
        headers: &[(&name, &value)],
    };
    let mut out = Vec::new();
    request.write(&mut out);
    check_request(&out, &HeadLimits::default());
    let (head, head_bytes) = RequestHead::parse(&out, &HeadLimits::default()).expect("sound").expect("whole");
    assert_eq!((head_bytes, head.method(), head.target()), (out.len(), "GET", &*target));
    assert_eq!(
        (head.header("Host"), head.header("Origin")),
        (Some(host.as_bytes()), Some(origin.as_bytes()))
    );
    assert!(head.headers().any(|field| field == (&*name, value.as_bytes())));
    let upgrade = head.upgrade().expect("what we write asks for an upgrade");
    assert_eq!(accept_key(upgrade.key()), ACCEPT.as_bytes());
}

/// A head of lines chosen by the input.
fn built(input: &mut Input<'_>, start: &str) -> Vec<u8> {
    let mut head = start.as_bytes().to_vec();
    while !input.is_empty() {
        match usize::from(input.byte()) {
            line if line < LINES.len() => head.extend(LINES[line].as_bytes()),
            0xFD => head.extend(b"\r\n"),
            0xFE => {
                head.extend(b"X-Pad: ");
                head.resize(head.len() + 64 * usize::from(input.byte()), b'x');
            }
            0xFF => {
                for _ in 0..input.byte() {
                    head.extend(b"A:b\r\n");
                }
            }
            _ => head.extend(input.short()),
        }
        if head.len() > 2 * RESPONSE_BYTES_MAX {
            break;
        }
    }
    head
}

/// Every length of a short head; of a long one the first, the last, and some between.
fn prefixes(bytes: usize) -> impl Iterator<Item = usize> {
    let step = bytes / EVERY_PREFIX_BYTES_MAX + 1;
    (0..bytes).filter(move |end| end % step == 0 || bytes - end <= 8)
}

/// Lines that heads of a handshake have, and some that they should not have.
const LINES: [&str; 34] = [
    "Host: example.org\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    "\r\n",
    "Origin: https://example.org\r\n",
    "Sec-WebSocket-Protocol: chat, superchat\r\n",
    "Sec-WebSocket-Protocol: v2.chat\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: ,\r\n",
    "connection: keep-alive, UPGRADE\r\n",
    "Connection: close\r\n",
    "upgrade: h2c, WebSocket\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    " folded: line\r\n",
    "Cookie: a=b; c=d\r\n",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n",
    "Sec-WebSocket-Version: 8\r\n",
    "Sec-WebSocket-Key: short\r\n",
    "X-Bare: a\rb\r\n",
    "X-Nul: a\0b\r\n",
    "X-Latin: \u{e4}\r\n",
    "No-Colon\r\n",
    ": no name\r\n",
    "Host: other.example\n",
    "Authorization: Bearer x.y.z\r\n",
    "Content-Type: text/plain\r\n",
    "Sec-WebSocket-Version:13 \t\n",
    "\n",
];

/// Fields that a request may have once.
const ONCE: [&str; 7] = [
    "Host",
    "Origin",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Content-Length",
    "Content-Type",
    "Authorization",
];

/// RFC 6455 s1.3
const KEY: [u8; 16] = *b"the sample nonce";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// As the documents of `ResponseError::TooLarge` say.
const RESPONSE_BYTES_MAX: usize = 16 << 10;

const EVERY_PREFIX_BYTES_MAX: usize = 512;
