//! Answers that are kept for a while.
//!
//! In      what was sent, as a keyed hash, and what was answered
//! Out     that answer, until it is too old
//! Bounds  `entries_max` of either kind; a full half leaves out what ends first
//! Source  docs/configuration.md
//!
//! The hash is an HMAC under a key that lives and dies with the process: nobody can make two clients look the same,
//! and no token stays in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;

use super::answer::Decision;
use crate::auth::now_ms;

/// Those who were let in and those who were refused, apart.
#[derive(Debug)]
pub(super) struct Cache {
    key: hmac::Key,
    admitted: Option<Mutex<Half>>,
    refused: Option<Mutex<Half>>,
}

/// A question without what it said.
pub(super) type Digest = [u8; 32];

impl Cache {
    /// A time of zero keeps nothing.
    pub(super) fn new(admitted: Duration, refused: Duration, entries_max: u32) -> Result<Self, String> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits).map_err(|error| format!("no random bits are to be had: {error}"))?;
        let half = |life: Duration| {
            (!life.is_zero() && entries_max > 0).then(|| Mutex::new(Half::new(life, entries_max)))
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bits);
        Ok(Self { key, admitted: half(admitted), refused: half(refused) })
    }

    /// `None` if nothing is kept anyway.
    pub(super) fn digest(&self, sent: impl FnOnce() -> Vec<u8>) -> Option<Digest> {
        if self.admitted.is_none() && self.refused.is_none() {
            return None;
        }
        hmac::sign(&self.key, &sent()).as_ref().try_into().ok()
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Decision> {
        [&self.admitted, &self.refused]
            .into_iter()
            .flatten()
            .find_map(|half| half.lock().unwrap_or_else(PoisonError::into_inner).find(digest))
    }

    pub(super) fn keep(&self, digest: Digest, decision: &Decision) {
        // Who is refused now is not let in by an older answer, and the other way round.
        let (half, other) = match decision {
            Decision::Admitted(_) => (&self.admitted, &self.refused),
            Decision::Refused(_) => (&self.refused, &self.admitted),
        };
        if let Some(other) = other {
            other.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        }
        if let Some(half) = half {
            half.lock().unwrap_or_else(PoisonError::into_inner).keep(digest, decision.clone());
        }
    }
}

#[derive(Debug)]
struct Half {
    life: Duration,
    entries_max: usize,
    entries: HashMap<Digest, Entry>,
    /// INVARIANT: one for each entry, at its end.
    ends: BTreeMap<(Instant, u64), Digest>,
    last_id: u64,
}

#[derive(Debug)]
struct Entry {
    decision: Decision,
    end: (Instant, u64),
}

impl Half {
    fn new(life: Duration, entries_max: u32) -> Self {
        let (entries, ends) = (HashMap::new(), BTreeMap::new());
        Self { life, entries_max: entries_max as usize, entries, ends, last_id: 0 }
    }

    fn find(&mut self, digest: &Digest) -> Option<Decision> {
        let entry = self.entries.get(digest)?;
        // Clocks differ: a pass may end, by the one that tells the date, before its entry does.
        let is_over = match &entry.decision {
            Decision::Admitted(pass) => pass.ends_ms.is_some_and(|ends_ms| ends_ms <= now_ms()),
            Decision::Refused(_) => false,
        };
        if is_over || entry.end.0 <= Instant::now() {
            self.remove(digest);
            return None;
        }
        Some(entry.decision.clone())
    }

    fn keep(&mut self, digest: Digest, decision: Decision) {
        self.remove(&digest);
        while self.entries.len() >= self.entries_max {
            let Some((_, first)) = self.ends.pop_first() else { break };
            self.entries.remove(&first);
        }
        self.last_id += 1;
        let end = (Instant::now() + self.life, self.last_id);
        self.ends.insert(end, digest);
        self.entries.insert(digest, Entry { decision, end });
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(entry) = self.entries.remove(digest) {
            self.ends.remove(&entry.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::webhook::answer::Refused;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn admitted(body: &str) -> Decision {
        Decision::of_answer(200, body.as_bytes(), 0).unwrap()
    }

    fn refused() -> Decision {
        Decision::Refused(Refused { status: 403, reason: "no".to_owned() })
    }

    fn cache(admitted: Duration, refused: Duration, entries_max: u32) -> Cache {
        Cache::new(admitted, refused, entries_max).unwrap()
    }

    fn digest(cache: &Cache, sent: &str) -> Digest {
        cache.digest(|| sent.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn what_is_kept_is_found_under_what_was_sent_only() {
        let cache = cache(HOUR, HOUR, 10);
        let ada = admitted(r#"{"user":"ada"}"#);
        cache.keep(digest(&cache, "ada"), &ada);
        cache.keep(digest(&cache, "eve"), &refused());
        assert_eq!(cache.find(&digest(&cache, "ada")), Some(ada));
        assert_eq!(cache.find(&digest(&cache, "eve")), Some(refused()));
        assert_eq!(cache.find(&digest(&cache, "bob")), None);
        // The latest answer is the only one.
        cache.keep(digest(&cache, "ada"), &refused());
        assert_eq!(cache.find(&digest(&cache, "ada")), Some(refused()));
    }

    #[test]
    fn each_kind_is_kept_only_if_asked_for_and_for_its_time() {
        assert!(cache(Duration::ZERO, Duration::ZERO, 10).digest(Vec::new).is_none());
        assert!(cache(HOUR, HOUR, 0).digest(Vec::new).is_none());
        let half = cache(HOUR, Duration::ZERO, 10);
        half.keep(digest(&half, "eve"), &refused());
        assert_eq!(half.find(&digest(&half, "eve")), None);
        let short = cache(Duration::from_nanos(1), HOUR, 10);
        short.keep(digest(&short, "ada"), &admitted(r#"{"user":"ada"}"#));
        while Instant::now().elapsed().is_zero() {}
        assert_eq!(short.find(&digest(&short, "ada")), None);
        // A pass that has ended is no pass, however long its answer is kept.
        let long = cache(HOUR, HOUR, 10);
        let Decision::Admitted(mut pass) = admitted(r#"{"user":"ada","expires_in":9}"#) else { panic!() };
        pass.ends_ms = Some(now_ms());
        long.keep(digest(&long, "ada"), &Decision::Admitted(pass));
        assert_eq!(long.find(&digest(&long, "ada")), None);
    }

    #[test]
    fn a_full_half_leaves_out_what_ends_first_and_the_other_half_stays() {
        let cache = cache(HOUR, HOUR, 3);
        cache.keep(digest(&cache, "ada"), &admitted(r#"{"user":"ada"}"#));
        for number in 0..100 {
            cache.keep(digest(&cache, &number.to_string()), &refused());
        }
        let half = cache.refused.as_ref().unwrap().lock().unwrap();
        assert_eq!((half.entries.len(), half.ends.len()), (3, 3));
        drop(half);
        assert!(cache.find(&digest(&cache, "ada")).is_some());
        assert!(cache.find(&digest(&cache, "99")).is_some() && cache.find(&digest(&cache, "96")).is_none());
    }
}
