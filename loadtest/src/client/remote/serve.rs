//! A worker process: holds its share of the subscribers until it is told to end.
//!
//! In      a `Setup` on standard input, then orders
//! Out     what its threads hear, on standard output
//! Bounds  one report per `REPORT_EVERY`, and of a closed loop one when its share of a message is whole; it ends
//!         when its input does
//! Source  none

use std::{
    io::{self, BufRead, Stdout, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    thread,
    time::Duration,
};

use super::{
    lines::{Pairs, Said, Setup, Told},
    write_line,
};
use crate::{
    client::{
        connection::Opener,
        crew::Crew,
        progress::{Counts, Progress},
        talk::Talk,
    },
    dialect::Dialect,
    measure::descriptors::raise_limit,
};

/// Serves the run that started this process.
///
/// # Errors
/// The first line is no setup, or the run has gone.
pub fn serve() -> io::Result<()> {
    let mut first = String::new();
    io::stdin().lock().read_line(&mut first)?;
    let setup: Setup = serde_json::from_str(&first)?;
    let progress = Arc::new(Progress::of_helper(setup.origin_ns));
    let reports = Arc::new(Mutex::new(Reports::new(&progress)));
    let (regular, at_once) = (Arc::clone(&reports), Arc::clone(&reports));
    // The run may be gone, which its orders will tell.
    progress.share().tell_by(move || drop(locked(&at_once).changes()));
    thread::spawn(move || {
        // Until the run has gone, and this process with it.
        while locked(&regular).changes().is_ok() {
            thread::sleep(REPORT_EVERY);
        }
    });
    let crew = match open(&setup, &progress) {
        Ok(crew) => crew,
        Err(error) => return locked(&reports).say(&Said::Opened { error: Some(error.to_string()) }),
    };
    locked(&reports).say(&Said::Opened { error: None })?;
    for line in io::stdin().lock().lines() {
        match serde_json::from_str(&line?)? {
            Told::MeasureFrom { ns } => progress.measure_from(ns),
            Told::Closed { is_closed } => progress.share().set_closed(is_closed),
            Told::Tell => {
                let heard = crew.phase();
                locked(&reports).say(&Said::Heard(Pairs::from(&heard)))?;
            }
            Told::Quiet { over_ns, forgets } => {
                let spoken = crew.spoken(over_ns, forgets);
                locked(&reports).say(&Said::Spoken(spoken))?;
            }
            Told::Slow { subscribers, bytes_per_s } => crew.make_slow(subscribers, bytes_per_s),
            Told::Talk { per_s, payload_bytes, time_ns } => {
                crew.talk(Talk { per_s, payload_bytes, time_ns });
            }
            Told::Finish { published } => {
                let outcome = crew.finish(published);
                return locked(&reports).say(&Said::Outcome(outcome));
            }
        }
    }
    Ok(())
}

fn open(setup: &Setup, progress: &Arc<Progress>) -> Result<Crew, Box<dyn std::error::Error>> {
    raise_limit(setup.share.len())?;
    let dialect = Dialect::load(&setup.address.dialect)?;
    let opener = Opener::new(setup.address.clone(), dialect)?;
    let audience = Arc::new(setup.audience());
    Ok(Crew::open_share(&opener, &audience, setup.share.clone(), progress, &AtomicBool::new(false))?)
}

/// What has been said so far.
struct Reports {
    progress: Arc<Progress>,
    said: Counts,
    is_failed: bool,
    out: Stdout,
}

impl Reports {
    fn new(progress: &Arc<Progress>) -> Self {
        let (progress, said) = (Arc::clone(progress), Counts::default());
        Self { progress, said, is_failed: false, out: io::stdout() }
    }

    /// Says something, behind all that led to it.
    fn say(&mut self, said: &Said) -> io::Result<()> {
        self.changes()?;
        write_line(&mut self.out, said)
    }

    /// Says what has changed.
    fn changes(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        let complete = self.progress.take_complete();
        if !complete.is_empty() {
            write_line(&mut lines, &Said::Complete(complete))?;
        }
        let counts = self.progress.counts();
        if counts != self.said {
            write_line(&mut lines, &Said::Counts(counts.clone()))?;
            self.said = counts;
        }
        // In one write: who reads it wakes once.
        self.out.write_all(&lines)?;
        if let Some(why) = self.progress.failure().filter(|_| !self.is_failed) {
            self.is_failed = true;
            write_line(&mut self.out, &Said::Failed(why))?;
        }
        Ok(())
    }
}

fn locked(reports: &Mutex<Reports>) -> MutexGuard<'_, Reports> {
    reports.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a delivery may wait to be told.
const REPORT_EVERY: Duration = Duration::from_millis(1);
