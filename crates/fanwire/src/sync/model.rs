//! What loom lacks, on its atomics: the cell and the ring that the engine uses, and a way to sleep.
//!
//! In      a model: a function that starts threads
//! Out     a panic in the first schedule that breaks one of the model's assertions, or in which nobody can go on
//! Bounds  so many preemptions a schedule as the model says
//! Source  loom's documentation; rtrb 0.4 for the orderings of the ring

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use loom::sync::{
    Notify,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::driver::Wake;

/// Runs a model under every schedule with at most so many preemptions (or LOOM_MAX_PREEMPTIONS) and says how many
/// schedules there were.
pub(crate) fn explore(name: &str, preemptions_max: usize, model: impl Fn() + Send + Sync + 'static) {
    let schedules = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&schedules);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions_max);
    builder.max_branches = BRANCHES_MAX;
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    println!("{name}: {} schedules", schedules.load(Relaxed));
}

/// Where a shard of a model waits. A wake before the wait ends it at once, as a driver's eventfd does, and so
/// may nothing at all.
#[derive(Default)]
pub(crate) struct Bed {
    notify: Notify,
    wakes: AtomicU64,
}

impl Bed {
    pub(crate) fn wait(&self) {
        self.notify.wait();
    }

    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.load(Relaxed)
    }
}

impl Wake for Bed {
    fn wake(&self) {
        // Not loom's: counting must not order anything.
        self.wakes.fetch_add(1, Relaxed);
        self.notify.notify();
    }
}

/// std's `OnceLock`: who sees the value sees all that was done to make it. loom orders by `ready` and the lock
/// alone; the cell of std behind them only keeps the value where a reference to it can be given out.
pub(crate) struct OnceLock<T> {
    ready: AtomicBool,
    making: loom::sync::Mutex<()>,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.ready.load(Ordering::Acquire).then(|| self.value.get().expect("it is ready"))
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _making = self.making.lock().expect("no model panics on purpose");
        self.value.set(value)?;
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if self.get().is_none() {
            let _making = self.making.lock().expect("no model panics on purpose");
            if self.value.get().is_none() && self.value.set(make()).is_ok() {
                self.ready.store(true, Ordering::Release);
            }
        }
        self.value.get().expect("it was made")
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self {
            ready: AtomicBool::new(false),
            making: loom::sync::Mutex::new(()),
            value: std::sync::OnceLock::new(),
        }
    }
}

/// rtrb's ring as far as the mesh uses it: the same loads and stores with the same orderings and caches. Its
/// entries lie under locks of std, which loom does not see and which therefore order nothing.
pub(crate) struct RingBuffer<T> {
    head: AtomicUsize,
    tail: AtomicUsize,
    entries: Box<[Mutex<Option<T>>]>,
}

impl<T> RingBuffer<T> {
    #[expect(clippy::new_ret_no_self, reason = "as in rtrb")]
    pub(crate) fn new(entries: usize) -> (Producer<T>, Consumer<T>) {
        let ring = Arc::new(Self {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            entries: std::iter::repeat_with(Mutex::default).take(entries).collect(),
        });
        let producer = Producer { ring: Arc::clone(&ring), cached_head: Cell::new(0), tail: 0 };
        (producer, Consumer { ring, head: 0, cached_tail: Cell::new(0) })
    }

    fn entry(&self, at: usize) -> &Mutex<Option<T>> {
        &self.entries[at % self.entries.len()]
    }
}

/// The end that pushes.
pub(crate) struct Producer<T> {
    ring: Arc<RingBuffer<T>>,
    cached_head: Cell<usize>,
    tail: usize,
}

impl<T> Producer<T> {
    pub(crate) fn slots(&self) -> usize {
        self.cached_head.set(self.ring.head.load(Ordering::Acquire));
        self.cached_slots()
    }

    pub(crate) fn cached_slots(&self) -> usize {
        self.ring.entries.len() - (self.tail - self.cached_head.get())
    }

    pub(crate) fn push(&mut self, value: T) -> Result<(), T> {
        if self.cached_slots() == 0 && self.slots() == 0 {
            return Err(value);
        }
        let before = self.ring.entry(self.tail).lock().expect("no model panics on purpose").replace(value);
        assert!(before.is_none(), "the place was free");
        self.tail += 1;
        self.ring.tail.store(self.tail, Ordering::Release);
        Ok(())
    }
}

/// The end that pops.
pub(crate) struct Consumer<T> {
    ring: Arc<RingBuffer<T>>,
    head: usize,
    cached_tail: Cell<usize>,
}

impl<T> Consumer<T> {
    pub(crate) fn is_empty(&self) -> bool {
        if self.head == self.cached_tail.get() {
            self.cached_tail.set(self.ring.tail.load(Ordering::Acquire));
        }
        self.head == self.cached_tail.get()
    }

    pub(crate) fn slots(&self) -> usize {
        self.cached_tail.set(self.ring.tail.load(Ordering::Acquire));
        self.cached_tail.get() - self.head
    }

    /// For audits, and models are not audited.
    pub(crate) fn read_chunk(&mut self, _entries: usize) -> Result<VecDeque<T>, Empty> {
        Err(Empty)
    }

    pub(crate) fn pop(&mut self) -> Result<T, Empty> {
        if self.is_empty() {
            return Err(Empty);
        }
        let value = self.ring.entry(self.head).lock().expect("no model panics on purpose").take();
        self.head += 1;
        self.ring.head.store(self.head, Ordering::Release);
        value.ok_or(Empty)
    }
}

/// Nothing to pop.
#[derive(Debug)]
pub(crate) struct Empty;

const BRANCHES_MAX: usize = 10_000;
