//! The comparison of servers on the same scenarios, in one run.
//!
//! In      a list of servers, cells to measure
//! Out     a record: Markdown, JSON, a chart
//! Bounds  about an hour for all cells and a dozen servers
//! Source  docs/benchmarks.md

pub mod cells;
pub mod chart;
pub mod manifest;
pub mod record;
pub mod run;
pub mod statistics;
