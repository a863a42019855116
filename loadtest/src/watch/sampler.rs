//! Sampling: what each time between two moments has shown.
//!
//! In      clocks, counters, what was heard
//! Out     points of a series; the state of a run in words
//! Bounds  some 20 files of /proc per look; the thread's own CPU time is kept with the series
//! Source  proc(5)

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::{View, Watch, display::Now};
use crate::{
    client::{judge::Heard, progress::Progress},
    measure::{footprint::tcp_buffer_bytes, reading::Reading},
    report::series::Point,
};

/// Takes samples of one phase.
pub(super) struct Sampler<'w> {
    watch: &'w Watch,
    start: Instant,
    phase: Start,
    /// As of the last point.
    last: Counters,
    /// What was heard since.
    heard: Heard,
    looked: Instant,
    due: Instant,
    cpu: Duration,
}

/// Where a phase began.
#[derive(Clone, Copy)]
struct Start {
    at: Instant,
    published: u64,
    opened: u64,
}

struct Counters {
    at: Instant,
    /// `None`: /proc could not be read.
    reading: Option<Reading>,
    published: u64,
}

/// A phase that was watched, but for its end.
pub struct Watched<'w> {
    sampler: Sampler<'w>,
    /// At the end.
    counters: Counters,
    levels: Point,
}

impl<'w> Sampler<'w> {
    pub(super) fn new(watch: &'w Watch, progress: &Progress, start: Instant) -> Self {
        let last = Counters::read(watch, progress);
        let phase = Start { at: last.at, published: last.published, opened: progress.opened() };
        let (looked, due) = (last.at, last.at + watch.interval);
        Self { watch, start, phase, last, heard: Heard::default(), looked, due, cpu: Duration::ZERO }
    }

    /// Looks at what has happened, shows it, and keeps it when it is time.
    pub(super) fn look(&mut self, view: &View<'_>) {
        let cpu_before = thread_cpu();
        let heard = (view.hear)();
        self.show(view, &heard);
        self.heard.add(&heard);
        if Instant::now() >= self.due {
            let counters = Counters::read(self.watch, view.progress);
            let levels = self.levels(view.progress);
            self.keep(counters, levels);
            self.due = (self.due + self.watch.interval).max(Instant::now());
        }
        self.cpu += thread_cpu().saturating_sub(cpu_before);
    }

    /// Reads all that changes at the end.
    pub(super) fn into_watched(self, progress: &Progress) -> Watched<'w> {
        let counters = Counters::read(self.watch, progress);
        let levels = self.levels(progress);
        Watched { sampler: self, counters, levels }
    }

    pub(super) fn show(&mut self, view: &View<'_>, heard: &Heard) {
        let looked = std::mem::replace(&mut self.looked, Instant::now());
        let per_s = heard.latency_ns.len() as f64 / self.looked.duration_since(looked).as_secs_f64();
        let (elapsed, goal) = (self.phase.at.elapsed(), view.goal);
        let share = |done: f64, of: f64| if of > 0.0 { done / of } else { 0.0 };
        let shares = [
            goal.time.map(|time| share(elapsed.as_secs_f64(), time.as_secs_f64())),
            goal.messages
                .map(|all| share((view.progress.published() - self.phase.published) as f64, all as f64)),
            goal.connections
                .map(|all| share((view.progress.opened() - self.phase.opened) as f64, all as f64)),
        ];
        let done = shares.into_iter().flatten().fold(0.0, f64::max).min(1.0);
        let most = goal.time.map(|time| time.saturating_sub(elapsed));
        // At the pace until now, which says little at the start.
        let paced = (done > PACE_MIN).then(|| elapsed.mul_f64((1.0 - done) / done));
        let left = most.into_iter().chain(paced).min();
        let now = Now { elapsed, done, left, open: view.progress.open(), per_s };
        self.watch.display.measuring(&now, heard);
    }

    /// What there is at this moment, whatever was before.
    fn levels(&self, progress: &Progress) -> Point {
        // A server that is gone, or nobody's we may look at, has no levels.
        let memory = self.watch.server.and_then(|server| server.memory().ok());
        Point {
            pss_bytes: memory.map(|memory| memory.pss_bytes),
            anonymous_bytes: memory.map(|memory| memory.anonymous_bytes),
            kernel_bytes: tcp_buffer_bytes().ok(),
            descriptors: self.watch.server.and_then(|server| server.descriptors().ok()),
            connections: progress.open(),
            closed: progress.closed(),
            ..Point::default()
        }
    }

    fn keep(&mut self, now: Counters, levels: Point) {
        let heard = std::mem::take(&mut self.heard);
        let spent =
            self.last.reading.as_ref().zip(now.reading.as_ref()).map(|(before, after)| before.until(after));
        let quantile = |quantile| heard.latency_ns.value_at_quantile(quantile);
        let point = Point {
            elapsed_ns: ns(now.at.saturating_duration_since(self.start)),
            time_ns: ns(now.at.saturating_duration_since(self.last.at)),
            delivered: heard.latency_ns.len(),
            published: now.published - self.last.published,
            pings: heard.pings,
            latency_ns: (!heard.latency_ns.is_empty()).then(|| [0.5, 0.99, 1.0].map(quantile)),
            server_cpu_ns: spent.and_then(|spent| spent.server_cpu).map(ns),
            switches: spent.and_then(|spent| spent.server_switches).map(|switches| switches.count()),
            client_cpu: spent.map_or(0.0, |spent| spent.client_saturation(self.watch.client_cpus)),
            ..levels
        };
        // What is left at the end of a phase may be too short for a point: its rates would mean nothing.
        let is_rest = self.last.at > self.phase.at && point.time_ns < ns(self.watch.interval) / 2;
        let mut kept = self.watch.kept();
        if is_rest {
            kept.series.push_rest(&point)
        } else {
            kept.series.push(point)
        }
        drop(kept);
        self.last = now;
    }
}

impl Watched<'_> {
    /// Keeps the last point, with what was heard since the last look.
    pub fn end(mut self, heard: &Heard) {
        self.sampler.heard.add(heard);
        self.sampler.keep(self.counters, self.levels);
        self.sampler.watch.kept().series.cpu_ns += ns(self.sampler.cpu);
    }
}

impl Counters {
    fn read(watch: &Watch, progress: &Progress) -> Self {
        Self { at: Instant::now(), reading: watch.clocks.read().ok(), published: progress.published() }
    }
}

/// Of a phase.
const PACE_MIN: f64 = 0.02;

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
