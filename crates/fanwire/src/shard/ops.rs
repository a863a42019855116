//! What hooks may do: the calls of `Session`, carried out by its shard.
//!
//! In      calls from inside a hook
//! Out     queued frames, entries in the mesh, changed subscriptions; nothing is sent here but from full queues
//! Bounds  as the structures beneath; a publish costs one allocation and O(subscribers of this shard)
//! Source  docs/architecture.md

use std::{net::SocketAddr, sync::Arc};

use super::{
    Core, State,
    frames::FrameId,
    intake::sendable,
    outbox::Delivery,
    topics::{Subscribed, TopicId},
};
use crate::{
    close::CloseKind,
    driver::Driver,
    error::{PublishError, SendError, SubscribeError},
    frame::{Frame, Payload},
    session::{Ops, Queued, SessionId},
    shared::{Command, SessionRef, Shared, bits},
};

impl<D: Driver> Ops for Core<D> {
    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn session_ref(&self, slot: u32) -> SessionRef {
        let shard = u16::try_from(self.index).expect("at most 64 shards");
        SessionRef { shard, key: self.conns[slot as usize].key }
    }

    fn id(&self, slot: u32) -> &SessionId {
        &self.conns[slot as usize].id
    }

    fn peer(&self, slot: u32) -> SocketAddr {
        self.conns[slot as usize].peer
    }

    fn queued(&self, slot: u32) -> Queued {
        let out = self.publishes.look();
        let (bytes, messages) = self.publishes.waiting_for(slot);
        let queue = out.queue(slot);
        Queued {
            messages: queue.len() + messages,
            bytes: queue.bytes() + u64::from(bytes),
            dropped: out.dropped_count(slot),
            blocked: out.is_blocked(slot),
        }
    }

    fn topics(&self, slot: u32) -> Vec<&str> {
        if self.state(slot) == State::Open {
            return self.topics().topics_of(slot).collect();
        }
        // `on_close` runs while its entry is in front.
        let ended = self.ended.front().filter(|ended| ended.slot == slot);
        ended.map(|ended| ended.topics.iter().map(|topic| &**topic).collect()).unwrap_or_default()
    }

    fn is_subscribed(&self, slot: u32, topic: &str) -> bool {
        if self.state(slot) == State::Open {
            return self.topics().has(slot, topic);
        }
        Ops::topics(self, slot).contains(&topic)
    }

    fn topic_count(&self, slot: u32) -> usize {
        self.topics().count_of(slot)
    }

    fn send(&mut self, slot: u32, topic: &str, payload: &Payload<'_>) -> Result<(), SendError> {
        self.queue_publishes();
        if !self.out().is_open(slot) {
            return Err(SendError::Closed);
        }
        let frame = self.shared.encode(topic, payload, &mut self.scratch)?;
        self.send_frame(slot, frame)
    }

    fn send_to(&mut self, to: SessionRef, topic: &str, payload: &Payload<'_>) -> Result<(), SendError> {
        self.queue_publishes();
        if !matches!(self.shared.state(to), Some(None)) {
            return Err(SendError::Closed);
        }
        let frame = self.shared.encode(topic, payload, &mut self.scratch)?;
        if usize::from(to.shard) == self.index {
            return self.send_frame(to.key.slot, frame);
        }
        self.reserve(1 << to.shard, &frame)?;
        self.mesh.push(1 << to.shard, |_| Command::Send { key: to.key, frame: frame.clone() });
        Ok(())
    }

    fn publish(
        &mut self,
        except: Option<u32>,
        topic: &str,
        payload: &Payload<'_>,
    ) -> Result<(), PublishError> {
        let frame = self.shared.encode_publish(topic, payload, &mut self.scratch)?;
        let others = self.shared.interest.interested(self.shared.hasher.hash(topic)) & !self.own_bit();
        self.reserve(others, &frame)?;
        let here = match self.topics().find(topic) {
            Some(topic) => Some((topic, self.admit_reserved(others, &frame)?)),
            None => None,
        };
        let except_ref = except.map(|slot| self.session_ref(slot));
        self.mesh.push(others, |_| Command::Publish { frame: frame.clone(), except: except_ref });
        self.counters().publishes.add(1);
        if let Some((topic, id)) = here {
            self.fan_out(topic, id, except);
            self.settle();
        }
        Ok(())
    }

    fn broadcast(&mut self, topic: &str, payload: &Payload<'_>) -> Result<(), PublishError> {
        self.queue_publishes();
        let frame = self.shared.encode_publish(topic, payload, &mut self.scratch)?;
        let others = self.shared.interest.all_shards() & !self.own_bit();
        self.reserve(others, &frame)?;
        let id = self.admit_reserved(others, &frame)?;
        self.mesh.push(others, |_| Command::Broadcast { frame: frame.clone() });
        self.counters().publishes.add(1);
        self.fan_out_to_all(id);
        self.settle();
        Ok(())
    }

    fn subscribe(&mut self, slot: u32, topic: &str) -> Result<(), SubscribeError> {
        self.queue_publishes();
        self.add_topic(slot, topic).inspect_err(|_| self.counters().subscribes_refused.add(1))
    }

    fn unsubscribe(&mut self, slot: u32, topic: &str) -> bool {
        self.queue_publishes();
        self.remove_topic(slot, topic)
    }

