//! Held input: what a session has sent ahead while its reading is paused.
//!
//! In      bytes that were on their way when a session was paused, or behind a message that filled its queue
//! Out     the same bytes, in order, once its queue has gone down
//! Bounds  `HELD_BYTES_MAX` over all sessions of a shard; beyond it input is handled at once, and the queue's bound
//!         decides
//! Source  docs/limits.md, `read_budget_bytes`

use super::{
    Core, Shard, State,
    conn::{Conn, Early},
};
use crate::{driver::Driver, handler::Handler};

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Frames of a session that is open, or whose close frame is awaited.
    pub(super) fn received_open(&mut self, slot: u32, input: &mut [u8]) {
        if self.core.is_holding(slot) {
            if !self.core.hold(slot, input) {
                self.release_held(slot);
                self.received_frames(slot, input, false);
            }
            return;
        }
        let consumed = self.received_frames(slot, input, true);
        self.hold_rest(slot, &mut input[consumed..]);
    }

    /// Holds what was not handled because the session's queue is half full.
    pub(super) fn hold_rest(&mut self, slot: u32, rest: &mut [u8]) {
        if rest.is_empty() || !self.core.is_reading(slot) {
            return;
        }
        self.core.pause_for_later(slot);
        if !self.core.hold(slot, rest) {
            self.received_frames(slot, rest, false);
        }
    }

    /// Handles all that is held, whatever the queue: the peer has ended, or there is no more room to hold it.
    pub(super) fn release_held(&mut self, slot: u32) {
        while let Some(mut chunk) = self.core.take_held(slot) {
            let first = chunk.handled;
            self.received_frames(slot, &mut chunk.bytes[first..], false);
            if !self.core.is_reading(slot) {
                self.core.drop_held(slot);
            }
        }
        self.core.queue_publishes();
    }

    /// Goes on with the sessions that were paused in earlier ticks and whose queue has gone down.
    pub(super) fn resume_paused(&mut self) {
        for slot in std::mem::take(&mut self.core.paused) {
            if self.stays_paused(slot) {
                self.core.paused.push(slot);
            }
            self.core.queue_publishes();
        }
    }

    fn stays_paused(&mut self, slot: u32) -> bool {
        if !self.core.conns.contains(slot as usize) || !self.core.is_reading(slot) {
            return false;
        }
        let is_open = self.core.state(slot) == State::Open;
        if is_open && !self.core.may_resume(slot) {
            return true;
        }
        // After our close frame only the peer's is looked for, and that costs no queue.
        let mut budget = if is_open { self.core.read_budget as usize } else { usize::MAX };
        while let Some(mut chunk) = self.core.take_held(slot) {
            let first = chunk.handled;
            let last = chunk.bytes.len().min(first.saturating_add(budget));
            let count = self.received_frames(slot, &mut chunk.bytes[first..last], is_open);
            chunk.handled += count;
            budget -= count.min(budget);
            if !self.core.is_reading(slot) {
                self.core.drop_held(slot);
                return false;
            }
            if chunk.handled < chunk.bytes.len() {
                self.core.put_back(slot, chunk);
                return true;
            }
        }
        self.core.resume_reading(slot);
        false
    }
}

impl<D: Driver> Core<D> {
    fn is_reading(&self, slot: u32) -> bool {
        matches!(self.state(slot), State::Open | State::Closing)
    }

    fn is_holding(&self, slot: u32) -> bool {
        let conn = &self.conns[slot as usize];
        conn.is_paused || has_held(conn)
    }

    /// Keeps bytes behind those that are held already; `false` if there is no room.
    pub(super) fn hold(&mut self, slot: u32, bytes: &[u8]) -> bool {
        if self.held_bytes + bytes.len() + CHUNK_BYTES > self.bounds.held_bytes {
            return false;
        }
        let chunk = Chunk { bytes: bytes.into(), handled: 0 };
        self.held_bytes += chunk.cost();
        self.conns[slot as usize].early.get_or_insert_default().held.push_back(chunk);
        true
    }

    /// Takes out the oldest of what is held, and the room that it had.
    fn take_held(&mut self, slot: u32) -> Option<Chunk> {
        let early = &mut self.conns[slot as usize].early;
        let chunk = early.as_mut()?.held.pop_front()?;
        early.take_if(|early| early.held.is_empty());
        self.held_bytes -= chunk.cost();
        Some(chunk)
    }

    /// Puts back what was taken out last and is not handled to its end.
    fn put_back(&mut self, slot: u32, chunk: Chunk) {
        self.held_bytes += chunk.cost();
        self.conns[slot as usize].early.get_or_insert_default().held.push_front(chunk);
    }

    /// Nobody will go on with what is held.
    pub(super) fn drop_held(&mut self, slot: u32) {
        while self.take_held(slot).is_some() {}
    }
}

/// What came at once. It is never moved or grown, so that what it counts is what it takes.
pub(crate) struct Chunk {
    pub(crate) bytes: Box<[u8]>,
    /// So many bytes in front have been handled already.
    handled: usize,
}

impl Chunk {
    /// What it takes of `HELD_BYTES_MAX`.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + CHUNK_BYTES
    }
}

fn has_held(conn: &Conn) -> bool {
    conn.early.as_ref().is_some_and(|early| !early.held.is_empty())
}

/// What it costs to hold a chunk: its place, and a session's list with its box.
const CHUNK_BYTES: usize = 384;

const _: () = assert!(size_of::<Early>() + 5 * size_of::<Chunk>() + 32 <= CHUNK_BYTES);

#[cfg(test)]
mod tests;
