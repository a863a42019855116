//! Audit of the counters over all shards, against the topics that the shards have.

use std::sync::Arc;

use super::TopicCounts;
use crate::sync::atomic::{AtomicU32, Ordering};

impl TopicCounts {
    /// Topics that some shard holds.
    pub(in crate::shard) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().map_or(0, |stripe| stripe.len())).sum()
    }

    /// Checks the counter that so many shards have of a topic with so many subscribers.
    pub(in crate::shard) fn audit(
        &self,
        name: &str,
        count: &Arc<AtomicU32>,
        shards: usize,
        subscribers: usize,
    ) -> Result<(), String> {
        let counted = count.load(Ordering::Relaxed) as usize;
        ensure!(
            counted == subscribers,
            "topic {name:?} counts {counted} subscribers, but it has {subscribers}"
        );
        let stripe = self.stripe(name);
        let known = stripe.get(name).is_some_and(|known| Arc::ptr_eq(known, count));
        ensure!(known, "topic {name:?} has a counter that is not found by its name");
        let owners = Arc::strong_count(count);
        ensure!(
            owners == shards + 1,
            "the counter of topic {name:?} has {owners} owners for {shards} shards"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lie_of_a_counter_is_found() {
        let counts = TopicCounts::new([1, 2, 3, 4]);
        let count = counts.take(&"a".into());
        count.fetch_add(2, Ordering::Relaxed);
        assert_eq!((counts.audit("a", &count, 1, 2), counts.len()), (Ok(()), 1));
        assert!(counts.audit("a", &count, 1, 3).unwrap_err().contains("counts 2 subscribers, but it has 3"));
        assert!(counts.audit("a", &count, 2, 2).unwrap_err().contains("2 owners for 2 shards"));
        let stray = Arc::new(AtomicU32::new(2));
        assert!(counts.audit("a", &stray, 1, 2).unwrap_err().contains("not found by its name"));
    }
}
