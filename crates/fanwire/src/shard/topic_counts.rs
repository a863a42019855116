//! How many subscribers each topic has in the whole process.
//!
//! In      a shard's first subscriber of a topic, its last one; from then on plain adds to a shared counter
//! Out     the sum over all shards, from any thread
//! Bounds  one entry per live topic; a lock is taken only when a shard gains or loses a topic, or to ask

#[cfg(feature = "sim")]
mod audit;

use std::{
    collections::{BinaryHeap, HashMap},
    sync::{Arc, PoisonError},
};

use ahash::RandomState;

use crate::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, Ordering},
    table_len,
};

/// The counters of all topics, striped so that shards seldom meet at a lock.
pub(crate) struct TopicCounts {
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
}

/// One topic's counter, shared by all shards that have subscribers of it.
pub(crate) type TopicCount = Arc<AtomicU32>;

impl TopicCounts {
    pub(crate) fn new(seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        let hasher = RandomState::with_seeds(a, b, c, d);
        let stripe = || Mutex::new(HashMap::with_hasher(hasher.clone()));
        let stripes = std::iter::repeat_with(stripe).take(STRIPES).collect();
        Self { hasher, stripes }
    }

    /// Subscribers of `name` on all shards. Other threads may change it meanwhile.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.stripe(name).get(name).map_or(0, |count| count.load(Ordering::Relaxed) as usize)
    }

    /// The first `most` topics, in the order of what `key` makes of each, with their subscribers on all shards; those
    /// without a key are passed over. Cost: O(topics), a part of them under each lock.
    pub(crate) fn first_by<K: Ord>(
        &self,
        most: usize,
        mut key: impl FnMut(&Arc<str>, u32) -> Option<K>,
    ) -> Vec<K> {
        let mut first = BinaryHeap::with_capacity(most.min(KEYS_AT_FIRST));
        for stripe in &self.stripes {
            let stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, count) in stripe.iter() {
                let Some(key) = key(name, count.load(Ordering::Relaxed)) else { continue };
                if first.len() < most {
                    first.push(key);
                } else if first.peek().is_some_and(|last| key < *last) {
                    first.pop();
                    first.push(key);
                }
            }
        }
        first.into_sorted_vec()
    }

    /// The counter of `name`, made if no shard had it. Goes back by `give_back`.
    pub(crate) fn take(&self, name: &Arc<str>) -> TopicCount {
        Arc::clone(self.stripe(name).entry(Arc::clone(name)).or_default())
    }

    /// Returns what `take` gave; the last shard to do so removes the topic.
    pub(crate) fn give_back(&self, name: &str, count: TopicCount) {
        let mut stripe = self.stripe(name);
        // Counters are cloned and dropped under this lock only, so the count of owners is exact.
        drop(count);
        if stripe.get(name).is_some_and(|count| Arc::strong_count(count) == 1) {
            stripe.remove(name);
            if stripe.capacity() > TOPICS_KEPT_MAX && stripe.len() < stripe.capacity() / 4 {
                let kept = stripe.len() * 2;
                stripe.shrink_to(kept);
            }
        }
    }

    fn stripe(&self, name: &str) -> MutexGuard<'_, Stripe> {
        // The map inside uses the low and the highest bits of the same hash.
        let index = (self.hasher.hash_one(name) >> 40) as usize % STRIPES;
        self.stripes[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Stripe = HashMap<Arc<str>, TopicCount, RandomState>;

const STRIPES: usize = table_len(64, 1);
const TOPICS_KEPT_MAX: usize = 64;

/// Room for answers before any is there.
const KEYS_AT_FIRST: usize = 1_024;

#[cfg(all(loom, test))]
mod models;
#[cfg(test)]
mod tests {
    use super::*;

    impl TopicCounts {
        /// Topics that some shard holds.
        pub(in crate::shard) fn topic_count(&self) -> usize {
            self.stripes.iter().map(|stripe| stripe.lock().unwrap().len()).sum()
        }
    }

    #[test]
    fn shards_that_share_a_topic_share_a_counter() {
        let counts = TopicCounts::new([1, 2, 3, 4]);
        let one = counts.take(&"a".into());
        let other = counts.take(&"a".into());
        one.fetch_add(2, Ordering::Relaxed);
        other.fetch_add(3, Ordering::Relaxed);
        assert_eq!((counts.count("a"), counts.count("b")), (5, 0));
        other.fetch_sub(3, Ordering::Relaxed);
        counts.give_back("a", other);
        assert_eq!((counts.count("a"), counts.topic_count()), (2, 1));
        one.fetch_sub(2, Ordering::Relaxed);
        counts.give_back("a", one);
        assert_eq!((counts.count("a"), counts.topic_count()), (0, 0));
    }

    #[test]
    fn churn_on_many_threads_ends_at_zero() {
        let counts = TopicCounts::new([1, 2, 3, 4]);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let counts = &counts;
                scope.spawn(move || churn(counts, thread));
            }
        });
        assert_eq!(counts.topic_count(), 0);
    }

    fn churn(counts: &TopicCounts, thread: usize) {
        for round in 0..2_000 {
            let name: Arc<str> = format!("topic:{}", (round * (thread + 1)) % 5).into();
            let count = counts.take(&name);
            count.fetch_add(1, Ordering::Relaxed);
            assert!(counts.count(&name) >= 1, "its own subscriber is counted");
            count.fetch_sub(1, Ordering::Relaxed);
            counts.give_back(&name, count);
        }
    }

    #[test]
    fn room_for_topics_is_given_back() {
        let counts = TopicCounts::new([1, 2, 3, 4]);
        let names: Vec<Arc<str>> = (0..50_000).map(|topic| format!("topic:{topic}").into()).collect();
        let taken: Vec<_> = names.iter().map(|name| counts.take(name)).collect();
        for (name, count) in names.iter().zip(taken) {
            counts.give_back(name, count);
        }
        let held: usize = counts.stripes.iter().map(|stripe| stripe.lock().unwrap().capacity()).sum();
        assert!(held <= STRIPES * TOPICS_KEPT_MAX * 2, "{held} places are held");
    }

    #[test]
    fn a_stripe_shrinks_to_twice_its_topics_and_only_below_a_quarter() {
        let counts = TopicCounts::new([1, 2, 3, 4]);
        let stripe_of = |name: &str| std::ptr::from_ref(&*counts.stripe(name));
        let names = (0..).map(|topic| Arc::from(format!("topic:{topic}")));
        let names: Vec<Arc<str>> = names.filter(|name| stripe_of(name) == stripe_of("")).take(896).collect();
        let taken: Vec<_> = names.iter().map(|name| counts.take(name)).collect();
        let held = || {
            let stripe = counts.stripe("");
            (stripe.capacity(), stripe.len())
        };
        for (name, count) in names.iter().zip(taken) {
            let (before, _) = held();
            counts.give_back(name, count);
            let (room, topics) = held();
            assert!(room <= TOPICS_KEPT_MAX || topics >= room / 4, "{topics} topics hold {room} places");
            // A map loses a place to some removals, too.
            let has_shrunk = room + 1 < before;
            assert!(!has_shrunk || topics < before / 4 && room >= 2 * topics, "{before} to {room}");
        }
    }

    #[test]
    fn topics_are_spread_over_all_stripes() {
        let counts = TopicCounts::new([1, 2, 3, 4]);
        for topic in 0..STRIPES * 64 {
            counts.take(&format!("topic:{topic}").into());
        }
        for stripe in &counts.stripes {
            let topics = stripe.lock().unwrap().len();
            assert!((16..=256).contains(&topics), "{topics} topics in one stripe");
        }
    }
}
