//! The publisher: the way into a server for threads that are no shard.
//!
//! In      topics and payloads, from any thread
//! Out     commands in the inboxes of the interested shards: all of them, or none and `Full`
//! Bounds  `inbox_size` per shard; never blocks
//! Source  docs/architecture.md

use std::{cell::RefCell, cmp::Reverse, fmt, sync::Arc};

use crate::{
    error::PublishError,
    frame::{Frame, Payload},
    session::SessionHandle,
    shared::Shared,
};

/// Publishes from any thread. Cheap to clone.
///
/// What one thread publishes on a topic, every subscriber gets in that order.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Publishes to all subscribers of `topic`. Cost here: one allocation, and one queue entry per shard that has
    /// a subscriber; none if there is none.
    ///
    /// # Errors
    /// [`PublishError`]; nobody got the message then.
    pub fn publish<'p>(&self, topic: &str, payload: impl Into<Payload<'p>>) -> Result<(), PublishError> {
        self.shared.publish(&self.frame(topic, payload)?, None)
    }

    /// Publishes to all subscribers of `topic` but one.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn publish_except<'p>(
        &self,
        except: &SessionHandle,
        topic: &str,
        payload: impl Into<Payload<'p>>,
    ) -> Result<(), PublishError> {
        self.shared.publish(&self.frame(topic, payload)?, Some(except.session_ref()))
    }

    /// Publishes one payload to several topics, one after the other. A session that is subscribed to several of
    /// them gets it once for each.
    ///
    /// # Errors
    /// The first error, with the number of topics that had been published before it.
    pub fn publish_many<'t, 'p>(
        &self,
        topics: impl IntoIterator<Item = &'t str>,
        payload: impl Into<Payload<'p>>,
    ) -> Result<usize, (usize, PublishError)> {
        let payload = payload.into();
        let mut published = 0;
        for topic in topics {
            with_scratch(|scratch| self.shared.encode_publish(topic, &payload, scratch))
                .and_then(|frame| self.shared.publish(&frame, None))
                .map_err(|error| (published, error))?;
            published += 1;
        }
        Ok(published)
    }

    /// Sends to every open session, with `topic` in the envelope.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn broadcast<'p>(&self, topic: &str, payload: impl Into<Payload<'p>>) -> Result<(), PublishError> {
        self.shared.broadcast(&self.frame(topic, payload)?)
    }

    /// Encodes a message once, to be published or sent many times.
    ///
    /// # Errors
    /// The errors of encoding: [`PublishError::TopicTooLong`], [`PublishError::PayloadTooLarge`],
    /// [`PublishError::NotUtf8`].
    pub fn frame<'p>(&self, topic: &str, payload: impl Into<Payload<'p>>) -> Result<Frame, PublishError> {
        with_scratch(|scratch| self.shared.encode_publish(topic, &payload.into(), scratch))
    }

    /// Publishes a frame to the topic that it was made for.
    ///
    /// # Errors
    /// [`PublishError::Full`], [`PublishError::Stopped`].
    pub fn publish_frame(&self, frame: &Frame) -> Result<(), PublishError> {
        self.shared.publish(frame, None)
    }

    /// Open sessions of the server; it may change meanwhile.
    pub fn session_count(&self) -> u64 {
        self.shared.session_count()
    }

    /// Some of the topics that have subscribers, and how many; it may change meanwhile. With `prefix`, only those whose
    /// names begin so. Cost: O(all topics), a 64th of them under each lock that a shard needs for a new topic.
    pub fn topics(&self, order: TopicOrder<'_>, prefix: &str, count_max: usize) -> Vec<(String, u64)> {
        let counts = &self.shared.topic_counts;
        let is_asked_for = |name: &str, count: u32| count > 0 && name.starts_with(prefix);
        match order {
            TopicOrder::ByName { after } => {
                let key = |name: &Arc<str>, count: u32| {
                    let is_behind = after.is_none_or(|after| **name > *after);
                    (is_behind && is_asked_for(name, count)).then(|| (Arc::clone(name), count))
                };
                let found = counts.first_by(count_max, key);
                found.into_iter().map(|(name, count)| (name.to_string(), count.into())).collect()
            }
            TopicOrder::LargestFirst => {
                let key = |name: &Arc<str>, count: u32| {
                    is_asked_for(name, count).then(|| (Reverse(count), Arc::clone(name)))
                };
                let found = counts.first_by(count_max, key);
                found.into_iter().map(|(Reverse(count), name)| (name.to_string(), count.into())).collect()
            }
        }
    }

    /// Subscribers of a topic; it may change meanwhile. Cost: a short lock and a look-up.
    pub fn subscriber_count(&self, topic: &str) -> u64 {
        self.shared.topic_counts.count(topic) as u64
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

/// Which topics come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicOrder<'a> {
    /// In the order of their names' bytes.
    ByName {
        /// Only those behind this name: the last one of the page before.
        after: Option<&'a str>,
    },
    /// Those with the most subscribers.
    LargestFirst,
}

/// Working space of this thread, so that a publish allocates nothing but its frame.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => work(&mut scratch),
        // A codec that publishes while it encodes: rare, and correct all the same.
        Err(_) => work(&mut Vec::new()),
    })
}
