//! What the benchmarks are made of: servers beside each other, one client that drains them, and clocks.
//!
//! In      cells (subscribers, payload, burst) and peers (servers)
//! Out     server CPU per delivered frame, beside the bare floor of the same run
//! Bounds  one process per server and per client, pinned apart; everything ends with its parent
//! Source  a comparison is fair only within one run: interleaved rounds, medians, ratios of neighbours in time

pub mod cell;
pub mod child;
pub mod command;
pub mod drain;
pub mod floor;
pub mod listen;
pub mod ours;
pub mod peer;
pub mod report;
pub mod sample;
pub mod tungstenite;
