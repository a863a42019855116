//! What the rivals share, so that only their libraries differ. `README.md` says what each must do.
//!
//! In      a command line, sockets
//! Out     a listener, a way from one publisher to all subscribers, and the loops around both
//! Bounds  `MESSAGE_BYTES_MAX` per message, `QUEUE_BYTES_MAX` for what is on its way to slow subscribers
//! Source  README.md
#![forbid(unsafe_code)]

pub mod channel;
pub mod client;
pub mod completion;
pub mod current_thread;
pub mod gather;
pub mod listen;
pub mod messages;
pub mod session;

/// Length of the longest message that is taken.
pub const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// Bytes that may wait for the slowest subscriber; one that is further behind is closed.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Bytes read at a time from a publisher: what comes in one read leaves in one write per subscriber.
pub const READ_BYTES_MAX: usize = 256 << 10;
