//! Attacks by open sessions that send: slowly, fast, in pieces, all at once.

use fanwire_ws::Opcode;
use rustix::event::PollFlags;

use super::{PINGS, scaled};
use crate::kit::{Arena, Came, Case, PLAIN, Peer, Setup, await_any, frame, message, receive_buffers_bytes};

/// 5,000 sessions send a message, a byte a second.
pub const SLOW_FRAMES: Case = Case {
    name: "slow_frames",
    options: "assembly_bytes_max=4194304",
    // A socket and the little that has come. Room for what is announced: all the memory for assembly, 8 MiB.
    allows: |_| SLOW as u64 * 768 + CROWD_BYTES,
    tells: &[],
    may_tell: &["closed_Reset"],
    attack: slow_frames,
    ..PLAIN
};

fn slow_frames(arena: &mut Arena) {
    let mut peers = Peer::open_many(arena.address(), SLOW);
    // What is announced is more than the memory for assembly could hold of all of them.
    let word = "w".repeat(4_000);
    let long = message("echo", &format!("\"{word}\""));
    let short = message("echo", "\"slow\"");
    let whole = |index: usize| if index.is_multiple_of(10) { &short } else { &long };
    for at in 0..SLOW_BYTES {
        for (index, peer) in peers.iter_mut().enumerate() {
            peer.send(&whole(index)[at..=at]);
        }
        arena.await_second();
    }
    let stats =
        arena.until_stats("all have begun a message", |stats| stats.get("assembly_bytes") >= SLOW as u64);
    assert!(stats.get("assembly_bytes") <= 4_194_304 * u64::from(arena.setup.shards));
    let healthy = arena.subscribers() as u64;
    assert_eq!(stats.get("sessions"), SLOW as u64 + healthy);
    drop(arena.newcomer());
    // A tenth of them come to the end of a message byte by byte, a little less slowly than they began.
    for byte in short[SLOW_BYTES..].chunks(1) {
        peers.iter_mut().step_by(10).for_each(|peer| peer.send(byte));
        arena.await_feed(10);
    }
    peers.iter_mut().step_by(10).for_each(|peer| peer.await_echo("slow"));
    // And some turn out to have been slow in the beginning only.
    for peer in peers.iter_mut().skip(1).step_by(10) {
        peer.send(&long[SLOW_BYTES..]);
        peer.await_echo(&word);
    }
    for (index, peer) in peers.into_iter().enumerate() {
        if index % 4 == 1 {
            peer.reset();
        }
    }
    arena.until_stats("all have gone", |stats| stats.get("sessions") == healthy);
}

/// Many send as much as they can, in the shortest messages there are; a client that asks now and then is answered all
/// the same, and nobody who is healthy is taken for idle.
pub const FIREHOSE: Case = Case {
    name: "firehose",
    // Less than a receive buffer, so that one read is over it on either driver.
    options: "read_budget_bytes=8192 ping_interval=1000 idle_timeout=3000",
    // Buffers that were full, and held input. Counted by its length and not by the room that it has: half as much again.
    allows: |setup| receive_buffers_bytes(setup) + held_bytes(setup) + (2 << 20),
    tells: &["reads_paused"],
    // They leave without having read their pings.
    may_tell: &["closed_Reset"],
    attack: firehose,
    ..PLAIN
};

