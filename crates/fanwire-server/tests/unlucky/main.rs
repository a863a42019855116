//! The real binary among unlucky circumstances: stopped, killed, starved, drained under load, and talked to in the
//! wrong language. Healthy clients must get everything, in order, within the memory that the server promised.
//!
//! In      a process per test, on a port of its own, on either driver, with one shard or two
//! Out     what its clients saw, what it said and how it ended; peak memory against the printed sum
//! Bounds  each wait ends after `WAIT_MAX` in a failure; at most a few hundred connections
//! Source  docs/testing.md, section "Whole processes"
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail where it does")]

/// Runs each test on both drivers, with one shard and with two.
macro_rules! in_every_setup {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            in_setups!($test: uring_1 "uring" 1, uring_2 "uring" 2, epoll_1 "epoll" 1, epoll_2 "epoll" 2);
        }
    )+ };
}

/// Runs each test on both drivers, with two shards.
macro_rules! on_both_drivers {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            in_setups!($test: uring "uring" 2, epoll "epoll" 2);
        }
    )+ };
}

macro_rules! in_setups {
    ($test:ident: $($name:ident $driver:literal $shards:literal),+) => { $(
        #[test]
        fn $name() {
            super::$test($crate::Setup { driver: $driver, shards: $shards });
        }
    )+ };
}

mod bound;
mod capacity;
mod client;
mod crowd;
mod descriptors;
mod draining;
mod garbage;
mod killed;
mod logs;
mod memory;
mod process;
mod shard_death;
mod signals;
mod stopped;

use std::{
    thread,
    time::{Duration, Instant},
};

/// How a server is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) driver: &'static str,
    pub(crate) shards: u16,
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < WAIT_MAX, "waited in vain until {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Limits that make the printed sum small enough to mean something.
pub(crate) const SMALL: [&str; 18] = [
    "--frame-bytes-max",
    "8MiB",
    "--queue-bytes",
    "512KiB",
    "--read-limit",
    "1MiB",
    "--assembly-bytes-max",
    "4MiB",
    "--sessions-max",
    "2000",
    "--handshakes-max",
    "64",
    "--queue-size",
    "256",
    "--topic-memory-max",
    "2MiB",
    "--intake-bytes-max",
    "2MiB",
];

/// The arguments without those that are given again later, which the server would refuse.
pub(crate) fn replaced<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let flags = arguments.chunks(2);
    let is_last = |at: usize| !arguments.chunks(2).skip(at + 1).any(|later| later[0] == arguments[2 * at]);
    flags.enumerate().filter(|(at, _)| is_last(*at)).flat_map(|(_, flag)| flag.to_vec()).collect()
}
