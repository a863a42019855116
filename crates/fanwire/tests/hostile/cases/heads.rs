//! Attacks before the handshake is done: slow, half, many, false and garbled heads.

use std::{
    net::Shutdown,
    sync::{Mutex, PoisonError},
};

use super::{Random, scaled};
use crate::kit::{Arena, Case, PLAIN, Peer, frame, request_head, request_head_with};
use fanwire_ws::Opcode;

/// 5,000 clients send a head, a byte a second. Each is told so when its time is over, and none keeps others out.
pub const SLOW_HEADS: Case = Case {
    name: "slow_heads",
    options: "handshakes_max=6000 handshake_timeout=4000",
    // A socket and the little that has come of its head. A page for each head: 20 MiB.
    allows: |_| SLOW as u64 * 1_024 + CROWD_BYTES,
    tells: &["refused_timeout"],
    // One that leaves without having read the answer.
    may_tell: &["closed_Reset"],
    attack: slow_heads,
    ..PLAIN
};

fn slow_heads(arena: &mut Arena) {
    let mut peers: Vec<_> = (0..SLOW).map(|_| Peer::connect(arena.address())).collect();
    let head = request_head_with("/ws", &[("X-Slow", &"a".repeat(8_000))]);
    let mut bytes = head.chunks(1);
    let mut newcomers = Vec::new();
    while arena.stats().get("refused_timeout") < SLOW as u64 {
        let byte = bytes.next().expect("they are refused before the head is whole");
        for peer in &mut peers {
            // Some have been answered already.
            let _ = peer.try_send(byte);
        }
        arena.await_second();
        newcomers.push(arena.newcomer());
    }
    assert!(bytes.len() < head.len() - 1, "they sent a few bytes at least");
    for peer in &mut peers {
        let answer = peer.read_head();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

/// 10,000 connections on which nothing, or half a head, has come.
pub const HALF_OPEN: Case = Case {
    name: "half_open",
    options: "handshakes_max=12000 handshake_timeout=60000",
    // A socket and half a head. A page for each head: 40 MiB.
    allows: |_| HALF as u64 * 640 + CROWD_BYTES,
    tells: &["handshakes_abandoned"],
    attack: half_open,
    ..PLAIN
};

fn half_open(arena: &mut Arena) {
    // Tests run beside each other in one process, whose descriptors are not enough for two of these.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let head = request_head("/ws");
    let begin = |index: usize| {
        let mut peer = Peer::connect(arena.address());
        match index % 3 {
            0 => {}
            1 => peer.send(&head[..1]),
            _ => peer.send(&head[..head.len() / 2]),
        }
        peer
    };
    let peers: Vec<_> = (0..HALF).map(begin).collect();
    arena.until_stats("all are accepted", |stats| stats.get("handshakes") == HALF as u64);
    arena.await_feed(50);
    drop(arena.newcomer());
    drop(peers);
    let stats = arena.until_stats("all have gone", |stats| stats.get("handshakes") == 0);
    assert_eq!(stats.get("handshakes_abandoned"), HALF as u64);
}

/// More half-open connections than there are places: those who come later wait in the backlog, and nobody is lost.
pub const HALF_OPEN_QUEUE: Case = Case {
    name: "half_open_queue",
    options: "handshakes_max=200 handshake_timeout=300",
    // 200 handshakes of each shard, and the descriptors' table. 1 KiB left by each of 2,000: 2 MiB more.
    allows: |_| 3 << 19,
    tells: &["refused_timeout"],
    attack: half_open_queue,
    ..PLAIN
};

fn half_open_queue(arena: &mut Arena) {
    let mut peers: Vec<_> = (0..QUEUED).map(|_| Peer::connect(arena.address())).collect();
    arena.until_stats("all places are taken", |stats| stats.get("handshakes") >= 200);
    let places = 200 * u64::from(arena.setup.shards);
    assert!(arena.stats().get("handshakes") <= places, "no more are read at a time than there are places");
    // Behind all of them in the backlog.
    drop(arena.newcomer());
    for peer in &mut peers {
        assert!(peer.read_head().starts_with("HTTP/1.1 408 "));
    }
    assert_eq!(arena.stats().get("refused_timeout"), QUEUED as u64);
}

/// Connections that come and go as fast as they can: whole heads, garbage, nothing, resets. What each of the 8,000
/// might leave, 128 bytes or more, passes what the others need.
pub const HANDSHAKE_FLOOD: Case = Case {
    name: "handshake_flood",
    tells: &["refused_malformed", "handshakes_abandoned"],
    may_tell: &["closed_Reset", "accepts_aborted", "frames_dropped_closed"],
    attack: handshake_flood,
    ..PLAIN
};

fn handshake_flood(arena: &mut Arena) {
    let head = request_head("/ws");
    let before = arena.stats();
    let flood = scaled(8_000);
    for index in 0..flood {
        let mut peer = Peer::connect(arena.address());
        match index % 5 {
            0 => peer.send(&head),
            1 => peer.send(b"GARBAGE\r\n\r\n"),
            2 => peer.send(&head[..20]),
            3 => {}
            _ => {
                peer.send(&head);
                peer.reset();
            }
        }
        if index % 500 == 0 {
            arena.await_feed(1);
        }
    }
    // Each of them has left its mark in one of the counters.
    let marks = ["sessions_opened", "refused_malformed", "handshakes_abandoned", "accepts_aborted"];
    let counted = |stats: &crate::kit::Stats| -> u64 { marks.iter().map(|name| stats.get(name)).sum() };
    let goal = counted(&before) + flood as u64;
    arena.until_stats("each is accounted for", |stats| counted(stats) == goal);
}

/// A browser that was told https:// on a plain port. 16 KiB for the head of each: 4.7 MiB.
pub const TLS_HELLO: Case =
    Case { name: "tls_hello", tells: &["refused_malformed"], attack: tls_hello, ..PLAIN };

fn tls_hello(arena: &mut Arena) {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend(Random(7).bytes(506));
    let mut peers: Vec<_> = (0..300).map(|_| Peer::connect(arena.address())).collect();
    peers.iter_mut().for_each(|peer| peer.send(&hello));
    for peer in &mut peers {
        let answer = peer.read_head();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(arena.stats().get("refused_malformed"), 300);
}

/// Random bytes in place of heads, and of frames. What has come of each of 3,000, if it were kept: 4 MiB.
pub const GARBAGE: Case = Case {
    name: "garbage",
    tells: &["refused_malformed", "closed_Violation"],
    may_tell: &["handshakes_abandoned", "messages_ignored", "closed_Peer", "close_timeouts", "closed_Reset"],
    attack: garbage,
    ..PLAIN
};

fn garbage(arena: &mut Arena) {
    let mut random = Random(0x5eed_5eed_5eed);
    for _ in 0..scaled(20) {
        let mut peers: Vec<_> = (0..100).map(|_| Peer::connect(arena.address())).collect();
        for peer in &mut peers {
            let count = 1 + random.below(3_000);
            peer.send(&random.bytes(count));
            drop(peer.stream.shutdown(Shutdown::Write));
        }
        for peer in &mut peers {
            let answer = peer.read_to_end();
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
        }
        let mut sessions = Peer::open_many(arena.address(), 50);
        for peer in &mut sessions {
            let count = 1 + random.below(3_000);
            peer.send(&random.bytes(count));
            drop(peer.stream.shutdown(Shutdown::Write));
            drop(peer.read_to_end());
        }
        arena.await_feed(1);
    }
    let heads = ["refused_malformed", "refused_head_too_large", "handshakes_abandoned"];
    let ends = ["closed_Violation", "closed_Eof", "closed_Peer", "closed_Reset"];
    let sum =
        |stats: &crate::kit::Stats, names: &[&str]| names.iter().map(|name| stats.get(name)).sum::<u64>();
    let (garbled, sessions) = (scaled(2_000) as u64, scaled(1_000) as u64);
    arena.until_stats("each is accounted for", |stats| {
        sum(stats, &heads) == garbled && sum(stats, &ends) == sessions
    });
}

/// Heads that a proxy in front might understand otherwise: none of them opens a session or gets a second answer.
pub const SMUGGLING: Case = Case {
    name: "smuggling",
    // One connection at a time. 16 KiB for the head of each of 26: 416 KiB.
    allows: |_| 320 << 10,
    tells: &["refused_malformed", "closed_Violation"],
    may_tell: &["http_answered", "refused_method"],
    attack: smuggling,
    ..PLAIN
};

fn smuggling(arena: &mut Arena) {
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let shapes = [
        ("GET /ws HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        ("GET /ws HTTP/1.1\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost : a\r\n", 400),
        (" GET /ws HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET /ws HTTP/1.1\r\n Host: a\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost: a\r\nX: 1\r\n\tfolded: yes\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost: a\r\nX: a\rb: c\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nContent-Length: 0\r\n", 400),
        ("GET /ws HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n", 400),
        ("POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n", 405),
        ("GET /ws HTTP/1.0\r\nHost: a\r\n", 400),
        ("GET /ws HTTP/2.0\r\nHost: a\r\n", 400),
        ("GET /ws\r\nHost: a\r\n", 400),
        ("GET /ws HTTP/1.1 HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET /ws/../ws HTTP/1.1\r\nHost: a\r\n", 404),
        ("GET //ws HTTP/1.1\r\nHost: a\r\n", 404),
        ("GET /w%73 HTTP/1.1\r\nHost: a\r\n", 404),
        ("GET /other HTTP/1.1\r\nHost: a\r\n", 404),
    ];
    for (start, status) in shapes {
        let request = format!("{start}{upgrade}\r\n{SECOND}");
        let mut peer = Peer::connect(arena.address());
        peer.send(request.as_bytes());
        drop(peer.stream.shutdown(Shutdown::Write));
        let answer = String::from_utf8(peer.read_to_end()).expect("responses are text");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{start:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer to {start:?}: {answer}");
    }
    // What follows a good head are frames, never a request.
    let mut peer = Peer::connect(arena.address());
    peer.send(&[request_head("/ws").as_slice(), SECOND.as_bytes()].concat());
    peer.await_open();
    assert_eq!(peer.close_code(), Some(1002));
    // And a frame in front of a good head is no frame.
    let mut peer = Peer::connect(arena.address());
    peer.send(&[frame(true, Opcode::Text, b"{}"), request_head("/ws")].concat());
    assert!(peer.read_head().starts_with("HTTP/1.1 400 "));
    // Four other paths were asked for on purpose; the second request never was.
    assert_eq!(arena.stats().get("http_answered"), 4);
}

/// Requests that wait for a decision, with as much in their heads as fits.
pub const PARKED: Case = Case {
    name: "parked",
    options: "handshakes_max=400 sessions_max=3000",
    // One copy of each head of 15 KiB that is parked. A second: 13 MiB more.
    allows: |setup| u64::from(setup.shards) * 400 * (20 << 10) + CROWD_BYTES,
    tells: &["refused_capacity"],
    may_tell: &["refused_early_bytes"],
    attack: parked,
    ..PLAIN
};

fn parked(arena: &mut Arena) {
    let head = request_head_with("/ws?later", &[("Sec-WebSocket-Protocol", &"a,".repeat(7_900))]);
    let mut peers: Vec<_> = (0..PARKED_ASKING).map(|_| Peer::connect(arena.address())).collect();
    peers.iter_mut().for_each(|peer| peer.send(&head));
    let asking = PARKED_ASKING as u64;
    let stats = arena.until_stats("each is parked or refused", |stats| {
        stats.get("handshakes_parked") + stats.get("refused_capacity") == asking
    });
    let places = 400 * u64::from(arena.setup.shards);
    assert!(stats.get("handshakes_parked") <= places);
    arena.await_feed(50);
    let answered = arena.server.ask("tickets");
    assert_eq!(answered, format!("answered {}", stats.get("handshakes_parked")));
    for peer in &mut peers {
        let answer = peer.read_head();
        assert!(answer.starts_with("HTTP/1.1 101 ") || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
}

const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

const SLOW: usize = 5_000;

const HALF: usize = 10_000;

const QUEUED: usize = 2_000;

const PARKED_ASKING: usize = 2_000;

/// What a server with a crowd takes anyway: tables, the publisher, messages under way.
const CROWD_BYTES: u64 = 1 << 20;
