//! Frames: what a peer's bytes get, however they are cut.

use fanwire::{CloseKind, Kind, Options, Raw};
use fanwire_ws::{Opcode, encode_frame};

use crate::{
    common::{End, Incoming, Received, Setup, World, request_head},
    in_every_world,
};

in_every_world!(
    violations_get_their_close_code_and_not_a_reset,
    nothing_behind_a_violation_is_processed,
    frames_of_the_server_are_unmasked_whole_and_of_the_shortest_form,
    a_message_over_the_read_limit_gets_1009_as_soon_as_its_header_says_so,
    a_message_up_to_the_read_limit_is_taken,
    fragments_are_put_together,
    a_byte_at_a_time_is_enough,
    pings_are_answered_in_their_turn,
    close_frames_are_answered_with_the_same_valid_code,
    text_that_is_no_envelope_is_counted_and_skipped,
    raw_messages_pass_as_they_came,
    messages_beyond_the_assembly_limit_get_1013,
);

fn violations_get_their_close_code_and_not_a_reset(setup: Setup) {
    let world = World::start(setup, Options::default());
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(payload);
        frame
    };
    let cases: [(&str, Vec<u8>, u16); 16] = [
        ("unmasked", b"\x81\x02hi".to_vec(), 1_002),
        ("reserved bit 1", masked(0xc1, b"hi"), 1_002),
        ("reserved bit 2", masked(0xa1, b"hi"), 1_002),
        ("reserved bit 3", masked(0x91, b"hi"), 1_002),
        ("unknown data opcode", masked(0x83, b"hi"), 1_002),
        ("unknown control opcode", masked(0x8b, b"hi"), 1_002),
        ("long control", b"\x89\xfe\x00\x7e\x00\x00\x00\x00".to_vec(), 1_002),
        ("fragmented control", masked(0x09, b"hi"), 1_002),
        ("stray continuation", masked(0x80, b"hi"), 1_002),
        ("interleaved message", [masked(0x01, b"a"), masked(0x81, b"b")].concat(), 1_002),
        ("length not minimal", b"\x81\xfe\x00\x05\x00\x00\x00\x00hello".to_vec(), 1_002),
        ("text not UTF-8", masked(0x81, b"a\xffb"), 1_007),
        ("reason not UTF-8", masked(0x88, b"\x03\xe8\xff"), 1_007),
        ("close code not allowed", masked(0x88, b"\x03\xed"), 1_002),
        ("close payload of one byte", masked(0x88, b"\x03"), 1_002),
        ("length with the highest bit", b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01".to_vec(), 1_002),
    ];
    for (name, bytes, code) in cases {
        let mut client = world.connect(&format!("/ws?name={}", name.replace(' ', "+")));
        client.script("send before 1");
        // What follows cannot be understood any more; it must not turn the close frame into a reset.
        client.raw(&[bytes, vec![0x55; 5_000]].concat());
        client.expect("before", "1");
        assert!(!client.expect_close(code).is_empty(), "{name}");
        assert_eq!(client.incoming(), Incoming::End(End::Fin), "{name}");
        drop(client);
        assert_eq!(world.closed(name).reason.kind(), CloseKind::Violation, "{name}");
    }
}

fn nothing_behind_a_violation_is_processed(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    let behind = [
        client.script_bytes("send late 1"),
        client.frame_bytes(true, Opcode::Ping, b"late"),
        client.frame_bytes(true, Opcode::Close, &1_000u16.to_be_bytes()),
    ];
    client.raw(&[b"\x81\x02hi".to_vec(), behind.concat()].concat());
    client.expect_close(1_002);
    client.expect_end();
    assert_eq!(world.closed("c").reason.kind(), CloseKind::Violation);
    assert!(world.log.lock().messages.is_empty());
}

/// Every byte that a session gets, at each border of the length's forms, control frames included.
fn frames_of_the_server_are_unmasked_whole_and_of_the_shortest_form(setup: Setup) {
    let world = World::start(setup, Options::default().codec(Raw));
    let mut wire = world.wire();
    wire.send(&request_head("/ws?name=raw", &[]));
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        assert_eq!(wire.receive(&mut received), Received::Bytes);
    }
    let mut exchange = |sent: &[u8], opcode, expected: &[u8]| {
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, opcode, Some([0x37, 0xfa, 0x21, 0x3d]), sent);
        wire.send(&frame);
        received.clear();
        while received.len() < expected.len() {
            assert_eq!(wire.receive(&mut received), Received::Bytes);
        }
        assert!(
            received == expected,
            "{} bytes begin with {:x?}",
            expected.len(),
            &received[..received.len().min(12)]
        );
    };
    for bytes in [0usize, 1, 125, 126, 127, 65_535, 65_536, 300_000] {
        let payload: String = ('a'..='z').cycle().take(bytes).collect();
        let head = match bytes {
            0..=125 => vec![0x81, u8::try_from(bytes).unwrap()],
            126..=65_535 => [&[0x81, 126], &u16::try_from(bytes).unwrap().to_be_bytes()[..]].concat(),
            _ => [&[0x81, 127], &(bytes as u64).to_be_bytes()[..]].concat(),
        };
        let line = format!("send x {payload}");
        exchange(line.as_bytes(), Opcode::Text, &[head, payload.into_bytes()].concat());
    }
    exchange(b"hi", Opcode::Ping, b"\x8a\x02hi");
    exchange(&1_000u16.to_be_bytes(), Opcode::Close, b"\x88\x02\x03\xe8");
}

