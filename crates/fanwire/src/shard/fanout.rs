//! Fan-out: one frame into the queues of many sessions.
//!
//! In      published frames, frames for one session, bytes of a handshake
//! Out     queued handles; sessions marked to be flushed
//! Bounds  about 25 ns per subscriber; nothing is copied and nothing allocated per subscriber
//! Source  docs/architecture.md

use super::{
    frames::{FrameId, FrameTable},
    outbox::{BLOCKED, DEAD, DIRTY, Delivery, HEAD, OPEN, Outbox},
    queue::ChainMemo,
};
use crate::{driver::Driver, frame::Frame};
#[cfg(feature = "bench")]
use {
    super::{parking::Parking, topics::TopicTable},
    crate::{driver::Key, options::Options, shared::Shared},
    std::sync::Arc,
};

impl Outbox {
    /// Takes a frame in, if `frame_bytes_max` leaves room for it or room can be made. The caller holds a
    /// reference until `release`.
    pub(crate) fn admit<D: Driver>(&mut self, driver: &mut D, frame: Frame) -> Option<FrameId> {
        if let Some(id) = self.frames.insert_again(&frame) {
            return Some(id);
        }
        let need = FrameTable::bytes_of(&frame);
        if self.lacks_room(need) && !self.relieve(driver, need) {
            self.counters().frames_refused_memory.add(1);
            return None;
        }
        Some(self.frames.insert(frame))
    }

    pub(crate) fn release(&mut self, id: FrameId) {
        self.frames.release(id);
    }

    pub(crate) fn memo(&self, id: FrameId) -> ChainMemo {
        ChainMemo::new(id, self.frames.len(id))
    }

    /// Queues a published frame for its subscribers, beginning with the one at `start`. Gives the caller's
    /// reference back. How many it was queued for.
    pub(crate) fn deliver_to_all<D: Driver>(
        &mut self,
        driver: &mut D,
        id: FrameId,
        subscribers: &[u32],
        start: usize,
        except: Option<u32>,
    ) -> u64 {
        let mut memo = self.memo(id);
        let mut count = 0;
        for half in [&subscribers[start..], &subscribers[..start]] {
            for &slot in half {
                if Some(slot) != except && self.deliver(driver, slot, &mut memo) == Delivery::Queued {
                    count += 1;
                }
            }
        }
        self.release(id);
        count
    }

    /// Queues a published frame for one of its subscribers.
    #[inline]
    pub(crate) fn deliver<D: Driver>(&mut self, driver: &mut D, slot: u32, memo: &mut ChainMemo) -> Delivery {
        let queue = &self.queues[slot as usize];
        if queue.flags & OPEN == 0 {
            return Delivery::Closed;
        }
        if !self.has_room(queue, memo.frame_bytes)
            && let Some(refused) = self.make_room(driver, slot, memo.frame_bytes)
        {
            return refused;
        }
        self.queues[slot as usize].push_published(&mut self.pool, memo);
        self.frames.retain(memo.id);
        self.mark_dirty(slot);
        Delivery::Queued
    }

    /// Queues a frame for one session alone.
    pub(crate) fn send<D: Driver>(&mut self, driver: &mut D, slot: u32, frame: Frame) -> Option<Delivery> {
        let frame_bytes = frame.len();
        let queue = &self.queues[slot as usize];
        if queue.flags & OPEN == 0 {
            return Some(Delivery::Closed);
        }
        if !self.has_room(queue, frame_bytes)
            && let Some(refused) = self.make_room(driver, slot, frame_bytes)
        {
            return Some(refused);
        }
        let id = self.admit(driver, frame)?;
        if !self.is_open(slot) {
            // Making room for the frame has closed this very session.
            self.frames.release(id);
            return Some(Delivery::Closed);
        }
        self.queues[slot as usize].push(&mut self.pool, id, frame_bytes);
        self.counters().frames_queued.add(1);
        self.mark_dirty(slot);
        Some(Delivery::Queued)
    }

    /// Queues bytes of the handshake, whatever the limits: they are small, and one per connection.
    pub(crate) fn send_raw(&mut self, slot: u32, bytes: &[u8]) {
        let frame = Frame::raw(bytes);
        let frame_bytes = frame.len();
        let id = self.frames.insert(frame);
        let queue = &mut self.queues[slot as usize];
        assert!(queue.is_empty(), "a response is the first that a connection sends");
        queue.push(&mut self.pool, id, frame_bytes);
        queue.flags |= HEAD;
        self.counters().frames_queued.add(1);
        self.mark_dirty(slot);
    }

    #[inline]
    pub(super) fn mark_dirty(&mut self, slot: u32) {
        let queue = &mut self.queues[slot as usize];
        if queue.flags & (DIRTY | BLOCKED | DEAD) == 0 {
            queue.flags |= DIRTY;
            self.dirty.push_back(slot);
        }
    }
}

/// A topic's fan-out without a shard around it, for benchmarks.
#[cfg(feature = "bench")]
pub(crate) struct FanOut<D: Driver> {
    driver: D,
    outbox: Outbox,
    topics: TopicTable,
    topic: String,
}

#[cfg(feature = "bench")]
impl<D: Driver> FanOut<D> {
    pub(crate) fn new(driver: D, options: &Options, topic: &str, subscribers: u32) -> Self {
        let seeds = [1, 2, 3, 4];
        let limits = options.limits(options.sessions_max);
        let shared = Shared::new(options.codec.clone(), limits, seeds, 1, vec![Parking::new()]);
        let mut topics = TopicTable::new(seeds, shared.topic_counts.clone());
        let mut outbox = Outbox::new(options, Arc::new(shared), 0, seeds);
        for slot in 0..subscribers {
            outbox.add(Key { slot, generation: 1 });
            outbox.open(slot);
            topics.subscribe(slot, topic);
        }
        Self { driver, outbox, topics, topic: topic.to_owned() }
    }

    pub(crate) fn publish(&mut self, frame: Frame) {
        let id = self.outbox.admit(&mut self.driver, frame).expect("a benchmark stays below the cap");
        let subscribers = self.topics.subscribers(&self.topic);
        self.outbox.deliver_to_all(&mut self.driver, id, subscribers, 0, None);
    }

    pub(crate) fn flush(&mut self) {
        while self.outbox.has_dirty() {
            self.outbox.flush(&mut self.driver);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::NullDriver;

    /// Otherwise a benchmark would show how fast nothing is done.
    #[test]
    fn a_fan_out_without_a_shard_queues_for_all_and_sends_to_all() {
        let mut fan_out = FanOut::new(NullDriver, &Options::default(), "topic", 5);
        fan_out.publish(Frame::raw(b"one"));
        fan_out.publish(Frame::raw(b"two"));
        assert!((0..5).all(|slot| fan_out.outbox.queue(slot).len() == 2));
        fan_out.flush();
        let counters = fan_out.outbox.counters();
        assert_eq!((counters.frames_sent.read(), counters.bytes_sent.read()), (10, 30));
    }
}
