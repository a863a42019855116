//! The timers of a shard: one live deadline per session, and stale ones that nobody has to remove.
//!
//! In      a slot, a stamp that tells its live entry from stale ones, a deadline; the time
//! Out     slots whose deadline has passed: never early, less than one tick late; when to look again
//! Bounds  16 bytes per entry; one `advance` fires and moves at most `budget` entries together
//! Source  hierarchical timing wheels (Varghese and Lauck 1987), levels chosen by the highest differing bit

#[cfg(feature = "sim")]
mod audit;

/// A timing wheel. Times are nanoseconds of one clock that never goes back.
pub(crate) struct Wheel {
    /// Every entry in `levels` has a tick after this one, but for those of a bucket that a budget has cut.
    current: u64,
    levels: [Level; LEVELS as usize],
    /// Entries that were due when they came.
    due: Vec<Entry>,
    len: usize,
}

impl Wheel {
    pub(crate) fn new(now_ns: u64) -> Self {
        let levels = std::array::from_fn(|_| Level::default());
        Self { current: now_ns / TICK_NS, levels, due: Vec::new(), len: 0 }
    }

    /// Adds an entry. One that is already due fires at the next `advance`.
    pub(crate) fn schedule(&mut self, slot: u32, stamp: u32, deadline_ns: u64) {
        self.len += 1;
        self.insert(Entry { tick: deadline_ns.div_ceil(TICK_NS), slot, stamp });
    }

    /// Fires what is due at `now_ns`. What the budget leaves fires in the next calls.
    pub(crate) fn advance(&mut self, now_ns: u64, budget: usize, mut fire: impl FnMut(u32, u32)) {
        let target = now_ns / TICK_NS;
        let mut left = budget;
        self.fire_due(&mut left, &mut fire);
        while left > 0 {
            let Some(bucket) = self.first_bucket().filter(|bucket| bucket.tick <= target) else {
                self.current = self.current.max(target);
                return;
            };
            self.current = self.current.max(bucket.tick);
            self.empty(&bucket, &mut left, &mut fire);
        }
    }

    /// When to call `advance` again: at the tick in which the first entry fires or, since an entry far off is
    /// looked at a few times on its way, well before it. O(1).
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if !self.due.is_empty() {
            return Some(self.current * TICK_NS);
        }
        self.first_bucket().map(|bucket| bucket.tick.saturating_mul(TICK_NS))
    }

    /// Entries, stale ones included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn insert(&mut self, entry: Entry) {
        if entry.tick <= self.current {
            self.due.push(entry);
            return;
        }
        let level = (entry.tick ^ self.current).ilog2() / LEVEL_BITS;
        self.levels[level as usize].push(bucket_of(entry.tick, level), entry);
    }

    fn fire_due(&mut self, left: &mut usize, fire: &mut impl FnMut(u32, u32)) {
        while *left > 0
            && let Some(entry) = self.due.pop()
        {
            *left -= 1;
            self.len -= 1;
            fire(entry.slot, entry.stamp);
        }
        give_back_if_large(&mut self.due);
    }

    /// Moves a bucket's entries down to their levels, those of the current tick out.
    fn empty(&mut self, bucket: &Bucket, left: &mut usize, fire: &mut impl FnMut(u32, u32)) {
        while *left > 0
            && let Some(entry) = self.levels[bucket.level as usize].pop(bucket.index)
        {
            *left -= 1;
            if entry.tick <= self.current {
                self.len -= 1;
                fire(entry.slot, entry.stamp);
            } else {
                self.insert(entry);
            }
        }
    }

    /// The occupied bucket that starts first. Levels lie one behind the other in time, except that a
    /// higher one may hold the rest of a bucket that a budget has cut, which starts now.
    fn first_bucket(&self) -> Option<Bucket> {
        let buckets = (0..LEVELS).zip(&self.levels).filter_map(|(level, contents)| {
            let index = contents.first()?;
            let shift = level * LEVEL_BITS;
            let start = self.current >> shift >> LEVEL_BITS << LEVEL_BITS;
            Some(Bucket { level, index, tick: (start | u64::from(index)) << shift })
        });
        buckets.min_by_key(|bucket| bucket.tick)
    }
}

#[derive(Clone, Copy)]
struct Entry {
    tick: u64,
    slot: u32,
    stamp: u32,
}

/// Which bucket, and the first tick of its entries.
struct Bucket {
    level: u32,
    index: u32,
    tick: u64,
}

