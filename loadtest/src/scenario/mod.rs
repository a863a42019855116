//! Scenarios: what is done to a server, one file each.
//!
//! In      arguments that have been checked
//! Out     a report, or why there is none
//! Bounds  each its own
//! Source  none

pub mod fanout;
pub mod server;
