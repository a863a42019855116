//! Every way in which a shard falls asleep while others bring it work.

use loom::thread;

use super::*;
use crate::sync::{
    atomic::AtomicUsize,
    model::{Bed, explore},
};

/// Sleeps if `has_work` says no, as `Core::poll` does.
pub(crate) fn sleep_unless(parking: &Parking, bed: &Bed, has_work: impl Fn() -> bool) {
    parking.prepare_sleep();
    if !has_work() {
        bed.wait();
    }
    parking.awake();
}

pub(crate) fn parking_with_bed() -> (Arc<Parking>, Arc<Bed>) {
    let (parking, bed) = (Parking::new(), Arc::new(Bed::default()));
    parking.set_waker(Arc::clone(&bed) as Arc<dyn Wake>);
    (parking, bed)
}

/// The work orders nothing by itself: only the pair of fences stands between it and a lost wake.
#[test]
fn no_wake_is_lost_and_none_is_doubled() {
    explore("parking: two producers and a sleeper", 3, || {
        let parking = Parking::new();
        let work = Arc::new(AtomicUsize::new(0));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|_| {
                let (parking, work) = (Arc::clone(&parking), Arc::clone(&work));
                thread::spawn(move || {
                    work.fetch_add(1, Ordering::Relaxed);
                    parking.notify();
                })
            })
            .collect();
        // A notice may come before the waker is there.
        let bed = Arc::new(Bed::default());
        parking.set_waker(Arc::clone(&bed) as Arc<dyn Wake>);
        let (mut done, mut sleeps) = (0, 0);
        while done < PRODUCERS {
            sleep_unless(&parking, &bed, || work.load(Ordering::Relaxed) > done);
            sleeps += 1;
            done = work.load(Ordering::Relaxed);
        }
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        assert!(bed.wakes() <= sleeps, "one wake a sleep");
    });
}

const PRODUCERS: usize = 2;
