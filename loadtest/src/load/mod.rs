//! Load: how much is sent, and when.
//!
//! In      rates, bursts, counts
//! Out     intended times
//! Bounds  counts and times are limits, never goals without end
//! Source  none

pub mod plan;
pub mod popularity;
pub mod schedule;
pub mod search;
pub mod stream;
