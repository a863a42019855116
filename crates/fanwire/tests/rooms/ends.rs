//! The end of a session: one leave each, with the right reason.

use std::time::Duration;

use fanwire::{CloseKind, Options};

use crate::{
    common::{Client, Incoming, Setup},
    in_every_world,
    lobby::{enter, enter_and_init, expect_text, leave, open, open_default, open_with_lobby, sessions_are},
    on_real_sockets,
};

in_every_world!(
    close_carries_code_and_reason,
    every_end_is_told_once_with_its_reason,
    users_without_a_session_are_forgotten,
    a_silent_session_leaves_by_error,
    a_drain_is_a_clean_end,
);

// Another thread publishes those leaves: not in a simulation.
on_real_sockets!(leaves_that_a_full_ring_refuses_come_later);

fn close_carries_code_and_reason(setup: Setup) {
    let world = open_default(setup);
    let mut bob = enter_and_init(&world, "bob");
    let longest = "r".repeat(123);
    for (code, reason) in [(1000, ""), (4001, "bye"), (3000, "größe"), (1001, longest.as_str())] {
        let mut ann = enter(&world, "ann");
        ann.say("chat", "1");
        ann.say("close", &format!(r#"{{"code":{code},"reason":"{reason}"}}"#));
        assert_eq!(ann.finish_close(code), reason);
        bob.expect("presence", &leave("ann", "clean"));
    }
    let mut ann = enter(&world, "ann");
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535] {
        ann.say("close", &format!(r#"{{"code":{code},"reason":""}}"#));
        expect_text(&mut ann, r#"{"topic":"error","data":"this close code must not go over the wire"}"#);
    }
    ann.say("close", &format!(r#"{{"code":1000,"reason":"{longest}r"}}"#));
    expect_text(&mut ann, r#"{"topic":"error","data":"a close reason has at most 123 bytes"}"#);
    ann.say("close", r#"{"code":65536,"reason":""}"#);
    ann.data_of("error");
    ann.say("close", r#"{"code":1000}"#);
    assert_eq!(ann.finish_close(1000), "");
    bob.expect("presence", &leave("ann", "clean"));
}

/// A way to end, the reason that is told, and what the engine calls it.
type End = (&'static str, fn(Client), &'static str, CloseKind);

const ENDS: [End; 10] = [
    ("closed", |client| client.close(), "clean", CloseKind::Peer),
    ("closed1001", |client| close_unread(client, 1001), "clean", CloseKind::Peer),
    ("asked", asked_to_be_closed, "clean", CloseKind::Server),
    ("eof", drop, "error", CloseKind::Eof),
    ("halfclosed", half_closed, "error", CloseKind::Eof),
    ("reset", Client::reset, "error", CloseKind::Reset),
    ("unmasked", |client| violates(client, b"\x81\x01x", 1002), "error", CloseKind::Violation),
    ("reserved", |client| violates(client, b"\xff\xff", 1002), "error", CloseKind::Violation),
    ("notutf8", |client| violates(client, b"\x81\x81\0\0\0\0\xff", 1007), "error", CloseKind::Violation),
    ("toolong", |client| violates(client, TOO_LONG, 1009), "error", CloseKind::Violation),
];

/// The header of a message of 16 MiB.
const TOO_LONG: &[u8] = b"\x81\xff\0\0\0\0\x01\0\0\0\0\0\0\0";

fn close_unread(mut client: Client, code: u16) {
    client.send_close(code, "going");
}

fn asked_to_be_closed(mut client: Client) {
    client.say("close", r#"{"code":4000,"reason":"asked"}"#);
    // It may well vanish without an answer: the server closed it on request all the same.
    client.expect_close(4000);
}

fn half_closed(mut client: Client) {
    client.shutdown_write();
    client.expect_end();
}

fn violates(mut client: Client, bytes: &[u8], code: u16) {
    client.raw(bytes);
    client.expect_close(code);
    client.expect_end();
}

fn every_end_is_told_once_with_its_reason(setup: Setup) {
    let world = open_default(setup);
    // Two, so that one is on each shard.
    let mut observers = [enter_and_init(&world, "bob"), enter_and_init(&world, "eve")];
    observers[0].expect("presence", r#"{"type":"join","user":"eve"}"#);
    let mut between = Vec::new();
    for _ in 0..2 {
        for (name, end, reason, kind) in ENDS {
            let before = world.stats().total.closed(kind);
            end(enter(&world, name));
            for observer in &mut observers {
                observer.expect("presence", &leave(name, reason));
            }
            assert_eq!(world.stats().total.closed(kind), before + 1, "{name}");
        }
        // In the second round each name is on the other shard than in the first.
        between.push(enter(&world, "between"));
    }
    world.until_stats("only those that stay are left", sessions_are(4));
}

fn users_without_a_session_are_forgotten(setup: Setup) {
    let (world, lobby) = open_with_lobby(setup);
    for (name, end, ..) in ENDS {
        let (first, second) = (enter(&world, name), enter(&world, name));
        end(first);
        world.until_stats("one of two has ended", sessions_are(1));
        assert_eq!(lobby.user_count(), 1);
        end(second);
        world.until("nobody is left", || lobby.user_count() == 0);
    }
}

/// The observer talks, the other does not.
fn a_silent_session_leaves_by_error(setup: Setup) {
    let options = Options::default().ping_interval(Duration::ZERO).idle_timeout(Duration::from_secs(2));
    let world = open(setup, options);
    let mut bob = enter_and_init(&world, "bob");
    let mut ann = enter(&world, "ann");
    let told = leave("ann", "error");
    loop {
        bob.text(r#"{"topic":"count"}"#);
        let envelope = bob.envelope();
        if envelope.topic == "presence" {
            assert_eq!(envelope.data, told);
            break;
        }
    }
    assert_eq!(world.stats().total.closed(CloseKind::Idle), 1);
    ann.expect_close(1008);
}

/// With room for a single entry between the shards, many ends in one tick are too many.
fn leaves_that_a_full_ring_refuses_come_later(setup: Setup) {
    let world = open(setup, Options::default().mesh_size(1));
    let mut bob = enter_and_init(&world, "bob");
    let mut told = 0;
    for round in 0..ROUNDS_MAX {
        let clients: Vec<_> = (0..LEAVERS).map(|i| enter(&world, &format!("r{round}n{i}"))).collect();
        drop(clients);
        let mut left: Vec<_> = (0..LEAVERS).map(|_| bob.data_of("presence")).collect();
        let mut expected: Vec<_> = (0..LEAVERS).map(|i| leave(&format!("r{round}n{i}"), "error")).collect();
        left.sort_unstable();
        expected.sort_unstable();
        assert_eq!(left, expected);
        told += LEAVERS;
        if setup.shards == 1 || world.stats().total.mesh_full > 0 {
            break;
        }
    }
    assert!(setup.shards == 1 || world.stats().total.mesh_full > 0, "{told} leaves never filled the ring");
}

fn a_drain_is_a_clean_end(setup: Setup) {
    let world = open_default(setup);
    let names = ["u0", "u1", "u2", "u3"];
    let clients = names.map(|name| enter_and_init(&world, name));
    world.begin_drain(Duration::from_secs(30));
    let heard = clients.map(read_to_the_end).concat();
    assert_eq!(world.ended().cut, 0);
    let leaves: Vec<_> = heard.iter().filter(|data| data.contains("leave")).collect();
    // Each shard closes its sessions one after the other: the later ones hear of the earlier ones.
    assert!(!leaves.is_empty());
    assert!(leaves.iter().all(|text| text.ends_with(r#""reason":"clean"}}"#)), "{heard:?}");
}

/// What it hears on `presence` until it is closed by 1001; it answers that.
fn read_to_the_end(mut client: Client) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        match client.incoming() {
            Incoming::Message { payload, .. } => {
                heard.push(String::from_utf8(payload).expect("text is UTF-8"));
            }
            Incoming::Close(Some((1001, _))) => {
                client.send_close(1001, "");
                return heard;
            }
            other => panic!("{other:?} came in place of a close frame"),
        }
    }
}

const LEAVERS: usize = 64;
const ROUNDS_MAX: usize = 50;
