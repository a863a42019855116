//! Attacks that use up what there is: descriptors, places for sessions.

use crate::kit::{Arena, Case, PLAIN, Peer, request_head};

/// No descriptor is left, first because the program has taken them, then because of connections: others wait in the
/// backlog, and all are served when some become free. 4 KiB left by each of 500: 2 MiB.
pub const DESCRIPTORS: Case = Case {
    name: "descriptors",
    options: "descriptors=300",
    tells: &["accepts_failed", "accepts_paused"],
    attack: descriptors,
    ..PLAIN
};

fn descriptors(arena: &mut Arena) {
    arena.server.ask("fill");
    let mut waiting = ask_many(arena, 100);
    arena.until_stats("accepting fails", |stats| stats.get("accepts_failed") >= 2);
    arena.await_feed(50);
    assert_eq!(arena.server.ask("release"), "released");
    waiting.iter_mut().for_each(Peer::await_open);
    waiting.iter_mut().for_each(|peer| peer.echo("served"));
    drop(waiting);
    arena.until_stats("they have gone", |stats| stats.get("sessions") == 30);

    let failed = arena.stats().get("accepts_failed");
    let room = arena.server.connections_max;
    let mut asking = ask_many(arena, room + 200);
    // Shards that accept at the same moment may pass it by a few, which 32 more descriptors are kept for.
    arena.until_stats("all places are taken", |stats| stats.get("sessions") >= room as u64);
    arena.await_feed(50);
    // The first in the backlog is the first to be served, when one who is in leaves.
    while !asking.is_empty() {
        let mut first = asking.remove(0);
        first.await_open();
        first.echo("served");
    }
    assert_eq!(arena.stats().get("accepts_failed"), failed, "it was known that there was no room");
}

fn ask_many(arena: &Arena, count: usize) -> Vec<Peer> {
    let ask = |_| {
        let mut peer = Peer::connect(arena.address());
        peer.send(&request_head("/ws"));
        peer
    };
    (0..count).map(ask).collect()
}

/// All places for sessions are taken: new ones are told to come later, the old ones stay. A page for each of 300:
/// 1.2 MiB more.
pub const SESSIONS: Case = Case {
    name: "sessions",
    options: "sessions_max=50",
    tells: &["refused_capacity"],
    attack: sessions,
    ..PLAIN
};

fn sessions(arena: &mut Arena) {
    let mut inside = Peer::open_many(arena.address(), 20);
    let mut outside = ask_many(arena, 300);
    for peer in &mut outside {
        let answer = peer.read_head();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 5"), "{answer}");
    }
    assert_eq!(arena.stats().get("refused_capacity"), 300);
    inside.iter_mut().for_each(|peer| peer.echo("still here"));
    // One leaves, one comes.
    drop(inside.pop());
    arena.until_stats("a place is free", |stats| stats.get("sessions") == 49);
    drop(arena.newcomer());
    inside.iter_mut().for_each(|peer| peer.echo("still here"));
}
