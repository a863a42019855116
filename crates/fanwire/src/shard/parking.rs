//! How a shard sleeps without missing work, and how it is woken only if it sleeps.
//!
//! In      the shard's announcement that it is about to wait; producers' notice that they have pushed
//! Out     at most one `Wake::wake` per sleep
//! Bounds  a notice to an awake shard is a fence and a load
//! Source  Dekker's pair: each side writes its own word, fences, and then reads the other's

use std::sync::Arc;

use crate::{
    driver::Wake,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering, fence},
    },
};

/// One shard's sleep, shared with everybody who brings it work.
#[derive(Default)]
pub(crate) struct Parking {
    asleep: AtomicBool,
    waker: OnceLock<Arc<dyn Wake>>,
}

impl Parking {
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Once, by the shard, before its first sleep.
    ///
    /// # Panics
    /// If it was set before.
    pub(crate) fn set_waker(&self, waker: Arc<dyn Wake>) {
        assert!(self.waker.set(waker).is_ok(), "a shard has one waker");
    }

    /// The shard looks at all its sources once more after this, and waits only if they are empty.
    pub(crate) fn prepare_sleep(&self) {
        // A swap costs what a store costs, and its place in the order of writes is plain: see the models.
        self.asleep.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The shard is up again, woken or not.
    pub(crate) fn awake(&self) {
        self.asleep.swap(false, Ordering::SeqCst);
    }

    /// To be called after each push of work for this shard.
    #[inline]
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        self.notify_fenced();
    }

    /// `notify` for a caller with a SeqCst fence of its own between the push and this call.
    #[inline]
    pub(crate) fn notify_fenced(&self) {
        if self.asleep.load(Ordering::Relaxed) {
            self.wake_once();
        }
    }

    #[cold]
    fn wake_once(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.waker.get().expect("a shard sets its waker before it sleeps").wake();
        }
    }
}

#[cfg(all(loom, test))]
pub(crate) mod models;
#[cfg(test)]
#[cfg(not(loom))]
pub(in crate::shard) mod tests {
    use std::{
        sync::{
            Condvar, Mutex,
            atomic::{AtomicU32, AtomicUsize},
        },
        time::Duration,
    };

    use super::*;

    /// A sleeping place for tests: a wake before the wait ends the wait at once, as a driver's does.
    #[derive(Default)]
    pub(in crate::shard) struct TestWaker {
        woken: Mutex<bool>,
        signal: Condvar,
        pub(in crate::shard) wakes: AtomicUsize,
    }

    impl TestWaker {
        /// # Panics
        /// If nobody wakes it: then a wake was lost.
        pub(in crate::shard) fn wait(&self) {
            let woken = self.woken.lock().unwrap();
            let (mut woken, result) =
                self.signal.wait_timeout_while(woken, Duration::from_secs(20), |woken| !*woken).unwrap();
            assert!(!result.timed_out(), "a wake was lost");
            *woken = false;
        }
    }

    impl Wake for TestWaker {
        fn wake(&self) {
            self.wakes.fetch_add(1, Ordering::SeqCst);
            *self.woken.lock().unwrap() = true;
            self.signal.notify_one();
        }
    }

    /// Tells the other threads of a test that one has ended, by panic or not, so that none waits for it.
    pub(in crate::shard) struct EndFlag<'a>(pub(in crate::shard) &'a AtomicBool);

    impl Drop for EndFlag<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Sleeps if `has_work` says no, as a shard does.
    pub(in crate::shard) fn sleep_unless(parking: &Parking, waker: &TestWaker, has_work: impl Fn() -> bool) {
        parking.prepare_sleep();
        if !has_work() {
            waker.wait();
        }
        parking.awake();
    }

    pub(in crate::shard) fn parking_with_waker() -> (Arc<Parking>, Arc<TestWaker>) {
        let (parking, waker) = (Parking::new(), Arc::new(TestWaker::default()));
        parking.set_waker(Arc::clone(&waker) as Arc<dyn Wake>);
        (parking, waker)
    }

    #[test]
    fn a_shard_is_woken_once_and_only_while_it_sleeps() {
        let (parking, waker) = parking_with_waker();
        let wakes = || waker.wakes.load(Ordering::SeqCst);
        parking.notify();
        assert_eq!(wakes(), 0, "it was awake");
        parking.prepare_sleep();
        parking.notify();
        parking.notify();
        assert_eq!(wakes(), 1);
        parking.awake();
        parking.notify();
        assert_eq!(wakes(), 1);
        parking.prepare_sleep();
        parking.awake();
        parking.notify();
        assert_eq!(wakes(), 1, "it came up by itself");
    }

    #[test]
    fn a_notice_before_the_waker_is_set_is_harmless() {
        Parking::new().notify();
    }

    #[test]
    fn no_notice_is_lost_however_the_two_sides_meet() {
        let (parking, waker) = parking_with_waker();
        let (asked, answered) = (AtomicU32::new(0), AtomicU32::new(0));
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _flag = EndFlag(&ended);
                while answered.load(Ordering::Relaxed) < ROUNDS {
                    let asked_now = asked.load(Ordering::Relaxed);
                    answered.store(asked_now, Ordering::Relaxed);
                    if asked_now < ROUNDS {
                        sleep_unless(&parking, &waker, || asked.load(Ordering::Relaxed) != asked_now);
                    }
                }
            });
            for round in 1..=ROUNDS {
                asked.store(round, Ordering::Relaxed);
                parking.notify();
                while round % 16 == 0
                    && answered.load(Ordering::Relaxed) < round
                    && !ended.load(Ordering::SeqCst)
                {
                    std::thread::yield_now();
                }
            }
        });
        assert_eq!(answered.load(Ordering::Relaxed), ROUNDS);
    }

    const ROUNDS: u32 = 20_000;
}
