//! The watch: what a run does while it runs, shown to who waits and kept for the report.
//!
//! In      the run's `Progress`, what its threads have heard, clocks
//! Out     a line or a bar; a `Series`
//! Bounds  one thread, which sleeps between its looks and ends with what it watches
//! Source  none

mod display;
mod sampler;

use std::{
    panic::resume_unwind,
    sync::{
        Mutex, PoisonError,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{judge::Heard, progress::Progress},
    measure::{process::Process, reading::Clocks},
    report::series::Series,
};
pub use display::Display;
use sampler::Sampler;
pub use sampler::Watched;

/// Watches one run.
#[derive(Debug)]
pub struct Watch {
    clocks: Clocks,
    server: Option<Process>,
    client_cpus: usize,
    interval: Duration,
    display: Display,
    kept: Mutex<Kept>,
}

/// Of all phases that were measured.
#[derive(Debug, Default)]
struct Kept {
    series: Series,
    /// When the first one began.
    start: Option<Instant>,
}

/// What there is to see of a phase.
#[derive(Clone, Copy)]
pub struct View<'v> {
    /// What its threads count.
    pub progress: &'v Progress,
    /// What they heard since this was asked last.
    pub hear: &'v (dyn Fn() -> Heard + Sync),
    /// When it ends.
    pub goal: Goal,
}

/// When a phase ends: with the first of these, if there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goal {
    /// After so long.
    pub time: Option<Duration>,
    /// With so many messages sent.
    pub messages: Option<u64>,
    /// With so many connections opened in it.
    pub connections: Option<usize>,
}

impl Watch {
    /// Reads these clocks each `interval`, and shows what happens.
    #[must_use]
    pub fn new(
        clocks: Clocks,
        server: Option<Process>,
        client_cpus: usize,
        interval: Duration,
        display: Display,
    ) -> Self {
        Self { clocks, server, client_cpus, interval, display, kept: Mutex::default() }
    }

    /// Does what opens so many connections.
    pub fn opening<T>(&self, progress: &Progress, connections: usize, open: impl FnOnce() -> T) -> T {
        let show = |_: &mut ()| self.display.opening(progress.opened(), connections as u64);
        self.beside(SHOW_EVERY, (), show, open).0
    }

    /// Does what warms up for so long.
    pub fn warming<T>(&self, progress: &Progress, time: Duration, warm_up: impl FnOnce() -> T) -> T {
        let (start, delivered_before) = (Instant::now(), progress.delivered());
        let show = |_: &mut ()| {
            self.display.warming(start.elapsed(), time, progress.delivered() - delivered_before);
        };
        self.beside(SHOW_EVERY, (), show, warm_up).0
    }

    /// Does what is measured. `Watched` is to be told what was heard since its last look.
    pub fn measuring<T>(&self, view: View<'_>, run: impl FnOnce() -> T) -> (T, Watched<'_>) {
        let start = *self.kept().start.get_or_insert_with(Instant::now);
        let mut sampler = Sampler::new(self, view.progress, start);
        // What went before is over.
        sampler.show(&view, &Heard::default());
        // Who waits wants to see more than who keeps a series of hours.
        let every = self.interval.min(LOOK_EVERY);
        let (done, sampler) = self.beside(every, sampler, |sampler| sampler.look(&view), run);
        (done, sampler.into_watched(view.progress))
    }

    /// The series of all phases, which is empty afterwards; nothing is shown any more.
    #[must_use]
    pub fn end(&self) -> Series {
        self.display.clear();
        std::mem::take(&mut self.kept().series)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work`, while another thread looks again and again.
    fn beside<T, S: Send>(
        &self,
        every: Duration,
        mut state: S,
        look: impl Fn(&mut S) + Send,
        work: impl FnOnce() -> T,
    ) -> (T, S) {
        let (running, ended) = channel::<()>();
        thread::scope(move |scope| {
            let watcher = scope.spawn(move || {
                let mut due = Instant::now() + every;
                while ended.recv_timeout(due.saturating_duration_since(Instant::now()))
                    == Err(RecvTimeoutError::Timeout)
                {
                    look(&mut state);
                    // A look that took too long is not made up for.
                    due = (due + every).max(Instant::now());
                }
                state
            });
            let done = work();
            drop(running);
            match watcher.join() {
                Ok(state) => (done, state),
                Err(panic) => resume_unwind(panic),
            }
        })
    }
}

/// Between two looks at what only has to be shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Between two looks at what is heard, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
