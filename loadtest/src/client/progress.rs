//! Progress: what the receiving threads and the publishing one tell each other during a run.
//!
//! In      deliveries counted by receivers; failures; the end
//! Out     a publisher that wakes when its burst has arrived everywhere
//! Bounds  one atomic addition per batch of deliveries
//! Source  a Dekker pair: the goal is stored before the count is read, and the other way round

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::Thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{
    share::Share,
    together::{Complete, Together},
};
use crate::measure::latency::latency_histogram;

/// State shared by all threads of a run.
#[derive(Debug)]
pub struct Progress {
    /// Of its clock, on the system's monotonic one.
    origin_ns: u64,
    publisher: Thread,
    delivered: AtomicU64,
    delivered_last_ns: AtomicU64,
    published: AtomicU64,
    goal: AtomicU64,
    measured_from_ns: AtomicU64,
    opened: AtomicU64,
    gone: AtomicU64,
    closed: AtomicU64,
    left: AtomicU64,
    left_delivered: AtomicU64,
    closed_first: OnceLock<String>,
    is_failed: AtomicBool,
    failure: Mutex<Option<String>>,
    together: Together,
    /// Of a process that holds a share: what it has to tell.
    forwarded: Option<Mutex<Vec<Complete>>>,
    /// Of such a process: whether that is to be told at once.
    share: Share,
    /// Latency of messages that another process was the last to complete.
    heard_complete_ns: Mutex<Histogram<u64>>,
}

impl Progress {
    /// For a run that this thread publishes. Its clock starts now.
    #[must_use]
    pub fn new() -> Self {
        Self::since(monotonic_ns())
    }

    /// For a process that holds a share of a run's subscribers: the run's clock, and messages that are complete
    /// here are kept for the run.
    #[must_use]
    pub fn of_helper(origin_ns: u64) -> Self {
        Self { forwarded: Some(Mutex::default()), ..Self::since(origin_ns) }
    }

    fn since(origin_ns: u64) -> Self {
        Self {
            origin_ns,
            publisher: std::thread::current(),
            delivered: AtomicU64::new(0),
            delivered_last_ns: AtomicU64::new(0),
            published: AtomicU64::new(0),
            goal: AtomicU64::new(u64::MAX),
            measured_from_ns: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            left: AtomicU64::new(0),
            left_delivered: AtomicU64::new(0),
            closed_first: OnceLock::new(),
            is_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            together: Together::default(),
            forwarded: None,
            share: Share::default(),
            heard_complete_ns: Mutex::new(latency_histogram()),
        }
    }

    /// The start of the run's clock.
    #[must_use]
    pub fn origin_ns(&self) -> u64 {
        self.origin_ns
    }

