//! What became of questions: counted, and said in the log now and then.
//!
//! In      each outcome
//! Out     counters by name; a warning for a failure, `LOG_PAUSE` apart
//! Bounds  one number an outcome
//! Source  docs/operations.md

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{Decision, Failure};

/// Counters since the start of the process, over all reloads.
#[derive(Debug, Default)]
pub(super) struct Counts {
    outcomes: [AtomicU64; Outcome::COUNT],
    told: Mutex<Told>,
}

impl Counts {
    pub(super) fn known(&self, decision: &Decision) {
        self.add(match decision {
            Decision::Admitted(_) => Outcome::KnownAdmitted,
            Decision::Refused(_) => Outcome::KnownRefused,
        });
    }

    pub(super) fn decided(&self, decision: &Decision) {
        self.add(match decision {
            Decision::Admitted(_) => Outcome::Admitted,
            Decision::Refused(_) => Outcome::Refused,
        });
    }

    /// Counts it, and logs it unless another one was logged just now.
    pub(super) fn failed(&self, webhook: &impl fmt::Display, id: &str, failure: &Failure) {
        self.add(match failure {
            Failure::TimedOut(_) => Outcome::TimedOut,
            Failure::Unreachable(_) => Outcome::Unreachable,
            Failure::Status(_) => Outcome::Status,
            Failure::Answer(_) => Outcome::Answer,
            Failure::TooLong(_) => Outcome::TooLong,
            Failure::Overloaded => Outcome::Overloaded,
        });
        let Some(skipped) = self.told.lock().unwrap_or_else(PoisonError::into_inner).turn() else { return };
        let more =
            if skipped == 0 { String::new() } else { format!("; {skipped} more since the last such line") };
        tracing::warn!("nobody decided about a session (503): {webhook}: {failure} (question {id}{more})");
    }

    /// Names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Outcome::NAMES.into_iter().zip(self.outcomes.iter().map(|count| count.load(Relaxed)))
    }

    fn add(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    Admitted,
    Refused,
    KnownAdmitted,
    KnownRefused,
    TimedOut,
    Unreachable,
    Status,
    Answer,
    TooLong,
    Overloaded,
}

impl Outcome {
    const COUNT: usize = 10;

    /// In the order of the variants.
    const NAMES: [&str; Self::COUNT] = [
        "webhook_admitted",
        "webhook_refused",
        "webhook_cached_admitted",
        "webhook_cached_refused",
        "webhook_failed_timeout",
        "webhook_failed_unreachable",
        "webhook_failed_status",
        "webhook_failed_answer",
        "webhook_failed_too_long",
        "webhook_failed_overload",
    ];
}

/// When a failure was logged last, and how many were not since.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    skipped: u64,
}

impl Told {
    /// How many were skipped before this one, if it is to be logged.
    fn turn(&mut self) -> Option<u64> {
        if self.at.is_some_and(|at| at.elapsed() < LOG_PAUSE) {
            self.skipped += 1;
            return None;
        }
        self.at = Some(Instant::now());
        Some(std::mem::take(&mut self.skipped))
    }
}

/// A webhook that is down would fill the log.
const LOG_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_a_counter_of_its_own() {
        let counts = Counts::default();
        for failure in [
            Failure::TimedOut(LOG_PAUSE),
            Failure::Unreachable(String::new()),
            Failure::Status(500),
            Failure::Answer(String::new()),
            Failure::TooLong(1),
            Failure::Overloaded,
        ] {
            counts.failed(&"http://h", "id", &failure);
        }
        let failed: Vec<_> = counts.iter().filter(|(name, _)| name.starts_with("webhook_failed_")).collect();
        assert!(failed.len() == 6 && failed.iter().all(|(_, count)| *count == 1), "{failed:?}");
        assert_eq!(counts.told.lock().unwrap().skipped, 5);
    }
}
