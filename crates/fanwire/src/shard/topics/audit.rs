//! Audit of the topic table: both directions of every membership agree.

use super::TopicTable;

impl TopicTable {
    /// The topics that have a subscriber, in no particular order.
    pub(in crate::shard) fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|(_, topic)| &*topic.name)
    }
}
