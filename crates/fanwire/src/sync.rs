//! The words that threads share: std's and rtrb's, or loom's in the models that `scripts/loom` runs.
//!
//! In      a build for models (`--cfg loom`, tests), or any other
//! Out     atomics, locks, cells and rings of the same shape either way
//! Bounds  outside models these are re-exports and nothing else
//! Source  docs/testing.md

#[cfg(all(loom, test))]
pub(crate) mod model;

#[cfg(not(all(loom, test)))]
pub(crate) use {
    rtrb::{Consumer, Producer, RingBuffer},
    std::sync::{Mutex, MutexGuard, OnceLock, atomic},
};

#[cfg(all(loom, test))]
pub(crate) use {
    self::model::{Consumer, OnceLock, Producer, RingBuffer},
    loom::sync::{Mutex, MutexGuard, atomic},
};

/// The length of a table: a model makes its tables anew for every schedule, so there they are small.
pub(crate) const fn table_len(real: usize, modelled: usize) -> usize {
    if cfg!(all(loom, test)) { modelled } else { real }
}