fn firehose(arena: &mut Arena) {
    let burst = frame(true, Opcode::Text, br#"{"topic":"n"}"#).repeat(TINY_IN_BURST);
    let mut peers = Peer::open_many(arena.address(), FLOODING);
    let mut served = arena.newcomer();
    let before = arena.stats().get("messages_received");
    let mut served_count = 0;
    for flood in 1.. {
        if flood > scaled(2) && arena.crowd.pinged() >= PINGS {
            return;
        }
        let messages = (flood * FLOODING * BURSTS * TINY_IN_BURST) as u64;
        let mut sent = vec![0; peers.len()];
        arena.until("everything was taken", |arena| {
            for (peer, sent) in peers.iter_mut().zip(&mut sent) {
                if *sent < burst.len() * BURSTS {
                    let rest = &burst[*sent % burst.len()..];
                    *sent += peer.try_send(rest).expect("the connection stays");
                } else {
                    // Who has nothing left to send answers pings.
                    assert!(peer.take_in() && peer.next_ready().is_none(), "the connection stays");
                }
            }
            served.echo("and me?");
            served_count += 1;
            arena.stats().get("messages_received") == before + messages + served_count
        });
    }
}

/// Pings without end, from clients that read their pongs and from clients that do not.
pub const PING_FLOOD: Case = Case {
    name: "ping_flood",
    options: "send_buffer_bytes=8192",
    // Buffers that were full, and as much held of sessions that are paused. A pong for each ping: 80 MiB.
    allows: |setup| 2 * receive_buffers_bytes(setup) + (2 << 20),
    tells: &["pings_skipped"],
    may_tell: &["closed_Reset"],
    attack: ping_flood,
    ..PLAIN
};

fn ping_flood(arena: &mut Arena) {
    let burst = frame(true, Opcode::Ping, &[b'p'; 125]).repeat(100);
    let mut deaf: Vec<_> = (0..20).map(|_| Peer::open_narrow(arena.address())).collect();
    pump(&mut deaf, &burst, burst.len() * scaled(300), |_| {});
    let mut polite = Peer::open_many(arena.address(), 20);
    pump(&mut polite, &burst, burst.len() * scaled(300), |_| {});
    for peer in &mut polite {
        peer.send(&frame(true, Opcode::Ping, b"last"));
        // Of many pings the latest is answered (RFC 6455 s5.5.3).
        while peer.next() != Came::Pong(b"last".to_vec()) {}
    }
    drop(arena.newcomer());
    arena.await_feed(1);
}

/// Messages of 1-byte fragments with empty ones between them, and messages that never end.
pub const FRAGMENTS: Case = Case {
    name: "fragments",
    options: "read_limit=16384",
    // 10 messages of 16 KiB. 8 bytes for each of a million empty fragments: 8 MiB.
    allows: |setup| receive_buffers_bytes(setup) + CROWD_BYTES,
    // The message of nothing but empty fragments is empty.
    tells: &["closed_Violation", "messages_ignored"],
    attack: fragments,
    ..PLAIN
};

fn fragments(arena: &mut Arena) {
    let word = "f".repeat(1_000);
    let whole = format!(r#"{{"topic":"echo","data":"{word}"}}"#);
    let mut crumbs = frame(false, Opcode::Text, b"");
    for byte in whole.as_bytes().chunks(1) {
        crumbs.extend(frame(false, Opcode::Continuation, byte));
        crumbs.extend(frame(false, Opcode::Continuation, b""));
    }
    crumbs.extend(frame(true, Opcode::Continuation, b""));
    let mut peers = Peer::open_many(arena.address(), 10);
    for _ in 0..scaled(20) {
        peers.iter_mut().for_each(|peer| peer.send(&crumbs));
        peers.iter_mut().for_each(|peer| peer.await_echo(&word));
    }
    // Empty fragments for ever: nothing grows, and nobody is kept waiting.
    let empty = frame(false, Opcode::Continuation, b"").repeat(1_000);
    peers.iter_mut().for_each(|peer| peer.send(&frame(false, Opcode::Text, b"")));
    pump(&mut peers, &empty, empty.len() * scaled(100), |_| {});
    drop(arena.newcomer());
    for peer in &mut peers {
        peer.send(&[frame(true, Opcode::Continuation, b""), message("echo", "\"after all\"")].concat());
        peer.await_echo("after all");
    }
    // Crumbs for ever: they end where any message that long does.
    let endless = frame(false, Opcode::Continuation, b"x").repeat(17_000);
    for peer in &mut peers {
        peer.send(&frame(false, Opcode::Text, b""));
        peer.send(&endless);
        assert_eq!(peer.close_code(), Some(1009));
    }
    assert_eq!(arena.stats().get("closed_Violation"), 10);
}

/// 500 clients send the longest message there may be, all at once; a few fit into the memory for assembly.
pub const BIG_MESSAGES: Case = Case {
    name: "big_messages",
    // The memory for assembly, and as much again: buffers grow by moving. Without a bound: 500 MiB.
    allows: |setup| receive_buffers_bytes(setup) + u64::from(setup.shards) * (16 << 20) + CROWD_BYTES,
    tells: &["assemblies_refused", "messages_ignored"],
    may_tell: &["closed_Violation", "closed_Reset", "close_timeouts"],
    attack: big_messages,
    ..PLAIN
};

fn big_messages(arena: &mut Arena) {
    let big = frame(true, Opcode::Binary, &vec![0; 1 << 20]);
    let mut under_way: Vec<_> =
        Peer::open_many(arena.address(), BIG).into_iter().map(|peer| (peer, 0)).collect();
    let (mut taken, mut refused) = (0, 0);
    while !under_way.is_empty() {
        let (mut peers, mut sent): (Vec<_>, Vec<_>) = under_way.into_iter().unzip();
        let ready = await_any(&peers, PollFlags::IN | PollFlags::OUT);
        under_way = Vec::new();
        for ((mut peer, mut from), is_ready) in peers.drain(..).zip(sent.drain(..)).zip(ready) {
            if !is_ready {
                under_way.push((peer, from));
                continue;
            }
            let end = big.len().min(from + (32 << 10));
            let alive = peer.take_in();
            match peer.next_ready() {
                Some(Came::Close(code)) => {
                    assert_eq!(code, Some(1013), "there is no room now: try again later");
                    refused += 1;
                    continue;
                }
                Some(other) => panic!("{other:?}"),
                None => assert!(alive, "a client that reads is told why"),
            }
            from += peer.try_send(&big[from..end]).unwrap_or(0);
            if from < big.len() {
                under_way.push((peer, from));
                continue;
            }
            peer.say("echo", "\"taken\"");
            match peer.next() {
                Came::Close(code) => {
                    assert_eq!(code, Some(1013));
                    refused += 1;
                }
                _ => taken += 1,
            }
        }
    }
    assert_eq!(taken + refused, BIG as u64);
    assert!(taken >= 4, "those that fit are taken: {taken}");
    let stats = arena.stats();
    assert_eq!(stats.get("messages_ignored"), taken, "each message that was taken came whole");
    assert_eq!(stats.get("assemblies_refused"), refused);
    assert!(stats.get("assembly_bytes") <= 8_388_608 * u64::from(arena.setup.shards));
}

/// Some hold all the memory for assembly with messages that they never end. Others can still send messages that come
/// in pieces: who holds most goes first.
pub const HOARDED_ASSEMBLY: Case = Case {
    name: "hoarded_assembly",
    options: "assembly_bytes_max=4194304",
    // The memory for assembly, half as much again for buffers that move. What 100 have sent, if it all stayed: 6.5 MiB, and 2.5
    // MiB of the others.
    allows: |setup| u64::from(setup.shards) * (6 << 20) + CROWD_BYTES,
    tells: &["assemblies_refused"],
    may_tell: &["closed_Violation", "closed_Reset", "close_timeouts"],
    attack: hoarded_assembly,
    ..PLAIN
};

fn hoarded_assembly(arena: &mut Arena) {
    let shards = usize::from(arena.setup.shards);
    let begun = frame(false, Opcode::Binary, &[0; 65_000]);
    let mut hoarders = Peer::open_many(arena.address(), 100 * shards);
    hoarders.iter_mut().for_each(|peer| peer.send(&begun));
    arena.until_stats("no more fits", |stats| stats.get("assemblies_refused") >= 20);
    // Together these hold more than any hoarder whose turn it was has left free.
    let word = "w".repeat(30_000);
    let whole = format!(r#"{{"topic":"echo","data":"{word}"}}"#);
    let (front, back) = whole.as_bytes().split_at(29_000);
    let mut healthy = Peer::open_many(arena.address(), 40 * shards);
    for peer in &mut healthy {
        peer.send(&frame(false, Opcode::Text, front));
        peer.send(&frame(true, Opcode::Ping, b"taken?"));
    }
    healthy.iter_mut().for_each(|peer| assert_eq!(peer.next(), Came::Pong(b"taken?".to_vec())));
    for peer in &mut healthy {
        peer.send(&frame(true, Opcode::Continuation, back));
        peer.await_echo(&word);
    }
    drop(hoarders);
}

/// Sends `goal` bytes of `burst` again and again on each connection, as fast as each takes them; throws away what
/// comes back.
fn pump(peers: &mut [Peer], burst: &[u8], goal: usize, mut between: impl FnMut(usize)) {
    assert!(goal.is_multiple_of(burst.len()), "whole bursts are sent");
    let mut sent = vec![0; peers.len()];
    let mut round = 0;
    while sent.iter().any(|sent| *sent < goal) {
        await_any(peers, PollFlags::OUT);
        for (peer, sent) in peers.iter_mut().zip(&mut sent).filter(|(_, sent)| **sent < goal) {
            let from = *sent % burst.len();
            *sent += peer.try_send(&burst[from..]).expect("the connection stays");
        }
        between(round);
        round += 1;
    }
}

/// The most that input of paused sessions takes: 16 MiB of each shard; with epoll, which reads once before it pauses, a
/// receive buffer of each session.
fn held_bytes(setup: &Setup) -> u64 {
    if setup.driver == "uring" { u64::from(setup.shards) * (16 << 20) } else { FLOODING as u64 * (16 << 10) }
}

const FLOODING: usize = 95;

/// A burst of 76 KB.
const TINY_IN_BURST: usize = 4_000;

/// Bursts of each in a flood: 1.5 MB, 7.6 million messages together.
const BURSTS: usize = 20;

const SLOW: usize = 5_000;

/// Of each message, a byte a second: a header, its mask, and two of the payload.
const SLOW_BYTES: usize = 10;

const BIG: usize = 500;

/// What a server with a crowd takes anyway: tables, the publisher, messages under way.
const CROWD_BYTES: u64 = 1 << 20;
