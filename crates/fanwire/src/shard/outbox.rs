//! The outbox: every session's queue and flags, and the lists of those that have something to send.
//!
//! In      sockets that come and go
//! Out     what sending found out about them, for the shard to act on
//! Bounds  64 bytes per session, and an entry in each list at most once
//! Source  docs/architecture.md

use std::{
    collections::{HashMap, VecDeque},
    io::IoSlice,
    sync::Arc,
};

use rustix::io::Errno;

use super::{
    batch::{Batches, Source},
    bounds::Bounds,
    frames::{FrameId, FrameTable},
    queue::{BlockPool, ChainMemo, Queue},
};
use crate::{
    driver::{Key, Send},
    options::{Options, Overflow},
    shared::{ShardSide, Shared},
    stats::Counters,
};

/// Every session's queue, and what is to be flushed.
pub(crate) struct Outbox {
    /// By slot. Dense, because a fan-out touches little else.
    pub(super) queues: Vec<Queue>,
    pub(super) generations: Vec<u32>,
    pub(super) frames: FrameTable,
    pub(super) pool: BlockPool,
    /// INVARIANT: holds exactly the slots with `DIRTY`, each once.
    pub(super) dirty: VecDeque<u32>,
    /// How many were ever taken from its front.
    pub(super) dirty_taken: u64,
    /// Holds each slot with `LISTED` once; some of them are not blocked any more.
    pub(super) blocked: Vec<u32>,
    pub(super) blocked_count: u64,
    /// Sessions for whose sends the kernel had no memory; they are `BLOCKED` until they are tried again.
    pub(super) starved: Vec<u32>,
    /// INVARIANT: an entry for exactly the slots with `CONTROL`.
    pub(super) controls: HashMap<u32, Box<Control>, ahash::RandomState>,
    /// Frames dropped by policy, for the few sessions that have any.
    pub(super) dropped: HashMap<u32, u32, ahash::RandomState>,
    /// What `next_event` hands out.
    pub(super) events: VecDeque<Outcome>,
    pub(super) limits: Limits,
    pub(super) shared: Arc<Shared>,
    pub(super) shard: usize,
    pub(super) round: Vec<Planned>,
    pub(super) batches: Batches,
    pub(super) sends: Vec<Send>,
    pub(super) parts: Vec<IoSlice<'static>>,
    pub(super) results: Vec<Result<usize, Errno>>,
    pub(super) done: Vec<FrameId>,
    /// The frames of the bundle that is being queued, for queues that have no room for all of it.
    pub(super) apart: Vec<ChainMemo>,
}

/// What sending found out about a session; the shard acts on it when no fan-out is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is blocked and its queue is full, and its policy is to close.
    Overflowed(u32),
    /// Its socket failed.
    Failed(u32),
    /// All that was queued has left (`finish` asked for it).
    Drained(u32),
}

/// What became of one frame for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Queued,
    /// The session is not open (any more), or was closed by this.
    Closed,
    /// The overflow policy dropped the frame.
    Dropped,
}

#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) queue_size: u32,
    pub(super) queue_bytes: u64,
    pub(super) overflow: Overflow,
    pub(super) frame_bytes_max: u64,
    /// Per round of a flush.
    pub(super) sends: usize,
}

/// One session's part of a flush.
pub(super) struct Planned {
    pub(super) slot: u32,
    pub(super) source: Source,
    pub(super) bytes: u64,
}

/// Control frames that wait for a frame boundary: one place for each kind.
#[derive(Default)]
pub(super) struct Control {
    /// The one that is being written, and how far.
    pub(super) writing: Vec<u8>,
    pub(super) written: usize,
    /// Encoded pongs, and how many.
    pub(super) pongs: Vec<u8>,
    pub(super) pong_count: u64,
    pub(super) ping: bool,
    /// Goes after everything else.
    pub(super) close: Option<Vec<u8>>,
}

