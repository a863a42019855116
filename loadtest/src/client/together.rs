//! Together: since when all threads and processes have a message.
//!
//! In      each of them that has it, with the time of its last delivery
//! Out     the latest of these times, once the last of them has told
//! Bounds  `PARTLY_MAX` messages that not all have told of; beyond, the oldest is given up and counted
//! Source  none

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use serde::{Deserialize, Serialize};

/// Messages that some have told of.
#[derive(Debug)]
pub struct Together {
    /// Threads and processes that each tell when all their receivers have a message.
    count: AtomicUsize,
    /// How many have told of it, and the latest time.
    partly: Mutex<BTreeMap<(u32, u64), (usize, u64)>>,
    given_up: AtomicU64,
}

/// A message that all receivers somewhere have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// Of the message.
    pub stream: u32,
    /// In its stream.
    pub sequence: u64,
    /// When it was meant to leave.
    pub intended_ns: u64,
    /// When the last of them got it.
    pub last_ns: u64,
}

impl Together {
    /// So many have to tell of a message; at first it is one.
    pub fn expect(&self, count: usize) {
        self.count.store(count.max(1), SeqCst);
    }

    /// One of them has a message; if it was the last one, since when all have it.
    pub fn complete(&self, complete: &Complete) -> Option<u64> {
        let Complete { stream, sequence, last_ns, .. } = *complete;
        let count = self.count.load(SeqCst);
        if count == 1 {
            return Some(last_ns);
        }
        let mut partly = self.partly.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, latest_ns) = partly.entry((stream, sequence)).or_default();
        (*told, *latest_ns) = (*told + 1, last_ns.max(*latest_ns));
        let (told, latest_ns) = (*told, *latest_ns);
        if told == count {
            partly.remove(&(stream, sequence));
            return Some(latest_ns);
        }
        if partly.len() > PARTLY_MAX && partly.pop_first().is_some() {
            self.given_up.fetch_add(1, SeqCst);
        }
        None
    }

    /// Messages that were given up because somebody did not tell of them for too long.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up.load(SeqCst)
    }
}

impl Default for Together {
    fn default() -> Self {
        let (count, given_up) = (AtomicUsize::new(1), AtomicU64::new(0));
        Self { count, partly: Mutex::default(), given_up }
    }
}

const PARTLY_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_when_all_have_told_of_it() {
        let together = Together::default();
        let complete = |stream, sequence, last_ns| {
            together.complete(&Complete { stream, sequence, intended_ns: 0, last_ns })
        };
        assert_eq!(complete(0, 0, 5), Some(5));
        together.expect(2);
        assert_eq!([complete(0, 1, 9), complete(0, 2, 4)], [None; 2]);
        assert_eq!(complete(0, 1, 7), Some(9));
        (0..=PARTLY_MAX as u64).for_each(|sequence| assert_eq!(complete(1, sequence, 1), None));
        assert_eq!((together.given_up(), complete(0, 2, 1)), (2, None));
    }
}
