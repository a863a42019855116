//! Time: pings, silence, delays and jumps of the clock, on the simulator's clock.

use std::time::Duration;

use fanwire::{CloseKind, Options, sim::Faults};
use fanwire_ws::Opcode;

use crate::{
    common::{Client, End, Incoming, Setup, World},
    on_the_simulator,
};

on_the_simulator!(
    a_client_that_answers_pings_stays_for_ever,
    a_client_that_says_nothing_is_closed_after_the_idle_timeout,
    without_pings_silence_still_ends_a_session,
    without_either_a_session_stays_for_ever,
    pings_are_spread,
    a_jump_of_the_clock_closes_nobody,
    a_closing_handshake_that_is_not_answered_ends_in_time,
    a_flush_delay_collects_messages,
    a_drain_closes_at_a_steady_pace,
    a_failed_accept_pauses_accepting_and_loses_no_connection,
    an_idle_server_does_nothing,
    the_same_seed_gives_the_same_run,
);

fn a_client_that_answers_pings_stays_for_ever(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    let start = world.sim().now();
    for _ in 0..20 {
        match client.incoming() {
            Incoming::Ping(payload) => client.frame(true, Opcode::Pong, &payload),
            other => panic!("{other:?}"),
        }
    }
    let seconds = (world.sim().now() - start).as_secs();
    assert!((20 * 25 - 26..=20 * 25 + 1).contains(&seconds), "{seconds}");
    client.close();
}

fn a_client_that_says_nothing_is_closed_after_the_idle_timeout(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    let start = world.sim().now();
    let (_, close) = client.messages_until_close();
    assert_eq!(close.unwrap().0, 1_008);
    let seconds = (world.sim().now() - start).as_secs_f64();
    assert!((74.9..76.0).contains(&seconds), "{seconds}");
    client.send_close(1_008, "");
    client.expect_end();
    assert_eq!(world.closed("c").reason.kind(), CloseKind::Idle);
}

fn without_pings_silence_still_ends_a_session(setup: Setup) {
    let world = World::start(setup, Options::default().ping_interval(Duration::ZERO));
    let client = world.client("c");
    world.sim().pass(Duration::from_secs(60));
    // A message counts from anew.
    let mut client = client;
    client.script_and_wait("");
    let start = world.sim().now();
    client.expect_close(1_008);
    let seconds = (world.sim().now() - start).as_secs_f64();
    assert!((74.9..76.0).contains(&seconds), "{seconds}");
    assert_eq!(world.stats().total.pings_sent, 0);
}

fn without_either_a_session_stays_for_ever(setup: Setup) {
    let options = Options::default().ping_interval(Duration::ZERO).idle_timeout(Duration::ZERO);
    let world = World::start(setup, options);
    let mut client = world.client("c");
    world.sim().pass(Duration::from_secs(1_000_000));
    client.script_and_wait("");
    client.close();
}

fn pings_are_spread(setup: Setup) {
    let world = World::start(setup, Options::default());
    let clients: Vec<_> = (0..100).map(|i| world.client(&format!("c{i}"))).collect();
    let mut most = 0;
    let mut before = 0;
    for _ in 0..26 {
        world.sim().pass(Duration::from_secs(1));
        let sent = world.stats().total.pings_sent;
        most = most.max(sent - before);
        before = sent;
    }
    assert_eq!(before, 100, "each is asked once in the first interval");
    assert!(most < 30, "{most} in one second");
    drop(clients);
}

