//! Audit of the topic table: both directions of every membership agree.

use std::sync::Arc;

use super::TopicTable;
use crate::sync::atomic::AtomicU32;

impl TopicTable {
    /// The topics that have a subscriber, in no particular order.
    pub(in crate::shard) fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|(_, topic)| &*topic.name)
    }

    /// Each topic's name, its counter over all shards, and its subscribers here.
    pub(in crate::shard) fn counters(&self) -> impl Iterator<Item = (&str, &Arc<AtomicU32>, usize)> {
        self.topics.iter().map(|(_, topic)| (&*topic.name, &topic.count, topic.subscribers.len()))
    }

    /// Checks the table against itself; `is_open` tells of a slot whether it may be subscribed at all.
    pub(in crate::shard) fn audit(&self, is_open: impl Fn(u32) -> bool) -> Result<(), String> {
        let mut count = 0;
        for (id, topic) in &self.topics {
            let name = &topic.name;
            ensure!(
                self.ids.get(name).is_some_and(|&known| known as usize == id),
                "topic {name:?} is not found by its name"
            );
            ensure!(!topic.subscribers.is_empty(), "topic {name:?} is kept without a subscriber");
            ensure!(
                topic.subscribers.len() == topic.places.len(),
                "topic {name:?} has lost a subscriber's place"
            );
            for (position, (&slot, &place)) in topic.subscribers.iter().zip(&topic.places).enumerate() {
                let membership = self.memberships(slot).get(place as usize);
                let agrees = membership.is_some_and(|membership| {
                    membership.topic as usize == id && membership.position as usize == position
                });
                ensure!(
                    agrees,
                    "topic {name:?} has slot {slot} at {position}, and the session says otherwise"
                );
                ensure!(is_open(slot), "topic {name:?} has slot {slot}, whose session is not open");
            }
            count += topic.subscribers.len();
        }
        ensure!(
            self.ids.len() == self.topics.len(),
            "{} names lead to {} topics",
            self.ids.len(),
            self.topics.len()
        );
        let of_sessions: usize = self.sessions.iter().map(|session| session.len()).sum();
        ensure!(of_sessions == count, "sessions have {of_sessions} subscriptions, topics {count}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{topic_counts::TopicCounts, topics::Subscribed};

    fn broken(corrupt: impl Fn(&mut TopicTable)) -> String {
        let seeds = [1, 2, 3, 4];
        let mut table = TopicTable::new(seeds, Arc::new(TopicCounts::new(seeds)));
        for slot in 0..5 {
            table.subscribe(slot, "a");
            table.subscribe(slot, "b");
        }
        table.unsubscribe(1, "a");
        assert_eq!(table.audit(|_| true), Ok(()));
        corrupt(&mut table);
        table.audit(|slot| slot != 9).unwrap_err()
    }

    #[test]
    fn each_lie_of_a_topic_table_is_found() {
        assert!(broken(|table| table.topics[0].subscribers.swap(0, 1)).contains("says otherwise"));
        assert!(broken(|table| table.topics[0].places[2] += 1).contains("says otherwise"));
        assert!(broken(|table| table.sessions[4][0].position += 1).contains("says otherwise"));
        assert!(broken(|table| table.topics[0].places.truncate(2)).contains("place"));
        assert!(broken(|table| table.ids.retain(|name, _| **name != *"a")).contains("by its name"));
        assert!(broken(|table| table.ids.extend([("c".into(), 0)])).contains("names lead to"));
        assert!(broken(|table| table.topics[1].subscribers.clear()).contains("without a subscriber"));
        let stray = |table: &mut TopicTable| {
            let membership = table.sessions[0][0];
            table.sessions[0].push(membership);
        };
        assert!(broken(stray).contains("sessions have 10 subscriptions, topics 9"));
        assert!(
            broken(|table| assert_ne!(table.subscribe(9, "a"), Subscribed::Already)).contains("is not open")
        );
    }
}
