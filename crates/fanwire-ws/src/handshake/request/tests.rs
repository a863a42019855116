//! Request heads: what passes, what is refused, and with what.

use proptest::prelude::*;

use super::*;
use crate::HEADERS_MAX;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 1024 };

/// A sound handshake, each line to be replaced by a test.
const SOUND: &str = "GET /ws?token=ada HTTP/1.1\r\n\
    Host: example.org\r\n\
    Upgrade: WebSocket\r\n\
    Connection: keep-alive, upgrade\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n\
    Sec-WebSocket-Protocol: raw\r\n\
    Origin: https://example.org\r\n\
    \r\n";

fn parsed(bytes: &str) -> RequestHead<'_> {
    RequestHead::parse(bytes.as_bytes(), &LIMITS).unwrap().unwrap().0
}

fn error(bytes: &str) -> Option<HeadError> {
    RequestHead::parse(bytes.as_bytes(), &LIMITS).err()
}

fn target(target: &str) -> String {
    with_host(target, "example.org")
}

fn with_host(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn a_sound_handshake_parses_once_it_is_whole() {
    let bytes = SOUND.to_owned() + "\u{1}frames";
    for end in 0..SOUND.len() {
        assert!(matches!(RequestHead::parse(&bytes.as_bytes()[..end], &LIMITS), Ok(None)), "{end}");
    }
    let (head, head_bytes) = RequestHead::parse(bytes.as_bytes(), &LIMITS).unwrap().unwrap();
    assert_eq!(head_bytes, SOUND.len());
    assert_eq!((head.method(), head.target(), head.version()), ("GET", "/ws?token=ada", 1));
    assert_eq!((head.path(), head.query()), ("/ws", Some("token=ada")));
    assert_eq!((head.origin(), head.header_str("hOsT")), (Some("https://example.org"), Some("example.org")));
    assert_eq!(head.protocols().collect::<Vec<_>>(), ["chat.v2", "chat.v1", "raw"]);
    assert_eq!((head.headers().count(), head.headers().next()), (8, Some(("Host", &b"example.org"[..]))));
    let upgrade = head.upgrade().unwrap();
    assert_eq!(upgrade.key(), b"dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(&upgrade.accept_key(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn each_refusal_has_its_status_and_they_come_in_order() {
    // Every row breaks one thing more, in the order opposite to the checks.
    let mut bytes = SOUND.to_owned();
    let version = Some(("Sec-WebSocket-Version", "13"));
    for (from, to, status, text, header) in [
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: a;\r\n\r\n", 400, "list of extensions", None),
        ("chat.v2, chat.v1", "chat v2", 400, "list of tokens", None),
        ("ZQ==\r\n", "ZQ=\r\n", 400, "16 bytes", None),
        ("Sec-WebSocket-Key", "X-Key", 400, "Key header is missing", None),
        ("Version: 13", "Version: 8", 426, "13", version),
        ("Sec-WebSocket-Version", "X-Version", 426, "13", version),
        ("Host: example.org\r\n", "Host: example.org\r\nContent-Length: 5\r\n", 400, "no body", None),
        ("Content-Length: 5", "Transfer-Encoding: chunked", 400, "no body", None),
        ("Transfer-Encoding: chunked", "Content-Length: 5", 400, "no body", None),
        ("HTTP/1.1", "HTTP/1.0", 400, "HTTP/1.1", None),
        ("keep-alive, upgrade", "keep-alive", 400, "Upgrade and Connection", None),
        ("Upgrade: WebSocket", "Upgrade: h2c", 400, "Upgrade and Connection", None),
        ("GET", "POST", 405, "only GET", Some(("Allow", "GET"))),
    ] {
        bytes = bytes.replacen(from, to, 1);
        let refusal = parsed(&bytes).upgrade().unwrap_err();
        assert_eq!((refusal.status, refusal.header), (status, header), "{to}");
        assert!(refusal.text.contains(text), "{to}: {}", refusal.text);
    }
}

#[test]
fn fields_stand_in_any_order_and_unknown_ones_are_ignored() {
    let mut lines: Vec<_> = SOUND.trim_end().split("\r\n").collect();
    let request_line = lines.remove(0);
    lines.reverse();
    lines.insert(3, "X-Unknown: \u{e9}, \"odd\";=");
    let bytes = format!("{request_line}\r\n{}\r\n\r\n", lines.join("\r\n"));
    let head = parsed(&bytes);
    assert!(head.upgrade().is_ok());
    assert_eq!(head.protocols().collect::<Vec<_>>(), ["raw", "chat.v2", "chat.v1"]);
}

#[test]
fn an_announced_empty_body_is_none() {
    assert!(parsed(&SOUND.replacen("Host", "Content-Length: 0\r\nHost", 1)).upgrade().is_ok());
}

#[test]
fn a_request_line_over_the_limit_is_told_from_a_head_over_it() {
    let long = "x".repeat(LIMITS.bytes_max);
    for bytes in [format!("GET /{long}"), format!("\r\nGET /{long}"), target(&format!("/{long}"))] {
        assert_eq!(error(&bytes), Some(HeadError::TargetTooLong));
    }
    for bytes in [format!("GET / HTTP/1.1\r\nA: {long}"), format!("GET / HTTP/1.1\r\nA: {long}\r\n\r\n")] {
        assert_eq!(error(&bytes), Some(HeadError::TooLarge));
    }
    // The end of the line is its last byte that counts.
    let line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(LIMITS.bytes_max - "GET / HTTP/1.1\r\n".len()));
    assert_eq!(error(&line), Some(HeadError::TooLarge));
    assert_eq!(error(&line.replacen('x', "xx", 1)), Some(HeadError::TargetTooLong));
}

#[test]
fn upgrade_and_connection_are_both_needed() {
    for (from, to) in [("Upgrade: WebSocket", "Upgrade: h2c"), ("keep-alive, upgrade", "keep-alive")] {
        let bytes = SOUND.replacen(from, to, 1);
        let refusal = parsed(&bytes).upgrade().unwrap_err();
        assert!(refusal.text.contains("Upgrade and Connection"), "{to}: {}", refusal.text);
    }
}

#[test]
fn methods_are_case_sensitive() {
    assert_eq!(parsed(&SOUND.replacen("GET", "get", 1)).upgrade().unwrap_err().status, 405);
}

#[test]
fn malformed_heads_fail_as_soon_as_it_shows() {
    for bytes in [
        "\u{1}",
        "GET / HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{4}\u{1}",
        "GET /\u{1} HTTP/1.1\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/1.1 x\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA\0: b\r\n",
        "GET /\0 HTTP/1.1\r\n",
        "GET / HTTP/1.1\rHost: a\r\n",
        "\rGET / HTTP/1.1\r\n",
        "GET / HTTP/1.2\r\n",
        " GET / HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        "GET /\r\n",
        "G(T / HTTP/1.1\r\n",
    ] {
        assert_eq!(error(bytes), Some(HeadError::Malformed), "{bytes:?}");
    }
}

#[test]
fn the_start_of_tls_is_told_from_other_garbage() {
    assert_eq!(error("\u{16}\u{3}\u{1}\0\u{5}"), Some(HeadError::Tls));
}

#[test]
fn obsolete_folding_is_refused() {
    // RFC 7230 s3.2.4
    for fold in [" ", "\t"] {
        assert_eq!(
            error(&SOUND.replacen("keep-alive, ", &format!("x,\r\n{fold}"), 1)),
            Some(HeadError::Malformed)
        );
    }
}

#[test]
fn a_request_has_one_host() {
    assert_eq!(error("GET / HTTP/1.1\r\nA: b\r\n\r\n"), Some(HeadError::HostMissing));
    assert_eq!(error("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), Some(HeadError::Repeated("Host")));
    assert_eq!(parsed("GET / HTTP/1.0\r\n\r\n").version(), 0);
}

#[test]
fn headers_that_may_stand_once_stand_once() {
    for name in SINGLE {
        let twice = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: x\r\n{}: x\r\n\r\n", name.to_lowercase());
        assert_eq!(error(&twice), Some(HeadError::Repeated(name)));
    }
    assert_eq!(error("GET / HTTP/1.1\r\nHost: a\r\nCookie: x\r\nCookie: y\r\n\r\n"), None);
}

#[test]
fn heads_up_to_the_limits_pass_and_larger_ones_do_not() {
    let with_bytes = |bytes: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(bytes - frame))
    };
    assert_eq!(parsed(&with_bytes(1024)).path(), "/");
    assert_eq!(error(&with_bytes(1025)), Some(HeadError::TooLarge));
    assert_eq!(error(&with_bytes(1025)[..1024]), Some(HeadError::TooLarge));
    assert_eq!(error(&with_bytes(1024)[..1023]), None);
    let with_headers =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    assert_eq!(parsed(&with_headers(HEADERS_MAX)).headers().count(), HEADERS_MAX);
    assert_eq!(error(&with_headers(HEADERS_MAX + 1)), Some(HeadError::TooManyHeaders));
}

#[test]
fn targets_come_apart_into_path_and_query() {
    for (given, path, query) in [
        ("/ws", "/ws", None),
        ("/ws?a=b?c", "/ws", Some("a=b?c")),
        ("http://example.org/ws?a", "/ws", Some("a")),
        ("HTTP://Example.ORG", "/", None),
        ("http://example.org?a", "/", Some("a")),
        ("*", "*", None),
    ] {
        let bytes = target(given);
        let head = parsed(&bytes);
        assert_eq!((head.target(), head.path(), head.query()), (given, path, query));
    }
}

#[test]
fn a_scheme_elsewhere_does_not_hide_the_path() {
    for given in ["x?u=http://example.org/ws", "ftp://example.org/ws", "//example.org/ws", "ws"] {
        assert_ne!(parsed(&target(given)).path(), "/ws", "{given}");
    }
}

#[test]
fn the_target_names_the_same_host_as_the_header() {
    for (given, host) in [
        ("http://example.org/ws", "other.example"),
        ("http://example.org:8080/ws", "example.org"),
        ("http://user@example.org/ws", "example.org"),
        ("http://example.org/ws", ""),
    ] {
        assert_eq!(error(&with_host(given, host)), Some(HeadError::HostInvalid), "{given} {host}");
    }
    assert_eq!(error(&with_host("http://example.org:8080/ws", "EXAMPLE.org:8080")), None);
    assert_eq!(error("GET http://example.org/ws HTTP/1.0\r\n\r\n"), None);
}

#[test]
fn a_host_is_a_name_or_an_address() {
    for host in ["a b", "a/b", "http://a", "user@a", "a:8o", "[::1"] {
        assert_eq!(error(&with_host("/ws", host)), Some(HeadError::HostInvalid), "{host}");
        assert_eq!(error(&format!("GET /ws HTTP/1.0\r\nHost: {host}\r\n\r\n")), Some(HeadError::HostInvalid));
    }
    for host in ["", "example.org:8080", "[::1]:80"] {
        assert_eq!(error(&with_host("/ws", host)), None, "{host}");
    }
}

#[test]
fn heads_that_do_not_say_where_their_body_ends_are_refused() {
    for (version, fields) in [
        (1, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        (1, "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
        (1, "Content-Length: +5\r\n"),
        (1, "Content-Length: 5, 5\r\n"),
        (1, "Content-Length:\r\n"),
        (1, "Transfer-Encoding: xchunked\r\n"),
        (1, "Transfer-Encoding: chunked, identity\r\n"),
        (1, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        (0, "Transfer-Encoding: chunked\r\n"),
    ] {
        let bytes = format!("POST / HTTP/1.{version}\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(error(&bytes), Some(HeadError::BodyUnclear), "{fields}");
    }
    assert_eq!(error("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), None);
}

#[test]
fn lines_end_with_cr_and_lf() {
    let lines: Vec<_> = SOUND.split_inclusive("\r\n").collect();
    for (index, line) in lines.iter().enumerate() {
        let bare = line.replace("\r\n", "\n");
        let before = lines[..index].concat();
        let whole = [before.as_str(), &bare, &lines[index + 1..].concat()].concat();
        assert_eq!(error(&whole), Some(HeadError::Malformed), "line {index}");
        // As soon as it shows.
        assert_eq!(error(&[before.as_str(), &bare].concat()), Some(HeadError::Malformed), "line {index}");
    }
    assert_eq!(error(&SOUND.replace("\r\n", "\n")), Some(HeadError::Malformed));
    assert_eq!(error(&format!("\n{SOUND}")), Some(HeadError::Malformed));
    assert_eq!(error("\n"), Some(HeadError::Malformed));
    // What follows the head is no part of it.
    assert_eq!(error(&format!("{SOUND}\n\n")), None);
}

#[test]
fn empty_lines_before_the_request_are_skipped() {
    // RFC 7230 s3.5
    let bytes = format!("\r\n\r\n{SOUND}");
    let (head, head_bytes) = RequestHead::parse(bytes.as_bytes(), &LIMITS).unwrap().unwrap();
    assert_eq!((head.path(), head_bytes), ("/ws", bytes.len()));
}

#[test]
fn white_space_before_the_first_field_is_refused() {
    // RFC 7230 s3
    for space in [" ", "\t"] {
        let bytes = format!("GET / HTTP/1.1\r\n{space}Host: a\r\n\r\n");
        assert_eq!(error(&bytes), Some(HeadError::Malformed));
    }
}

#[test]
fn a_second_request_behind_the_head_is_no_part_of_it() {
    let (_, head_bytes) = RequestHead::parse(SOUND.repeat(2).as_bytes(), &LIMITS).unwrap().map_or_else(
        || panic!("the head is whole"),
        |(head, head_bytes)| (head.path().to_owned(), head_bytes),
    );
    assert_eq!(head_bytes, SOUND.len());
}

#[test]
fn offers_that_break_their_grammar_are_refused() {
    let with = |field: &str| SOUND.replacen("Origin", &format!("{field}\r\nOrigin"), 1);
    for field in [
        "Sec-WebSocket-Protocol: a b",
        "Sec-WebSocket-Protocol: \"a\"",
        "Sec-WebSocket-Extensions:",
        "Sec-WebSocket-Extensions: permessage-deflate;",
        "Sec-WebSocket-Extensions: a; b=\"c d\"",
    ] {
        assert_eq!(parsed(&with(field)).upgrade().unwrap_err().status, 400, "{field}");
    }
    for field in
        ["Sec-WebSocket-Protocol: a,,b", "Sec-WebSocket-Extensions: permessage-deflate; a, b; c=\"10\""]
    {
        assert!(parsed(&with(field)).upgrade().is_ok(), "{field}");
    }
    let alone = SOUND.replacen("Sec-WebSocket-Protocol: raw\r\n", "", 1).replacen("chat.v2, chat.v1", "", 1);
    assert_eq!(parsed(&alone).upgrade().unwrap_err().status, 400);
}

#[test]
fn query_values_are_decoded() {
    let bytes =
        target("/ws?token=a%20b+c%C3%A9&empty=&flag&token=second&n%61me=x&bad=%zz&cut=%2&latin=%E9&x=a=b");
    let head = parsed(&bytes);
    for (name, value) in [
        ("token", Some("a b c\u{e9}")),
        ("empty", Some("")),
        ("flag", Some("")),
        ("name", Some("x")),
        ("x", Some("a=b")),
        ("bad", None),
        ("cut", None),
        ("latin", None),
        ("missing", None),
    ] {
        assert_eq!(head.query_value(name).as_deref(), value, "{name}");
    }
    assert!(matches!(head.query_value("x"), Some(Cow::Borrowed("a=b"))));
    // Every digit, in both cases: each byte below 128 stands for itself.
    for byte in 0..128u8 {
        for escape in [format!("%{byte:02x}"), format!("%{byte:02X}")] {
            let bytes = target(&format!("/ws?x={escape}"));
            assert_eq!(
                parsed(&bytes).query_value("x").as_deref(),
                Some(char::from(byte).to_string().as_str())
            );
        }
    }
    for not_hex in ["%0g", "%g0", "%0`", "%0@", "%0/", "%0:"] {
        assert_eq!(parsed(&target(&format!("/ws?x={not_hex}"))).query_value("x"), None, "{not_hex}");
    }
    assert_eq!(parsed(&target("/ws")).query_value("token"), None);
}

proptest! {
    /// More bytes never undo an answer: neither an error nor a whole head.
    #[test]
    fn any_head_read_early_is_judged_as_it_is_when_more_has_come(
        lines in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(SOUND.split_inclusive("\r\n").collect::<Vec<_>>()).prop_map(str::to_owned),
            1 => "[ -~]{0,20}\r\n",
            1 => "\\PC{0,4}",
        ], 0..14),
        has_request_line in prop::bool::weighted(0.9),
        bytes_max in 50usize..600,
    ) {
        let request_line = if has_request_line { "GET /ws?a=%20+b HTTP/1.1\r\nHost: a\r\n" } else { "" };
        let bytes = [request_line.as_bytes(), lines.concat().as_bytes()].concat();
        let limits = HeadLimits { bytes_max };
        let judged = |end: usize| {
            RequestHead::parse(&bytes[..end], &limits).map(|head| head.map(|(head, head_bytes)| {
                (head_bytes, head.upgrade().is_ok())
            }))
        };
        let mut before = judged(0);
        for end in 1..=bytes.len() {
            let now = judged(end);
            match before {
                Ok(None) => {}
                Ok(Some(head)) => prop_assert_eq!(now, Ok(Some(head))),
                Err(_) => prop_assert!(now.is_err()),
            }
            before = now;
        }
    }
}

#[test]
fn a_head_that_another_stack_has_read_is_checked_all_the_same() {
    let fields = |fields: &'static [(&'static str, &'static str)]| {
        fields.iter().map(|(name, value)| (*name, value.as_bytes()))
    };
    let sound: &[_] = &[
        ("host", "example.org"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];
    let head = RequestHead::from_parts("GET", "/ws?a=b", 1, fields(sound)).unwrap();
    assert_eq!((head.path(), head.query()), ("/ws", Some("a=b")));
    assert_eq!(&head.upgrade().unwrap().accept_key(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let old = RequestHead::from_parts("GET", "/ws", 0, fields(sound)).unwrap();
    assert_eq!(old.upgrade().unwrap_err().status, 400);

    let failed = |parts: &'static [(&'static str, &'static str)]| {
        RequestHead::from_parts("GET", "/ws", 1, fields(parts)).unwrap_err()
    };
    assert_eq!(failed(&[]), HeadError::HostMissing);
    assert_eq!(failed(&[("host", "a"), ("host", "a")]), HeadError::Repeated("Host"));
    assert_eq!(failed(&[("host", "a"), ("content-length", "x")]), HeadError::BodyUnclear);
    let many = (0..=HEADERS_MAX).map(|_| ("x", &b"y"[..]));
    assert!(matches!(RequestHead::from_parts("GET", "/", 1, many), Err(HeadError::TooManyHeaders)));
    let as_many = (1..HEADERS_MAX).map(|_| ("x", &b"y"[..])).chain([("host", &b"a"[..])]);
    assert!(RequestHead::from_parts("GET", "/", 1, as_many).is_ok());
}