fn a_jump_of_the_clock_closes_nobody(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients: Vec<_> = (0..10).map(|i| world.client(&format!("c{i}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait(""));
    world.sim().pass(Duration::from_secs(1));
    world.sim().jump(Duration::from_secs(3_600));
    world.sim().pass(Duration::from_secs(10));
    assert_eq!(world.stats().total.sessions, 10);
    assert!(world.stats().total.clock_jumps > 0);
    for client in &mut clients {
        // It was asked whether it is still there.
        assert!(matches!(client.incoming(), Incoming::Ping(_)));
        client.frame(true, Opcode::Pong, b"");
    }
    world.sim().pass(Duration::from_secs(60));
    assert_eq!(world.stats().total.sessions, 10);
    // Who stays silent is closed all the same.
    world.sim().pass(Duration::from_secs(30));
    assert_eq!(world.stats().total.closed(CloseKind::Idle), 10);
}

fn a_closing_handshake_that_is_not_answered_ends_in_time(setup: Setup) {
    let world = World::start(setup, Options::default());
    // We closed; the peer broke the protocol; the peer was refused.
    let mut closed = world.client("closed");
    closed.script("close_now");
    closed.expect_close(1_000);
    let mut violated = world.client("violated");
    violated.raw(&[0xff, 0xff]);
    violated.expect_close(1_002);
    let mut refused = world.wire();
    refused.send(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut answer = Vec::new();
    while refused.receive(&mut answer) == crate::common::Received::Bytes {}
    world.sim().pass(Duration::from_secs(4));
    assert_eq!(world.stats().total.close_timeouts, 0);
    world.sim().pass(Duration::from_secs(2));
    assert_eq!(world.stats().total.close_timeouts, 3);
    assert!(matches!(closed.incoming(), Incoming::End(End::Fin)));
    assert_eq!(world.closed("closed").reason.kind(), CloseKind::Server);
}

fn a_flush_delay_collects_messages(setup: Setup) {
    let options = Options::default().flush_delay(Duration::from_millis(10));
    let world = World::start_faulty(setup, options, Faults::none());
    let mut client = world.client("c");
    client.script_and_wait("sub t");
    world.sim().pass(Duration::from_secs(1));
    let (sends, start) = (world.stats().total.sends, world.sim().now());
    for number in 0..8 {
        world.publisher().publish("t", number.to_string()).unwrap();
        world.sim().pass(Duration::from_millis(1));
    }
    client.expect_numbers("t", 0..8);
    let waited = (world.sim().now() - start).as_secs_f64();
    assert_eq!(world.stats().total.sends - sends, 1);
    assert!((0.0099..0.0115).contains(&waited), "{waited}");
    client.close();
}

/// 0.8 of the time for 40 sessions, but at least 100 sessions a second.
fn a_drain_closes_at_a_steady_pace(setup: Setup) {
    let options = Options::default().ping_interval(Duration::ZERO);
    let world = World::start_faulty(Setup { shards: 1, ..setup }, options, Faults::none());
    let clients: Vec<_> = (0..40).map(|i| world.client(&format!("c{i}"))).collect();
    world.begin_drain(Duration::from_secs(60));
    let mut seen = Vec::new();
    for _ in 0..45 {
        world.sim().pass(Duration::from_millis(10));
        seen.push(world.stats().total.closed(CloseKind::Server));
    }
    assert!(seen.windows(2).all(|pair| pair[1] - pair[0] <= 2), "{seen:?}");
    assert_eq!(seen.last(), Some(&40));
    clients.into_iter().for_each(|client| drop(client.finish_close(1_001)));
    assert_eq!(world.ended().drained, 40);
}

fn a_failed_accept_pauses_accepting_and_loses_no_connection(setup: Setup) {
    let world = World::start(setup, Options::default());
    let other = world.client("other");
    world.sim().fail_accepts(5);
    let before = world.stats().total.ticks;
    let clients: Vec<Client> = (0..20).map(|i| world.client(&format!("c{i}"))).collect();
    let stats = world.stats().total;
    assert_eq!((stats.accepts_failed, stats.sessions), (5, 21));
    assert!(stats.ticks - before < 2_000, "{} turns", stats.ticks - before);
    clients.into_iter().for_each(Client::close);
    other.close();
}

fn an_idle_server_does_nothing(setup: Setup) {
    let options = Options::default().ping_interval(Duration::from_secs(1_000)).idle_timeout(Duration::ZERO);
    let world = World::start(setup, options);
    let mut clients: Vec<_> = (0..10).map(|i| world.client(&format!("c{i}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    world.sim().pass(Duration::from_secs(20));
    let before = world.stats().total.ticks;
    world.sim().pass(Duration::from_secs(400));
    let turns = world.stats().total.ticks - before;
    assert!(turns < 100, "{turns} turns without anything to do");
}

fn the_same_seed_gives_the_same_run(setup: Setup) {
    let run = || {
        let world = World::start(setup, Options::default());
        let mut clients: Vec<_> = (0..10).map(|i| world.client(&format!("c{i}"))).collect();
        clients.iter_mut().for_each(|client| client.script("sub t\npub_n 20 t\nid"));
        let mut seen = Vec::new();
        for client in &mut clients {
            for _ in 0..20 {
                seen.push(client.incoming());
            }
        }
        let now = world.sim().now();
        (seen, now, world.stats())
    };
    let (one, other) = (run(), run());
    assert_eq!(one.1, other.1);
    assert_eq!(one.0, other.0);
    assert_eq!(one.2, other.2);
}
