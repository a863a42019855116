//! Inputs to begin with: the shapes of real traffic, and of the mistakes that clients make.
//!
//! In      a target's name
//! Out     named inputs in that target's layout
//! Bounds  a few hundred bytes each

use fanwire_ws::{
    ClientRequest, CloseCode, Opcode, encode_close, encode_frame, write_accept, write_response,
};

/// The seeds of a target, with names for their files.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    match target {
        "handshake_head" => heads(),
        "frame_decoder" => streams(),
        "encoder" => messages(),
        "utf8" => texts(),
        "envelope" => envelopes(),
        "close" => closes(),
        "proxy_header" => proxy_headers(),
        "session" => sessions(),
        _ => Vec::new(),
    }
}

fn heads() -> Vec<(String, Vec<u8>)> {
    let mut client = Vec::new();
    ClientRequest {
        host: "example.org:8080",
        target: "/ws?token=ada&room=a%20b",
        key: *b"the sample nonce",
        origin: Some("https://example.org"),
        protocols: &["chat.v2", "chat.v1"],
        headers: &[("User-Agent", "seed")],
    }
    .write(&mut client);
    let browser = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nConnection: keep-alive, Upgrade\r\n\
        Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0\r\nUpgrade: websocket\r\n\
        Origin: http://example.com\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate\r\n\
        Cookie: session=1; theme=dark\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n\x81\x80abcd";
    let mut accept = Vec::new();
    write_accept(&mut accept, b"dGhlIHNhbXBsZSBub25jZQ==", Some("chat.v1"), &[("Server", "x")]);
    let mut refusal = Vec::new();
    write_response(&mut refusal, 503, &[("Retry-After", "1")], "text/plain", b"full\n", false);
    let request = |bytes: &[u8]| [b"\x00\x00", bytes].concat();
    let response = |bytes: &[u8]| [b"\x01\x00", bytes].concat();
    named([
        ("request-of-a-client", request(&client)),
        ("request-of-a-browser", request(browser)),
        ("request-absolute-form", request(b"GET ws://h:80/ws?x HTTP/1.1\r\nHost: h\r\n\r\n")),
        ("request-scheme-in-query", request(b"GET a?b=c://d/ws HTTP/1.1\r\nHost: h\r\n\r\n")),
        ("request-bare-line-ends", request(b"\r\n\nHEAD / HTTP/1.0\nA: b\n\n")),
        ("request-folded", request(b"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n")),
        ("request-smuggling", request(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n")),
        ("request-two-hosts", request(b"GET / HTTP/1.1\r\nHost: h\r\nhost: i\r\n\r\n")),
        ("request-tls-hello", request(b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03")),
        ("request-query-escapes", request(b"GET /?a+b=%C3%A4&%zz=1&c&d=%&=e HTTP/1.1\r\nHost: h\r\n\r\n")),
        ("response-accepts", response(&accept)),
        ("response-refuses", response(&refusal)),
        ("response-short", response(b"HTTP/1.1 200\n\n")),
        ("response-extension", response(&[&accept[..accept.len() - 2], b"Sec-WebSocket-Extensions: x\r\n\r\n"].concat())),
        ("built-request", b"\x02\x00\x00\x01\x02\x03\x04\x06".to_vec()),
        ("built-request-odd", b"\x02\x00\x00\x0c\x0e\x20\x04\x08\x09\x07\x0f\x21".to_vec()),
        ("built-request-many-fields", b"\x02\x00\x00\xFF\x65\x06".to_vec()),
        ("built-request-long", b"\x02\x00\x00\xFE\xFF\x06".to_vec()),
        ("built-response", b"\x03\x00\x01\x02\x05\x0b\x08\x06".to_vec()),
        ("built-response-long", b"\x03\x00\x01\x02\x05\xFE\xFF\xFE\x20\x06".to_vec()),
        ("written", b"\x04\x00\x01h\x04/a?b\x01o\x03X-B\x01v\x01p\x01q".to_vec()),
    ])
}

fn streams() -> Vec<(String, Vec<u8>)> {
    let key = Some([0x37, 0xFA, 0x21, 0x3D]);
    let frames = |mask, frames: &[(bool, Opcode, &[u8])]| {
        let mut out = Vec::new();
        for (fin, opcode, payload) in frames {
            encode_frame(&mut out, *fin, *opcode, mask, payload);
        }
        out
    };
    let (text, binary, more) = (Opcode::Text, Opcode::Binary, Opcode::Continuation);
    let mut close = frames(key, &[(true, text, b"bye")]);
    encode_close(&mut close, key, CloseCode::NORMAL, "gr\u{fc}n");
    let to_server = |bytes: &[u8]| [b"\x00\x02\x01\x03", bytes].concat();
    let to_client = |bytes: &[u8]| [b"\x01\x02\x02\x05", bytes].concat();
    let short_limit = |bytes: &[u8]| [b"\x04\x01\x07", bytes].concat();
    named([
        ("rfc-hello-masked", to_server(&frames(key, &[(true, text, b"Hello")]))),
        ("rfc-hello", to_client(&frames(None, &[(true, text, b"Hello")]))),
        ("envelope", to_server(&frames(key, &[(true, text, br#"{"topic":"join","data":{"room":1}}"#)]))),
        (
            "fragments-with-ping",
            to_server(&frames(
                key,
                &[
                    (false, text, "gr\u{fc}".as_bytes()),
                    (true, Opcode::Ping, b"p"),
                    (false, more, b""),
                    (true, more, b"n"),
                ],
            )),
        ),
        (
            "character-cut",
            to_server(&frames(
                key,
                &[(false, text, b"\xF0\x90"), (false, more, b"\x8D"), (true, more, b"\x88")],
            )),
        ),
        (
            "ping-pong",
            to_client(&frames(None, &[(true, Opcode::Ping, &[7; 125]), (true, Opcode::Pong, b"")])),
        ),
        ("length-16", to_server(&frames(key, &[(true, binary, &[9; 300])]))),
        ("length-16-over-limit", short_limit(&frames(key, &[(true, binary, &[9; 201])]))),
        (
            "fragments-over-limit",
            short_limit(&frames(key, &[(false, binary, &[9; 150]), (true, more, &[8; 51])])),
        ),
        ("close-then-more", to_server(&[&close[..], &frames(key, &[(true, text, b"ignored")])].concat())),
        ("close-bad-gateway", to_client(b"\x88\x02\x03\xF6")),
        ("close-reserved", to_client(b"\x88\x02\x03\xED")),
        ("unmasked", to_server(b"\x81\x05Hello")),
        ("masked-by-server", to_client(&frames(key, &[(true, text, b"Hello")]))),
        ("reserved-bits", to_client(b"\xC1\x05Hello")),
        ("length-64-top-bit", to_client(b"\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x01")),
        ("length-not-minimal", to_client(b"\x82\x7E\x00\x05Hello")),
        ("stray-continuation", to_client(b"\x80\x00")),
        ("interleaved", to_client(b"\x01\x00\x81\x00")),
        ("surrogate", to_client(b"\x81\x03\xED\xA0\x80")),
        (
            "built",
            b"\x20\x02\x01\x03\x07\x00\x05Hello\x01\x02\x0a\x00\x01p\x01\x01\x06\x00\x03abc\x00\x00".to_vec(),
        ),
        ("built-long", b"\xE1\x01\x00\x08\x00\xC8\x41\x02\x08\x00\xFD\x00\x00\x08\x00\xFE\x00\x04".to_vec()),
    ])
}

fn messages() -> Vec<(String, Vec<u8>)> {
    named([
        ("server-text", b"\x00\x02\x01\x04\x01\x05Hello\x00\x03\x00\xFF\x80".to_vec()),
        ("client-text", b"\x01\x01\x02\x01\x0bgr\xC3\xBC\xC3\x9Fe, ada".to_vec()),
        ("client-fragments-with-ping", b"\x01\x01\x09\x3d\x02ab\x04ping\x02cd\x02ef".to_vec()),
        ("server-pong-between", b"\x00\x00\xbe\x02ab\x01q\x01c\x00\x00".to_vec()),
        ("server-125-126", b"\x00\x00\x00\xCC\x01\x00\x00\xCD\x01\x00\x00\xCE\x03\x01".to_vec()),
        ("client-65535-65536", b"\xE1\x03\x00\x07\x80\x00\xFD\x11\x00\x00\xFE\x05\x00".to_vec()),
        ("client-empty", b"\x01\x00\x00\x00\x07\x00\x00\x00\x00".to_vec()),
    ])
}

fn texts() -> Vec<(String, Vec<u8>)> {
    named([
        ("ascii", b"{\"topic\":\"chat\",\"data\":1}".to_vec()),
        ("two-bytes", "größer, müde".as_bytes().to_vec()),
        ("three-bytes", "日本語 ﷺ €".as_bytes().to_vec()),
        ("four-bytes", "🦀 𐍈 \u{10FFFF}".as_bytes().to_vec()),
        ("unfinished", b"abc\xF0\x90\x8D".to_vec()),
        ("overlong", b"\xC0\xAF".to_vec()),
        ("overlong-three", b"\xE0\x80\xAF".to_vec()),
        ("surrogate", b"\xED\xA0\x80".to_vec()),
        ("too-large", b"\xF4\x90\x80\x80".to_vec()),
        ("stray-continuation", b"a\x80".to_vec()),
        ("long", "ä".repeat(150).into_bytes()),
        ("kuhn-mixed", b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited".to_vec()),
    ])
}

fn envelopes() -> Vec<(String, Vec<u8>)> {
    let received = |text: &str| [b"\x00", text.as_bytes()].concat();
    named([
        ("message", received(r#"{"topic":"chat.message","data":{"room":"a","text":"hi"}}"#)),
        ("data-first", received("{ \"data\" : [1, 2.50e+1,\ttrue,null] ,\"topic\":\"t\" }")),
        ("no-data", received(r#"{"topic":"ping"}"#)),
        ("null-data", received(r#"{"topic":"t","data":null}"#)),
        ("other-members", received(r#"{"id":7,"topic":"t","meta":{"topic":"x","data":0},"data":"s"}"#)),
        ("escapes", received(r#"{"t\u006fpic":"a\"\u00e4\ud83e\udd80\n","data":"\ud800"}"#)),
        ("two-topics", received(r#"{"topic":"a","topic":"b"}"#)),
        ("two-data", received(r#"{"topic":"a","data":1,"data":2}"#)),
        ("array", received(r#"["t",1]"#)),
        ("number-too-large", received(r#"{"topic":"t","data":1e999}"#)),
        ("deep", received(&format!("{{\"topic\":\"t\",\"data\":{}{}}}", "[".repeat(130), "]".repeat(130)))),
        ("trailing", received(r#"{"topic":"t"} x"#)),
        ("binary", b"\x01{\"topic\":\"t\",\"x\":\"\xFF\",\"data\":1}".to_vec()),
        ("send", b"\x02\x04chat{\"a\" : 1}".to_vec()),
        ("send-escapes", b"\x02\x05a\"\n\xC3\xA4 [1, 2] ".to_vec()),
        ("send-empty", b"\x02\x01t".to_vec()),
        ("send-no-json", b"\x02\x01t1},{\"topic\":2".to_vec()),
        ("send-not-utf8", b"\x02\x01t\"\xFF\"".to_vec()),
    ])
}

fn closes() -> Vec<(String, Vec<u8>)> {
    let close = |code: u16, reason: &str| [&code.to_be_bytes(), reason.as_bytes()].concat();
    named([
        ("empty", Vec::new()),
        ("one-byte", b"\x03".to_vec()),
        ("normal", close(1000, "")),
        ("going-away", close(1001, "reload")),
        ("no-status", close(1005, "")),
        ("bad-gateway", close(1014, "")),
        ("application", close(4999, "größe")),
        ("undefined", close(2999, "x")),
        ("longest", close(1000, &"x".repeat(123))),
        ("too-long-by-a-character", close(1008, &format!("{}🦀", "x".repeat(120)))),
        ("not-utf8", b"\x03\xE8\xC0".to_vec()),
    ])
}

/// In front of each, how it is cut.
fn proxy_headers() -> Vec<(String, Vec<u8>)> {
    let v2 = |command: u8, family: u8, rest: &[u8]| {
        let length = u16::try_from(rest.len()).unwrap_or(u16::MAX).to_be_bytes();
        [b"\x05\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, rest, b"GET /"].concat()
    };
    let ipv4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 1, 187];
    named([
        ("v1-tcp4", b"\x01PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\nGET /".to_vec()),
        ("v1-tcp6", b"\x40PROXY TCP6 2001:db8::7 ::1 12345 443\r\n".to_vec()),
        ("v1-unknown", b"\x02PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec()),
        ("v1-too-long", [b"\x03PROXY UNKNOWN ".as_slice(), &[b'f'; 93], b"\r\n"].concat()),
        ("v1-no-port", b"\x01PROXY TCP4 192.0.2.7 198.51.100.1 12345\r\n".to_vec()),
        ("v2-ipv4", v2(0x21, 0x11, &ipv4)),
        ("v2-ipv4-and-more", v2(0x21, 0x11, &[&ipv4[..], b"\x01\0\x02h2"].concat())),
        ("v2-ipv6", v2(0x21, 0x21, &[[0x20; 32].as_slice(), &[1, 2, 3, 4]].concat())),
        ("v2-unix", v2(0x21, 0x31, &[b'a'; 216])),
        ("v2-local", v2(0x20, 0x00, b"")),
        ("v2-local-without-its-addresses", v2(0x20, 0x11, b"")),
        ("v2-addresses-cut", v2(0x21, 0x11, &ipv4[..11])),
        ("no-header", b"\x07GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()),
    ])
}

fn sessions() -> Vec<(String, Vec<u8>)> {
    // Operations are named by their numbers in `World::operate`.
    let calm = [0; OPTION_BYTES];
    let course = |options: &[u8], operations: &[&[u8]]| [options, &operations.concat()].concat();
    let set = |changes: &[(usize, u8)]| {
        let mut options = calm;
        changes.iter().for_each(|(place, choice)| options[*place] = *choice);
        options
    };
    let join: &[u8] = b"\x00\x00\x09\x40\x04\x00\x00\x00";
    let second: &[u8] = b"\x00\x01\x09\x40\x04\x01\x00\x00";
    let chat: &[u8] = b"\x09\x40\x04\x00\x03\x00\x04\x01\x04\x00\x09\x80\x17";
    named([
        ("two-chat", course(&calm, &[join, second, chat])),
        ("two-shards", course(&set(&[(7, 1)]), &[join, b"\x00\x02\x09\x40\x04\x01\x00\x00", chat, chat])),
        ("faults", course(&set(&[(0, 7), (1, 1), (2, 1), (3, 1), (4, 1)]), &[join, second, chat, chat])),
        ("rare-faults", course(&set(&[(32, 1), (33, 2), (35, 1), (36, 1), (38, 1), (39, 1), (40, 1)]), &[join, second, chat, chat])),
        ("raw-codec", course(&set(&[(6, 1)]), &[join, second, chat])),
        ("ping-close", course(&calm, &[join, b"\x03\x00\x89\x02hi\x09\x20\x03\x00\x88\x02\x03\xe8\x09\x40\x17"])),
        ("violation", course(&calm, &[join, b"\x03\x00\x83\x00\x09\x40"])),
        ("unmasked", course(&calm, &[join, b"\x02\x00\x07\x81\x05Hello\x09\x40"])),
        ("garbage", course(&calm, &[b"\x01\x00\x02\x00\x09\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x09\x40"])),
        ("head-in-two", course(&calm, &[b"\x01\x00\x07\x00\x00\x30\x20\x09\x20", chat])),
        ("rejected-later-panic", course(&calm, &[b"\x00\x10\x00\x20\x00\x30\x00\x40\x00\x50\x09\xff\x15\x00\x09\x40"])),
        ("slow-close", course(&set(&[(9, 1), (13, 2), (22, 1)]), &[b"\x00\x04\x09\x40\x04\x00\x00\x00", b"\x04\x00\x05\x00\x09\x40\x04\x00\x04\x00\x09\x80"])),
        ("slow-drop-newest", course(&set(&[(9, 2), (13, 2), (14, 1), (22, 1)]), &[b"\x00\x04\x09\x40\x04\x00\x00\x00", b"\x04\x00\x05\x00\x09\x40\x04\x00\x04\x00\x09\x80"])),
        ("slow-drop-oldest", course(&set(&[(9, 2), (13, 2), (14, 2), (22, 1)]), &[b"\x00\x04\x09\x40\x04\x00\x00\x00", b"\x04\x00\x05\x00\x09\x40\x04\x00\x04\x00\x09\x80"])),
        ("large-fragments", course(&calm, &[join, b"\x06\x00\x03\x07\x09\xff\x06\x00\x00\x05\x09\xff"])),
        ("outside", course(&set(&[(7, 2)]), &[join, second, b"\x10\x03\x00\x10\x00\x10\x02\x00\x11\x00\x00\x00\x11\x01\x01\x01\x11\x00\x04\x00\x09\x40"])),
        ("handle-closes", course(&calm, &[join, b"\x11\x00\x03\x00\x09\x40\x11\x00\x05\x00"])),
        ("idle", course(&set(&[(27, 1)]), &[join, b"\x0b\xff\xff\x0b\xff\xff"])),
        ("clock-jump", course(&set(&[(27, 1)]), &[join, b"\x12\xff\xff\x09\x40\x0b\x00\x20"])),
        ("unsubscribe", course(&calm, &[join, second, b"\x04\x01\x03\x00\x09\x40\x04\x00\x01\x00\x09\x40\x04\x01\x03\x00\x09\x40\x17"])),
        ("reset-and-leave", course(&calm, &[join, second, b"\x0e\x00\x09\x10\x0f\x01\x09\x10"])),
        ("half-close", course(&calm, &[join, b"\x0d\x00\x09\x40\x17"])),
        ("adopted", course(&calm, &[b"\x14\x00\x06\x81\x80abcd\x09\x40\x04\x00\x08\x00\x09\x40"])),
        ("drain", course(&calm, &[join, second, b"\x16\x00\x10\x00\x09\x40\x00\x00\x09\x40"])),
        ("shutdown", course(&calm, &[join, second, chat, b"\x16\x01"])),
        ("full-house", course(&set(&[(8, 1)]), &[join, second, b"\x09\x40"])),
        ("no-descriptors", course(&calm, &[b"\x13\x03", join, second, b"\x0b\x00\x10"])),
        ("hook-panics", course(&calm, &[join, b"\x04\x00\x0c\x00\x09\x40"])),
        ("tell", course(&set(&[(7, 1)]), &[join, second, b"\x04\x00\x09\x00\x09\x40\x04\x00\x07\x00\x09\x40\x17"])),
    ])
}

fn named<const N: usize>(seeds: [(&str, Vec<u8>); N]) -> Vec<(String, Vec<u8>)> {
    seeds.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// How many bytes of a session's input choose its options.
const OPTION_BYTES: usize = 41;
