//! Attacks on the tables of topics.

use super::scaled;
use crate::kit::{Arena, Came, Case, PLAIN, Peer, message, receive_buffers_bytes};

/// Subscribes to topics that nobody had and leaves them, again and again: a million names, or more at scale.
pub const TOPIC_CHURN: Case = Case {
    name: "topic_churn",
    options: "topic_memory_max=16777216",
    // 16 sessions with 500 topics each, at most. 16 bytes left by each name: 16 MiB.
    allows: |setup| receive_buffers_bytes(setup) / 2 + (6 << 20),
    attack: topic_churn,
    ..PLAIN
};

fn topic_churn(arena: &mut Arena) {
    let feeds = arena.stats().get("topics");
    let mut peers = Peer::open_many(arena.address(), 16);
    let mut name = 0;
    for round in 0..scaled(1_008_000) / (16 * NAMES_AT_ONCE) {
        for peer in &mut peers {
            let mut batch = Vec::new();
            for _ in 0..NAMES_AT_ONCE {
                batch.extend(message("sub", &format!("\"churn:{name}\"")));
                name += 1;
            }
            if round % 2 == 0 {
                batch.extend(message("unsub_all", "1"));
            } else {
                let first = name - NAMES_AT_ONCE;
                batch.extend((first..name).flat_map(|name| message("unsub", &format!("\"churn:{name}\""))));
            }
            peer.send(&batch);
        }
        arena.await_feed(1);
    }
    peers.iter_mut().for_each(|peer| peer.echo("done"));
    let stats = arena.until_stats("the names are gone", |stats| stats.get("topics") == feeds);
    assert_eq!(stats.get("subscribes_refused"), 0);
}

/// As many topics as the limits let in, with long names: memory stops at its bound, and who has a place keeps it.
pub const TOPIC_HOARD: Case = Case {
    name: "topic_hoard",
    // `topic_memory_max`. All names that were asked for, 240 bytes each with nothing around them: 10 MiB.
    allows: |setup| u64::from(setup.shards) * (4 << 20) + (3 << 19),
    tells: &["subscribes_refused"],
    attack: topic_hoard,
    ..PLAIN
};

fn topic_hoard(arena: &mut Arena) {
    let feeds = arena.stats().get("topics");
    let mut peers = Peer::open_many(arena.address(), 40);
    let filler = "n".repeat(200);
    for (index, peer) in peers.iter_mut().enumerate() {
        let names = (0..1_100).flat_map(|name| message("sub", &format!("\"{index}:{name}:{filler}\"")));
        peer.send(&names.collect::<Vec<_>>());
    }
    peers.iter_mut().for_each(|peer| peer.echo("asked"));
    let stats = arena.stats();
    let asked = 40 * 1_100;
    assert_eq!(stats.get("topics") + stats.get("subscribes_refused"), asked + feeds, "each is in or refused");
    let bound = 4_194_304 * u64::from(arena.setup.shards);
    assert!(stats.get("topic_bytes") <= bound, "{} of {bound}", stats.get("topic_bytes"));
    arena.await_feed(1);
}

/// Names that have one hash in tables with a fixed polynomial: here they cost what others cost, and each is served.
pub const COLLIDING_TOPICS: Case = Case {
    name: "colliding_topics",
    options: "topic_memory_max=16777216",
    // 16,384 topics, 512 bytes each with all that is around them. A page for each: 64 MiB.
    allows: |_| 16 * 1_024 * 512 + (2 << 20),
    attack: colliding_topics,
    ..PLAIN
};

/// That the names do not collide here is shown in `shard/collisions.rs`, by counting.
fn colliding_topics(arena: &mut Arena) {
    let mut peers = Peer::open_many(arena.address(), 16);
    let names: Vec<_> = (0..16 * 1_024).map(colliding_name).collect();
    for (peer, names) in peers.iter_mut().zip(names.chunks(1_024)) {
        let batch: Vec<_> = names.iter().flat_map(|name| message("sub", &format!("\"{name}\""))).collect();
        peer.send(&batch);
        peer.echo("subscribed");
    }
    for (peer, names) in peers.iter_mut().zip(names.chunks(1_024)) {
        for names in names.chunks(64) {
            let batch: Vec<_> =
                names.iter().flat_map(|name| message("pub", &format!("\"{name}\""))).collect();
            peer.send(&batch);
            for name in names {
                let expected = format!(r#"{{"topic":"{name}","data":1}}"#);
                assert_eq!(peer.next(), Came::Message(expected.into_bytes()));
            }
        }
        arena.await_feed(1);
    }
}

/// "Aa" and "BB" are one number to `31 * hash + byte`, and so are all words made of them.
fn colliding_name(number: usize) -> String {
    (0..14).map(|bit| if number >> bit & 1 == 0 { "Aa" } else { "BB" }).collect()
}

const NAMES_AT_ONCE: usize = 500;
