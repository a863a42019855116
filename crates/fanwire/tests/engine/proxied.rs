//! PROXY headers: whose connection it is then, and what is refused.

use std::time::Duration;

use fanwire::{Auth, Handler, Message, Options, Payload, Request, Session, sim::Faults};
use fanwire_ws::Opcode;

use crate::{
    common::{Client, Response, Setup, Wire, World, request_head},
    in_every_world,
};

in_every_world!(
    the_peer_is_whom_the_header_names,
    what_names_nobody_leaves_the_sockets_peer,
    a_header_may_be_cut_anywhere,
    what_stands_behind_the_header_is_all_read,
    who_is_no_proxy_is_refused_and_says_nothing_first,
    what_is_no_header_is_refused,
    a_header_that_does_not_come_in_time_is_refused,
    a_peer_that_leaves_within_the_header_is_counted,
    a_drain_refuses_who_is_within_the_header,
    plain_requests_see_the_peer_as_well,
    many_wait_within_their_headers_and_no_place_is_lost,
);

/// Tells each session its peer as `on_auth` and as the session see it, and sends back what comes.
struct Peers;

impl Handler for Peers {
    type Value = String;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<String> {
        Auth::accept(request.peer().to_string())
    }

    fn on_open(&mut self, session: &mut Session<'_, String>) {
        let both = [session.value().clone(), session.peer().to_string()];
        session.send("peer", Payload::json(&both).unwrap()).unwrap();
    }

    fn on_message(&mut self, session: &mut Session<'_, String>, message: Message<'_>) {
        session.send(message.topic(), message.data()).unwrap();
    }

    fn on_http(&mut self, request: &Request<'_>) -> fanwire::Http {
        fanwire::Http::text(200, request.peer().to_string())
    }
}

fn start(setup: Setup, options: Options) -> World<Peers> {
    World::start_behind(setup, options, Faults::default(), &["127.0.0.0/8"], |_| Peers)
}

/// What the server says of a session's peer.
#[track_caller]
fn peers_of(client: &mut Client) -> [String; 2] {
    serde_json::from_str(&client.data_of("peer")).unwrap()
}

fn open_behind(world: &World<Peers>, header: &[u8]) -> Client {
    let bytes = [header, &request_head("/ws", &[])].concat();
    Client::open(world.wire(), &bytes).unwrap_or_else(|response| panic!("{response:?}"))
}

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, rest].concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 1, 187];
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n";
const PEER: &str = "192.0.2.7:12345";

fn ipv6() -> Vec<u8> {
    let source = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    [&source, &[0; 16], [0x30, 0x39, 1, 187].as_slice()].concat()
}

fn the_peer_is_whom_the_header_names(setup: Setup) {
    let world = start(setup, Options::default());
    let with_more = [&IPV4, b"\x01\0\x02h2\xee\x01\0".as_slice(), &[7; 256]].concat();
    for (header, peer) in [
        (V1.to_vec(), PEER),
        (b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n".to_vec(), "[2001:db8::7]:12345"),
        (v2(0x21, 0x11, &IPV4), PEER),
        (v2(0x21, 0x21, &ipv6()), "[2001:db8::7]:12345"),
        (v2(0x21, 0x11, &with_more), PEER),
    ] {
        let mut client = open_behind(&world, &header);
        assert_eq!(peers_of(&mut client), [peer, peer]);
        client.say("still", "1");
        client.expect("still", "1");
        client.close();
    }
    assert_eq!(world.stats().total.sessions_opened, 5);
}

fn what_names_nobody_leaves_the_sockets_peer(setup: Setup) {
    let world = start(setup, Options::default());
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(),
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, &IPV4),
        v2(0x21, 0x00, b"what a proxy adds"),
        v2(0x21, 0x31, &[b'a'; 216]),
    ] {
        let mut client = open_behind(&world, &header);
        let [of_request, of_session] = peers_of(&mut client);
        assert!(of_request.starts_with("127.0.0.1:") && of_request == of_session, "{of_request}");
        client.close();
    }
}

fn a_header_may_be_cut_anywhere(setup: Setup) {
    let world = start(setup, Options::default());
    for header in [V1.to_vec(), v2(0x21, 0x11, &IPV4)] {
        // The last of these cuts lies within the request.
        for cut in 1..header.len() + 3 {
            let bytes = [&header[..], &request_head("/ws", &[])].concat();
            let mut wire = world.wire();
            wire.send(&bytes[..cut]);
            let accepted = world.stats().total.connections_accepted;
            world.step();
            assert!(world.stats().total.connections_accepted >= accepted);
            wire.send(&bytes[cut..]);
            let mut client = Client::await_open(wire).unwrap();
            assert_eq!(peers_of(&mut client), [PEER, PEER], "cut at {cut}");
            client.close();
        }
    }
    // Byte by byte.
    let mut wire = world.wire();
    for byte in [V1, &request_head("/ws", &[])].concat() {
        wire.send(&[byte]);
        world.step();
    }
    assert_eq!(peers_of(&mut Client::await_open(wire).unwrap()), [PEER, PEER]);
}

