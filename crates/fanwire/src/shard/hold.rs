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
        if let Some((mut bytes, handled)) = self.core.take_held(slot) {
            self.received_frames(slot, &mut bytes[handled..], false);
        }
    }

    /// Goes on with the sessions that were paused in earlier ticks and whose queue has gone down.
    pub(super) fn resume_paused(&mut self) {
        for slot in std::mem::take(&mut self.core.paused) {
            if self.stays_paused(slot) {
                self.core.paused.push(slot);
            }
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
        if let Some((mut bytes, handled)) = self.core.take_held(slot) {
            // After our close frame only the peer's is looked for, and that costs no queue.
            let budget = if is_open { self.core.read_budget as usize } else { usize::MAX };
            let end = bytes.len().min(handled.saturating_add(budget));
            let handled = handled + self.received_frames(slot, &mut bytes[handled..end], is_open);
            if handled < bytes.len() && self.core.is_reading(slot) {
                self.core.put_held(slot, bytes, handled);
                return true;
            }
        }
        if self.core.is_reading(slot) {
            self.core.resume_reading(slot);
        }
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
    fn hold(&mut self, slot: u32, bytes: &[u8]) -> bool {
        if self.held_bytes + bytes.len() > HELD_BYTES_MAX {
            return false;
        }
        self.held_bytes += bytes.len();
        let early = self.conns[slot as usize].early.get_or_insert_default();
        early.is_held = true;
        early.bytes.extend_from_slice(bytes);
        true
    }

    /// Takes out what is held, with how much of it has been handled, and the room that it had.
    pub(super) fn take_held(&mut self, slot: u32) -> Option<(Vec<u8>, usize)> {
        let early = self.conns[slot as usize].early.take_if(|early| early.is_held)?;
        self.held_bytes -= early.bytes.len();
        Some((early.bytes, early.handled))
    }

    /// Puts the rest of what was taken out back, in front of nothing else. What is handled is moved away only when it
    /// is half of all: a peer whose messages go on a few at a time must not have megabytes moved for each few.
    fn put_held(&mut self, slot: u32, mut bytes: Vec<u8>, mut handled: usize) {
        if handled > bytes.len() / 2 {
            bytes.drain(..handled);
            handled = 0;
        }
        self.held_bytes += bytes.len();
        let early = Early { bytes, handled, is_held: true, ..Early::default() };
        self.conns[slot as usize].early = Some(Box::new(early));
    }
}

fn has_held(conn: &Conn) -> bool {
    conn.early.as_ref().is_some_and(|early| early.is_held)
}

/// Bytes held over all sessions of a shard.
pub(crate) const HELD_BYTES_MAX: usize = 16 << 20;
