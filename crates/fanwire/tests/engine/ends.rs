//! Ends: every way a session can end runs `on_close` once, with the right reason.

use fanwire::{CloseKind, Options, SendError, sim::Faults};
use fanwire_ws::Opcode;

use crate::{
    common::{Client, End, Incoming, Setup, World},
    in_every_world,
};

in_every_world!(
    the_peer_closes,
    the_peer_closes_without_a_code,
    the_peer_closes_behind_messages,
    nothing_behind_the_peers_close_frame_is_answered,
    the_server_closes,
    the_server_closes_with_a_code_and_reason,
    codes_that_must_not_be_sent_become_1000,
    a_handle_closes,
    what_is_queued_leaves_before_the_close_frame,
    messages_after_our_close_frame_are_not_delivered,
    both_close_at_once,
    the_stream_ends_without_a_close_frame,
    the_connection_is_reset,
    the_peer_breaks_the_protocol,
    a_hook_panics,
    a_panic_in_on_open_ends_that_session_only,
    a_panic_in_on_close_harms_nobody,
    the_server_is_shut_down,
    the_server_is_drained,
    sessions_have_left_their_topics_before_on_close,
    a_session_closed_while_others_publish_to_it_ends_once,
    many_sessions_that_come_and_go_while_others_publish,
);

fn the_peer_closes(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    client.script_and_wait("sub a\nsub b");
    client.send_close(4_001, "bye");
    assert_eq!(client.expect_close(4_001), "");
    client.expect_end();
    let closed = check_end(&world, CloseKind::Peer, 4_001);
    assert_eq!((closed.reason.text(), closed.topics), ("bye", vec!["a".to_owned(), "b".to_owned()]));
}

fn the_peer_closes_without_a_code(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    client.frame(true, Opcode::Close, b"");
    assert_eq!(client.incoming(), Incoming::Close(None));
    client.expect_end();
    check_end(&world, CloseKind::Peer, 1_005);
}

/// What was queued before the peer's close frame still leaves before the answer.
fn the_peer_closes_behind_messages(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    let mut bytes = Vec::new();
    for number in 0..20 {
        bytes.extend(client.script_bytes(&format!("send n {number}")));
    }
    bytes.extend(client.frame_bytes(true, Opcode::Close, &1_000u16.to_be_bytes()));
    client.raw(&bytes);
    client.expect_numbers("n", 0..20);
    client.expect_close(1_000);
    client.expect_end();
    check_end(&world, CloseKind::Peer, 1_000);
}

/// RFC 6455 s5.5.2: a ping is answered unless a close frame was received before it. In one segment: what
/// comes later finds the connection closed.
fn nothing_behind_the_peers_close_frame_is_answered(setup: Setup) {
    let world = World::start_faulty(setup, Options::default(), Faults::none());
    let mut client = world.client("c");
    let frames = [
        client.frame_bytes(true, Opcode::Close, &1_000u16.to_be_bytes()),
        client.frame_bytes(true, Opcode::Ping, b"late"),
        client.script_bytes("send late 1"),
    ];
    client.raw(&frames.concat());
    client.expect_close(1_000);
    client.expect_end();
    check_end(&world, CloseKind::Peer, 1_000);
    assert!(world.log.lock().messages.is_empty());
}

fn the_server_closes(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    client.script("close_now");
    client.finish_close(1_000);
    check_end(&world, CloseKind::Server, 1_000);
}

fn the_server_closes_with_a_code_and_reason(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    client.script("close 4002 go away");
    assert_eq!(client.finish_close(4_002), "go away");
    assert_eq!(check_end(&world, CloseKind::Server, 4_002).reason.text(), "go away");
}

fn codes_that_must_not_be_sent_become_1000(setup: Setup) {
    let world = World::start(setup, Options::default());
    for code in [0, 999, 1_004, 1_005, 1_006, 1_015, 2_999, 5_000] {
        let mut client = world.client("c");
        client.script(&format!("close {code} x"));
        client.finish_close(1_000);
    }
}

