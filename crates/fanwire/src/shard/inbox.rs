//! How threads that are no shard reach one.
//!
//! In      items for which a place was reserved; items that are bounded elsewhere, in a lane of their own
//! Out     items in push order per thread and lane
//! Bounds  `places` items between `reserve` and `release`

#[cfg(feature = "sim")]
mod audit;

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use super::{mesh::Full, parking::Parking};
use crate::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

/// A bounded queue with many producers. The owner is woken if it sleeps.
pub(crate) struct Inbox<T> {
    lanes: Mutex<Lanes<T>>,
    /// Items in both lanes, written under the lock: an empty inbox costs its owner one load.
    waiting: AtomicUsize,
    places: AtomicUsize,
    parking: Arc<Parking>,
}

impl<T> Inbox<T> {
    pub(crate) fn new(places: usize, parking: Arc<Parking>) -> Self {
        Self {
            lanes: Mutex::new(Lanes { reserved: VecDeque::new(), taken: 0, free: VecDeque::new() }),
            waiting: AtomicUsize::new(0),
            places: AtomicUsize::new(places),
            parking,
        }
    }

    /// Takes `count` places, all or none. They go back when the value is dropped, unless used.
    ///
    /// # Errors
    /// `Full` if fewer are left: the owner has not caught up.
    pub(crate) fn reserve(&self, count: usize) -> Result<Reserved<'_, T>, Full> {
        self.places
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |places| places.checked_sub(count))
            .map(|_| Reserved { inbox: self, count })
            .map_err(|_| Full)
    }

    /// Pushes an item whose number is bounded elsewhere. It needs no place, and `release` is not for it.
    pub(crate) fn push_free(&self, item: T) {
        self.push_with(|lanes| lanes.free.push_back(item));
    }

    /// Moves up to `items_max` items to the end of `into`, and says how many. Each keeps its place until
    /// `release`.
    pub(crate) fn take(&self, into: &mut VecDeque<T>, items_max: usize) -> usize {
        let count = self.take_from(|lanes| &mut lanes.reserved, into, items_max);
        if count > 0 {
            self.lock().taken += count as u64;
        }
        count
    }

    /// `take` for what `push_free` brought.
    pub(crate) fn take_free(&self, into: &mut VecDeque<T>, items_max: usize) -> usize {
        self.take_from(|lanes| &mut lanes.free, into, items_max)
    }

    /// Gives the places of `count` items back, after they have been handled.
    pub(crate) fn release(&self, count: usize) {
        self.places.fetch_add(count, Ordering::Relaxed);
    }

    /// Whether something can be taken. False for sure only between `Parking::prepare_sleep` and the wait.
    #[inline]
    pub(crate) fn has_items(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// How many items can be taken. Others may change it meanwhile.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A mark behind all that was pushed by now: `has_reached` tells when it has been taken.
    pub(crate) fn horizon(&self) -> u64 {
        let lanes = self.lock();
        lanes.taken + lanes.reserved.len() as u64
    }

    pub(crate) fn has_reached(&self, horizon: u64) -> bool {
        self.lock().taken >= horizon
    }

    fn push_with(&self, push: impl FnOnce(&mut Lanes<T>)) {
        let mut lanes = self.lock();
        push(&mut lanes);
        self.waiting.store(lanes.len(), Ordering::SeqCst);
        drop(lanes);
        self.parking.notify();
    }

    fn take_from(
        &self,
        lane: impl FnOnce(&mut Lanes<T>) -> &mut VecDeque<T>,
        into: &mut VecDeque<T>,
        items_max: usize,
    ) -> usize {
        if !self.has_items() || items_max == 0 {
            return 0;
        }
        let mut lanes = self.lock();
        let items = lane(&mut lanes);
        let count = items.len().min(items_max);
        into.extend(items.drain(..count));
        if items.is_empty() && items.capacity() > ITEMS_KEPT_MAX {
            *items = VecDeque::new();
        }
        self.waiting.store(lanes.len(), Ordering::SeqCst);
        count
    }

    /// A panic under the lock (of the allocator, say) leaves two whole queues, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Lanes<T>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places in an inbox, not yet used.
pub(crate) struct Reserved<'a, T> {
    inbox: &'a Inbox<T>,
    count: usize,
}

