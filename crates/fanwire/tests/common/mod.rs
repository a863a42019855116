//! What engine tests stand on: servers on real and simulated sockets, and a client that sees every byte.
//!
//! In      a `Setup` (driver and number of shards), options, a handler
//! Out     a `World`, whose clients speak WebSocket or raw bytes
//! Bounds  every wait ends within `PATIENCE`, with a panic that says what was waited for
//!
//! A test is written once, as `fn name(setup: Setup)`, and `in_every_world!(name)` runs it in each.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    unused_macros,
    clippy::unwrap_used,
    reason = "each test binary uses its own part of this"
)]

mod client;
mod log;
mod script;
mod wire;
mod world;

pub use client::{Client, Envelope, Incoming, Response, request_head};
pub use log::{Closed, Log, Opened};
pub use script::{Gates, Script, payload_32};
pub use wire::{End, Received, SimWire, TcpWire, Wire};
pub use world::{Backend, Setup, World, on_each_seed};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Runs each `fn(Setup)` on both drivers with 1 and 2 shards over real sockets, and on the simulator.
#[macro_export]
macro_rules! in_every_world {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            $crate::in_worlds!($name: uring_1_shard Uring 1, uring_2_shards Uring 2);
            $crate::in_worlds!($name: epoll_1_shard Epoll 1, epoll_2_shards Epoll 2);
            $crate::in_worlds!($name: sim_1_shard Sim 1, sim_2_shards Sim 2);
        }
    )*};
}

/// Runs each `fn(Setup)` on both drivers with 1 and 2 shards, over real sockets only.
#[macro_export]
macro_rules! on_real_sockets {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            $crate::in_worlds!($name: uring_1_shard Uring 1, uring_2_shards Uring 2);
            $crate::in_worlds!($name: epoll_1_shard Epoll 1, epoll_2_shards Epoll 2);
        }
    )*};
}

/// Runs each `fn(Setup)` on the simulator only: those that need its clock or its faults.
#[macro_export]
macro_rules! on_the_simulator {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            $crate::in_worlds!($name: sim_1_shard Sim 1, sim_2_shards Sim 2);
        }
    )*};
}

/// The tests of one function.
#[macro_export]
macro_rules! in_worlds {
    ($name:ident: $($world:ident $backend:ident $shards:literal),*) => {$(
        #[test]
        fn $world() {
            $crate::common::on_each_seed($crate::common::Backend::$backend, $shards, super::$name);
        }
    )*};
}