struct Level {
    /// Bit i: bucket i is not empty.
    occupied: u64,
    buckets: [Vec<Entry>; 1 << LEVEL_BITS],
}

impl Default for Level {
    fn default() -> Self {
        Self { occupied: 0, buckets: std::array::from_fn(|_| Vec::new()) }
    }
}

impl Level {
    fn push(&mut self, index: u32, entry: Entry) {
        self.buckets[index as usize].push(entry);
        self.occupied |= 1 << index;
    }

    fn pop(&mut self, index: u32) -> Option<Entry> {
        let bucket = &mut self.buckets[index as usize];
        let entry = bucket.pop();
        if bucket.is_empty() {
            self.occupied &= !(1 << index);
            give_back_if_large(bucket);
        }
        entry
    }

    /// Buckets behind the current one hold nothing, so the lowest is the earliest.
    fn first(&self) -> Option<u32> {
        (self.occupied != 0).then(|| self.occupied.trailing_zeros())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "six bits are left")]
fn bucket_of(tick: u64, level: u32) -> u32 {
    (tick >> (level * LEVEL_BITS)) as u32 % (1 << LEVEL_BITS)
}

fn give_back_if_large(entries: &mut Vec<Entry>) {
    if entries.is_empty() && entries.capacity() > ENTRIES_KEPT_MAX {
        *entries = Vec::new();
    }
}

const TICK_NS: u64 = 8_000_000;
const LEVEL_BITS: u32 = 6;
/// Enough for every deadline a `u64` can hold, so that nothing is ever out of range.
const LEVELS: u32 = 7;
const ENTRIES_KEPT_MAX: usize = 64;