impl<T> Reserved<'_, T> {
    /// Uses one place.
    ///
    /// # Panics
    /// If all are used.
    pub(crate) fn push(&mut self, item: T) {
        assert!(self.count > 0, "a push has a reserved place");
        self.count -= 1;
        self.inbox.push_with(|lanes| lanes.reserved.push_back(item));
    }
}

impl<T> Drop for Reserved<'_, T> {
    fn drop(&mut self) {
        self.inbox.release(self.count);
    }
}

struct Lanes<T> {
    reserved: VecDeque<T>,
    /// Of the items that came with places.
    taken: u64,
    free: VecDeque<T>,
}

impl<T> Lanes<T> {
    fn len(&self) -> usize {
        self.reserved.len() + self.free.len()
    }
}

const ITEMS_KEPT_MAX: usize = 256;

#[cfg(all(loom, test))]
mod models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::{
        sync::{atomic::AtomicBool, mpsc},
        time::Duration,
    };

    use proptest::prelude::*;

    use super::*;
    use crate::shard::parking::tests::{EndFlag, parking_with_waker, sleep_unless};

    #[derive(Clone, Debug)]
    enum Op {
        Reserve { count: usize },
        Push { pick: usize },
        Unreserve { pick: usize },
        PushFree,
        Take { items_max: usize },
        TakeFree { items_max: usize },
        Release { count: usize },
        Mark,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => (0..6usize).prop_map(|count| Op::Reserve { count }),
            6 => any::<usize>().prop_map(|pick| Op::Push { pick }),
            1 => any::<usize>().prop_map(|pick| Op::Unreserve { pick }),
            2 => Just(Op::PushFree),
            2 => (0..6usize).prop_map(|items_max| Op::Take { items_max }),
            1 => (0..6usize).prop_map(|items_max| Op::TakeFree { items_max }),
            2 => (0..6usize).prop_map(|count| Op::Release { count }),
            1 => Just(Op::Mark),
        ]
    }

    /// What the inbox should hold; `places` are those not given out, `unhandled` taken and not released.
    struct Oracle {
        places: usize,
        reserved: VecDeque<usize>,
        free: VecDeque<usize>,
        unhandled: usize,
        /// Items that came with places and have been taken.
        taken: usize,
        /// Horizons, and how many such items must be taken to reach each.
        marks: Vec<(u64, usize)>,
    }

    impl Oracle {
        fn new() -> Self {
            let (reserved, free) = (VecDeque::new(), VecDeque::new());
            Self { places: PLACES, reserved, free, unhandled: 0, taken: 0, marks: Vec::new() }
        }
    }

    fn apply<'a>(
        op: &Op,
        step: usize,
        inbox: &'a Inbox<usize>,
        held: &mut Vec<Reserved<'a, usize>>,
        oracle: &mut Oracle,
    ) {
        match *op {
            Op::Reserve { count } => match inbox.reserve(count) {
                Ok(reserved) => {
                    oracle.places -= count;
                    held.push(reserved);
                }
                Err(Full) => assert!(oracle.places < count),
            },
            Op::Push { pick } if !held.is_empty() => {
                let index = pick % held.len();
                if held[index].count > 0 {
                    held[index].push(step);
                    oracle.reserved.push_back(step);
                }
            }
            Op::Unreserve { pick } if !held.is_empty() => {
                let index = pick % held.len();
                oracle.places += held[index].count;
                held.remove(index);
            }
            Op::PushFree => {
                inbox.push_free(step);
                oracle.free.push_back(step);
            }
            Op::Take { items_max } => {
                let mut into = VecDeque::new();
                assert_eq!(inbox.take(&mut into, items_max), into.len());
                let count = items_max.min(oracle.reserved.len());
                assert_eq!(into, oracle.reserved.drain(..count).collect::<VecDeque<_>>());
                oracle.unhandled += count;
                oracle.taken += count;
            }
            Op::TakeFree { items_max } => {
                let mut into = VecDeque::new();
                assert_eq!(inbox.take_free(&mut into, items_max), into.len());
                let count = items_max.min(oracle.free.len());
                assert_eq!(into, oracle.free.drain(..count).collect::<VecDeque<_>>());
            }
            Op::Release { count } => {
                let count = count.min(oracle.unhandled);
                inbox.release(count);
                oracle.unhandled -= count;
                oracle.places += count;
            }
            Op::Mark => oracle.marks.push((inbox.horizon(), oracle.taken + oracle.reserved.len())),
            Op::Push { .. } | Op::Unreserve { .. } => {}
        }
    }

    proptest! {
        #[test]
        fn behaves_like_two_deques_and_a_count(ops in prop::collection::vec(op(), 1..200)) {
            let inbox = Inbox::new(PLACES, Parking::new());
            let mut held = Vec::new();
            let mut oracle = Oracle::new();
            for (step, op) in ops.iter().enumerate() {
                apply(op, step, &inbox, &mut held, &mut oracle);
                let given: usize = held.iter().map(|reserved| reserved.count).sum();
                prop_assert_eq!(inbox.places.load(Ordering::Relaxed), oracle.places);
                prop_assert_eq!(oracle.places + given + oracle.reserved.len() + oracle.unhandled, PLACES);
                prop_assert_eq!(inbox.has_items(), !(oracle.reserved.is_empty() && oracle.free.is_empty()));
                for &(horizon, behind) in &oracle.marks {
                    prop_assert_eq!(inbox.has_reached(horizon), oracle.taken >= behind);
                }
            }
        }
    }

    #[test]
    fn each_thread_keeps_its_order_and_the_owner_never_oversleeps() {
        let (parking, waker) = parking_with_waker();
        let inbox = &Inbox::new(8, Arc::clone(&parking));
        let ended = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                scope.spawn(move || (0..ITEMS_SENT).for_each(|item| push_one(inbox, (thread, item), ended)));
            }
            let _flag = EndFlag(ended);
            let mut expected = [0; 3];
            let mut taken = VecDeque::new();
            while expected.iter().any(|&next| next < ITEMS_SENT) {
                let count = inbox.take(&mut taken, 5);
                for (thread, item) in taken.drain(..) {
                    assert_eq!(item, expected[thread]);
                    expected[thread] += 1;
                }
                inbox.release(count);
                if count == 0 {
                    sleep_unless(&parking, &waker, || inbox.has_items());
                }
            }
        });
    }

    fn push_one(inbox: &Inbox<(usize, u32)>, item: (usize, u32), ended: &AtomicBool) {
        while !ended.load(Ordering::SeqCst) {
            if let Ok(mut reserved) = inbox.reserve(1) {
                return reserved.push(item);
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_panic_under_the_lock_does_not_close_the_inbox() {
        let inbox = Inbox::new(2, Parking::new());
        let panicked = std::thread::scope(|scope| {
            scope.spawn(|| inbox.push_with(|_| panic!("while pushing (expected by this test)"))).join()
        });
        assert!(panicked.is_err() && inbox.lanes.is_poisoned());
        inbox.reserve(1).unwrap().push(7);
        let mut taken = VecDeque::new();
        assert_eq!((inbox.take(&mut taken, 9), taken.pop_front()), (1, Some(7)));
    }

    #[test]
    fn an_empty_inbox_is_not_locked_by_its_owner() {
        let inbox = &Inbox::<u8>::new(2, Parking::new());
        let lanes = inbox.lock();
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            scope.spawn(move || sender.send(inbox.take(&mut VecDeque::new(), 9)));
            let taken = receiver.recv_timeout(Duration::from_secs(20));
            drop(lanes);
            assert_eq!(taken, Ok(0));
        });
    }

    #[test]
    fn room_for_many_items_is_given_back_once_the_last_is_taken() {
        for (items, kept) in [(ITEMS_KEPT_MAX, ITEMS_KEPT_MAX), (ITEMS_KEPT_MAX + 1, 0), (10_000, 0)] {
            let inbox = Inbox::new(items, Parking::new());
            let mut reserved = inbox.reserve(items).unwrap();
            (0..items).for_each(|item| reserved.push(item));
            let mut taken = VecDeque::new();
            assert_eq!(inbox.take(&mut taken, items - 1), items - 1);
            assert!(inbox.lock().reserved.capacity() >= items);
            assert_eq!(inbox.take(&mut taken, usize::MAX), 1);
            assert!(taken.into_iter().eq(0..items));
            assert_eq!(inbox.lock().reserved.capacity(), kept, "after {items} items");
        }
    }

    #[test]
    #[should_panic(expected = "a push has a reserved place")]
    fn a_push_too_many_panics() {
        let inbox = Inbox::new(2, Parking::new());
        let mut reserved = inbox.reserve(1).unwrap();
        reserved.push(1);
        reserved.push(2);
    }

    const PLACES: usize = 10;
    const ITEMS_SENT: u32 = 20_000;
}
