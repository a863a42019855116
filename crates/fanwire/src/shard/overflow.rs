//! Overflow: what happens when a queue, or the shard's memory for frames, is full.
//!
//! In      a session whose queue has no room; a frame for which `frame_bytes_max` leaves none
//! Out     room, made by sending or by the session's policy; or the frame is refused
//! Bounds  only sessions whose socket refuses bytes meet their policy
//! Source  docs/architecture.md

use super::{
    frames::FrameId,
    outbox::{BLOCKED, Delivery, LISTED, OPEN, Outbox, Outcome},
    queue::Queue,
};
use crate::{driver::Driver, options::Overflow};

impl Outbox {
    #[inline]
    pub(super) fn has_room(&self, queue: &Queue, (bytes, frames): (u32, u32)) -> bool {
        queue.len() + frames <= self.limits.queue_size
            && queue.bytes() + u64::from(bytes) <= self.limits.queue_bytes
    }

    /// Flushes a full queue; if the socket refuses, the policy decides. `None`: there is room now.
    #[cold]
    pub(super) fn make_room<D: Driver>(
        &mut self,
        driver: &mut D,
        slot: u32,
        frame_bytes: u32,
    ) -> Option<Delivery> {
        if !self.is_blocked(slot) {
            self.counters().queues_flushed_full.add(1);
            self.flush_alone(driver, slot);
        }
        let queue = &self.queues[slot as usize];
        if queue.flags & OPEN == 0 {
            return Some(Delivery::Closed);
        }
        if self.has_room(queue, (frame_bytes, 1)) {
            return None;
        }
        self.note_policy(driver, slot);
        match self.limits.overflow {
            Overflow::Close => {
                self.overflow(slot);
                Some(Delivery::Closed)
            }
            Overflow::DropOldest => self.drop_oldest_for(slot, frame_bytes),
            Overflow::DropNewest => Some(self.drop_newest(slot)),
        }
    }

    /// A policy is about to act, which only a session may meet whose socket refuses bytes.
    #[cfg(feature = "sim")]
    fn note_policy<D: Driver>(&self, driver: &mut D, slot: u32) {
        driver.check_refuses(crate::driver::Key { slot, generation: self.generations[slot as usize] });
    }

    #[cfg(not(feature = "sim"))]
    #[expect(clippy::unused_self, reason = "only simulations look")]
    fn note_policy<D: Driver>(&self, _driver: &D, _slot: u32) {}

    fn overflow(&mut self, slot: u32) {
        self.stop_intake(slot);
        self.events.push_back(Outcome::Overflowed(slot));
    }

    /// Drops from the front until the frame has room; if a begun frame leaves none, the new one goes.
    fn drop_oldest_for(&mut self, slot: u32, frame_bytes: u32) -> Option<Delivery> {
        while !self.has_room(&self.queues[slot as usize], (frame_bytes, 1)) {
            if !self.drop_oldest(slot) {
                return Some(self.drop_newest(slot));
            }
        }
        None
    }

    fn drop_newest(&mut self, slot: u32) -> Delivery {
        self.counters().frames_dropped_newest.add(1);
        self.count_dropped(slot, 1);
        Delivery::Dropped
    }

    fn drop_oldest(&mut self, slot: u32) -> bool {
        if !self.drop_front(slot) {
            return false;
        }
        self.counters().frames_dropped_oldest.add(1);
        self.count_dropped(slot, 1);
        true
    }

    fn count_dropped(&mut self, slot: u32, count: u32) {
        let dropped = self.dropped.entry(slot).or_insert(0);
        *dropped = dropped.saturating_add(count);
    }

    /// Whether `need` more bytes of frames are more than there may be.
    pub(super) fn lacks_room(&self, need: u64) -> bool {
        self.frames.live_bytes() + self.frames.pages.live_bytes() + need > self.limits.frame_bytes_max
    }

    /// Makes room for `need` bytes of frames: flushes what sockets take, gives shared pages up, then the blocked
    /// sessions that hold the oldest frame meet their policy, again and again.
    #[cold]
    pub(super) fn relieve<D: Driver>(&mut self, driver: &mut D, need: u64) -> bool {
        // A round sends something of each of its sessions, or finds it blocked.
        while self.lacks_room(need) && self.has_dirty() {
            self.flush(driver);
        }
        if self.lacks_room(need) {
            self.give_up_pages(driver);
        }
        // Each round changes something, or gives up.
        while self.lacks_room(need) {
            let Some(oldest) = self.frames.oldest() else { return false };
            self.trim_blocked();
            if !self.apply_policy_to_holders(driver, oldest) && !self.cut_holders(driver, oldest) {
                return false;
            }
        }
        true
    }

    /// Every open, blocked session that holds `oldest` meets its policy; `false` if that changed nothing.
    fn apply_policy_to_holders<D: Driver>(&mut self, driver: &mut D, oldest: FrameId) -> bool {
        let mut has_changed = false;
        for index in 0..self.blocked.len() {
            let slot = self.blocked[index];
            let queue = &self.queues[slot as usize];
            if queue.flags & OPEN == 0 || !self.has_in_front(queue, oldest) {
                continue;
            }
            self.note_policy(driver, slot);
            if self.limits.overflow == Overflow::Close {
                self.overflow(slot);
                self.drop_unbegun(slot);
                has_changed = true;
            } else {
                has_changed |= self.drop_oldest(slot);
            }
        }
        has_changed
    }

    /// What is left holds `oldest` because it has begun to send it: such a session is cut, for a frame cannot be
    /// dropped in its middle. `false` if nobody holds it.
    fn cut_holders<D: Driver>(&mut self, driver: &mut D, oldest: FrameId) -> bool {
        let mut has_changed = false;
        for index in 0..self.blocked.len() {
            let slot = self.blocked[index];
            let queue = &self.queues[slot as usize];
            if !self.has_in_front(queue, oldest) {
                continue;
            }
            let is_open = queue.flags & OPEN != 0;
            self.note_policy(driver, slot);
            if is_open {
                self.overflow(slot);
            }
            self.fail(slot);
            has_changed = true;
        }
        has_changed
    }

    /// Whether the oldest frame of a queue is this one.
    fn has_in_front(&self, queue: &Queue, frame: FrameId) -> bool {
        queue.front().is_some_and(|id| self.frames.frames_of(&id).first() == Some(&frame))
    }

    fn trim_blocked(&mut self) {
        let queues = &mut self.queues;
        self.blocked.retain(|&slot| {
            let queue = &mut queues[slot as usize];
            let stays = queue.flags & BLOCKED != 0;
            if !stays {
                queue.flags &= !LISTED;
            }
            stays
        });
    }
}
