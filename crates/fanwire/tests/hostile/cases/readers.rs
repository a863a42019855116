//! Attacks by sessions that never read what they are sent.

use crate::kit::{Arena, Case, PLAIN, Peer, Setup, message};

/// Subscribers of 64 KiB messages who never read; each is closed when its queue is full, and told why.
pub const NEVER_READ_CLOSE: Case = Case {
    name: "never_read_close",
    options: "overflow=close queue_size=32 close_timeout=300",
    feed_bytes: 64 << 10,
    feed_ahead_max: 8,
    allows: shared_queue_bytes,
    tells: &["closed_QueueFull", "frames_dropped_closed", "close_timeouts"],
    attack: |arena| {
        let mut peers = never_readers(arena);
        arena.until_stats("each is closed", |stats| stats.get("closed_QueueFull") == DEAF);
        arena.until_stats("each is cut", |stats| stats.get("close_timeouts") == DEAF);
        // Nothing of all that is the kernel's to keep any more.
        peers.iter_mut().for_each(|peer| drop(peer.read_to_end()));
    },
    ..PLAIN
};

/// The same, and messages that find a full queue are dropped.
pub const NEVER_READ_DROP_NEWEST: Case = Case {
    name: "never_read_drop_newest",
    options: "overflow=drop_newest queue_size=32",
    feed_bytes: 64 << 10,
    feed_ahead_max: 8,
    allows: shared_queue_bytes,
    tells: &["frames_dropped_newest"],
    may_tell: &["frames_dropped_closed", "closed_Reset"],
    attack: |arena| drop_for_ever(arena, "frames_dropped_newest"),
    ..PLAIN
};

/// The same, and the oldest messages are dropped.
pub const NEVER_READ_DROP_OLDEST: Case = Case {
    name: "never_read_drop_oldest",
    options: "overflow=drop_oldest queue_size=32",
    feed_bytes: 64 << 10,
    feed_ahead_max: 8,
    allows: shared_queue_bytes,
    tells: &["frames_dropped_oldest"],
    may_tell: &["frames_dropped_closed", "closed_Reset"],
    attack: |arena| drop_for_ever(arena, "frames_dropped_oldest"),
    ..PLAIN
};

fn drop_for_ever(arena: &mut Arena, counter: &str) {
    let peers = never_readers(arena);
    let stats = arena.until_stats("each has missed many", |stats| stats.get(counter) >= DEAF * 64);
    assert!(stats.get("sessions_blocked") >= DEAF);
    assert!(stats.get("frame_bytes_live") <= 8_388_608 * u64::from(arena.setup.shards));
    drop(peers);
}

/// A queue of 32 messages is there once for all who do not read, on each shard, and a few are on their way. A copy for
/// each of the 20: 40 MiB.
fn shared_queue_bytes(setup: &Setup) -> u64 {
    (3 << 20) + u64::from(setup.shards) * (32 * (64 << 10))
}

fn never_readers(arena: &Arena) -> Vec<Peer> {
    let mut peers: Vec<_> = (0..DEAF).map(|_| Peer::open_narrow(arena.address())).collect();
    peers.iter_mut().for_each(|peer| peer.say("sub", "\"feed\""));
    peers
}

/// Sessions that ask for very many very short answers and never read one: frames cost more than their bytes.
pub const TINY_ANSWERS: Case = Case {
    name: "tiny_answers",
    options: "queue_size=4096 frame_bytes_max=33554432 sessions_max=800 handshakes_max=16 \
        assembly_bytes_max=1048576 topic_memory_max=1048576 intake_bytes_max=2097152 send_buffer_bytes=4096 \
        close_timeout=300",
    // `frame_bytes_max` and 700 queues of 4,096. What 31 bytes cost to hold, if it did not count: three times as much.
    allows: |_| 33_554_432 + 700 * 4_096 * 5 + (2 << 20),
    tells: &["closed_QueueFull", "reads_paused"],
    may_tell: &["frames_dropped_closed", "closed_Reset", "close_timeouts", "frames_refused_memory"],
    attack: tiny_answers,
    ..PLAIN
};

/// At the cap those that hold the oldest frame go; it is reached since together they ask for more.
fn tiny_answers(arena: &mut Arena) {
    let asking = 700 * usize::from(arena.setup.shards);
    let mut peers = Vec::new();
    let ask = message("answer", "\"1\"").repeat(3_000);
    while peers.len() < asking.min(700) {
        let mut peer = Peer::open_narrow(arena.address());
        // It is read from until its own queue is half full; the rest is lost with the connection.
        let mut from = 0;
        while from < ask.len() {
            match peer.try_send(&ask[from..]) {
                Some(0) | None => break,
                Some(sent) => from += sent,
            }
        }
        peers.push(peer);
    }
    let shards = u64::from(arena.setup.shards);
    let stats = arena.until_stats("the cap is met", |stats| stats.get("closed_QueueFull") > 0);
    assert!(stats.get("frame_bytes_live") <= 33_554_432 * shards);
    drop(arena.newcomer());
    arena.await_feed(100);
}

const DEAF: u64 = 20;
