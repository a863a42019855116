//! Flush: queues into sockets, many in one batch.
//!
//! In      the sessions that have something to send, and what the kernel took of it
//! Out     batched sends; which sessions are blocked, have failed, or have sent their last byte
//! Bounds  256 sends per round, each of at most 64 slices, one batch of 256 KiB or one frame in shared pages
//! Source  docs/architecture.md

use std::io::IoSlice;

use rustix::io::Errno;

use super::{
    batch::Source,
    frames::FrameTable,
    outbox::{BLOCKED, CONTROL, DEAD, DIRTY, FINISH, HEAD, LISTED, Outbox, Outcome, Planned},
    queue::{BlockPool, Queue},
};
use crate::driver::{Driver, Key, PARTS_PER_SEND_MAX, PageRange, Send};

impl Outbox {
    /// The socket takes bytes again.
    pub(crate) fn writable(&mut self, slot: u32) {
        let queue = &mut self.queues[slot as usize];
        if queue.flags & BLOCKED != 0 {
            queue.flags &= !BLOCKED;
            self.blocked_count -= 1;
            self.mark_dirty(slot);
        }
    }

    /// Flushes up to 256 sessions; `has_dirty` tells whether some are left.
    pub(crate) fn flush<D: Driver>(&mut self, driver: &mut D) {
        self.plan(driver);
        if let Some(first) = self.round.first() {
            let depth = self.queues[first.slot as usize].len();
            self.side().meters.queue_depth.add(depth.into(), 1);
        }
        self.send_round(driver);
        let round = std::mem::take(&mut self.round);
        let results = std::mem::take(&mut self.results);
        let mut of_batch = results.iter();
        // What the kernel has done meanwhile has driven them from the cache.
        self.touch(round.iter().map(|planned| &planned.slot));
        for planned in &round {
            if let Source::Pages(range) = planned.source {
                let (offered, result) = self.send_from_pages(driver, planned.slot, range);
                self.settle(driver, planned.slot, offered, result);
            } else {
                let result = of_batch.next().expect("each send of a batch has a result");
                self.settle(driver, planned.slot, planned.bytes, *result);
            }
        }
        (self.round, self.results) = (round, results);
        self.round.clear();
        self.free_pages(driver);
    }

    /// Chooses the sessions of a round, and where each one's bytes come from.
    fn plan<D: Driver>(&mut self, driver: &mut D) {
        self.batches.start_round();
        self.start_sharing();
        self.touch(self.dirty.iter().take(self.limits.sends));
        // Sessions that are flushed alone count as well, and none is looked at twice.
        let count = self.dirty.len().min(self.limits.sends);
        self.dirty_taken += count as u64;
        for _ in 0..count {
            let slot = self.dirty.pop_front().expect("only this takes from its front");
            let queue = &mut self.queues[slot as usize];
            queue.flags &= !DIRTY;
            if queue.flags & (DEAD | BLOCKED) != 0 {
                continue;
            }
            if queue.flags & CONTROL != 0 {
                self.flush_alone(driver, slot);
            } else if queue.is_empty() {
                self.note_drained(slot);
            } else {
                let source = self.choose(driver, slot);
                self.round.push(Planned { slot, source, bytes: 0 });
            }
        }
        // Not before: the second session of a chain may have given the first one a batch.
        for index in 0..self.round.len() {
            let Planned { slot, source, .. } = self.round[index];
            if source == Source::Queue
                && self.frames.pages.is_for(self.queues[slot as usize].bytes())
                && let Some(range) = self.front_pages(driver, slot)
            {
                self.round[index].source = Source::Pages(range);
            }
        }
    }

