//! What the benches that are not criterion's have in common: how they are asked, and what they start.
//!
//! In      the command line that `cargo bench` gives to all benches alike
//! Out     how much is to be measured, and what of it; Fanwire as a program
//! Bounds  none
//! Source  a comparison of servers is `loadtest compare`; nothing of it stands here

pub mod arguments;
pub mod ours;
