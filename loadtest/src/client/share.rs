//! Shares: how a process that holds some of the subscribers tells at once of what the run waits for.
//!
//! In      its threads' deliveries, whether the loop is closed
//! Out     a call when all of the process's receivers have a message
//! Bounds  none in an open loop, in which nobody waits
//! Source  none

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

/// A process's part of a run.
#[derive(Debug, Default)]
pub struct Share {
    tell: OnceLock<Tell>,
    is_closed: AtomicBool,
    /// All receivers have a message, whose last delivery is about to be counted.
    is_whole: AtomicBool,
}

impl Share {
    /// Calls `tell` when all receivers have a message, for as long as the loop is closed.
    pub fn tell_by(&self, tell: impl Fn() + Send + Sync + 'static) {
        // Who is the second to set it has nothing else to tell.
        let _ = self.tell.set(Tell(Box::new(tell)));
    }

    /// Whether the next message waits for the last one.
    pub fn set_closed(&self, is_closed: bool) {
        self.is_closed.store(is_closed, SeqCst);
    }

    /// All receivers have a message; its last delivery is about to be counted.
    pub fn complete(&self) {
        self.is_whole.store(true, SeqCst);
    }

    /// Deliveries have been counted: what they have completed is told.
    pub fn counted(&self) {
        if let Some(Tell(tell)) = self.tell.get().filter(|_| self.is_closed.load(SeqCst))
            && self.is_whole.swap(false, SeqCst)
        {
            tell();
        }
    }
}

struct Tell(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Tell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Tell")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU64};

    use super::*;

    #[test]
    fn a_share_is_told_once_when_it_is_whole_and_the_loop_is_closed() {
        let (share, told) = (Share::default(), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&told);
        share.tell_by(move || {
            count.fetch_add(1, SeqCst);
        });
        share.complete();
        share.counted();
        assert_eq!(told.load(SeqCst), 0);
        share.set_closed(true);
        (0..2).for_each(|_| share.counted());
        assert_eq!(told.load(SeqCst), 1);
        share.complete();
        assert_eq!(told.load(SeqCst), 1);
        share.counted();
        assert_eq!(told.load(SeqCst), 2);
    }
}
