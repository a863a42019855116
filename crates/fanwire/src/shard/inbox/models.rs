//! Every way in which threads reserve, push and are refused while the owner takes, releases and sleeps.

use loom::thread;

use super::*;
use crate::{
    shard::parking::models::{parking_with_bed, sleep_unless},
    sync::model::explore,
};

#[test]
fn each_thread_keeps_its_order_and_the_owner_never_oversleeps() {
    explore("inbox: two senders and a sleeping owner", 2, || {
        let (parking, bed) = parking_with_bed();
        let inbox = Arc::new(Inbox::new(PLACES, Arc::clone(&parking)));
        let senders = [0, 1].map(|thread| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                if thread == 0 {
                    inbox.reserve(1).unwrap().push((thread, 0));
                    inbox.reserve(1).unwrap().push((thread, 1));
                } else {
                    inbox.push_free((thread, 0));
                }
            })
        });
        let (mut next, mut received) = ([0; 2], 0);
        let mut items = VecDeque::new();
        while received < 3 {
            let taken = inbox.take(&mut items, 1);
            let free = inbox.take_free(&mut items, 1);
            for (thread, number) in items.drain(..) {
                assert_eq!(number, next[thread], "in the order of its thread, and once");
                next[thread] += 1;
                received += 1;
            }
            inbox.release(taken);
            if taken + free == 0 {
                sleep_unless(&parking, &bed, || inbox.has_items());
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(!inbox.has_items() && inbox.reserve(PLACES).is_ok());
    });
}

#[test]
fn places_are_given_out_once_and_come_back() {
    explore("inbox: reservations used, dropped and refused", 3, || {
        let inbox = Arc::new(Inbox::new(PLACES, Parking::new()));
        let given_out = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let give = |change: isize, given_out: &std::sync::atomic::AtomicUsize| {
            let before = given_out.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
            assert!(before.wrapping_add_signed(change) <= PLACES, "a place was given out twice");
        };
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let (inbox, given_out) = (Arc::clone(&inbox), Arc::clone(&given_out));
                thread::spawn(move || {
                    let Ok(mut reserved) = inbox.reserve(PLACES - thread) else { return 0 };
                    give((PLACES - thread).cast_signed(), &given_out);
                    reserved.push(thread);
                    // What was not used comes back before the pushed item has been taken.
                    give(1 - (PLACES - thread).cast_signed(), &given_out);
                    1
                })
            })
            .collect();
        let mut items = VecDeque::new();
        let taken = inbox.take(&mut items, usize::MAX);
        give(-taken.cast_signed(), &given_out);
        inbox.release(taken);
        let pushed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(pushed > 0, "somebody finds a place");
        let rest = inbox.take(&mut items, usize::MAX);
        inbox.release(rest);
        assert_eq!((taken + rest, items.len()), (pushed, pushed));
        assert!(inbox.reserve(PLACES).is_ok() && inbox.reserve(PLACES + 1).is_err(), "all are back");
    });
}

const PLACES: usize = 2;