fn what_stands_behind_the_header_is_all_read(setup: Setup) {
    let world = start(setup, Options::default());
    let mut other = open_behind(&world, V1);
    let messages: Vec<u8> = (0..3)
        .flat_map(|number| {
            let text = format!(r#"{{"topic":"n","data":{number}}}"#);
            other.frame_bytes(true, Opcode::Text, text.as_bytes())
        })
        .collect();
    for header in [V1.to_vec(), v2(0x21, 0x11, &IPV4)] {
        let mut wire = world.wire();
        wire.send(&[&header[..], &request_head("/ws", &[]), &messages].concat());
        let mut client = Client::await_open(wire).unwrap();
        assert_eq!(peers_of(&mut client), [PEER, PEER]);
        for number in 0..3 {
            client.expect("n", &number.to_string());
        }
        client.close();
    }
}

fn who_is_no_proxy_is_refused_and_says_nothing_first(setup: Setup) {
    let options = Options::default();
    let world = World::start_behind(setup, options, Faults::default(), &["10.0.0.0/8", "unix"], |_| Peers);
    let with_header = [V1, &request_head("/ws", &[])].concat();
    for (count, bytes) in (1..).zip([b"".to_vec(), V1.to_vec(), with_header, request_head("/ws", &[])]) {
        let response = world.request(&bytes);
        assert_eq!((response.status, &*response.body), (403, "this address is for trusted proxies only\n"));
        assert_eq!(world.stats().total.refused_untrusted, count);
    }
    let total = world.stats().total;
    assert_eq!((total.sessions_opened, total.refused_proxy_header, total.http_answered), (0, 0, 0));
}

fn what_is_no_header_is_refused(setup: Setup) {
    let world = start(setup, Options::default());
    let too_long = [b"PROXY UNKNOWN ".as_slice(), &[b'f'; 100]].concat();
    let refused = [
        request_head("/ws", &[]),
        b"\x16\x03\x01\x02\x00\x01".to_vec(),
        b"PROXY TCP4 nobody 198.51.100.1 12345 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 65536\r\n".to_vec(),
        b"proxy UNKNOWN\r\n".to_vec(),
        too_long,
        v2(0x31, 0x11, &IPV4),
        v2(0x21, 0x11, &IPV4[..8]),
        // It says that it is longer than any may be.
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11".as_slice(), &[0xff; 2]].concat(),
    ];
    for (count, bytes) in (1..).zip(&refused) {
        let response = world.request(bytes);
        let body = "this address expects a PROXY header first, of version 1 or 2\n";
        assert_eq!((response.status, &*response.body), (400, body), "{}", bytes.escape_ascii());
        assert_eq!(world.stats().total.refused_proxy_header, count);
    }
    assert_eq!(world.stats().total.sessions_opened, 0);
    // Two of them: the second is no request.
    let twice = [V1, V1, &request_head("/ws", &[])].concat();
    assert_eq!(world.request(twice).status, 400);
    assert_eq!(world.stats().total.refused_malformed, 1);
}

fn a_header_that_does_not_come_in_time_is_refused(setup: Setup) {
    let world = start(setup, Options::default().handshake_timeout(Duration::from_millis(80)));
    let cases = [b"".to_vec(), V1[..20].to_vec(), v2(0x21, 0x11, &IPV4)[..27].to_vec(), V1.to_vec()];
    for (count, bytes) in (1..).zip(cases) {
        assert_eq!(world.request(bytes).status, 408);
        assert_eq!(world.stats().total.refused_timeout, count);
    }
}

fn a_peer_that_leaves_within_the_header_is_counted(setup: Setup) {
    let world = start(setup, Options::default());
    for count in 1..=3 {
        let mut wire = world.wire();
        wire.send(&V1[..10]);
        wire.shutdown_write();
        world.until_stats("it has left", |stats| stats.total.handshakes_abandoned == count);
    }
    world.until_stats("no place is taken", |stats| stats.total.handshakes == 0);
}

fn a_drain_refuses_who_is_within_the_header(setup: Setup) {
    let world = start(setup, Options::default());
    let mut wire = world.wire();
    wire.send(&V1[..10]);
    world.until_stats("it is accepted", |stats| stats.total.handshakes == 1);
    world.begin_drain(Duration::from_secs(20));
    assert_eq!(Response::to(wire, b"").status, 503);
    world.ended();
}

fn plain_requests_see_the_peer_as_well(setup: Setup) {
    let world = start(setup, Options::default());
    let response = world.request([V1, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".as_slice()].concat());
    assert_eq!((response.status, &*response.body), (200, PEER));
}

fn many_wait_within_their_headers_and_no_place_is_lost(setup: Setup) {
    let world = start(setup, Options::default().handshakes_max(4));
    let most = 4 * setup.shards();
    for _ in 0..3 {
        let mut waiting: Vec<Box<dyn Wire>> = (0..most).map(|_| world.wire()).collect();
        waiting.iter_mut().for_each(|wire| wire.send(b"PROXY "));
        world.until_stats("all wait", |stats| stats.total.handshakes == most as u64);
        for mut wire in waiting {
            wire.send(b"UNKNOWN\r\n");
            wire.send(&request_head("/ws", &[]));
            let mut client = Client::await_open(wire).unwrap();
            peers_of(&mut client);
            client.close();
        }
        world.until_stats("all are free", |stats| stats.total.handshakes == 0);
    }
}
