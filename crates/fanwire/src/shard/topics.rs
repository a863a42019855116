//! Which sessions of this shard want which topic.
//!
//! In      subscribe, unsubscribe by slot and name
//! Out     the subscribers of a topic as one dense run of slots; the topics of a slot
//! Bounds  8 bytes per subscription; 24 per slot, which hold 2 topics, 8 more per topic beyond; no topic
//!         without a subscriber is kept

#[cfg(feature = "sim")]
mod audit;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use ahash::RandomState;
use slab::Slab;
use smallvec::SmallVec;

use super::topic_counts::{TopicCount, TopicCounts};

/// The topics of one shard. All steps are O(1) apart from a look over the topics of the session at hand.
pub(crate) struct TopicTable {
    ids: HashMap<Arc<str>, u32, RandomState>,
    topics: Slab<Topic>,
    sessions: Vec<SessionTopics>,
    counts: Arc<TopicCounts>,
}

/// What `TopicTable::subscribe` found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subscribed {
    /// `first`: this shard had no subscriber of the topic before.
    Added {
        first: bool,
    },
    Already,
}

/// What `TopicTable::unsubscribe` did. `last`: this shard has no subscriber of the topic any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unsubscribed {
    pub(crate) last: bool,
}

impl TopicTable {
    pub(crate) fn new(seeds: [u64; 4], counts: Arc<TopicCounts>) -> Self {
        let [a, b, c, d] = seeds;
        Self {
            ids: HashMap::with_hasher(RandomState::with_seeds(a, b, c, d)),
            topics: Slab::new(),
            sessions: Vec::new(),
            counts,
        }
    }

    pub(crate) fn subscribe(&mut self, slot: u32, name: &str) -> Subscribed {
        let known = self.ids.get(name).copied();
        if known.is_some_and(|topic| self.place_of(slot, topic).is_some()) {
            return Subscribed::Already;
        }
        let topic = known.unwrap_or_else(|| self.add_topic(name));
        self.link(slot, topic);
        Subscribed::Added { first: known.is_none() }
    }

    /// `None`: the session was no subscriber.
    pub(crate) fn unsubscribe(&mut self, slot: u32, name: &str) -> Option<Unsubscribed> {
        let topic = *self.ids.get(name)?;
        let place = self.place_of(slot, topic)?;
        let membership = self.sessions[slot as usize].swap_remove(place);
        if let Some(moved) = self.sessions[slot as usize].get(place) {
            self.topics[moved.topic as usize].places[moved.position as usize] = narrow(place);
        }
        let (_, last) = self.leave(membership);
        Some(Unsubscribed { last })
    }

    /// Takes the session out of all its topics, and reports each with whether it was the last subscriber.
    pub(crate) fn unsubscribe_all(&mut self, slot: u32, mut on_left: impl FnMut(&str, bool)) {
        let Some(session) = self.sessions.get_mut(slot as usize) else { return };
        for membership in std::mem::take(session) {
            let (name, last) = self.leave(membership);
            on_left(&name, last);
        }
    }

    /// A topic that has subscribers. The id holds until a subscription ends.
    pub(crate) fn find(&self, name: &str) -> Option<TopicId> {
        self.ids.get(name).map(|&topic| TopicId(topic))
    }

    /// The slots that a publish on the topic goes to, in no particular order.
    pub(crate) fn subscribers_of(&self, topic: TopicId) -> &[u32] {
        &self.topics[topic.0 as usize].subscribers
    }

    /// Whether the session is a subscriber.
    pub(crate) fn has_id(&self, slot: u32, topic: TopicId) -> bool {
        self.place_of(slot, topic.0).is_some()
    }

    /// The same by name; nobody, if there is no such topic.
    pub(crate) fn subscribers(&self, name: &str) -> &[u32] {
        self.find(name).map_or(&[], |topic| self.subscribers_of(topic))
    }

    /// Subscribers on this shard.
    pub(crate) fn subscriber_count(&self, name: &str) -> usize {
        self.subscribers(name).len()
    }

    /// Whether the session is a subscriber of `name`. Looks at numbers only, however many topics it has.
    pub(crate) fn has(&self, slot: u32, name: &str) -> bool {
        self.ids.get(name).is_some_and(|&topic| self.place_of(slot, topic).is_some())
    }

