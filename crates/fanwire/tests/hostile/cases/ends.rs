//! Attacks by connections that do not end as they should.

use fanwire_ws::Opcode;

use super::{PINGS, scaled};
use crate::kit::{Arena, Case, PLAIN, Peer, close_frame, frame, message, request_head};

/// Closing handshakes that the client leaves unfinished, each in its own way: all are cut in time.
pub const ENDLESS_CLOSES: Case = Case {
    name: "endless_closes",
    options: "close_timeout=500 send_buffer_bytes=8192",
    feed_bytes: 4_000,
    // 64 messages of the feed on each shard. A copy of them for each of the 20 who do not read: 5 MiB.
    allows: |setup| (1 << 20) + u64::from(setup.shards) * (512 << 10),
    tells: &["close_timeouts", "closed_Server", "closed_Violation", "closed_Peer", "refused_malformed"],
    may_tell: &["frames_dropped_closed", "closed_QueueFull"],
    attack: endless_closes,
    ..PLAIN
};

fn endless_closes(arena: &mut Arena) {
    // The server closes, and is never answered.
    let mut unanswered = Peer::open_many(arena.address(), 50);
    unanswered.iter_mut().for_each(|peer| peer.say("close", "1"));
    // The server closes, and is answered by messages.
    let mut talking = Peer::open_many(arena.address(), 10);
    talking.iter_mut().for_each(|peer| peer.say("close", "1"));
    // A violation, and a refusal, after which the client stays.
    let mut violators = Peer::open_many(arena.address(), 50);
    violators.iter_mut().for_each(|peer| peer.send(&[0xff; 16]));
    let mut refused: Vec<_> = (0..50).map(|_| Peer::connect(arena.address())).collect();
    refused.iter_mut().for_each(|peer| peer.send(b"?\r\n\r\n"));
    // The client closes, but reads nothing: the answer waits behind what it does not take.
    let mut deaf: Vec<_> = (0..20).map(|_| Peer::open_narrow(arena.address())).collect();
    deaf.iter_mut().for_each(|peer| peer.say("sub", "\"feed\""));
    arena.until_stats("they are blocked", |stats| {
        stats.get("sessions_blocked") + stats.get("closed_QueueFull") >= 20
    });
    deaf.iter_mut().for_each(|peer| peer.send(&close_frame(1000)));
    let chatter = message("echo", "\"still here\"").repeat(100);
    for _ in 0..20 {
        talking.iter_mut().for_each(|peer| {
            let _ = peer.try_send(&chatter);
        });
        arena.await_feed(8);
    }
    // The client closes in order and stays: that costs nothing.
    let mut staying = Peer::open_many(arena.address(), 50);
    staying.iter_mut().for_each(|peer| peer.send(&close_frame(1000)));
    staying.iter_mut().for_each(|peer| assert_eq!(peer.close_code(), Some(1000)));
    let quiet = arena.subscribers();
    arena.until_stats("all are cut", |stats| stats.get("close_timeouts") >= 150);
    let base = arena.quiet_descriptors() + quiet;
    arena.until("their descriptors are free", |arena| arena.server.descriptors() == base);
    unanswered.iter_mut().for_each(|peer| assert_eq!(peer.close_code(), Some(1000)));
    violators.iter_mut().for_each(|peer| assert_eq!(peer.close_code(), Some(1002)));
    refused.iter_mut().for_each(|peer| assert!(peer.read_head().starts_with("HTTP/1.1 400 ")));
}

/// Connections that are reset in every state, while the healthy ones are only heard of by their pongs.
pub const RESET_STORM: Case = Case {
    name: "reset_storm",
    options: "ping_interval=1000 idle_timeout=3000",
    // 400 connections at a time. 256 bytes left by each of 4,800 or more: 1.2 MiB on top.
    allows: |_| 2 << 20,
    tells: &["closed_Reset", "handshakes_abandoned"],
    may_tell: &["accepts_aborted", "frames_dropped_closed"],
    attack: reset_storm,
    ..PLAIN
};

fn reset_storm(arena: &mut Arena) {
    let before = arena.stats();
    let head = request_head("/ws");
    let (mut rounds, mut connections) = (0, 0);
    while rounds < scaled(12) || arena.crowd.pinged() < PINGS {
        let mut early: Vec<_> = (0..200).map(|_| Peer::connect(arena.address())).collect();
        early.iter_mut().step_by(2).for_each(|peer| peer.send(&head[..30]));
        let mut sessions = Peer::open_many(arena.address(), 200);
        connections += early.len() + sessions.len();
        for (index, peer) in sessions.iter_mut().enumerate() {
            match index % 4 {
                0 => {}
                1 => peer.send(&frame(false, Opcode::Text, b"begun")),
                2 => peer.say("sub", "\"feed\""),
                _ => peer.send(&message("echo", "\"unread\"").repeat(20)),
            }
        }
        early.into_iter().for_each(Peer::reset);
        sessions.into_iter().for_each(Peer::reset);
        arena.await_feed(1);
        rounds += 1;
    }
    let ends = ["handshakes_abandoned", "closed_Reset", "closed_Eof", "accepts_aborted"];
    let ended = |stats: &crate::kit::Stats| ends.iter().map(|name| stats.get(name)).sum::<u64>();
    let goal = ended(&before) + connections as u64;
    arena.until_stats("each is accounted for", |stats| ended(stats) == goal);
}