    fn unsubscribe_all(&mut self, slot: u32) -> usize {
        self.queue_publishes();
        if self.state(slot) != State::Open {
            return 0;
        }
        let (interest, shared, topic_bytes) = (&mut self.interest, &self.shared, &mut self.topic_bytes);
        let mut count = 0;
        self.publishes.now(&mut self.driver).topics.unsubscribe_all(slot, |name, last| {
            *topic_bytes -= subscription_bytes(name, last);
            if last {
                interest.remove(shared.hasher.hash(name));
            }
            count += 1;
        });
        count
    }

    fn close_with(&mut self, slot: u32, code: u16, reason: &str) {
        self.queue_publishes();
        self.close_session(slot, CloseKind::Server, sendable(code), reason);
    }
}

impl<D: Driver> Core<D> {
    /// Queues a published frame for every subscriber of this shard. Gives the caller's reference back.
    pub(super) fn fan_out(&mut self, topic: TopicId, id: FrameId, except: Option<u32>) {
        let subscribers = self.publishes.publish(&mut self.driver, topic, id, except) as u64;
        self.intake_deliveries += subscribers;
        self.note_fan_out(subscribers);
    }

    /// Queues a frame for every open session of this shard. Gives the caller's reference back.
    pub(super) fn fan_out_to_all(&mut self, id: FrameId) {
        let out = self.publishes.now(&mut self.driver).out;
        let mut memo = out.memo(id);
        let mut count = 0;
        for slot in 0..out.slots() {
            count += u64::from(out.deliver(&mut self.driver, slot, &mut memo));
        }
        out.release(id);
        self.intake_deliveries += count;
        self.note_fan_out(count);
        self.counters().frames_queued.add(count);
    }

    fn send_frame(&mut self, slot: u32, frame: Frame) -> Result<(), SendError> {
        let delivery = self.publishes.now(&mut self.driver).out.send(&mut self.driver, slot, frame);
        self.settle();
        match delivery {
            Some(Delivery::Queued) => Ok(()),
            // It was open a moment ago: this frame was one too many, or its socket has failed.
            Some(Delivery::Closed | Delivery::Dropped) => Err(SendError::QueueFull),
            None => Err(SendError::Full),
        }
    }

    pub(super) fn add_topic(&mut self, slot: u32, topic: &str) -> Result<(), SubscribeError> {
        if self.state(slot) != State::Open {
            return Err(SubscribeError::Closed);
        }
        if topic.len() > self.options.topic_bytes_max as usize {
            return Err(SubscribeError::TopicTooLong);
        }
        let is_at_limit = self.topics().count_of(slot) >= self.options.topics_per_session_max as usize;
        if is_at_limit && !self.topics().has(slot, topic) {
            return Err(SubscribeError::TooManyTopics);
        }
        let is_new = self.topics().subscriber_count(topic) == 0;
        if self.topic_bytes + subscription_bytes(topic, is_new) > self.options.topic_memory_max {
            return Err(SubscribeError::Full);
        }
        if let Subscribed::Added { first } =
            self.publishes.now(&mut self.driver).topics.subscribe(slot, topic)
        {
            self.topic_bytes += subscription_bytes(topic, first);
            if first {
                self.interest.add(self.shared.hasher.hash(topic));
            }
        }
        Ok(())
    }

    pub(super) fn remove_topic(&mut self, slot: u32, topic: &str) -> bool {
        if self.state(slot) != State::Open {
            return false;
        }
        let Some(unsubscribed) = self.publishes.now(&mut self.driver).topics.unsubscribe(slot, topic) else {
            return false;
        };
        self.topic_bytes -= subscription_bytes(topic, unsubscribed.last);
        if unsubscribed.last {
            self.interest.remove(self.shared.hasher.hash(topic));
        }
        true
    }

    /// Takes room for a frame in the rings to `others`, and in the bytes that may wait for them. Room in a ring can
    /// only grow until this shard pushes, so what is found here still holds then.
    fn reserve(&self, others: u64, frame: &Frame) -> Result<(), PublishError> {
        if others == 0 {
            return Ok(());
        }
        if !self.mesh.room(others, 1) || self.shared.reserve_intake(others, frame.len().into()).is_err() {
            self.counters().mesh_full.add(1);
            return Err(PublishError::Full);
        }
        Ok(())
    }

    /// Takes the frame in here, or gives back what was reserved elsewhere.
    fn admit_reserved(&mut self, others: u64, frame: &Frame) -> Result<FrameId, PublishError> {
        self.publishes.admit(&mut self.driver, frame.clone()).ok_or_else(|| {
            bits(others).for_each(|shard| self.shared.shards[shard].give_intake_back(frame.len().into()));
            PublishError::Full
        })
    }

    fn own_bit(&self) -> u64 {
        1 << self.index
    }
}

/// Memory of a subscription, and of its topic if that exists only for it: names are kept in the shard's table and in
/// the counts of all shards. Measured with 1,024 topics of 256 bytes for each of 300 sessions: 590 bytes each.
pub(super) fn subscription_bytes(topic: &str, with_topic: bool) -> u64 {
    SUBSCRIPTION_BYTES + if with_topic { TOPIC_BYTES + topic.len() as u64 } else { 0 }
}

/// A slot in the topic's list and an entry in the session's, both in vectors that double.
const SUBSCRIPTION_BYTES: u64 = 32;

/// A topic without its name: table entries, list, counter.
const TOPIC_BYTES: u64 = 320;
