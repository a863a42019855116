//! Audit of the interest filter: counts and bits against the topics of a shard.

use super::{Interest, InterestOwner, index_of};
use crate::sync::atomic::{AtomicU64, Ordering};

impl Interest {
    /// Subscribes that are on their way to a shard.
    pub(in crate::shard) fn pending_subscribes(&self) -> usize {
        self.pending_subscribes.load(Ordering::SeqCst)
    }
}

impl InterestOwner {
    /// Where a topic is counted.
    pub(in crate::shard) fn place_of(topic_hash: u64) -> usize {
        index_of(topic_hash)
    }

    /// Checks the places of all topics of this shard (one entry each, in ascending order) and those that were in use
    /// at the audit before.
    pub(in crate::shard) fn audit(&self, places: &[usize], before: &[usize]) -> Result<(), String> {
        for same in places.chunk_by(|one, other| one == other) {
            self.audit_place(same[0], same.len())?;
        }
        for &place in before {
            if places.binary_search(&place).is_err() {
                self.audit_place(place, 0)?;
            }
        }
        Ok(())
    }

    /// Checks that nothing is left in any place.
    pub(in crate::shard) fn audit_empty(&self) -> Result<(), String> {
        let is_set = |mask: &AtomicU64| mask.load(Ordering::Relaxed) & self.bit != 0;
        let counted = self.counts.iter().position(|&count| count > 0);
        let place = counted.or_else(|| self.interest.masks.iter().position(is_set));
        place.map_or(Ok(()), |place| self.audit_place(place, 0))
    }

    fn audit_place(&self, place: usize, topics: usize) -> Result<(), String> {
        let count = self.counts[place];
        ensure!(
            count as usize == topics,
            "the interest filter counts {count} topics in place {place}, but it is {topics}"
        );
        let is_set = self.interest.masks[place].load(Ordering::SeqCst) & self.bit != 0;
        ensure!(
            is_set == (topics > 0),
            "the interest filter's bit in place {place} is {}, with {topics} topics there",
            if is_set { "set" } else { "clear" }
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(corrupt: impl Fn(&mut InterestOwner), places: &[usize], before: &[usize]) -> String {
        let mut owner = InterestOwner::new(Interest::new(2), 1);
        [7, 7, 9].into_iter().for_each(|hash| owner.add(hash));
        assert_eq!(owner.audit(&[7, 7, 9], &[8]), Ok(()));
        corrupt(&mut owner);
        owner.audit(places, before).unwrap_err()
    }

    #[test]
    fn each_lie_of_the_filter_is_found() {
        assert!(broken(|_| (), &[7, 9], &[]).contains("counts 2 topics in place 7, but it is 1"));
        assert!(broken(|_| (), &[7, 7], &[7, 9]).contains("counts 1 topics in place 9, but it is 0"));
        let clear = |owner: &mut InterestOwner| owner.interest.masks[9].store(0, Ordering::SeqCst);
        assert!(broken(clear, &[7, 7, 9], &[]).contains("bit in place 9 is clear, with 1 topics"));
        let keep = |owner: &mut InterestOwner| owner.counts[9] = 0;
        assert!(broken(keep, &[7, 7], &[9]).contains("bit in place 9 is set, with 0 topics"));
        let mut owner = InterestOwner::new(Interest::new(2), 1);
        assert_eq!(owner.audit_empty(), Ok(()));
        owner.add(65_535);
        assert!(owner.audit_empty().is_err());
    }
}
