//! The simulation's only source of chance: the same seed gives the same run.
//!
//! In      a seed
//! Out     numbers
//! Source  SplitMix64 (Steele, Lea, Flood 2014)

/// A small generator. Not for secrets.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of one part of a simulation, by its number.
    pub(super) fn of(seed: u64, part: u64) -> Self {
        let mut rng = Self(seed ^ part.wrapping_mul(0xd134_2543_de82_ef95));
        Self(rng.number())
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end - 1`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let chosen = self.number() % u64::try_from(end.max(1)).expect("lengths fit into 64 bits");
        usize::try_from(chosen).expect("it is below a usize")
    }

    /// Whether something with a chance of so many in a thousand happens.
    pub(super) fn happens(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.number() % 1_000 < u64::from(per_mille)
    }

    pub(super) fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.number().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let numbers = |seed| {
            let mut rng = Rng::new(seed);
            std::array::from_fn::<_, 8, _>(|_| rng.number())
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        let part = |seed, part| Rng::of(seed, part).number();
        assert_eq!(part(7, 1), part(7, 1));
        assert!(part(7, 1) != part(7, 2) && part(7, 1) != part(8, 1));
    }

    #[test]
    fn chances_are_about_what_they_say() {
        let mut rng = Rng::new(1);
        let count = (0..10_000).filter(|_| rng.happens(250)).count();
        assert!((2_000..3_000).contains(&count), "{count}");
        assert!((0..1_000).all(|_| !rng.happens(0) && rng.happens(1_000) && rng.below(3) < 3));
    }
}
