//! The attacks, one file per kind.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "the tests and the benchmark each use their own part of this"
)]

mod ends;
mod heads;
mod limits;
mod readers;
mod senders;
mod topics;

pub use ends::{ENDLESS_CLOSES, RESET_STORM};
pub use heads::{
    GARBAGE, HALF_OPEN, HALF_OPEN_QUEUE, HANDSHAKE_FLOOD, PARKED, SLOW_HEADS, SMUGGLING, TLS_HELLO,
};
pub use limits::{DESCRIPTORS, SESSIONS};
pub use readers::{NEVER_READ_CLOSE, NEVER_READ_DROP_NEWEST, NEVER_READ_DROP_OLDEST, TINY_ANSWERS};
pub use senders::{BIG_MESSAGES, FIREHOSE, FRAGMENTS, HOARDED_ASSEMBLY, PING_FLOOD, SLOW_FRAMES};
pub use topics::{COLLIDING_TOPICS, TOPIC_CHURN, TOPIC_HOARD};

use crate::kit::Case;

/// For floods whose length is not given: the larger, the longer.
fn scaled(count: usize) -> usize {
    let scale = std::env::var("FANWIRE_HOSTILE_SCALE").ok();
    count * scale.map_or(1, |scale| scale.parse().expect("FANWIRE_HOSTILE_SCALE is a number"))
}

/// Pings that everybody in the crowd has got in a case with pings: then it has lasted for longer than silence is borne.
const PINGS: u64 = 4;

/// Random enough to be garbage, the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64: Marsaglia 2003.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

/// All of them, in the order of docs/testing.md.
pub const ALL: &[Case] = &[
    SLOW_HEADS,
    HALF_OPEN,
    HALF_OPEN_QUEUE,
    HANDSHAKE_FLOOD,
    TLS_HELLO,
    GARBAGE,
    SMUGGLING,
    PARKED,
    SLOW_FRAMES,
    FIREHOSE,
    PING_FLOOD,
    FRAGMENTS,
    BIG_MESSAGES,
    HOARDED_ASSEMBLY,
    NEVER_READ_CLOSE,
    NEVER_READ_DROP_NEWEST,
    NEVER_READ_DROP_OLDEST,
    TINY_ANSWERS,
    ENDLESS_CLOSES,
    RESET_STORM,
    TOPIC_CHURN,
    TOPIC_HOARD,
    COLLIDING_TOPICS,
    DESCRIPTORS,
    SESSIONS,
];
