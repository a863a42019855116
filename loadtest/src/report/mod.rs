//! Reports: what a run has shown.
//!
//! In      what a scenario has taken
//! Out     figures, as text and as JSON
//! Bounds  none
//! Source  none

pub mod figures;
