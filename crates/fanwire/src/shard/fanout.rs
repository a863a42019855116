//! Fan-out: one frame into the queues of many sessions.
//!
//! In      published frames, frames for one session, bytes of a handshake
//! Out     queued handles; sessions marked to be flushed
//! Bounds  about 25 ns per subscriber and bundle; nothing is copied and nothing allocated per subscriber
//! Source  docs/architecture.md

use std::hint::black_box;

use super::{
    frames::{FrameId, FrameTable},
    outbox::{BLOCKED, DEAD, DIRTY, Delivery, HEAD, OPEN, Outbox},
    queue::ChainMemo,
};
use crate::{driver::Driver, frame::Frame};
#[cfg(feature = "bench")]
use {
    super::{
        parking::Parking,
        publishes::Publishes,
        topics::{TopicId, TopicTable},
    },
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

    /// A frame or bundle, to be queued for many.
    pub(crate) fn memo(&self, id: FrameId) -> ChainMemo {
        ChainMemo::new(id, self.frames.size(id))
    }

    /// Queues a published frame, or a bundle of them, for its subscribers, beginning with the one at `start`. Gives
    /// the caller's reference back. How many frames were queued.
    pub(super) fn deliver_to_all<D: Driver>(
        &mut self,
        driver: &mut D,
        id: FrameId,
        to: &Receivers<'_>,
    ) -> u64 {
        let mut memo = self.memo(id);
        let mut count = 0;
        for half in [&to.subscribers[to.start..], &to.subscribers[..to.start]] {
            for block in half.chunks(TOUCHED_SLOTS) {
                self.touch(block);
                for &slot in block {
                    if Some(slot) != to.except {
                        count += u64::from(self.deliver(driver, slot, &mut memo));
                    }
                }
            }
        }
        self.release(id);
        count
    }

    /// Reads a byte of each queue, so that the cache fetches all of them at once, not one after the other. After a
    /// while of joins and leaves a topic's subscribers lie in no order that a CPU could guess.
    #[inline]
    pub(super) fn touch<'s>(&self, slots: impl IntoIterator<Item = &'s u32>) {
        black_box(slots.into_iter().fold(0, |all, &slot| all ^ self.queues[slot as usize].flags));
    }

    /// Queues a published frame or bundle for one of its subscribers. How many frames were queued.
    #[inline(always)]
    pub(crate) fn deliver<D: Driver>(&mut self, driver: &mut D, slot: u32, memo: &mut ChainMemo) -> u32 {
        let queue = &self.queues[slot as usize];
        if queue.flags & OPEN == 0 {
            return 0;
        }
        if !self.has_room(queue, (memo.bytes, memo.frames)) {
            if memo.frames > 1 {
                return self.deliver_apart(driver, slot, memo.id);
            }
            if self.make_room(driver, slot, memo.bytes).is_some() {
                return 0;
            }
        }
        self.queues[slot as usize].push_published(&mut self.pool, memo);
        self.frames.retain(memo.id);
        self.mark_dirty(slot);
        memo.frames
    }

    /// Queues a frame for one session alone.
    pub(crate) fn send<D: Driver>(&mut self, driver: &mut D, slot: u32, frame: Frame) -> Option<Delivery> {
        let frame_bytes = frame.len();
        let queue = &self.queues[slot as usize];
        if queue.flags & OPEN == 0 {
            return Some(Delivery::Closed);
        }
        if !self.has_room(queue, (frame_bytes, 1))
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

/// Queues that are fetched at once, of 64 bytes each: far more than a CPU has loads under way, far less than its
/// cache holds.
const TOUCHED_SLOTS: usize = 32;

/// Whom a publish goes to.
pub(super) struct Receivers<'a> {
    pub(super) subscribers: &'a [u32],
    /// The place of the one that is first.
    pub(super) start: usize,
    pub(super) except: Option<u32>,
}

/// A topic's fan-out without a shard around it, for benchmarks.
#[cfg(feature = "bench")]
pub(crate) struct FanOut<D: Driver> {
    driver: D,
    publishes: Publishes,
    topic: TopicId,
}

#[cfg(feature = "bench")]
impl<D: Driver> FanOut<D> {
    /// `subscribers` are slots from 0 on, each once, in the order in which they subscribe.
    pub(crate) fn new(driver: D, options: &Options, topic: &str, subscribers: &[u32]) -> Self {
        let seeds = [1, 2, 3, 4];
        let limits = options.limits(options.sessions_max);
        let shared = Shared::new(options.codec.clone(), limits, seeds, 1, vec![Parking::new()]);
        let mut topics = TopicTable::new(seeds, shared.topic_counts.clone());
        let mut outbox = Outbox::new(options, Arc::new(shared), 0, seeds);
        for slot in 0..u32::try_from(subscribers.len()).expect("slots are 32 bits") {
            outbox.add(Key { slot, generation: 1 });
            outbox.open(slot);
        }
        for &slot in subscribers {
            topics.subscribe(slot, topic);
        }
        let topic = topics.find(topic).expect("it has subscribers");
        Self { driver, publishes: Publishes::new(topics, outbox), topic }
    }

    pub(crate) fn publish(&mut self, frame: Frame) {
        let Self { driver, publishes, topic } = self;
        let id = publishes.admit(driver, frame).expect("a benchmark stays below the cap");
        publishes.publish(driver, *topic, id, None);
    }

    /// Queues what was published, and sends nothing.
    pub(crate) fn queue(&mut self) {
        self.publishes.queue_waiting(&mut self.driver);
    }

    pub(crate) fn flush(&mut self) {
        self.queue();
        let outbox = self.publishes.now(&mut self.driver).out;
        while outbox.has_dirty() {
            outbox.flush(&mut self.driver);
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
        let mut fan_out = FanOut::new(NullDriver, &Options::default(), "topic", &[3, 0, 4, 1, 2]);
        fan_out.publish(Frame::raw(b"one"));
        fan_out.publish(Frame::raw(b"two"));
        fan_out.queue();
        let outbox = fan_out.publishes.look();
        assert!((0..5).all(|slot| outbox.queue(slot).len() == 2));
        fan_out.flush();
        let counters = fan_out.publishes.look().counters();
        assert_eq!((counters.frames_sent.read(), counters.bytes_sent.read()), (10, 30));
    }
}
