//! Measures: what processes, CPUs and the machine have used, and what they may use.
//!
//! In      process ids, CPU numbers
//! Out     readings; their differences are what a report is made of
//! Bounds  reads /proc, changes only this process's own affinity and limits
//! Source  proc(5)

pub mod affinity;
pub mod descriptors;
pub mod footprint;
pub mod host;
pub mod latency;
pub mod machine;
pub mod process;
pub mod reading;
pub mod softirq;