    /// Nanoseconds on the run's clock.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.origin_ns)
    }

    /// Only messages that are meant to leave from `ns` on are in the figures; those before are checked.
    pub fn measure_from(&self, ns: u64) {
        self.measured_from_ns.store(ns, SeqCst);
    }

    /// What `measure_from` said last; at first all are measured.
    #[must_use]
    pub fn measured_from_ns(&self) -> u64 {
        self.measured_from_ns.load(SeqCst)
    }

    /// Counts deliveries that were read at `now_ns`.
    pub fn add_delivered(&self, count: u64, now_ns: u64) {
        self.delivered_last_ns.fetch_max(now_ns, SeqCst);
        let before = self.delivered.fetch_add(count, SeqCst);
        let goal = self.goal.load(SeqCst);
        if before < goal && before + count >= goal {
            self.publisher.unpark();
        }
        self.share.counted();
    }

    /// This process's part, if it holds one.
    #[must_use]
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// Deliveries so far, over all subscribers.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(SeqCst)
    }

    /// Counts messages that are about to be sent.
    pub fn add_published(&self, count: u64) {
        self.published.fetch_add(count, SeqCst);
    }

    /// Messages sent so far, and those on their way to be.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published.load(SeqCst)
    }

    /// When the latest delivery was read.
    #[must_use]
    pub fn delivered_last_ns(&self) -> u64 {
        self.delivered_last_ns.load(SeqCst)
    }

    /// A connection is open, and subscribed if it is to be.
    pub fn add_opened(&self) {
        self.opened.fetch_add(1, SeqCst);
    }

    /// How many were opened so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(SeqCst)
    }

    /// A connection is open no more; whether the server ended it.
    pub fn count_gone(&self, is_by_server: bool) {
        self.gone.fetch_add(1, SeqCst);
        self.closed.fetch_add(u64::from(is_by_server), SeqCst);
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        // Read in this order: what goes meanwhile was opened before.
        let gone = self.gone.load(SeqCst);
        self.opened().saturating_sub(gone)
    }

    /// How many connections the server has ended so far.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.closed.load(SeqCst)
    }

    /// Of the threads that receive, and of other processes.
    #[must_use]
    pub fn together(&self) -> &Together {
        &self.together
    }

    /// All receivers of one thread have a message; if it was the last thread, since when all have it.
    pub fn complete(&self, complete: &Complete) -> Option<u64> {
        let last_ns = self.together.complete(complete)?;
        let Some(forwarded) = &self.forwarded else { return Some(last_ns) };
        let mut forwarded = forwarded.lock().unwrap_or_else(PoisonError::into_inner);
        forwarded.push(Complete { last_ns, ..*complete });
        self.share.complete();
        None
    }

    /// All receivers of another process have a message.
    pub fn hear_complete(&self, complete: &Complete) {
        if let Some(last_ns) = self.together.complete(complete) {
            let mut latency_ns = self.heard_complete_ns.lock().unwrap_or_else(PoisonError::into_inner);
            latency_ns.saturating_record(last_ns.saturating_sub(complete.intended_ns));
        }
    }

    /// Latencies of messages that `hear_complete` has completed since this was asked last.
    #[must_use]
    pub fn take_heard_complete(&self) -> Histogram<u64> {
        let mut latency_ns = self.heard_complete_ns.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut latency_ns, latency_histogram())
    }

    /// What is complete in this process since this was asked last.
    #[must_use]
    pub fn take_complete(&self) -> Vec<Complete> {
        let Some(forwarded) = &self.forwarded else { return Vec::new() };
        std::mem::take(&mut *forwarded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All totals.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            opened: self.opened(),
            gone: self.gone.load(SeqCst),
            closed: self.closed(),
            left: self.left(),
            left_delivered: self.left_delivered.load(SeqCst),
            // Behind what has left: between the two a goal is too high, never too low.
            delivered: self.delivered(),
            delivered_last_ns: self.delivered_last_ns(),
            closed_first: self.closed_first().map(str::to_owned),
        }
    }

    /// Adds what another process has counted between two of its totals.
    pub fn add_counts(&self, before: &Counts, now: &Counts) {
        if let Some(how) = &now.closed_first {
            self.closed_first.get_or_init(|| how.clone());
        }
        self.opened.fetch_add(now.opened - before.opened, SeqCst);
        self.gone.fetch_add(now.gone - before.gone, SeqCst);
        self.closed.fetch_add(now.closed - before.closed, SeqCst);
        if now.left > before.left {
            self.left_delivered.fetch_add(now.left_delivered - before.left_delivered, SeqCst);
            self.left.fetch_add(now.left - before.left, SeqCst);
            self.publisher.unpark();
        }
        if now.delivered > before.delivered {
            self.add_delivered(now.delivered - before.delivered, now.delivered_last_ns);
        }
    }

    /// A subscriber that had received `delivered` messages is not waited for any more.
    pub fn leave(&self, delivered: u64) {
        // In this order: between the two a goal is too high, never too low.
        self.left_delivered.fetch_add(delivered, SeqCst);
        self.left.fetch_add(1, SeqCst);
        self.publisher.unpark();
    }

    /// A subscriber that had received `delivered` messages was closed by the server: `how`.
    pub fn add_closed(&self, delivered: u64, how: String) {
        self.closed_first.get_or_init(|| how);
        self.count_gone(true);
        self.leave(delivered);
    }

    /// How many subscribers are not waited for any more.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(SeqCst)
    }

    /// How the first subscriber was closed that was.
    #[must_use]
    pub fn closed_first(&self) -> Option<&str> {
        self.closed_first.get().map(String::as_str)
    }

    /// Deliveries once each of `subscribers` has all of `published`, or has left.
    #[must_use]
    pub fn goal(&self, published: u64, subscribers: u64) -> u64 {
        let open = subscribers.saturating_sub(self.left());
        published * open + self.left_delivered.load(SeqCst)
    }

    /// Waits until as many deliveries are counted as `goal` says, which is asked again and again; by the
    /// publishing thread only. `patience` without any delivery is a failure. False if the run failed or
    /// `is_over`.
    pub fn wait_delivered(
        &self,
        goal: impl Fn(&Self) -> u64,
        patience: Duration,
        mut is_over: impl FnMut() -> bool,
    ) -> bool {
        let mut seen = (self.delivered(), Instant::now());
        loop {
            let goal = goal(self);
            self.goal.store(goal, SeqCst);
            // Read after the goal is stored: who delivers the last one sees the goal, or is seen here.
            let delivered = self.delivered();
            if delivered >= goal {
                return true;
            }
            if delivered != seen.0 {
                seen = (delivered, Instant::now());
            }
            if self.is_failed() || is_over() {
                return false;
            }
            if seen.1.elapsed() > patience {
                self.fail_silent(patience);
                return false;
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Ends the run as failed; the first failure stands.
    pub fn fail(&self, failure: String) {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
        self.is_failed.store(true, SeqCst);
        self.publisher.unpark();
    }

    /// Ends the run because nothing has come for so long.
    pub fn fail_silent(&self, time: Duration) {
        self.fail(format!("nothing was delivered for {} s", time.as_secs_f64()));
    }

    /// Whether `fail` was called.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.is_failed.load(SeqCst)
    }

    /// The first failure.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Totals of a run, or of a process that holds a share of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    opened: u64,
    gone: u64,
    closed: u64,
    left: u64,
    left_delivered: u64,
    delivered: u64,
    delivered_last_ns: u64,
    closed_first: Option<String>,
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, ns) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000_000 + ns.unwrap_or_default()
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// How soon an interrupt or the end is noticed by a thread that sleeps.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_publisher_wakes_when_the_last_delivery_is_counted() {
        let progress = Arc::new(Progress::new());
        for round in 1..=100 {
            let receivers = [(); 2].map(|()| {
                let progress = Arc::clone(&progress);
                std::thread::spawn(move || (0..5).for_each(|_| progress.add_delivered(1, progress.now_ns())))
            });
            let goal = |progress: &Progress| progress.goal(round * 5, 2);
            assert!(progress.wait_delivered(goal, Duration::from_secs(30), || false));
            receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
        }
        assert_eq!(progress.delivered(), 1000);
    }

    #[test]
    fn closed_subscribers_are_not_waited_for() {
        let progress = Progress::new();
        progress.add_delivered(7 + 10, 1);
        let wait = || progress.wait_delivered(|progress| progress.goal(10, 2), Duration::MAX, || true);
        assert!(!wait());
        progress.add_closed(7, "first".to_owned());
        assert!(wait());
        progress.add_closed(10, "second".to_owned());
        assert!(wait());
        assert_eq!((progress.left(), progress.closed(), progress.closed_first()), (2, 2, Some("first")));
        (0..5).for_each(|_| progress.add_opened());
        progress.count_gone(false);
        assert_eq!((progress.open(), progress.closed()), (2, 2));
    }

    #[test]
    fn waiting_ends_with_the_run_or_with_patience() {
        let progress = Progress::new();
        assert!(!progress.wait_delivered(|_| 1, Duration::MAX, || true));
        assert!(!progress.is_failed());
        assert!(!progress.wait_delivered(|_| 1, Duration::ZERO, || false));
        progress.fail("second".to_owned());
        assert!(!progress.wait_delivered(|_| 1, Duration::MAX, || false));
        assert_eq!(progress.failure().as_deref(), Some("nothing was delivered for 0 s"));
    }

    #[test]
    fn a_message_that_is_complete_here_is_told_behind_its_last_delivery() {
        let (progress, told) = (Arc::new(Progress::of_helper(0)), Arc::new(AtomicU64::new(0)));
        let (counts, sum) = (Arc::clone(&progress), Arc::clone(&told));
        progress.share().tell_by(move || sum.store(counts.delivered(), SeqCst));
        progress.share().set_closed(true);
        progress.add_delivered(3, 1);
        let complete = Complete { stream: 0, sequence: 0, intended_ns: 0, last_ns: 1 };
        assert_eq!((progress.complete(&complete), told.load(SeqCst)), (None, 0));
        progress.add_delivered(2, 1);
        progress.add_delivered(1, 1);
        assert_eq!(told.load(SeqCst), 5);
    }
}