    fn choose<D: Driver>(&mut self, driver: &mut D, slot: u32) -> Source {
        let queue = &self.queues[slot as usize];
        if queue.len() == 1 {
            return Source::Queue;
        }
        // The length stands in the queue, the front frame's elsewhere.
        if self.frames.pages.is_for(queue.bytes())
            && queue.front().is_some_and(|id| Self::is_sent_alone(&self.frames, id))
        {
            return Source::Queue;
        }
        let chain = queue.chain();
        let (mut source, first) = self.batches.choose(self.round.len(), queue, &self.pool, &self.frames);
        if let Some(first) = first {
            if let Source::Batch(batch) = source
                && let Some(range) = self.share_batch(driver, batch)
            {
                self.batches.share(chain, batch, range);
                source = Source::Pages(range);
            }
            self.round[first].source = source;
        }
        source
    }

    /// Points at the bytes of each planned session that sends none from pages, and sends them all.
    fn send_round<D: Driver>(&mut self, driver: &mut D) {
        self.sends.clear();
        let mut parts = recycle(std::mem::take(&mut self.parts));
        for planned in &mut self.round {
            let first = parts.len();
            let queue = &self.queues[planned.slot as usize];
            match planned.source {
                Source::Pages(_) => continue,
                Source::Batch(batch) => parts.push(IoSlice::new(self.batches.bytes(batch))),
                Source::Queue => push_parts(&mut parts, queue, &self.pool, &self.frames),
            }
            planned.bytes = parts[first..].iter().map(|part| part.len() as u64).sum();
            let key = Key { slot: planned.slot, generation: self.generations[planned.slot as usize] };
            self.sends.push(Send { key, parts: index(first)..index(parts.len()) });
        }
        self.results.clear();
        if !self.sends.is_empty() {
            driver.send_batch(&self.sends, &parts, &mut self.results);
        }
        self.parts = recycle(parts);
        self.counters().sends.add(self.sends.len() as u64);
    }

    /// Sends from pages or, if they fail, from the queue's frames: how much was offered, and what came of it.
    pub(super) fn send_from_pages<D: Driver>(
        &mut self,
        driver: &mut D,
        slot: u32,
        range: PageRange,
    ) -> (u64, Result<usize, Errno>) {
        if let Some(result) = self.send_pages(driver, slot, range) {
            return (range.bytes.into(), result);
        }
        let (offered, result) = self.send_from_queue(driver, slot, PARTS_PER_SEND_MAX);
        // Otherwise it was the socket's fault.
        if matches!(result, Ok(_) | Err(Errno::AGAIN)) {
            self.counters().shares_refused.add(1);
        }
        (offered, result)
    }

    /// Sends the front of one queue at once, at most so many frames: how much was offered, what came of it.
    pub(super) fn send_from_queue<D: Driver>(
        &mut self,
        driver: &mut D,
        slot: u32,
        frames_max: usize,
    ) -> (u64, Result<usize, Errno>) {
        let queue = &self.queues[slot as usize];
        let mut parts = recycle(std::mem::take(&mut self.parts));
        push_parts(&mut parts, queue, &self.pool, &self.frames);
        parts.truncate(frames_max);
        let offered = parts.iter().map(|part| part.len() as u64).sum();
        let key = Key { slot, generation: self.generations[slot as usize] };
        let result = driver.send_now(key, &parts);
        self.parts = recycle(parts);
        self.counters().sends.add(1);
        (offered, result)
    }

    /// Books what the kernel took of `offered` bytes.
    fn settle<D: Driver>(&mut self, driver: &mut D, slot: u32, offered: u64, result: Result<usize, Errno>) {
        match result {
            Ok(taken) => {
                self.advance(slot, taken as u64);
                if (taken as u64) < offered {
                    self.block(driver, slot);
                } else if self.queues[slot as usize].is_empty() {
                    self.note_drained(slot);
                } else {
                    self.mark_dirty(slot);
                }
            }
            Err(Errno::AGAIN) => self.block(driver, slot),
            Err(Errno::INTR) => self.mark_dirty(slot),
            Err(Errno::NOBUFS | Errno::NOMEM) => self.starve(slot),
            Err(_) => self.fail(slot),
        }
    }

