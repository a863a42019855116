//! Refused: how often clients were told no, by why.
//!
//! In      problems and refused tokens as they are told, on every shard and on the webhook's thread
//! Out     counts since the start, for the metrics
//! Bounds  one count per code and per reason
//! Source  docs/http-api.md

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{auth::Refusal, problem::Problem};

/// Counts for all. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Refused(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    problems: [AtomicU64; Problem::CODES.len()],
    tokens: [AtomicU64; Refusal::REASONS.len()],
}

impl Refused {
    pub(crate) fn new() -> Self {
        let zero = |_| AtomicU64::new(0);
        Self(Arc::new(Counts { problems: array::from_fn(zero), tokens: array::from_fn(zero) }))
    }

    /// A message was answered by an error.
    pub(crate) fn problem(&self, problem: &Problem) {
        add(&Problem::CODES, &self.0.problems, problem.code());
        if let Problem::Unauthorized(refusal) = problem {
            self.token(*refusal);
        }
    }

    /// A token opened nothing: of a handshake, or in band.
    pub(crate) fn token(&self, refusal: Refusal) {
        add(&Refusal::REASONS, &self.0.tokens, refusal.reason());
    }

    /// Errors by their code.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Problem::CODES.into_iter().zip(self.0.problems.iter().map(|count| count.load(Relaxed)))
    }

    /// Tokens by what was wrong with them.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Refusal::REASONS.into_iter().zip(self.0.tokens.iter().map(|count| count.load(Relaxed)))
    }
}

fn add(names: &[&str], counts: &[AtomicU64], name: &str) {
    let found = names.iter().position(|one| *one == name);
    debug_assert!(found.is_some(), "{name} is in the list");
    if let Some(index) = found {
        counts[index].fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_under_its_name_and_a_token_in_band_under_both() {
        let refused = Refused::new();
        refused.problem(&Problem::PublishDisabled);
        refused.problem(&Problem::Unauthorized(Refusal::Expired));
        refused.token(Refusal::Missing);
        let some =
            |counts: Vec<(&'static str, u64)>| counts.into_iter().filter(|one| one.1 > 0).collect::<Vec<_>>();
        assert_eq!(some(refused.problems().collect()), [("publish_disabled", 1), ("unauthorized", 1)]);
        assert_eq!(some(refused.tokens().collect()), [("missing", 1), ("expired", 1)]);
    }
}
