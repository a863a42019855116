//! Truth: what each message carries, and whether each arrives once, in order and unchanged.
//!
//! In      payloads as they are sent and as they arrive
//! Out     verdicts, and their sums
//! Bounds  nothing is kept per message that arrives in order
//! Source  none

pub mod closes;
pub mod completions;
pub mod sequence;
pub mod sequences;
pub mod stamp;
