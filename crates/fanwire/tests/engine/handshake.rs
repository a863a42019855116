//! Handshakes: every refusal, in its order, and what lets a session in.

use fanwire::{Auth, Options, sim::Faults};

use crate::{
    common::{Client, End, Received, Response, Setup, World, request_head},
    heads::read_head,
    in_every_world, on_real_sockets, on_the_simulator,
};

in_every_world!(
    refusals_say_what_was_wrong,
    refusals_are_decided_in_their_order,
    heads_that_are_too_large_get_431,
    origins_are_checked,
    an_origin_check_of_the_users_takes_precedence,
    sessions_beyond_the_limit_get_503,
    a_place_is_free_again_once_its_session_has_ended,
    the_handler_refuses_with_its_own_status,
    a_panic_in_on_auth_gets_500,
    a_subprotocol_is_chosen_from_those_offered,
    a_ticket_lets_a_session_in_later,
    a_ticket_refuses_later,
    a_dropped_ticket_gets_503,
    frames_that_came_before_the_ticket_was_answered_are_not_lost,
    too_many_early_bytes_get_400,
    a_parked_peer_that_resets_frees_its_place,
    parked_handshakes_beyond_the_limit_get_503,
    frames_in_the_same_segment_as_the_head_are_taken,
    plain_requests_are_answered_by_on_http,
);
on_real_sockets!(late_handshakes_get_408_on_real_clocks_too);
on_the_simulator!(
    a_handshake_that_is_not_done_in_time_gets_408,
    a_parked_handshake_that_is_not_answered_in_time_gets_408,
    handshakes_are_paced_and_none_is_lost,
);

