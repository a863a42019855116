//! Which shards have a subscriber of a topic, asked by every publisher.
//!
//! In      topic hashes, added and removed by the shard that has the subscriber
//! Out     a mask of shards; a bit too many costs that shard a look-up, a bit too few never happens
//! Bounds  512 KiB per process and 256 KiB per shard; at most 64 shards

#[cfg(feature = "sim")]
mod audit;

use std::sync::Arc;

use ahash::RandomState;

use crate::sync::{
    atomic::{AtomicU64, AtomicUsize, Ordering},
    table_len,
};

/// The filter that all shards and publishers share.
pub(crate) struct Interest {
    /// One bit per shard. INVARIANT: bit s is written by shard s alone.
    masks: Box<[AtomicU64]>,
    pending_subscribes: AtomicUsize,
    all_shards: u64,
}

impl Interest {
    /// # Panics
    /// If `shards` is not 1 to 64.
    pub(crate) fn new(shards: usize) -> Arc<Self> {
        assert!((1..=SHARDS_MAX).contains(&shards), "a mask has one bit per shard");
        Arc::new(Self {
            masks: std::iter::repeat_with(|| AtomicU64::new(0)).take(MASKS).collect(),
            pending_subscribes: AtomicUsize::new(0),
            all_shards: u64::MAX >> (SHARDS_MAX - shards),
        })
    }

    /// The shards that a publish on this topic must reach.
    ///
    /// The order of the two loads matters: a subscribe that is no longer pending has set its bit before.
    #[inline]
    pub(crate) fn interested(&self, topic_hash: u64) -> u64 {
        if self.pending_subscribes.load(Ordering::SeqCst) > 0 {
            return self.all_shards;
        }
        self.masks[index_of(topic_hash)].load(Ordering::SeqCst)
    }

    /// Called before a subscribe is sent to another shard. Until the value is dropped, which the owner does
    /// after its `InterestOwner::add`, every shard counts as interested in everything.
    pub(crate) fn begin_remote_subscribe(self: &Arc<Self>) -> PendingSubscribe {
        self.pending_subscribes.fetch_add(1, Ordering::SeqCst);
        PendingSubscribe { interest: Arc::clone(self) }
    }

    /// Every shard's bit.
    pub(crate) fn all_shards(&self) -> u64 {
        self.all_shards
    }
}

/// A subscribe on its way. It travels with the command, so that a command which is lost ends it too.
pub(crate) struct PendingSubscribe {
    interest: Arc<Interest>,
}

