//! Campaigns: many seeds, on several threads.
//!
//! In      seeds, or a time
//! Out     how many ran, how fast, and those that failed
//! Bounds  so many seeds or seconds; stops at `failures_max`
//! Source  none

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    oracle::Failure,
    run,
    world::{GAUGES, Outcome},
};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The first seed; the next ones follow.
    pub first: u64,
    /// At most so many seeds.
    pub count: u64,
    /// At most so long.
    pub time: Option<Duration>,
    /// Threads.
    pub jobs: NonZeroUsize,
    /// Ends with so many failures.
    pub failures_max: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Seeds run.
    pub seeds: u64,
    /// Turns of shards.
    pub turns: u64,
    /// How long it took.
    pub time: Duration,
    /// What failed, by seed.
    pub failures: Vec<(u64, Failure)>,
    /// The engine's counters, over all seeds: what never happened was not tested.
    pub counts: BTreeMap<&'static str, u64>,
}

/// What the threads share.
#[derive(Default)]
struct Found {
    seeds: u64,
    turns: u64,
    failures: Vec<(u64, Failure)>,
    counts: BTreeMap<&'static str, u64>,
}

impl Campaign {
    /// Runs it.
    pub fn run(&self) -> Report {
        let started = Instant::now();
        let (next, found) = (AtomicU64::new(0), Mutex::new(Found::default()));
        let is_over = || {
            let failures = lock(&found).failures.len();
            failures >= self.failures_max || self.time.is_some_and(|time| started.elapsed() >= time)
        };
        let work = || {
            while !is_over() {
                let index = next.fetch_add(1, Relaxed);
                if index >= self.count {
                    break;
                }
                let seed = self.first.wrapping_add(index);
                let outcome = run::seed(seed);
                lock(&found).add(seed, outcome);
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.jobs.get() {
                scope.spawn(work);
            }
        });
        let Found { seeds, turns, mut failures, counts } =
            found.into_inner().unwrap_or_else(PoisonError::into_inner);
        failures.sort_by_key(|(seed, _)| *seed);
        Report { seeds, turns, time: started.elapsed(), failures, counts }
    }
}

impl Found {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.turns += outcome.turns;
        self.failures.extend(outcome.failure.map(|failure| (seed, failure)));
        for (name, count) in outcome.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        for (seed, failure) in &self.failures {
            writeln!(f, "seed {seed}: {failure}")?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.seeds as f64 / seconds.max(f64::MIN_POSITIVE);
        let never: Vec<_> = self
            .counts
            .iter()
            .filter(|(name, count)| **count == 0 && !GAUGES.contains(name))
            .map(|(name, _)| *name)
            .collect();
        if !never.is_empty() {
            writeln!(f, "never happened: {}", never.join(", "))?;
        }
        let (seeds, turns, failures) = (self.seeds, self.turns, self.failures.len());
        write!(f, "{seeds} seeds, {turns} turns in {seconds:.1} s: {rate:.0} seeds/s, {failures} failures")
    }
}
