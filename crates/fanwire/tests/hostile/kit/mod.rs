//! What hostile cases stand on: a server in a process of its own, a healthy crowd, attackers, and the judgement.
//!
//! In      a `Case`, a driver, a number of shards
//! Out     a panic that says what an attack has done to others; or a `Report` with the memory it has cost
//! Bounds  every wait ends within `PATIENCE`
//! Source  a case is used by the tests and, as it is, by `cargo bench --bench hostile`
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "the tests and the benchmark each use their own part of this"
)]

mod arena;
mod crowd;
mod feed;
mod peer;
mod process;
mod server;

pub use arena::{Arena, Case, PLAIN, Report, Setup, receive_buffers_bytes};
pub use crowd::Crowd;
pub use peer::{Came, Peer, await_any, close_frame, frame, message, request_head, request_head_with};
pub use process::{Memory, ServerProcess, Stats};
pub use server::serve_if_asked;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The clock that both processes share.
pub fn clock_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
