//! Hostile and unlucky clients, over real sockets, on both drivers.
//!
//! Each case runs beside healthy subscribers of a stream that is published all the time, and fails if one of them
//! misses a message, if memory passes its bound, if a counter does not tell what happened, or if something is left
//! when the attackers have gone. docs/testing.md says what each case proves.
#![cfg(test)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;
mod kit;

use std::time::Duration;

use kit::Setup;

/// Runs each case on both drivers, with these numbers of shards.
macro_rules! on_both_drivers {
    ($($name:ident $case:ident [$($shards:tt)+];)*) => {$(
        mod $name {
            $(on_shards!($case $shards);)+
        }
    )*};
}

macro_rules! on_shards {
    ($case:ident 1) => {
        #[test]
        fn uring_1_shard() {
            crate::run(crate::cases::$case, "uring", 1);
        }

        #[test]
        fn epoll_1_shard() {
            crate::run(crate::cases::$case, "epoll", 1);
        }
    };
    ($case:ident 2) => {
        #[test]
        fn uring_2_shards() {
            crate::run(crate::cases::$case, "uring", 2);
        }

        #[test]
        fn epoll_2_shards() {
            crate::run(crate::cases::$case, "epoll", 2);
        }
    };
}

on_both_drivers! {
    slow_heads SLOW_HEADS [2];
    half_open HALF_OPEN [2];
    half_open_queue HALF_OPEN_QUEUE [1 2];
    handshake_flood HANDSHAKE_FLOOD [1 2];
    tls_hello TLS_HELLO [1];
    garbage GARBAGE [1];
    smuggling SMUGGLING [1];
    parked PARKED [2];
    slow_frames SLOW_FRAMES [2];
    firehose FIREHOSE [1 2];
    ping_flood PING_FLOOD [1];
    fragments FRAGMENTS [1];
    big_messages BIG_MESSAGES [1 2];
    hoarded_assembly HOARDED_ASSEMBLY [1 2];
    never_read_close NEVER_READ_CLOSE [1 2];
    never_read_drop_newest NEVER_READ_DROP_NEWEST [1 2];
    never_read_drop_oldest NEVER_READ_DROP_OLDEST [1 2];
    tiny_answers TINY_ANSWERS [1];
    endless_closes ENDLESS_CLOSES [1 2];
    reset_storm RESET_STORM [1 2];
    topic_churn TOPIC_CHURN [1 2];
    topic_hoard TOPIC_HOARD [1 2];
    colliding_topics COLLIDING_TOPICS [2];
    descriptors DESCRIPTORS [1 2];
    sessions SESSIONS [2];
}

fn run(case: kit::Case, driver: &'static str, shards: u16) {
    case.run(Setup {
        driver,
        shards,
        arguments: SERVE,
        feed_every: Duration::from_millis(1),
        is_open_loop: false,
    });
}

/// The server's process is this program with these arguments.
const SERVE: &[&str] = &["--exact", "serves_if_it_is_asked_to", "--nocapture", "--test-threads=1"];

/// Not a test of its own: see `kit::serve_if_asked`.
#[test]
fn serves_if_it_is_asked_to() {
    kit::serve_if_asked();
}
