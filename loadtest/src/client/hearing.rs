//! Hearing: what threads have heard, for those who ask in different rhythms.
//!
//! In      a way to ask the threads; their answers
//! Out     what was heard since the same was asked last
//! Bounds  two sums of histograms; `ANSWER_WAIT` for each answer
//! Source  none

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use super::judge::Heard;

/// Sums of what was heard.
#[derive(Debug, Default)]
pub struct Hearing(Mutex<Collected>);

#[derive(Debug, Default)]
struct Collected {
    recent: Heard,
    phase: Heard,
}

impl Hearing {
    /// What was heard since this, or the end of a phase, was asked last.
    #[must_use]
    pub fn recent(&self, ask: impl FnOnce(&Sender<Heard>)) -> Heard {
        self.collect(ask, |collected| std::mem::take(&mut collected.recent))
    }

    /// What was heard since `recent` was asked last, and what since a phase ended last.
    #[must_use]
    pub fn end_phase(&self, ask: impl FnOnce(&Sender<Heard>)) -> (Heard, Heard) {
        self.collect(ask, |Collected { recent, phase }| (std::mem::take(recent), std::mem::take(phase)))
    }

    fn collect<T>(&self, ask: impl FnOnce(&Sender<Heard>), take: impl FnOnce(&mut Collected) -> T) -> T {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, answers) = channel();
        ask(&answer);
        drop(answer);
        while let Ok(heard) = answers.recv_timeout(ANSWER_WAIT) {
            collected.recent.add(&heard);
            collected.phase.add(&heard);
        }
        take(&mut collected)
    }
}

/// A thread looks for orders every `LOOK_AGAIN`; one that does not answer in this time has ended.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(count: u64) -> Heard {
        let mut heard = Heard { pings: count, ..Heard::default() };
        (0..count).for_each(|_| heard.latency_ns.saturating_record(5));
        heard
    }

    #[test]
    fn each_rhythm_hears_everything_once() {
        let hearing = Hearing::default();
        let tell = |counts: &'static [u64]| {
            move |answer: &Sender<Heard>| counts.iter().for_each(|count| answer.send(heard(*count)).unwrap())
        };
        assert_eq!(hearing.recent(tell(&[1, 2])).latency_ns.len(), 3);
        let (recent, phase) = hearing.end_phase(tell(&[4]));
        assert_eq!((recent.latency_ns.len(), phase.latency_ns.len(), phase.pings), (4, 7, 7));
        let (recent, phase) = hearing.end_phase(tell(&[]));
        assert_eq!((recent.latency_ns.len(), phase.latency_ns.len()), (0, 0));
    }
}
