//! The stage of the scenarios that publish: an audience, publishers, and phases that are measured.
//!
//! In      a ground, an audience, streams to publish
//! Out     what each phase took; at the end, what arrived and what did not
//! Bounds  opening: 10 s per step; a phase: its time, then --patience
//! Source  CPU and memory are differences around what is measured

use std::{
    cell::OnceCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use super::{
    ending::Ending,
    ground::{Ground, RunError},
};
use crate::{
    client::{audience::Audience, crew::Crew, judge::Heard, progress::Progress, publisher::Publishers},
    load::{
        popularity::Popularity,
        stream::{Pace, Stream},
    },
    measure::{footprint::Footprint, reading::Spent},
    watch::{Goal, View},
};

/// All that takes part.
pub struct Stage<'g> {
    /// Where it stands.
    pub ground: &'g Ground,
    /// What its threads tell each other.
    pub progress: Arc<Progress>,
    /// Who receives.
    pub crew: Crew,
    /// Who publishes.
    pub publishers: Publishers,
    is_interrupted: &'g AtomicBool,
    held_before: Option<Footprint>,
    held_connected: Option<Footprint>,
    connections: usize,
}

/// A phase that was measured.
#[derive(Debug)]
pub struct Act {
    /// Messages published in it.
    pub publishes: u64,
    /// From its first publish to its last delivery.
    pub elapsed_ns: u64,
    /// What it took.
    pub spent: Spent,
    /// What was heard of its messages.
    pub heard: Heard,
    /// Messages that were due in it and were not sent.
    pub unsent: u64,
    /// Whether all that was published has arrived.
    pub is_whole: bool,
}

impl Act {
    /// Both, one after the other.
    #[must_use]
    pub fn with(mut self, next: Self) -> Self {
        self.heard.add(&next.heard);
        Self {
            publishes: self.publishes + next.publishes,
            elapsed_ns: self.elapsed_ns + next.elapsed_ns,
            spent: self.spent.with(next.spent),
            heard: self.heard,
            unsent: self.unsent + next.unsent,
            is_whole: self.is_whole && next.is_whole,
        }
    }
}

impl<'g> Stage<'g> {
    /// Opens all connections.
    ///
    /// # Errors
    /// The first that fails; the server cannot be observed.
    pub fn open(
        ground: &'g Ground,
        mut audience: Audience,
        publishers: usize,
        popularity: Popularity,
        is_interrupted: &'g AtomicBool,
    ) -> Result<Self, RunError> {
        audience.processes = ground.processes;
        let (audience, progress) = (Arc::new(audience), Arc::new(Progress::new()));
        let held_before = ground.footprint()?;
        let crew = ground.watch.opening(&progress, audience.connections, || {
            Crew::open(&ground.opener, &audience, &progress, is_interrupted)
        })?;
        ground.add_helpers(crew.processes());
        let held_connected = ground.footprint()?;
        let publishers = Publishers::open(&ground.opener, publishers, &audience, popularity, &progress)?;
        Ok(Self {
            ground,
            progress,
            crew,
            publishers,
            is_interrupted,
            held_before,
            held_connected,
            connections: audience.connections,
        })
    }

    /// Publishes for some time what is checked and not measured; how many messages. What is late at its end
    /// is in no figure, and not sent any more.
    pub fn warm_up(&mut self, stream: &Stream, time: Option<Duration>) -> u64 {
        self.crew.set_closed(stream.pace == Pace::Closed);
        let Some(time) = time else { return 0 };
        self.measure_from(u64::MAX);
        let end = Instant::now() + time;
        let (progress, is_interrupted) = (Arc::clone(&self.progress), self.is_interrupted);
        let delivered_before = progress.delivered();
        let is_warm = || {
            let late = Instant::now().checked_duration_since(end);
            let is_heard = progress.delivered() > delivered_before;
            if !is_heard && late.is_some_and(|late| late > stream.patience) {
                progress.fail_silent(time + stream.patience);
            }
            is_heard && late.is_some()
        };
        let endless = Stream { publishes_max: u64::MAX, ..*stream };
        self.ground.watch.warming(&progress, time, || {
            self.publishers.run(&endless, &|| (is_interrupted.load(SeqCst) || is_warm()).then_some(0))
        });
        self.publishers.count()
    }