impl Drop for PendingSubscribe {
    fn drop(&mut self) {
        self.interest.pending_subscribes.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One shard's hand on the filter: counts its topics per mask, since topics may share one.
pub(crate) struct InterestOwner {
    interest: Arc<Interest>,
    counts: Vec<u32>,
    bit: u64,
}

impl InterestOwner {
    pub(crate) fn new(interest: Arc<Interest>, shard: usize) -> Self {
        let bit = 1 << shard;
        assert!(interest.all_shards & bit != 0, "the shard is one of those counted");
        Self { interest, counts: vec![0; MASKS], bit }
    }

    /// A topic has its first subscriber here.
    pub(crate) fn add(&mut self, topic_hash: u64) {
        let index = index_of(topic_hash);
        self.counts[index] += 1;
        if self.counts[index] == 1 {
            self.interest.masks[index].fetch_or(self.bit, Ordering::SeqCst);
        }
    }

    /// A topic has lost its last subscriber here.
    ///
    /// # Panics
    /// If the topic was not added.
    pub(crate) fn remove(&mut self, topic_hash: u64) {
        let index = index_of(topic_hash);
        assert!(self.counts[index] > 0, "a topic that is removed was added");
        self.counts[index] -= 1;
        if self.counts[index] == 0 {
            self.interest.masks[index].fetch_and(!self.bit, Ordering::SeqCst);
        }
    }
}

/// Hashes topic names alike on every shard and thread of a process.
#[derive(Clone)]
pub(crate) struct TopicHasher {
    state: RandomState,
}

impl TopicHasher {
    pub(crate) fn new(seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        Self { state: RandomState::with_seeds(a, b, c, d) }
    }

    #[inline]
    pub(crate) fn hash(&self, name: &str) -> u64 {
        self.state.hash_one(name)
    }
}

#[inline]
fn index_of(topic_hash: u64) -> usize {
    let [low, high, ..] = topic_hash.to_le_bytes();
    usize::from(u16::from_le_bytes([low, high])) % MASKS
}

const MASKS: usize = table_len(1 << u16::BITS, 2);
const SHARDS_MAX: usize = 64;

#[cfg(all(loom, test))]
mod models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::{collections::HashMap, sync::mpsc};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Add { shard: usize, topic: u64 },
        Remove { shard: usize, topic: u64 },
        Begin,
        Finish,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => (0..SHARDS, topic_hash()).prop_map(|(shard, topic)| Op::Add { shard, topic }),
            3 => (0..SHARDS, topic_hash()).prop_map(|(shard, topic)| Op::Remove { shard, topic }),
            1 => Just(Op::Begin),
            1 => Just(Op::Finish),
        ]
    }

    /// Few masks, and two hashes for each: topics that share one must not clear each other's bit.
    fn topic_hash() -> impl Strategy<Value = u64> {
        (0..3u64, 0..2u64).prop_map(|(low, high)| (low * 21_845) | (high << 32))
    }

    proptest! {
        #[test]
        fn behaves_like_counts_per_shard_and_mask(ops in prop::collection::vec(op(), 1..200)) {
            let interest = Interest::new(SHARDS);
            let mut owners: Vec<_> =
                (0..SHARDS).map(|shard| InterestOwner::new(Arc::clone(&interest), shard)).collect();
            let mut counts: HashMap<(usize, u64), u32> = HashMap::new();
            let mut pending = Vec::new();
            for op in ops {
                match op {
                    Op::Add { shard, topic } => {
                        owners[shard].add(topic);
                        *counts.entry((shard, topic)).or_default() += 1;
                    }
                    Op::Remove { shard, topic } => {
                        if let Some(count) = counts.get_mut(&(shard, topic)).filter(|count| **count > 0) {
                            owners[shard].remove(topic);
                            *count -= 1;
                        }
                    }
                    Op::Begin => pending.push(interest.begin_remote_subscribe()),
                    Op::Finish => drop(pending.pop()),
                }
                for low in [0, 21_845, 43_690u64] {
                    let wanted = |shard: usize| {
                        counts.iter().any(|(&(of, topic), &count)| {
                            of == shard && topic & 0xffff == low && count > 0
                        })
                    };
                    let mask = (0..SHARDS).filter(|&shard| wanted(shard)).map(|shard| 1 << shard).sum::<u64>();
                    let expected = if pending.is_empty() { mask } else { interest.all_shards() };
                    prop_assert_eq!(interest.interested(low), expected);
                }
            }
        }
    }

    #[test]
    fn a_remote_subscribe_is_never_missed_by_its_own_thread() {
        let interest = Interest::new(2);
        let mut owner = InterestOwner::new(Arc::clone(&interest), 1);
        let (commands, inbox) = mpsc::channel::<(u64, PendingSubscribe)>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for (topic, pending) in inbox {
                    owner.add(topic);
                    drop(pending);
                }
            });
            for topic in 0..20_000 {
                commands.send((topic, interest.begin_remote_subscribe())).unwrap();
                assert_ne!(interest.interested(topic) & 0b10, 0);
            }
            drop(commands);
        });
        assert_eq!(interest.interested(19_999), 0b10);
        assert_eq!(interest.interested(20_001), 0);
    }

    #[test]
    fn sixty_four_shards_fit_a_mask() {
        let interest = Interest::new(64);
        InterestOwner::new(Arc::clone(&interest), 63).add(9);
        assert_eq!(interest.interested(9), 1 << 63);
        assert_eq!(interest.all_shards(), u64::MAX);
        assert_eq!(Interest::new(1).all_shards(), 1);
    }

    #[test]
    fn a_lost_command_ends_its_pending_subscribe() {
        let interest = Interest::new(2);
        let (commands, inbox) = mpsc::channel();
        commands.send(interest.begin_remote_subscribe()).unwrap();
        assert_eq!(interest.interested(0), 0b11);
        drop((commands, inbox));
        assert_eq!(interest.interested(0), 0);
    }

    #[test]
    fn hashers_with_the_same_seeds_agree() {
        let (one, other) = (TopicHasher::new([1, 2, 3, 4]), TopicHasher::new([1, 2, 3, 4]));
        assert_eq!(one.hash("room:1"), other.hash("room:1"));
        assert_ne!(one.hash("room:1"), one.hash("room:2"));
        assert_ne!(one.hash("room:1"), TopicHasher::new([5, 6, 7, 8]).hash("room:1"));
    }

    const SHARDS: usize = 3;
}
