//! A load generator for WebSocket fan-out servers: its own client, and the clocks to read a server by.
//!
//! In      a server, or the path of one; how many subscribers, messages and publishers
//! Out     a report, and an exit code that is 0 only if every message arrived once, in order and unchanged
//! Bounds  never uses the engine it measures, so one bug cannot sit on both ends
//! Source  docs/protocol.md
//!
//! The rooms, each of which uses only those above it:
//!
//! - `measure`: clocks and counters of processes and of the machine;
//! - `truth`: what a message carries, so that its receiver can judge it alone;
//! - `load`: what is sent, and when;
//! - `dialect`: how a server is spoken to, as a small TOML file says it;
//! - `client`: connections, and the threads that hold them;
//! - `report`: the figures of a run, and what is required of them;
//! - `args`: the command line;
//! - `watch`: what a run does while it runs, for who waits and for the report;
//! - `scenario`: what is done to a server, one file each;
//! - `compare`: many servers on the same scenarios, and the record of it.

pub mod args;
pub mod client;
pub mod compare;
pub mod dialect;
pub mod load;
pub mod measure;
pub mod report;
pub mod scenario;
pub mod truth;
pub mod watch;