fn a_handle_closes(setup: Setup) {
    let world = World::start(setup, Options::default());
    let client = world.client("c");
    let handle = world.log.handle("c");
    assert!(!handle.is_closed());
    assert_eq!(handle.close_error(), None);
    handle.close_with(4_003, "from a thread").unwrap();
    assert_eq!(client.finish_close(4_003), "from a thread");
    check_end(&world, CloseKind::Server, 4_003);
    assert!(handle.is_closed());
}

fn what_is_queued_leaves_before_the_close_frame(setup: Setup) {
    let world = World::start_faulty(setup, Options::default(), Faults::none());
    let mut client = world.client("c");
    client.script("send_n 500 n\nclose 4000 done\nsend n 500\npub n 1");
    client.expect_numbers("n", 0..500);
    client.finish_close(4_000);
    check_end(&world, CloseKind::Server, 4_000);
}

fn messages_after_our_close_frame_are_not_delivered(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    client.script("close 4000 x");
    for _ in 0..10 {
        client.say("late", "1");
    }
    client.finish_close(4_000);
    check_end(&world, CloseKind::Server, 4_000);
    assert!(world.log.lock().messages.iter().all(|(_, topic)| topic != "late"));
}

fn both_close_at_once(setup: Setup) {
    let world = World::start(setup, Options::default());
    for round in 0..20 {
        let name = format!("c{round}");
        let mut client = world.client(&name);
        // It may have ended for the one or the other by then.
        let _ = world.log.handle(&name).close();
        client.send_close(1_000, "");
        client.expect_close(1_000);
        client.expect_end();
        let kind = world.closed(&name).reason.kind();
        assert!(matches!(kind, CloseKind::Peer | CloseKind::Server), "{kind:?}");
    }
}

fn the_stream_ends_without_a_close_frame(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    client.script_and_wait("sub t");
    client.shutdown_write();
    client.expect_end();
    check_end(&world, CloseKind::Eof, 1_006);
}

fn the_connection_is_reset(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    client.script_and_wait("sub t");
    client.reset();
    check_end(&world, CloseKind::Reset, 1_006);
    // Nobody else is harmed.
    world.client("d").close();
}

fn the_peer_breaks_the_protocol(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    client.script("send n 1");
    client.raw(&[0xff; 100]);
    client.expect("n", "1");
    client.expect_close(1_002);
    client.expect_end();
    let closed = check_end(&world, CloseKind::Violation, 1_002);
    assert!(!closed.reason.text().is_empty());
}

fn a_hook_panics(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut other = world.client("other");
    let mut client = world.client("c");
    client.script("send n 1\npanic\nsend n 2");
    client.expect("n", "1");
    client.finish_close(1_011);
    check_end(&world, CloseKind::Panic, 1_011);
    assert_eq!(world.stats().total.hook_panics, 1);
    other.script_and_wait("");
    other.close();
}

fn a_panic_in_on_open_ends_that_session_only(setup: Setup) {
    let world = World::start(setup, Options::default());
    let other = world.client("other");
    world.connect("/ws?panic=open").finish_close(1_011);
    assert_eq!(world.closed("panic-in-open").reason.kind(), CloseKind::Panic);
    other.close();
}

fn a_panic_in_on_close_harms_nobody(setup: Setup) {
    let world = World::start(setup, Options::default());
    let other = world.client("other");
    world.connect("/ws?panic=close").close();
    assert_eq!(world.closed("panic-in-close").reason.kind(), CloseKind::Peer);
    world.until_stats("the panic is counted", |stats| stats.total.hook_panics == 1);
    other.close();
}

/// The close frame gets one try.
fn the_server_is_shut_down(setup: Setup) {
    let world = World::start_faulty(setup, Options::default(), Faults::none());
    let mut client = world.client("c");
    client.script_and_wait("sub t");
    world.begin_shutdown();
    assert_eq!(world.ended().cut, 1);
    client.expect_close(1_001);
    assert_eq!(check_end(&world, CloseKind::Shutdown, 1_001).topics, ["t"]);
}

