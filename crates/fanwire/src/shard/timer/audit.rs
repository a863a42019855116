//! What an audit sees of the timer wheel.

use super::{TICK_NS, Wheel};

impl Wheel {
    /// Gives every entry, stale ones included: slot, stamp and deadline in nanoseconds.
    pub(in crate::shard) fn for_each(&self, mut on_entry: impl FnMut(u32, u32, u64)) -> Result<(), String> {
        let mut count = 0;
        let mut give = |entries: &[super::Entry]| {
            count += entries.len();
            entries.iter().for_each(|entry| {
                on_entry(entry.slot, entry.stamp, entry.tick.saturating_mul(TICK_NS));
            });
        };
        give(&self.due);
        for level in &self.levels {
            let mut occupied = level.occupied;
            while occupied != 0 {
                give(&level.buckets[occupied.trailing_zeros() as usize]);
                occupied &= occupied - 1;
            }
        }
        ensure!(count == self.len, "the timer wheel has {count} entries within sight, but says {}", self.len);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_out_of_sight_is_found() {
        let mut wheel = Wheel::new(0);
        [0, 1, 10_000_000, 1 << 40].into_iter().for_each(|deadline| wheel.schedule(3, 4, deadline));
        let mut seen = Vec::new();
        assert_eq!(wheel.for_each(|slot, stamp, deadline| seen.push((slot, stamp, deadline))), Ok(()));
        assert_eq!(seen.len(), 4);
        assert!(seen.iter().all(|&(slot, stamp, _)| (slot, stamp) == (3, 4)));
        assert!(seen.iter().any(|&(_, _, deadline)| deadline >= 1 << 40));
        wheel.levels.iter_mut().for_each(|level| level.occupied = 0);
        assert!(wheel.for_each(|_, _, _| ()).unwrap_err().contains("within sight"));
    }
}
