//! Heads: what is answered, byte for byte, and what is hidden behind them.
//!
//! Source  docs/conformance.md

use fanwire::Options;

use crate::{
    common::{Client, Received, Setup, Wire, World, request_head},
    handshake::check_refusal,
    in_every_world,
};

in_every_world!(
    the_acceptance_is_what_the_rfc_says_and_no_more,
    offered_extensions_are_not_taken,
    offers_that_break_their_grammar_are_refused,
    the_absolute_form_of_the_target_is_taken,
    heads_that_two_readers_could_understand_in_two_ways_are_refused,
    what_follows_a_plain_request_is_never_a_second_one,
    what_follows_an_upgrade_is_never_a_second_request,
);

/// Byte for byte: no subprotocol and no extension unless the client offered it, each header once.
fn the_acceptance_is_what_the_rfc_says_and_no_more(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut wire = world.wire();
    wire.send(&request_head("/ws?protocol=chat.v1", &[]));
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(read_head(&mut *wire), (expected.to_owned(), Vec::new()));
}

/// Neither named in the answer nor understood in a frame.
fn offered_extensions_are_not_taken(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut wire = world.wire();
    let offer = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits, x-other");
    wire.send(&request_head("/ws?name=c", &[offer]));
    let (head, mut behind) = read_head(&mut *wire);
    assert!(head.starts_with("HTTP/1.1 101 ") && !head.to_lowercase().contains("extensions"), "{head}");
    wire.send(b"\xc1\x80\0\0\0\0");
    while wire.receive(&mut behind) == Received::Bytes {}
    assert_eq!(&behind[..4], [0x88, behind[1], 0x03, 0xea], "a close frame with 1002");
}

fn offers_that_break_their_grammar_are_refused(setup: Setup) {
    let world = World::start(setup, Options::default());
    for (name, value) in [
        ("Sec-WebSocket-Protocol", "a b"),
        ("Sec-WebSocket-Protocol", ","),
        ("Sec-WebSocket-Extensions", "permessage-deflate;"),
        ("Sec-WebSocket-Extensions", ""),
    ] {
        let response = world.try_connect("/ws", &[(name, value)]).err().unwrap();
        check_refusal(&response, 400, &format!("{name} must be a list"));
    }
    assert_eq!(world.stats().total.refused_malformed, 4);
    world.try_connect("/ws", &[("Sec-WebSocket-Protocol", "a,, b")]).unwrap().close();
}

fn the_absolute_form_of_the_target_is_taken(setup: Setup) {
    let world = World::start(setup, Options::default());
    world.connect("http://test/ws?name=c").close();
    world.closed("c");
    // Another scheme, or none, is part of a path that nobody has.
    for target in ["ftp://test/ws", "x?u=http://test/ws", "//test/ws", "*"] {
        check_refusal(&world.try_connect(target, &[]).err().unwrap(), 404, "not found");
    }
}

/// Shapes by which a request is smuggled past a proxy: one answer, the end, and nothing of what stood behind.
fn heads_that_two_readers_could_understand_in_two_ways_are_refused(setup: Setup) {
    let world = World::start(setup, Options::default());
    let cases: [(&str, &str); 20] = [
        (
            "POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "clearly",
        ),
        ("POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: +5\r\n\r\n", "clearly"),
        ("POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: 0, 44\r\n\r\n", "clearly"),
        (
            "POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n",
            "may stand once",
        ),
        (
            "POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n",
            "may stand once",
        ),
        ("POST /health HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: xchunked\r\n\r\n", "clearly"),
        ("POST /health HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, identity\r\n\r\n", "clearly"),
        ("POST /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "clearly"),
        ("POST /health HTTP/1.1\r\nHost: test\r\nTransfer-Encoding : chunked\r\n\r\n", "malformed"),
        ("POST /health HTTP/1.1\r\nHost: test\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", "malformed"),
        ("POST /health HTTP/1.1\r\nHost: test\r\nX: a\nContent-Length: 44\r\n\r\n", "malformed"),
        ("POST /health HTTP/1.1\r\nHost: test\r\nX: a\rContent-Length: 44\r\n\r\n", "malformed"),
        ("POST /health HTTP/1.1\r\nHost: test\r\nX: a\0\r\n\r\n", "malformed"),
        ("POST /health HTTP/1.1\r\n Host: test\r\n\r\n", "malformed"),
        ("GET /health HTTP/1.1\nHost: test\n\n", "malformed"),
        ("GET /health HTTP/1.1 HTTP/1.1\r\nHost: test\r\n\r\n", "malformed"),
        ("GET /health HTTP/1.1\r\nHost: test\r\nHost: other\r\n\r\n", "may stand once"),
        ("GET /health HTTP/1.1\r\nHost: test@other\r\n\r\n", "no host"),
        ("GET http://other/health HTTP/1.1\r\nHost: test\r\n\r\n", "no host"),
        ("GET /health HTTP/1.1\r\n\r\n", "Host header is missing"),
    ];
    for (head, text) in cases {
        check_refusal(&world.request(format!("{head}{HIDDEN}")), 400, text);
    }
    let stats = world.stats().total;
    assert_eq!((stats.refused_malformed, stats.http_answered, stats.hook_panics), (20, 0, 0), "{stats:#?}");
}

/// A body or a pipelined request is thrown away, and the connection ends behind the one answer.
fn what_follows_a_plain_request_is_never_a_second_one(setup: Setup) {
    let world = World::start(setup, Options::default());
    for head in [
        "GET /health HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: test\r\nConnection: keep-alive\r\n\r\n",
        "POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
        "POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: 44\r\n\r\n",
        "POST /health HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        check_refusal(&world.request(format!("{head}{HIDDEN}")), 200, "ok");
    }
    let stats = world.stats().total;
    assert_eq!((stats.http_answered, stats.hook_panics), (5, 0), "{stats:#?}");
}

/// It is frames, and no sound ones; a refused upgrade with a body is refused for that.
fn what_follows_an_upgrade_is_never_a_second_request(setup: Setup) {
    let world = World::start(setup, Options::default());
    let upgrade = request_head("/ws?name=c", &[]);
    let mut client = Client::open(world.wire(), &[upgrade, HIDDEN.as_bytes().to_vec()].concat()).unwrap();
    client.expect_close(1_002);
    client.expect_end();
    for field in [("Content-Length", "44"), ("Transfer-Encoding", "chunked")] {
        let head = String::from_utf8(request_head("/ws", &[field])).unwrap();
        check_refusal(&world.request(format!("{head}{HIDDEN}")), 400, "has no body");
    }
    let stats = world.stats().total;
    assert_eq!((stats.http_answered, stats.hook_panics, stats.sessions_opened), (0, 0, 1), "{stats:#?}");
}

/// The head of an answer, and what has come behind it.
pub(crate) fn read_head(wire: &mut dyn Wire) -> (String, Vec<u8>) {
    let mut answer = Vec::new();
    loop {
        if let Some(end) = answer.windows(4).position(|end| end == b"\r\n\r\n") {
            let behind = answer.split_off(end + 4);
            return (String::from_utf8(answer).unwrap(), behind);
        }
        assert_eq!(wire.receive(&mut answer), Received::Bytes);
    }
}

/// A request that must never be answered: its hook panics, which is counted. 44 bytes.
const HIDDEN: &str = "GET /panic HTTP/1.1\r\nHost: test\r\nX: abcd\r\n\r\n";
