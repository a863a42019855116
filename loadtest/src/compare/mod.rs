//! The comparison of servers on the same scenarios, in one run.
//!
//! In      a list of servers, cells to measure
//! Out     a record: Markdown, JSON, a chart
//! Bounds  about two hours for all cells and a dozen servers
//! Source  docs/benchmarks.md

pub mod cells;
pub mod chart;
pub mod host;
pub mod manifest;
pub mod measured;
pub mod program;
pub mod record;
pub mod run;
pub mod statistics;
pub mod steal;
pub mod turn;