    pub(super) fn advance(&mut self, slot: u32, taken: u64) {
        let (queue, frames, pool) = (&mut self.queues[slot as usize], &mut self.frames, &mut self.pool);
        let before = queue.len();
        if taken == queue.bytes() {
            queue.clear(pool, |id| frames.release(id));
        } else {
            queue.advance(pool, taken, |id| frames.size(id), |id| self.done.push(id));
            self.done.drain(..).for_each(|id| frames.release(id));
            let is_in_bundle = queue.cursor() > 0 && queue.front().is_some_and(|id| frames.is_bundle(id));
            if is_in_bundle {
                self.take_apart(slot);
            }
        }
        let queue = &mut self.queues[slot as usize];
        let sent = before - queue.len();
        if sent > 0 {
            queue.flags &= !HEAD;
        }
        self.counters().frames_sent.add(sent.into());
        self.counters().bytes_sent.add(taken);
    }

    pub(super) fn block<D: Driver>(&mut self, driver: &mut D, slot: u32) {
        self.counters().sends_blocked.add(1);
        if self.set_blocked(slot) {
            driver.want_writable(Key { slot, generation: self.generations[slot as usize] });
        }
    }

    /// `false`: it was blocked already.
    fn set_blocked(&mut self, slot: u32) -> bool {
        let queue = &mut self.queues[slot as usize];
        if queue.flags & BLOCKED != 0 {
            return false;
        }
        queue.flags |= BLOCKED;
        self.blocked_count += 1;
        if queue.flags & LISTED == 0 {
            queue.flags |= LISTED;
            self.blocked.push(slot);
        }
        true
    }

    /// The kernel has no memory for a send: like blocked, but no event will say when it has.
    pub(super) fn starve(&mut self, slot: u32) {
        self.counters().sends_starved.add(1);
        self.set_blocked(slot);
        self.starved.push(slot);
    }

    pub(crate) fn has_starved(&self) -> bool {
        !self.starved.is_empty()
    }

    /// Tries the starved sessions again.
    pub(crate) fn retry_starved(&mut self) {
        for slot in std::mem::take(&mut self.starved) {
            self.writable(slot);
        }
    }

    pub(super) fn fail(&mut self, slot: u32) {
        self.kill(slot);
        self.events.push_back(Outcome::Failed(slot));
    }

    pub(super) fn note_drained(&mut self, slot: u32) {
        let queue = &mut self.queues[slot as usize];
        if queue.flags & FINISH != 0 {
            queue.flags &= !FINISH;
            self.events.push_back(Outcome::Drained(slot));
        }
    }
}

/// The front of a queue as slices, from where the last send stopped to the next frame that is sent by itself.
fn push_parts<'a>(parts: &mut Vec<IoSlice<'a>>, queue: &Queue, pool: &BlockPool, frames: &'a FrameTable) {
    let (first, mut skip) = (parts.len(), queue.cursor() as usize);
    if queue.len() == 1 {
        parts.extend(queue.front().map(|id| IoSlice::new(&frames.bytes(id)[skip..])));
        return;
    }
    let has_large = frames.pages.is_for(queue.bytes());
    for id in queue.iter(pool).take(PARTS_PER_SEND_MAX) {
        for &id in frames.frames_of(&id) {
            let is_full = parts.len() == first + PARTS_PER_SEND_MAX;
            if is_full || (has_large && parts.len() > first && Outbox::is_sent_alone(frames, id)) {
                return;
            }
            parts.push(IoSlice::new(&frames.bytes(id)[skip..]));
            skip = 0;
        }
    }
}

/// The same allocation for slices of another lifetime; the standard library reuses it for such a map.
pub(super) fn recycle<'a>(mut parts: Vec<IoSlice<'_>>) -> Vec<IoSlice<'a>> {
    parts.clear();
    parts.into_iter().map(|_| IoSlice::new(&[])).collect()
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a round has at most 256 * 64 parts")
}