    /// The topics of a session, in no particular order.
    pub(crate) fn topics_of(&self, slot: u32) -> impl Iterator<Item = &str> {
        self.memberships(slot).iter().map(|membership| &*self.topics[membership.topic as usize].name)
    }

    pub(crate) fn count_of(&self, slot: u32) -> usize {
        self.memberships(slot).len()
    }

    /// Topics that have a subscriber on this shard.
    pub(crate) fn topic_count(&self) -> usize {
        self.ids.len()
    }

    fn memberships(&self, slot: u32) -> &[Membership] {
        self.sessions.get(slot as usize).map_or(&[], |session| session)
    }

    fn place_of(&self, slot: u32, topic: u32) -> Option<usize> {
        self.memberships(slot).iter().position(|membership| membership.topic == topic)
    }

    fn add_topic(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        let count = self.counts.take(&name);
        let topic = Topic { name: Arc::clone(&name), count, subscribers: Vec::new(), places: Vec::new() };
        let id = narrow(self.topics.insert(topic));
        self.ids.insert(name, id);
        id
    }

    fn link(&mut self, slot: u32, topic: u32) {
        if self.sessions.len() <= slot as usize {
            self.sessions.resize_with(slot as usize + 1, SessionTopics::new);
        }
        let session = &mut self.sessions[slot as usize];
        let entry = &mut self.topics[topic as usize];
        let position = narrow(entry.subscribers.len());
        entry.subscribers.push(slot);
        entry.places.push(narrow(session.len()));
        entry.count.fetch_add(1, Ordering::Relaxed);
        session.push(Membership { topic, position });
    }

    /// Takes a membership, already out of its session, out of its topic.
    fn leave(&mut self, membership: Membership) -> (Arc<str>, bool) {
        let topic = &mut self.topics[membership.topic as usize];
        let position = membership.position as usize;
        topic.subscribers.swap_remove(position);
        topic.places.swap_remove(position);
        topic.count.fetch_sub(1, Ordering::Relaxed);
        if let (Some(&moved), Some(&place)) = (topic.subscribers.get(position), topic.places.get(position)) {
            self.sessions[moved as usize][place as usize].position = membership.position;
        }
        let name = Arc::clone(&topic.name);
        let last = topic.subscribers.is_empty();
        if last {
            self.remove_topic(membership.topic);
        } else {
            topic.shrink();
        }
        (name, last)
    }

    fn remove_topic(&mut self, id: u32) {
        let Topic { name, count, .. } = self.topics.remove(id as usize);
        self.ids.remove(&name);
        self.counts.give_back(&name, count);
        if self.topics.is_empty() && self.topics.capacity() > TOPICS_KEPT_MAX {
            self.topics = Slab::new();
        }
        if self.ids.capacity() > TOPICS_KEPT_MAX && self.ids.len() < self.ids.capacity() / 4 {
            self.ids.shrink_to(self.ids.len() * 2);
        }
    }
}

/// Names a topic of one shard. Used again when the topic has lost its last subscriber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TopicId(u32);

struct Topic {
    name: Arc<str>,
    count: TopicCount,
    subscribers: Vec<u32>,
    /// INVARIANT: `sessions[subscribers[i]][places[i]]` is the membership with `position` i of this topic.
    places: Vec<u32>,
}

impl Topic {
    fn shrink(&mut self) {
        if self.subscribers.capacity() > SUBSCRIBERS_KEPT_MAX
            && self.subscribers.len() < self.subscribers.capacity() / 4
        {
            self.subscribers.shrink_to(self.subscribers.len() * 2);
            self.places.shrink_to(self.places.len() * 2);
        }
    }
}

pub(crate) type SessionTopics = SmallVec<[Membership; 2]>;

#[derive(Clone, Copy)]
pub(crate) struct Membership {
    topic: u32,
    position: u32,
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("slots and topics are counted in 32 bits")
}

const TOPICS_KEPT_MAX: usize = 64;
const SUBSCRIBERS_KEPT_MAX: usize = 16;

const _: () = assert!(size_of::<SessionTopics>() == 24);

#[cfg(test)]
mod tests;
