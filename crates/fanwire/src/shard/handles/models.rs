//! Every way in which handles read a slot's state while its owner sets it and the table grows.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::sync::model::explore;

/// The owner goes through two uses of a slot, and of one in a chunk that nobody had before.
#[test]
fn readers_see_the_state_of_their_generation_or_none() {
    explore("handles: readers of two slots that go on", 3, || {
        let states = Arc::new(HandleStates::new());
        states.set(FIRST, 1, OPEN);
        let readers = [FIRST, IN_NEW_CHUNK].map(|slot| {
            let states = Arc::clone(&states);
            thread::spawn(move || {
                let second = states.get(slot, 2);
                let first = states.get(slot, 1);
                assert!(second.is_none_or(|state| state == OPEN_AGAIN));
                assert!(first.is_none_or(|state| state == OPEN || state == CLOSED));
                assert!(second.is_none() || first.is_none(), "a slot does not go back");
            })
        });
        for slot in [FIRST, IN_NEW_CHUNK] {
            states.set(slot, 1, CLOSED);
            states.set(slot, 2, OPEN_AGAIN);
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        for slot in [FIRST, IN_NEW_CHUNK] {
            assert_eq!((states.get(slot, 1), states.get(slot, 2)), (None, Some(OPEN_AGAIN)));
        }
    });
}

/// What a session's shard did before it ended the session is done for those who see it ended.
#[test]
fn who_sees_an_end_sees_what_came_before_it() {
    explore("handles: what came before an end", 3, || {
        let states = Arc::new(HandleStates::new());
        let before = Arc::new(AtomicU64::new(0));
        let reader = {
            let (states, before) = (Arc::clone(&states), Arc::clone(&before));
            thread::spawn(move || {
                if states.get(IN_NEW_CHUNK, 1) == Some(CLOSED) {
                    assert_eq!(before.load(Ordering::Relaxed), 7);
                }
            })
        };
        states.set(IN_NEW_CHUNK, 1, OPEN);
        before.store(7, Ordering::Relaxed);
        states.set(IN_NEW_CHUNK, 1, CLOSED);
        reader.join().unwrap();
    });
}

const FIRST: u32 = 0;
const IN_NEW_CHUNK: u32 = 3;
const OPEN: u32 = 0;
const CLOSED: u32 = 5;
const OPEN_AGAIN: u32 = 9;
