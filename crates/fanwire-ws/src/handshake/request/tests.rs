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
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
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
    for (from, to, status, header) in [
        ("ZQ==\r\n", "ZQ=\r\n", 400, None),
        ("Sec-WebSocket-Key", "X-Key", 400, None),
        ("Version: 13", "Version: 8", 426, Some(("Sec-WebSocket-Version", "13"))),
        ("Sec-WebSocket-Version", "X-Version", 426, Some(("Sec-WebSocket-Version", "13"))),
        ("Host: example.org\r\n", "Host: example.org\r\nContent-Length: 5\r\n", 400, None),
        ("Content-Length: 5", "Transfer-Encoding: chunked", 400, None),
        ("HTTP/1.1", "HTTP/1.0", 400, None),
        ("keep-alive, upgrade", "keep-alive", 400, None),
        ("Upgrade: WebSocket", "Upgrade: h2c", 400, None),
        ("GET", "POST", 405, Some(("Allow", "GET"))),
    ] {
        bytes = bytes.replacen(from, to, 1);
        let refusal = parsed(&bytes).upgrade().unwrap_err();
        assert_eq!((refusal.status, refusal.header), (status, header), "{to}");
    }
}

#[test]
fn an_announced_empty_body_is_none() {
    assert!(parsed(&SOUND.replacen("Host", "Content-Length: 0\r\nHost", 1)).upgrade().is_ok());
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
        "\u{16}\u{3}\u{1}",
        "GET /\u{1} HTTP/1.1\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/1.1 x\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n",
    ] {
        assert_eq!(error(bytes), Some(HeadError::Malformed), "{bytes:?}");
    }
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
    assert_eq!(error("GET / HTTP/1.0\r\n\r\n"), None);
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
        ("/", "/", None),
        ("/ws", "/ws", None),
        ("/ws?", "/ws", Some("")),
        ("/ws?a=b?c", "/ws", Some("a=b?c")),
        ("/a%20b/?x", "/a%20b/", Some("x")),
        ("/ws?u=http://x/y", "/ws", Some("u=http://x/y")),
        ("http://example.org/ws?a", "/ws", Some("a")),
        ("ws://example.org:80", "/", None),
        ("http://example.org?a", "/", Some("a")),
        ("*", "*", None),
    ] {
        let bytes = target(given);
        assert_eq!((parsed(&bytes).path(), parsed(&bytes).query()), (path, query), "{given}");
    }
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