impl Outbox {
    pub(crate) fn new(options: &Options, shared: Arc<Shared>, shard: usize, seeds: [u64; 4]) -> Self {
        let hasher = ahash::RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]);
        Self {
            queues: Vec::new(),
            generations: Vec::new(),
            frames: FrameTable::new(options.page_share_bytes_min),
            pool: BlockPool::new(),
            dirty: VecDeque::new(),
            dirty_taken: 0,
            blocked: Vec::new(),
            blocked_count: 0,
            starved: Vec::new(),
            controls: HashMap::with_hasher(hasher.clone()),
            dropped: HashMap::with_hasher(hasher),
            events: VecDeque::new(),
            limits: Limits {
                queue_size: options.queue_size,
                queue_bytes: options.queue_bytes.into(),
                overflow: options.overflow,
                frame_bytes_max: options.frame_bytes_max,
                sends: Bounds::default().sends,
            },
            shared,
            shard,
            round: Vec::new(),
            batches: Batches::new(),
            sends: Vec::new(),
            parts: Vec::new(),
            results: Vec::new(),
            done: Vec::new(),
            apart: Vec::new(),
        }
    }

    /// So many sends per round of a flush.
    #[cfg(feature = "sim")]
    pub(crate) fn set_sends_max(&mut self, sends: usize) {
        self.limits.sends = sends;
    }

    // --- sessions ---

    /// Makes a queue for a socket. Publishes reach it only after `open`.
    pub(crate) fn add(&mut self, key: Key) {
        let slot = key.slot as usize;
        if slot >= self.queues.len() {
            self.queues.resize_with(slot + 1, Queue::new);
            self.generations.resize(slot + 1, 0);
        }
        assert!(
            self.queues[slot].is_empty() && self.queues[slot].flags & !IN_LISTS == 0,
            "the slot was removed"
        );
        self.generations[slot] = key.generation;
    }

    /// From now on publishes and broadcasts are queued.
    pub(crate) fn open(&mut self, slot: u32) {
        self.queues[slot as usize].flags |= OPEN;
    }

    /// Ends intake; what is queued still leaves.
    pub(crate) fn stop_intake(&mut self, slot: u32) {
        self.queues[slot as usize].flags &= !OPEN;
    }

    /// Drops all that is queued but a frame already begun, whose rest must follow for the stream to stay in step.
    pub(crate) fn drop_unbegun(&mut self, slot: u32) {
        let mut count = 0;
        while self.drop_front(slot) {
            count += 1;
        }
        self.counters().frames_dropped_closed.add(count);
    }

    /// Drops the oldest frame that is not begun; `false` if there is none. A handshake response counts as begun:
    /// what follows means nothing without it.
    pub(super) fn drop_front(&mut self, slot: u32) -> bool {
        self.take_apart(slot);
        let (queue, frames) = (&mut self.queues[slot as usize], &mut self.frames);
        let keeps_front = queue.flags & HEAD != 0;
        let dropped = queue.drop_oldest(&mut self.pool, keeps_front, |id| frames.len(id));
        dropped.inspect(|&id| frames.release(id)).is_some()
    }

    /// Says `Drained` once nothing is left to send.
    pub(crate) fn finish(&mut self, slot: u32) {
        self.queues[slot as usize].flags |= FINISH;
        self.mark_dirty(slot);
    }

    /// Sends nothing any more: the socket is failed or about to be closed. Queued frames are counted as dropped.
    pub(crate) fn kill(&mut self, slot: u32) {
        let (queue, frames) = (&mut self.queues[slot as usize], &mut self.frames);
        let count = queue.len();
        queue.clear(&mut self.pool, |id| frames.release(id));
        if queue.flags & BLOCKED != 0 {
            self.blocked_count -= 1;
        }
        queue.flags = (queue.flags & (IN_LISTS | CONTROL)) | DEAD;
        self.counters().frames_dropped_closed.add(count.into());
        self.remove_control(slot);
    }

    /// Frees the slot, after `kill`, when its socket is gone.
    pub(crate) fn remove(&mut self, slot: u32) {
        let queue = &mut self.queues[slot as usize];
        assert!(queue.flags & DEAD != 0, "a killed queue is removed");
        // The lists keep the slot for its next session, whom that costs a look at an empty queue.
        queue.flags &= IN_LISTS;
        self.dropped.remove(&slot);
        self.events.retain(|event| event.slot() != slot);
    }

    pub(crate) fn is_open(&self, slot: u32) -> bool {
        self.queues.get(slot as usize).is_some_and(|queue| queue.flags & OPEN != 0)
    }

    pub(crate) fn open_slots(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.slots()).filter(|&slot| self.queues[slot as usize].flags & OPEN != 0)
    }

    /// One more than the highest slot that was ever used.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.queues.len()).expect("slots are u32")
    }

    pub(crate) fn queue(&self, slot: u32) -> &Queue {
        &self.queues[slot as usize]
    }

    pub(crate) fn is_blocked(&self, slot: u32) -> bool {
        self.queues[slot as usize].flags & BLOCKED != 0
    }

    pub(crate) fn dropped_count(&self, slot: u32) -> u32 {
        self.dropped.get(&slot).copied().unwrap_or(0)
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// How many sessions have ever left the line of those that have something to send, and how many stand in it.
    pub(crate) fn line(&self) -> (u64, u64) {
        (self.dirty_taken, self.dirty.len() as u64)
    }

    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(crate) fn next_event(&mut self) -> Option<Outcome> {
        self.events.pop_front()
    }

    pub(crate) fn write_gauges(&self) {
        let counters = self.counters();
        counters.sessions_blocked.set(self.blocked_count);
        counters.frames_live.set(self.frames.live_frames() as u64);
        counters.frame_bytes_live.set(self.frames.live_bytes());
        counters.page_bytes_live.set(self.frames.pages.live_bytes());
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.side().counters
    }

    pub(super) fn side(&self) -> &ShardSide {
        &self.shared.shards[self.shard]
    }
}

impl Outcome {
    fn slot(self) -> u32 {
        match self {
            Self::Overflowed(slot) | Self::Failed(slot) | Self::Drained(slot) => slot,
        }
    }
}

/// Publishes and sends are taken.
pub(super) const OPEN: u8 = 1;
/// What says that a list has the slot; outlives the session.
pub(super) const IN_LISTS: u8 = DIRTY | LISTED;
/// In `dirty`.
pub(super) const DIRTY: u8 = 1 << 1;
/// The socket refused bytes; a `Writable` event will come.
pub(super) const BLOCKED: u8 = 1 << 2;
/// Has an entry in `controls`, so it is flushed alone.
pub(super) const CONTROL: u8 = 1 << 3;
/// In `blocked`.
pub(super) const LISTED: u8 = 1 << 4;
/// `Drained` is wanted.
pub(super) const FINISH: u8 = 1 << 5;
/// Nothing is sent any more.
pub(super) const DEAD: u8 = 1 << 6;
/// The front of the queue is a handshake response: nothing overtakes it, and no policy drops it.
pub(super) const HEAD: u8 = 1 << 7;

#[cfg(test)]
mod tests;