/// Status, body and headers of each refusal; the connection ends in order behind it.
fn refusals_say_what_was_wrong(setup: Setup) {
    let world = World::start(setup, Options::default());
    let good = String::from_utf8(request_head("/ws", &[])).unwrap();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let without = |name: &str| -> String {
        good.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect()
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let cases: [(String, u16, &str); 22] = [
        ("no HTTP at all\r\n\r\n".to_owned(), 400, "malformed request head"),
        ("\u{16}\u{3}\u{1}\0\u{2}".to_owned(), 400, "this port speaks no TLS"),
        (with("HTTP/1.1", "HTTP/3.7"), 400, "malformed request head"),
        (with("Upgrade: websocket", "Upgrade : websocket"), 400, "malformed request head"),
        (with("Upgrade: websocket\r\n", "Upgrade: websocket\r\n folded\r\n"), 400, "malformed request head"),
        (without("Host"), 400, "the Host header is missing"),
        (with("Host: test", "Host: test\r\nHost: other"), 400, "may stand once"),
        (with(key, &format!("{key}\r\n{key}")), 400, "may stand once"),
        (with("GET /ws", "GET /elsewhere"), 404, "not found"),
        (with("GET /ws", "GET /ws/"), 404, "not found"),
        (with("GET", "POST"), 405, "only GET"),
        (with("GET", "PUT"), 405, "only GET"),
        (without("Upgrade"), 400, "Upgrade and Connection headers missing"),
        (without("Connection"), 400, "Upgrade and Connection headers missing"),
        ("GET /ws HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), 400, "speaks WebSocket"),
        (with("HTTP/1.1", "HTTP/1.0"), 400, "HTTP/1.1"),
        (with("Host: test", "Host: test\r\nContent-Length: 5"), 400, "no body"),
        (without("Sec-WebSocket-Version"), 426, "must be 13"),
        (with("Version: 13", "Version: 8"), 426, "must be 13"),
        (without("Sec-WebSocket-Key"), 400, "Sec-WebSocket-Key header is missing"),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all!!!!!!!"), 400, "16 bytes in base64"),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "dG9vIHNob3J0"), 400, "16 bytes in base64"),
    ];
    for (request, status, text) in &cases {
        let response = world.request(request);
        check_refusal(&response, *status, text);
        let header = |name| response.header(name);
        match status {
            405 => assert_eq!(header("Allow"), Some("GET")),
            426 => {
                assert_eq!(
                    (header("Sec-WebSocket-Version"), header("Upgrade")),
                    (Some("13"), Some("websocket"))
                );
            }
            _ => {}
        }
    }
    let stats = world.stats().total;
    assert_eq!((stats.refused_method, stats.refused_version, stats.http_answered), (2, 2, 2), "{stats:#?}");
    assert_eq!(stats.refused_malformed, 16);
    assert_eq!(stats.sessions_opened, 0);
    world.client("somebody").close();
}

/// Requests with several faults get the answer to the first one.
fn refusals_are_decided_in_their_order(setup: Setup) {
    let options = Options::default().origins(["http://good.example"]).sessions_max(1);
    let world = World::start(setup, options);
    let _only = world.client("only");
    let mut lines = vec![
        "POST /other?auth=reject:402 HTTP/1.1",
        "Host: test",
        "Host: again",
        "Origin: http://bad.example",
        "Sec-WebSocket-Version: 12",
        "Sec-WebSocket-Key: short",
    ];
    let mut check = |change: &mut dyn FnMut(&mut Vec<&str>), status: u16| {
        change(&mut lines);
        let response = world.request(lines.join("\r\n") + "\r\n\r\n");
        assert_eq!(response.status, status, "{lines:?} {response:?}");
    };
    check(&mut |_| {}, 400);
    check(&mut |lines| lines.retain(|line| *line != "Host: again"), 404);
    check(&mut |lines| lines[0] = "POST /ws?auth=reject:402 HTTP/1.1", 405);
    check(&mut |lines| lines[0] = "GET /ws?auth=reject:402 HTTP/1.1", 400);
    check(&mut |lines| lines.extend(["Upgrade: websocket", "Connection: Upgrade"]), 426);
    check(&mut |lines| lines[3] = "Sec-WebSocket-Version: 13", 400);
    check(&mut |lines| lines[4] = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 403);
    check(&mut |lines| lines[2] = "Origin: http://good.example", 503);
    drop(_only);
    world.until_stats("the place is free", |stats| stats.total.sessions == 0);
    check(&mut |_| {}, 402);
}

fn heads_that_are_too_large_get_431(setup: Setup) {
    let world = World::start(setup, Options::default().head_bytes_max(1_000));
    let long = "x".repeat(1_000);
    let response = world.request(request_head("/ws", &[("X-Long", &long)]));
    check_refusal(&response, 431, "too large");
    // Without an end in sight it is not waited for.
    let response = world.request(format!("GET / HTTP/1.1\r\nX-Long: {long}"));
    check_refusal(&response, 431, "too large");
    // RFC 7230 s3.1.1
    check_refusal(&world.request(format!("GET /{long}")), 414, "target too long");
    assert_eq!(world.stats().total.refused_head_too_large, 3);
    let many: Vec<_> = (0..101).map(|_| ("A", "")).collect();
    let world = World::start(setup, Options::default());
    check_refusal(&world.request(request_head("/ws", &many)), 431, "too many header fields");
    assert_eq!(world.stats().total.refused_head_too_large, 1);
}

fn origins_are_checked(setup: Setup) {
    let options = Options::default().origins(["https://good.example"]);
    let world = World::start(setup, options.clone());
    let try_origin = |world: &World, origin: &str| world.try_connect("/ws", &[("Origin", origin)]);
    try_origin(&world, "https://GOOD.example:443").unwrap().close();
    world.client("no browser").close();
    for origin in ["https://bad.example", "http://good.example", "null", "https://good.example.bad.example"] {
        check_refusal(&try_origin(&world, origin).err().unwrap(), 403, "origin is not allowed");
    }
    assert_eq!(world.stats().total.refused_origin, 4);
    let world = World::start(setup, options.require_origin(true));
    check_refusal(&world.try_connect("/ws", &[]).err().unwrap(), 403, "origin");
    let world = World::start(setup, Options::default());
    try_origin(&world, "https://any.example").unwrap().close();
}

fn an_origin_check_of_the_users_takes_precedence(setup: Setup) {
    let options = Options::default()
        .origins(["https://good.example"])
        .require_origin(true)
        .check_origin(|request| request.query("let").as_deref() == Some("in"));
    let world = World::start(setup, options);
    world.connect("/ws?let=in").close();
    let refused = world.try_connect("/ws?let=out", &[("Origin", "https://good.example")]);
    check_refusal(&refused.err().unwrap(), 403, "origin");
    let world = World::start(setup, Options::default().check_origin(|_| panic!("in check_origin")));
    check_refusal(&world.try_connect("/ws", &[]).err().unwrap(), 403, "origin");
}

fn sessions_beyond_the_limit_get_503(setup: Setup) {
    let world = World::start(setup, Options::default().sessions_max(3));
    let clients: Vec<_> = (0..3).map(|i| world.client(&format!("c{i}"))).collect();
    let response = world.try_connect("/ws", &[]).err().unwrap();
    check_refusal(&response, 503, "too many sessions");
    assert!(response.header("Retry-After").is_some());
    assert_eq!(world.stats().total.refused_capacity, 1);
    clients.into_iter().for_each(Client::close);
}

/// In whatever way it ended, or did not begin.
fn a_place_is_free_again_once_its_session_has_ended(setup: Setup) {
    let world = World::start(setup, Options::default().sessions_max(1));
    for round in 0..20 {
        match round % 6 {
            0 => world.client("c").close(),
            1 => world.client("c").reset(),
            2 => drop(world.client("c")),
            3 => {
                check_refusal(&world.try_connect("/ws?auth=reject:402", &[]).err().unwrap(), 402, "not you");
            }
            4 => {
                check_refusal(&world.try_connect("/ws?panic=auth", &[]).err().unwrap(), 500, "failed");
            }
            _ => {
                let wire = world.begin_connect("/ws?name=later&auth=later");
                world.until("it is parked", || world.log.lock().tickets.contains_key("later"));
                let ticket = world.log.lock().tickets.remove("later").unwrap();
                ticket.answer(Auth::reject(403, "no\n"));
                assert_eq!(Client::await_open(wire).err().unwrap().status, 403);
            }
        }
        world.until_stats("the session is gone", |stats| stats.total.sessions == 0);
    }
    world.client("last").close();
}

fn the_handler_refuses_with_its_own_status(setup: Setup) {
    let world = World::start(setup, Options::default());
    for (asked, given) in [(401, 401), (403, 403), (429, 429), (503, 503), (599, 599), (200, 401), (0, 401)] {
        let response = world.try_connect(&format!("/ws?auth=reject:{asked}"), &[]).err().unwrap();
        check_refusal(&response, given, "not you");
    }
    assert_eq!(world.stats().total.refused_auth, 7);
}

fn a_panic_in_on_auth_gets_500(setup: Setup) {
    let world = World::start(setup, Options::default());
    check_refusal(&world.try_connect("/ws?panic=auth", &[]).err().unwrap(), 500, "failed to decide");
    assert_eq!(world.stats().total.hook_panics, 1);
    world.client("somebody").close();
}

fn a_subprotocol_is_chosen_from_those_offered(setup: Setup) {
    let world = World::start(setup, Options::default());
    for (chosen, expected) in [("chat.v1", true), ("chat.v2", true), ("other", false)] {
        let mut wire = world.wire();
        let head = request_head(
            &format!("/ws?protocol={chosen}"),
            &[("Sec-WebSocket-Protocol", "chat.v1, chat.v2")],
        );
        wire.send(&head);
        let (answer, _) = read_head(&mut *wire);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert_eq!(answer.contains(&format!("Sec-WebSocket-Protocol: {chosen}\r\n")), expected, "{answer}");
    }
}

fn a_ticket_lets_a_session_in_later(setup: Setup) {
    let world = World::start(setup, Options::default());
    let wire = world.begin_connect("/ws?name=later&auth=later");
    world.until("it is parked", || world.log.lock().tickets.contains_key("later"));
    world.until_stats("the gauge shows it", |stats| stats.total.handshakes_parked == 1);
    // The shard goes on meanwhile.
    world.client("other").close();
    let ticket = world.log.lock().tickets.remove("later").unwrap();
    std::thread::spawn(move || ticket.answer(Auth::accept("later".to_owned()))).join().unwrap();
    let mut client = Client::await_open(wire).unwrap();
    client.script_and_wait("sub t");
    client.close();
    world.closed("later");
}

fn a_ticket_refuses_later(setup: Setup) {
    let world = World::start(setup, Options::default());
    let wire = world.begin_connect("/ws?name=later&auth=later");
    world.until("it is parked", || world.log.lock().tickets.contains_key("later"));
    let ticket = world.log.lock().tickets.remove("later").unwrap();
    ticket.answer(Auth::reject(402, "pay first\n"));
    check_refusal(&Client::await_open(wire).err().unwrap(), 402, "pay first");
    assert_eq!(world.stats().total.refused_auth, 1);
}

fn a_dropped_ticket_gets_503(setup: Setup) {
    let world = World::start(setup, Options::default());
    let wire = world.begin_connect("/ws?name=later&auth=later");
    world.until("it is parked", || world.log.lock().tickets.contains_key("later"));
    drop(world.log.lock().tickets.remove("later"));
    let response = Client::await_open(wire).err().unwrap();
    check_refusal(&response, 503, "try again later");
    assert!(response.header("Retry-After").is_some());
}

fn frames_that_came_before_the_ticket_was_answered_are_not_lost(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut sender = world.client("bytes only");
    let mut wire = world.begin_connect("/ws?name=later&auth=later");
    for number in 0..20 {
        wire.send(&sender.script_bytes(&format!("send n {number}")));
    }
    world.until("it is parked", || world.log.lock().tickets.contains_key("later"));
    let ticket = world.log.lock().tickets.remove("later").unwrap();
    ticket.answer(Auth::accept("later".to_owned()));
    let mut client = Client::await_open(wire).unwrap();
    client.expect_numbers("n", 0..20);
    client.close();
}

/// In one segment with the head: reading is paused after it, so more would wait in the socket.
fn too_many_early_bytes_get_400(setup: Setup) {
    let options = Options::default().receive_buffer_bytes(64 << 10);
    let world = World::start_faulty(setup, options, Faults::none());
    let mut bytes = request_head("/ws?name=later&auth=later", &[]);
    bytes.extend([0; 17 << 10]);
    let mut wire = world.wire();
    wire.send(&bytes);
    let mut answer = Vec::new();
    // If the head was read before the rest had come, the rest waits in the socket.
    world.until("it is decided", || {
        world.stats().total.refused_early_bytes == 1 || world.stats().total.handshakes_parked == 1
    });
    let was_refused = world.stats().total.refused_early_bytes == 1;
    assert!(was_refused || !setup.is_sim());
    if was_refused {
        while wire.receive(&mut answer) == Received::Bytes {}
        assert!(answer.starts_with(b"HTTP/1.1 400 "));
    }
}

fn a_parked_peer_that_resets_frees_its_place(setup: Setup) {
    let world = World::start(setup, Options::default().sessions_max(1));
    let mut wire = world.begin_connect("/ws?name=later&auth=later");
    world.until("it is parked", || world.log.lock().tickets.contains_key("later"));
    wire.reset();
    // Its reading is paused, so the ticket's answer finds it out.
    let ticket = world.log.lock().tickets.remove("later").unwrap();
    ticket.answer(Auth::accept("later".to_owned()));
    world.until_stats("nothing is parked", |stats| {
        stats.total.handshakes == 0 && stats.total.handshakes_parked == 0 && stats.total.sessions == 0
    });
    world.client("next").close();
}

fn parked_handshakes_beyond_the_limit_get_503(setup: Setup) {
    let world = World::start(Setup { shards: 1, ..setup }, Options::default().handshakes_max(2));
    let wires: Vec<_> =
        (0..2).map(|i| world.begin_connect(&format!("/ws?name=later{i}&auth=later"))).collect();
    world.until_stats("both are parked", |stats| stats.total.handshakes_parked == 2);
    let response = world.try_connect("/ws?name=third&auth=later", &[]).err().unwrap();
    check_refusal(&response, 503, "too many handshakes");
    assert!(response.header("Retry-After").is_some());
    let tickets = std::mem::take(&mut world.log.lock().tickets);
    for (name, ticket) in tickets {
        ticket.answer(Auth::accept(name));
    }
    for wire in wires {
        Client::await_open(wire).unwrap().close();
    }
    world.client("next").close();
}

fn frames_in_the_same_segment_as_the_head_are_taken(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut sender = world.client("bytes only");
    let mut bytes = request_head("/ws?name=eager", &[]);
    bytes.extend(sender.script_bytes("send n 1"));
    bytes.extend(sender.script_bytes("send n 2\nclose_now"));
    let mut client = Client::open(world.wire(), &bytes).unwrap();
    client.expect("n", "1");
    client.expect("n", "2");
    client.finish_close(1_000);
}

fn plain_requests_are_answered_by_on_http(setup: Setup) {
    let world = World::start(setup, Options::default());
    let response = world.request("GET /health HTTP/1.1\r\nHost: test\r\n\r\n");
    check_refusal(&response, 200, "ok");
    assert_eq!(response.header("X-Test"), Some("yes"));
    let response = world.request("HEAD /health HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(
        (response.status, response.body.as_str(), response.header("Content-Length")),
        (200, "", Some("3"))
    );
    check_refusal(&world.request("GET / HTTP/1.0\r\n\r\n"), 404, "not found");
    check_refusal(&world.request("GET /panic HTTP/1.1\r\nHost: test\r\n\r\n"), 500, "failed to answer");
    let stats = world.stats().total;
    assert_eq!((stats.http_answered, stats.hook_panics), (4, 1));
}

fn a_handshake_that_is_not_done_in_time_gets_408(setup: Setup) {
    let world = World::start(setup, Options::default());
    check_refusal(&world.request("GET /ws HTTP/1.1\r\nHost:"), 408, "too long");
    let before = world.sim().now();
    check_refusal(&world.request(""), 408, "too long");
    let waited = world.sim().now() - before;
    assert!((10.0..10.2).contains(&waited.as_secs_f64()), "{waited:?}");
    assert_eq!(world.stats().total.refused_timeout, 2);
}

fn late_handshakes_get_408_on_real_clocks_too(setup: Setup) {
    let short = Options::default().handshake_timeout(std::time::Duration::from_millis(100));
    let world = World::start(setup, short);
    check_refusal(&world.request("GET /ws HTTP/1.1\r\nHost:"), 408, "too long");
    let wire = world.begin_connect("/ws?name=later&auth=later");
    check_refusal(&Client::await_open(wire).err().unwrap(), 408, "too long");
    assert_eq!(world.stats().total.refused_timeout, 2);
}

fn a_parked_handshake_that_is_not_answered_in_time_gets_408(setup: Setup) {
    let world = World::start(setup, Options::default().sessions_max(1));
    let wire = world.begin_connect("/ws?name=later&auth=later");
    check_refusal(&Client::await_open(wire).err().unwrap(), 408, "too long");
    let ticket = world.log.lock().tickets.remove("later").unwrap();
    ticket.answer(Auth::accept("too late".to_owned()));
    world.client("next").close();
    assert!(!world.log.lock().handles.contains_key("too late"));
}

/// At most `handshakes_max` are read at a time, and the others wait in the backlog.
fn handshakes_are_paced_and_none_is_lost(setup: Setup) {
    let world = World::start(setup, Options::default().handshakes_max(3));
    let mut wires: Vec<_> = (0..40).map(|_| world.wire()).collect();
    world.sim().pass(std::time::Duration::from_secs(1));
    let stats = world.stats();
    assert!(stats.shards.iter().all(|shard| shard.handshakes == 3), "{stats:#?}");
    for (index, wire) in wires.iter_mut().enumerate() {
        wire.send(&request_head(&format!("/ws?name=c{index}"), &[]));
    }
    for wire in wires {
        Client::await_open(wire).unwrap().close();
    }
    assert_eq!(world.stats().total.sessions_opened, 40);
}

/// The refusal is whole, closes the connection, and is not cut by a reset.
#[track_caller]
pub(crate) fn check_refusal(response: &Response, status: u16, text: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(response.body.contains(text), "{response:?}");
    assert_eq!(response.header("Connection"), Some("close"), "{response:?}");
    assert_eq!(response.header("Content-Length"), Some(response.body.len().to_string().as_str()));
    assert_eq!(response.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.end, End::Fin, "{response:?}");
}
