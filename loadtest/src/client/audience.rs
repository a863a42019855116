//! Audiences: who receives, which topics each subscribes to, and which streams it is to hear.
//!
//! In      numbers of connections, topics and streams
//! Out     per connection its topics and streams
//! Bounds  none is kept per connection: each is worked out from its number
//! Source  none

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dialect::topic::{Topic, Topics};

/// Who is to receive.
#[derive(Clone, Debug)]
pub struct Audience {
    /// Connections.
    pub connections: usize,
    /// Processes that hold them; with one it is this one.
    pub processes: usize,
    /// Threads that hold them, over all processes.
    pub threads: usize,
    /// All topics of the run.
    pub topics: Arc<Topics>,
    /// Topics that each connection subscribes to; 0: it only holds its place.
    pub topics_each: usize,
    /// What the messages that arrive are streams of.
    pub streams: Streams,
}

/// What is in order among itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// The messages of each of so many publishers, all on one topic.
    Publishers(u32),
    /// The messages of each topic.
    Topics,
    /// The messages of each connection, all on one topic; whether it hears its own.
    Talkers {
        /// It does.
        hears_itself: bool,
    },
}

impl Audience {
    /// Of one topic.
    #[must_use]
    pub fn of_one(topic: &str, connections: usize, threads: usize, publishers: usize) -> Self {
        let publishers = u32::try_from(publishers).unwrap_or(u32::MAX);
        Self {
            connections,
            processes: 1,
            threads,
            topics: Arc::new(Topics::new(topic, 1)),
            topics_each: 1,
            streams: Streams::Publishers(publishers),
        }
    }

    /// Indices of the topics that connection `number` subscribes to: neighbours, so that all topics have
    /// equally many subscribers, as far as the numbers allow.
    pub fn topics_of(&self, number: usize) -> impl Iterator<Item = usize> {
        let (first, count) = (number * self.topics_each, self.topics.count());
        (first..first + self.topics_each.min(count)).map(move |index| index % count)
    }

    /// How many connections subscribe to each topic.
    #[must_use]
    pub fn subscribers_by_topic(&self) -> Vec<u64> {
        let mut counts = vec![0; self.topics.count()];
        for number in 0..self.connections {
            self.topics_of(number).for_each(|index| counts[index] += 1);
        }
        counts
    }

    /// The streams that connection `number` is to hear.
    #[must_use]
    pub fn streams_of(&self, number: usize) -> Vec<u32> {
        let index = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        match self.streams {
            _ if self.topics_each == 0 => Vec::new(),
            Streams::Publishers(count) => (0..count).collect(),
            Streams::Topics => self.topics_of(number).map(index).collect(),
            Streams::Talkers { hears_itself } => {
                (0..self.connections).filter(|&other| hears_itself || other != number).map(index).collect()
            }
        }
    }

    /// The topic of a stream.
    #[must_use]
    pub fn topic_of(&self, stream: u32) -> &Topic {
        match self.streams {
            Streams::Topics => self.topics.at(stream as usize),
            Streams::Publishers(_) | Streams::Talkers { .. } => self.topics.at(0),
        }
    }

    /// How many streams all connections are to hear; `None` if each hears others.
    #[must_use]
    pub fn common_streams(&self) -> Option<usize> {
        match self.streams {
            Streams::Publishers(count) if self.topics_each > 0 => Some(count as usize),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(connections: usize, topics: usize, topics_each: usize, streams: Streams) -> Audience {
        let topics = Arc::new(Topics::new("t", topics));
        Audience { connections, processes: 1, threads: 1, topics, topics_each, streams }
    }

    #[test]
    fn topics_are_spread_evenly() {
        let spread = audience(30, 10, 3, Streams::Topics);
        assert_eq!(spread.subscribers_by_topic(), [9; 10]);
        assert_eq!(spread.topics_of(3).collect::<Vec<_>>(), [9, 0, 1]);
        assert_eq!(spread.streams_of(3), [9, 0, 1]);
        let few = audience(2, 3, 9, Streams::Topics);
        assert_eq!(few.subscribers_by_topic(), [2; 3]);
    }

    #[test]
    fn who_talks_hears_itself_only_where_the_server_sends_it_back() {
        let hears = |hears_itself| audience(3, 1, 1, Streams::Talkers { hears_itself }).streams_of(1);
        assert_eq!((hears(true), hears(false)), (vec![0, 1, 2], vec![0, 2]));
        assert!(audience(3, 1, 0, Streams::Publishers(2)).streams_of(1).is_empty());
    }
}