fn the_server_is_drained(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    client.script_and_wait("sub t");
    world.begin_drain(std::time::Duration::from_secs(30));
    client.finish_close(1_001);
    let report = world.ended();
    assert_eq!((report.drained, report.cut), (1, 0));
    check_end(&world, CloseKind::Server, 1_001);
}

fn sessions_have_left_their_topics_before_on_close(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("c");
    let mut other = world.client("other");
    client.script_and_wait("sub t");
    client.close();
    let closed = world.closed("c");
    assert_eq!((closed.session_count, closed.sent), (1, Err(SendError::Closed)));
    assert_eq!(world.publisher().subscriber_count("t"), 0);
    other.script_and_wait("pub t 1");
    other.close();
}

fn a_session_closed_while_others_publish_to_it_ends_once(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut writer = world.client("writer");
    for round in 0..20 {
        let name = format!("c{round}");
        let mut client = world.client(&name);
        client.script_and_wait("sub t");
        writer.script("pub_n 50 t");
        match round % 3 {
            0 => client.reset(),
            1 => drop(client),
            _ => {
                client.script("close_now");
                let (_, frame) = client.messages_until_close();
                assert_eq!(frame, Some((1_000, String::new())));
            }
        }
        writer.script_and_wait("");
        world.closed(&name);
    }
}

/// 500 connections, 25 at a time, each of which may end in any way at any moment.
fn many_sessions_that_come_and_go_while_others_publish(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut steady = world.client("steady");
    steady.script_and_wait("sub t\nsub own");
    let publisher = world.publisher();
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..CONNECTIONS {
        let mut client = world.client(&format!("c{number}"));
        client.script("sub t\npub own 1");
        publisher.publish("t", number.to_string()).unwrap();
        if clients.len() >= 25 {
            let mut leaver = clients.swap_remove((number * 7) % 25);
            match number % 4 {
                0 => leaver.reset(),
                1 => drop(leaver),
                2 => {
                    leaver.send_close(1_000, "");
                    leaver.messages_until_close();
                    leaver.expect_end();
                }
                _ => {
                    leaver.shutdown_write();
                    while !matches!(leaver.incoming(), Incoming::End(End::Fin | End::Reset)) {}
                }
            }
        }
        clients.push(client);
        // Both lanes are in order, and nothing is lost to the one that stays.
        let mut seen = [steady.envelope(), steady.envelope()];
        seen.sort_by(|one, other| one.topic.cmp(&other.topic));
        assert_eq!((seen[0].topic.as_str(), seen[1].data.clone()), ("own", number.to_string()));
    }
    drop(clients);
    world.until_stats("only one is left", |stats| stats.total.sessions == 1);
    world.until("on_close has run for all", || world.log.lock().closed.len() == CONNECTIONS);
    let log = world.log.lock();
    let mut names: Vec<_> = log.closed.iter().map(|closed| closed.name.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), log.opened.len()), (CONNECTIONS, CONNECTIONS + 1));
    drop(log);
    let stats = world.stats().total;
    assert_eq!(CloseKind::ALL.iter().map(|kind| stats.closed(*kind)).sum::<u64>(), CONNECTIONS as u64);
    steady.close();
}

/// The session `c` has ended like this, once, and its handle says so.
#[track_caller]
fn check_end(world: &World, kind: CloseKind, code: u16) -> crate::common::Closed {
    let closed = world.closed("c");
    assert_eq!((closed.reason.kind(), closed.reason.code()), (kind, code), "{closed:?}");
    assert_eq!(closed.reason.is_clean(), kind.is_clean());
    assert_eq!(closed.sent, Err(SendError::Closed));
    let handle = world.log.handle("c");
    assert!(handle.is_closed());
    assert_eq!(handle.close_error(), Some(kind));
    assert_eq!(handle.send("t", "1"), Err(SendError::Closed));
    assert_eq!(world.stats().total.closed(kind), 1);
    assert_eq!(world.stats().total.sessions, world.publisher().session_count());
    closed
}

const CONNECTIONS: usize = 500;