fn a_message_over_the_read_limit_gets_1009_as_soon_as_its_header_says_so(setup: Setup) {
    let world = World::start(setup, Options::default().read_limit(1_000));
    let mut client = world.client("big");
    client.raw(b"\x81\xfe\x03\xe9");
    client.raw(&[0; 4]);
    client.expect_close(1_009);
    client.expect_end();
    let mut client = world.client("fragments");
    client.frame(false, Opcode::Binary, &[0; 600]);
    client.frame(true, Opcode::Continuation, &[0; 401]);
    client.expect_close(1_009);
    client.expect_end();
    assert_eq!(world.stats().total.closed(CloseKind::Violation), 2);
}

fn a_message_up_to_the_read_limit_is_taken(setup: Setup) {
    let world = World::start(setup, Options::default().read_limit(100_000));
    let mut client = world.client("big");
    let line = "send n 1";
    let padding = " ".repeat(100_000 - serde_json::to_string(line).unwrap().len() - 23 + 1);
    let text = format!("{{\"topic\":\"do\",{padding}\"data\":\"{line}\"}}");
    assert_eq!(text.len(), 100_000);
    client.text(&text);
    client.expect("n", "1");
    client.close();
}

fn fragments_are_put_together(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("fragments");
    let text = "{\"topic\":\"do\",\"data\":\"send n \\\"ä\\\"\"}";
    for _ in 0..10 {
        let middle = text.len() / 2;
        client.frame(false, Opcode::Text, &text.as_bytes()[..7]);
        client.frame(true, Opcode::Ping, b"between");
        client.frame(false, Opcode::Continuation, &text.as_bytes()[7..middle]);
        client.frame(false, Opcode::Continuation, b"");
        client.frame(true, Opcode::Continuation, &text.as_bytes()[middle..]);
        let mut seen = [client.incoming(), client.incoming()];
        seen.sort_by_key(|incoming| matches!(incoming, Incoming::Message { .. }));
        assert_eq!(seen[0], Incoming::Pong(b"between".to_vec()));
        let payload = "{\"topic\":\"n\",\"data\":\"ä\"}".as_bytes().to_vec();
        assert_eq!(seen[1], Incoming::Message { kind: Kind::Text, payload });
    }
    world.until_stats("nothing is held", |stats| stats.total.assembly_bytes == 0);
    client.close();
}

fn a_byte_at_a_time_is_enough(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut wire = world.wire();
    for byte in request_head("/ws?name=slow", &[]) {
        wire.send(&[byte]);
    }
    let mut client = crate::common::Client::await_open(wire).unwrap();
    for byte in client.script_bytes("send n 1") {
        client.raw(&[byte]);
    }
    client.expect("n", "1");
    client.close();
}

fn pings_are_answered_in_their_turn(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("pinger");
    for number in 0..50u8 {
        client.frame(true, Opcode::Ping, &[number; 125]);
        assert_eq!(client.incoming(), Incoming::Pong(vec![number; 125]));
    }
    client.frame(true, Opcode::Pong, b"unasked");
    client.frame(true, Opcode::Ping, b"");
    assert_eq!(client.incoming(), Incoming::Pong(Vec::new()));
    client.close();
}

fn close_frames_are_answered_with_the_same_valid_code(setup: Setup) {
    let world = World::start(setup, Options::default());
    for code in [1_000, 1_001, 1_003, 1_007, 1_011, 1_014, 3_000, 4_999] {
        let mut client = world.client("closer");
        client.send_close(code, "why");
        client.expect_close(code);
        client.expect_end();
    }
    assert_eq!(world.stats().total.closed(CloseKind::Peer), 8);
}

fn text_that_is_no_envelope_is_counted_and_skipped(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    for text in ["", "hello", "[]", "{}", "{\"topic\":1}", "null"] {
        client.text(text);
    }
    client.binary(b"\xff\xfe");
    client.binary(b"{\"topic\":\"do\",\"data\":\"send n 1\"}");
    client.expect("n", "1");
    let stats = world.stats().total;
    assert_eq!((stats.messages_received, stats.messages_ignored), (8, 7));
    client.close();
}

fn raw_messages_pass_as_they_came(setup: Setup) {
    let world = World::start(setup, Options::default().codec(Raw));
    let mut client = world.client("raw");
    client.text("sub t\nsend x reply");
    assert_eq!(client.incoming(), Incoming::Message { kind: Kind::Text, payload: b"reply".to_vec() });
    world.publisher().publish("t", &b"\xff\x00"[..]).unwrap();
    assert_eq!(client.incoming(), Incoming::Message { kind: Kind::Binary, payload: b"\xff\x00".to_vec() });
    world.publisher().publish("t", "").unwrap();
    assert_eq!(client.incoming(), Incoming::Message { kind: Kind::Text, payload: Vec::new() });
    client.close();
}

/// Memory for messages in pieces is shared by the sessions of a shard: who holds most is sent away when it is full, and
/// not whoever comes last, or a few could keep all others from sending.
fn messages_beyond_the_assembly_limit_get_1013(setup: Setup) {
    let options = Options::default().read_limit(100_000).assembly_bytes_max(100_000);
    let world = World::start(setup, options);
    let mut first = world.client_on(0, "first");
    let mut second = world.client_on(0, "second");
    first.frame(false, Opcode::Binary, &[0; 80_000]);
    world.until_stats("the first message is held", |stats| stats.total.assembly_bytes >= 80_000);
    second.frame(false, Opcode::Binary, &[0; 30_000]);
    first.expect_close(1_013);
    first.expect_end();
    assert_eq!(world.closed("first").reason.kind(), CloseKind::Violation);
    assert_eq!(world.stats().total.assemblies_refused, 1);
    // The second one goes on, and all is given back at its end.
    second.frame(true, Opcode::Continuation, b"");
    second.script_and_wait("");
    second.close();
    world.until_stats("nothing is held", |stats| stats.total.assembly_bytes == 0);
}