    /// From here on a new phase, of messages that leave from `ns` on.
    pub fn measure_from(&self, ns: u64) {
        self.crew.measure_from(ns);
        // What was heard before is of the last phase. Who has answered knows of the new one.
        drop(self.crew.end_phase());
    }

    /// Publishes, and measures.
    ///
    /// # Errors
    /// The server cannot be observed.
    pub fn act(&mut self, stream: &Stream, time: Duration) -> Result<Act, RunError> {
        let (progress, is_interrupted) = (Arc::clone(&self.progress), self.is_interrupted);
        let messages = (stream.publishes_max < u64::MAX).then_some(stream.publishes_max);
        let goal = Goal { time: Some(time), messages, connections: None };
        self.measure_to(goal, |_, publishers| {
            publishers.run(stream, &over_after(time, &progress, is_interrupted))
        })
    }

    /// Measures whatever is done meanwhile; what it answers says whether all has arrived.
    ///
    /// # Errors
    /// The server cannot be observed.
    pub fn measure(&mut self, run: impl FnOnce(&Crew, &mut Publishers) -> bool) -> Result<Act, RunError> {
        self.measure_to(Goal::default(), run)
    }

    /// The same where it is known when that ends.
    ///
    /// # Errors
    /// The server cannot be observed.
    pub fn measure_to(
        &mut self,
        goal: Goal,
        run: impl FnOnce(&Crew, &mut Publishers) -> bool,
    ) -> Result<Act, RunError> {
        self.measure_from(self.progress.now_ns());
        let (publishes_before, unsent_before) = (self.publishers.count(), self.publishers.unsent());
        let before = self.ground.read()?;
        let started_ns = self.progress.now_ns();
        let Self { ground, progress, crew, publishers, .. } = self;
        let view = View { progress, hear: &|| crew.recent(), goal };
        let run = || (run(crew, publishers), ground.read());
        let ((is_whole, after), watched) = ground.watch.measuring(view, run);
        let spent = before.until(&after?);
        let (rest, heard) = crew.end_phase();
        watched.end(&rest);
        Ok(Act {
            publishes: self.publishers.count() - publishes_before,
            elapsed_ns: self.progress.delivered_last_ns().saturating_sub(started_ns),
            spent,
            heard,
            unsent: self.publishers.unsent() - unsent_before,
            is_whole: is_whole && !self.progress.is_failed(),
        })
    }

    /// Whether the user has ended the run.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(SeqCst)
    }

    /// Ends it: what arrived, and what did not.
    #[must_use]
    pub fn end(self) -> Ending {
        let published = self.publishers.published().to_vec();
        self.end_of(published)
    }

    /// The same where others than the publishers have published.
    #[must_use]
    pub fn end_of(self, published: Vec<u64>) -> Ending {
        // A server that has died in the run holds nothing any more; the report says that it died.
        let held_after = self.ground.footprint().ok().flatten();
        Ending {
            publishes: published.iter().sum(),
            unsent: self.publishers.unsent(),
            outcome: self.crew.finish(published),
            connections: self.connections,
            held: [self.held_before, self.held_connected, held_after],
            closed_first: self.progress.closed_first().map(str::to_owned),
            failure: self.progress.failure(),
            is_interrupted: self.is_interrupted.load(SeqCst),
        }
    }
}

/// Nothing becomes due any more once so much time has passed from now on, or from an interrupt on.
pub fn over_after<'a>(
    time: Duration,
    progress: &'a Progress,
    is_interrupted: &'a AtomicBool,
) -> impl Fn() -> Option<u64> + 'a {
    let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let end_ns = progress.now_ns().saturating_add(time_ns);
    let interrupted_ns = OnceCell::new();
    move || {
        let now_ns = progress.now_ns();
        if is_interrupted.load(SeqCst) {
            return Some(end_ns.min(*interrupted_ns.get_or_init(|| now_ns)));
        }
        (now_ns >= end_ns).then_some(end_ns)
    }
}