const _: () = assert!(size_of::<Entry>() == 16);
const _: () = assert!(u64::MAX / TICK_NS < 1 << (LEVEL_BITS * LEVELS));

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        /// A deadline so far from now; before it if `past`.
        Schedule {
            distance_ns: u64,
            past: bool,
        },
        Advance {
            passed_ns: u64,
            budget: usize,
        },
    }

    /// Distances of every order of magnitude, up to days, and exact numbers of ticks.
    fn distance_ns() -> impl Strategy<Value = u64> {
        prop_oneof![
            (0..48u32, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1)),
            (0..5_000u64).prop_map(|ticks| ticks * TICK_NS),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        let budget = prop_oneof![3 => Just(usize::MAX), 1 => 0..6usize];
        prop_oneof![
            3 => (distance_ns(), prop::bool::weighted(0.1))
                .prop_map(|(distance_ns, past)| Op::Schedule { distance_ns, past }),
            2 => (distance_ns(), budget).prop_map(|(passed_ns, budget)| Op::Advance { passed_ns, budget }),
        ]
    }

    /// The wheel, and what is in it by number: the deadline in nanoseconds.
    struct World {
        wheel: Wheel,
        now_ns: u64,
        waiting: BTreeMap<u32, u64>,
        scheduled: u32,
    }

    impl World {
        fn new(now_ns: u64) -> Self {
            Self { wheel: Wheel::new(now_ns), now_ns, waiting: BTreeMap::new(), scheduled: 0 }
        }

        fn schedule(&mut self, deadline_ns: u64) {
            self.wheel.schedule(self.scheduled, !self.scheduled, deadline_ns);
            self.waiting.insert(self.scheduled, deadline_ns);
            self.scheduled += 1;
        }

        fn advance(&mut self, now_ns: u64, budget: usize) -> usize {
            self.now_ns = now_ns;
            let mut fired = 0;
            self.wheel.advance(now_ns, budget, |slot, stamp| {
                assert_eq!(stamp, !slot);
                let deadline_ns = self.waiting.remove(&slot).expect("it fires once");
                assert!(deadline_ns <= now_ns, "it fired early");
                fired += 1;
            });
            assert!(fired <= budget);
            fired
        }

        /// As a shard does with a budget: call after call until the wheel asks for a later time.
        fn advance_in_steps(&mut self, now_ns: u64, budget: usize) {
            while self.wheel.next_deadline().is_some_and(|at| at <= now_ns) {
                self.advance(now_ns, budget);
            }
        }

        fn check(&self) {
            assert_eq!(self.wheel.len(), self.waiting.len());
            let first = self.waiting.values().min().copied();
            let next = self.wheel.next_deadline();
            assert_eq!(next.is_some(), first.is_some());
            if let (Some(next), Some(first)) = (next, first) {
                let tick_end_ns = first.max(self.now_ns).saturating_add(TICK_NS);
                assert!(next < tick_end_ns, "less than a tick late");
            }
        }

        fn check_all_due_fired(&self) {
            let late = self.waiting.values().find(|&deadline_ns| deadline_ns + TICK_NS <= self.now_ns);
            assert_eq!(late, None, "it fires less than a tick late");
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(
            start_ns in distance_ns(),
            ops in prop::collection::vec(op(), 1..200),
        ) {
            let mut world = World::new(start_ns);
            for op in ops {
                match op {
                    Op::Schedule { distance_ns, past: false } => world.schedule(world.now_ns + distance_ns),
                    Op::Schedule { distance_ns, past: true } => {
                        world.schedule(world.now_ns.saturating_sub(distance_ns));
                    }
                    Op::Advance { passed_ns, budget } => {
                        world.advance(world.now_ns + passed_ns, budget);
                        if budget == usize::MAX {
                            world.check_all_due_fired();
                        }
                    }
                }
                world.check();
            }
            world.advance_in_steps(world.now_ns, 1);
            world.check_all_due_fired();
        }
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_advance() {
        let mut world = World::new(1_000 * TICK_NS);
        world.schedule(0);
        world.schedule(1_000 * TICK_NS);
        assert_eq!(world.wheel.next_deadline(), Some(1_000 * TICK_NS), "the present tick");
        assert_eq!(world.advance(1_000 * TICK_NS, usize::MAX), 2);
    }

    #[test]
    fn a_jump_of_hours_fires_everything_under_its_budget() {
        let mut world = World::new(0);
        for index in 0..10_000 {
            world.schedule(index * 1_000_000);
        }
        let hours_ns = 100 * 3_600 * 1_000_000_000;
        let mut calls = 0;
        while !world.waiting.is_empty() {
            world.advance(hours_ns, 1_000);
            calls += 1;
            // Each entry is looked at once per level at most.
            assert!(calls <= 10 * LEVELS, "the budget brings it forward");
        }
    }

    #[test]
    fn the_last_moment_of_the_clock_is_no_exception() {
        let mut world = World::new(0);
        world.schedule(u64::MAX);
        world.schedule(u64::MAX - 10 * TICK_NS);
        assert_eq!(world.advance(u64::MAX / 2, usize::MAX), 0);
        assert_eq!(world.advance(u64::MAX, usize::MAX), 1);
        assert_eq!(world.wheel.len(), 1);
    }

    #[test]
    fn a_poll_that_waits_for_the_next_deadline_wakes_few_times_for_a_far_one() {
        let mut world = World::new(12_345);
        world.schedule(3_600_000_000_000);
        let mut polls = 0;
        while let Some(at) = world.wheel.next_deadline() {
            world.advance(at, usize::MAX);
            polls += 1;
        }
        assert!(polls <= LEVELS && world.waiting.is_empty());
    }

    /// Entries for which the wheel has room.
    fn held(wheel: &Wheel) -> usize {
        let buckets = wheel.levels.iter().flat_map(|level| &level.buckets);
        buckets.map(Vec::capacity).sum::<usize>() + wheel.due.capacity()
    }

    #[test]
    fn buckets_that_were_large_hold_no_memory() {
        let mut world = World::new(0);
        for _ in 0..10_000 {
            world.schedule(25_000_000_000);
        }
        world.advance(30_000_000_000, usize::MAX);
        assert_eq!((world.wheel.len(), held(&world.wheel)), (0, 0));
    }

    #[test]
    fn room_for_many_entries_is_given_back_once_the_last_has_fired() {
        let now_ns = 10 * TICK_NS;
        for (entries, kept) in [(ENTRIES_KEPT_MAX, ENTRIES_KEPT_MAX), (ENTRIES_KEPT_MAX + 1, 0)] {
            // They are due at once, or wait in a bucket.
            for deadline_ns in [now_ns, now_ns + TICK_NS] {
                let mut world = World::new(now_ns);
                (0..entries).for_each(|_| world.schedule(deadline_ns));
                assert_eq!(world.advance(deadline_ns, entries - 1), entries - 1);
                assert!(held(&world.wheel) >= entries);
                assert_eq!(world.advance(deadline_ns, usize::MAX), 1, "the budget has cut it off");
                assert_eq!(held(&world.wheel), kept, "after {entries} entries");
            }
        }
    }
}
