//! What became of a session, for handles that outlive it.
//!
//! In      a slot's generation and state, from the shard that owns the slot
//! Out     the state, to any thread, as long as the slot is not used again
//! Bounds  8 bytes per slot; grows by doubling, never moves and never shrinks; a read takes no lock

use crate::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
    table_len,
};

/// The states of one shard's slots. What a state means is the writer's.
#[derive(Default)]
pub(crate) struct HandleStates {
    /// Chunk k holds `FIRST_CHUNK_SLOTS << k` slots, so that a slot's chunk is found by one bit scan.
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
}

impl HandleStates {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets the state of a slot. For the owner of the slot only.
    ///
    /// # Panics
    /// If `generation` is 0: that is what unused slots have.
    pub(crate) fn set(&self, slot: u32, generation: u32, state: u32) {
        assert!(generation != 0, "generation 0 is never live");
        let (chunk, index) = place_of(slot);
        let states = self.chunks[chunk].get_or_init(|| {
            std::iter::repeat_with(|| AtomicU64::new(0)).take(FIRST_CHUNK_SLOTS << chunk).collect()
        });
        states[index].store((u64::from(generation) << 32) | u64::from(state), Ordering::Release);
    }

    /// The state of this use of the slot; `None` once the slot has another.
    pub(crate) fn get(&self, slot: u32, generation: u32) -> Option<u32> {
        let (chunk, index) = place_of(slot);
        let packed = self.chunks[chunk].get()?[index].load(Ordering::Acquire);
        (generation != 0 && packed >> 32 == u64::from(generation)).then(|| low_half(packed))
    }
}

fn place_of(slot: u32) -> (usize, usize) {
    let shifted = slot as usize + FIRST_CHUNK_SLOTS;
    let chunk = shifted.ilog2() - FIRST_CHUNK_SLOTS.ilog2();
    (chunk as usize, shifted - (FIRST_CHUNK_SLOTS << chunk))
}

#[expect(clippy::cast_possible_truncation, reason = "the upper half is another value")]
fn low_half(packed: u64) -> u32 {
    packed as u32
}

const FIRST_CHUNK_SLOTS: usize = table_len(1024, 2);
/// Enough for every `u32` slot.
const CHUNKS: usize = table_len(23, 2);

#[cfg(all(loom, test))]
mod models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Slots around the edges of chunks, and some between.
    fn slot() -> impl Strategy<Value = u32> {
        prop_oneof![0..4u32, 1022..1026u32, 3070..3074u32, 7166..7170u32, 0..20_000u32]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_of_the_latest_use(
            sets in prop::collection::vec((slot(), 1..4u32, any::<u32>()), 1..100),
            asked in prop::collection::vec((slot(), 0..4u32), 1..100),
        ) {
            let states = HandleStates::new();
            let mut oracle = HashMap::new();
            for (slot, generation, state) in sets {
                states.set(slot, generation, state);
                oracle.insert(slot, (generation, state));
                prop_assert_eq!(states.get(slot, generation), Some(state));
            }
            let known: Vec<_> = oracle.iter().map(|(&slot, &(generation, _))| (slot, generation)).collect();
            for (slot, generation) in asked.into_iter().chain(known) {
                let expected = oracle.get(&slot).filter(|latest| latest.0 == generation).map(|latest| latest.1);
                prop_assert_eq!(states.get(slot, generation), expected);
            }
        }
    }

    #[test]
    fn every_slot_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for slot in 0..100_000 {
            let place = place_of(slot);
            let behind = (next.0 + 1, 0);
            assert!(place == next || place == behind && next.1 == FIRST_CHUNK_SLOTS << next.0);
            next = (place.0, place.1 + 1);
        }
        assert_eq!(place_of(u32::MAX).0, CHUNKS - 1);
    }

    #[test]
    fn readers_see_the_state_of_their_generation_or_none() {
        let states = HandleStates::new();
        states.set(5, 1, 1);
        std::thread::scope(|scope| {
            scope.spawn(|| (2..20_000).for_each(|use_number| states.set(5, use_number, use_number)));
            for generation in 1..20_000 {
                assert!(states.get(5, generation).is_none_or(|state| state == generation));
            }
        });
        assert_eq!(states.get(5, 19_999), Some(19_999));
        assert_eq!(states.get(5, 1), None);
    }
}
