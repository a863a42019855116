//! A load generator for WebSocket fan-out servers: its own client, and the clocks to read a server by.
//!
//! In      a server, or the path of one; how many subscribers, messages and publishers
//! Out     a report, and an exit code that is 0 only if every message arrived once, in order and unchanged
//! Bounds  never uses the engine it measures, so one bug cannot sit on both ends
//! Source  docs/protocol.md

pub mod affinity;
pub mod args;
pub mod check;
pub mod connection;
pub mod descriptors;
pub mod endpoint;
pub mod envelope;
pub mod machine;
pub mod payload;
pub mod procstat;
pub mod progress;
pub mod publisher;
pub mod report;
pub mod run;
pub mod server;
pub mod worker;
