//! Control frames: pings, pongs and closes, which go out at frame boundaries.
//!
//! In      at most one frame of each kind per session
//! Out     sends of one session by itself: control frames first, the close frame last
//! Bounds  one place per kind outside the queue: 1 KiB of pongs, one ping, one close frame
//! Source  RFC 6455 section 5.5; docs/architecture.md

use std::io::IoSlice;

use fanwire_ws::{CONTROL_BYTES_MAX, Opcode, encode_frame};
use rustix::io::Errno;

use super::outbox::{BLOCKED, CONTROL, Control, DEAD, HEAD, Outbox};
use crate::driver::{Driver, Key, PARTS_PER_SEND_MAX};

impl Outbox {
    /// Answers a ping at the next frame boundary. If there is no place for another answer, only this ping, the
    /// latest, will be answered (RFC 6455 s5.5.3); says how many older ones will not.
    pub(crate) fn pong(&mut self, slot: u32, payload: &[u8]) -> u64 {
        assert!(payload.len() <= CONTROL_BYTES_MAX, "the decoder refuses longer ones");
        if self.queues[slot as usize].flags & DEAD != 0 {
            return 0;
        }
        let control = self.control(slot);
        let mut skipped = 0;
        if control.pongs.len() + HEADER_BYTES + payload.len() > PONG_BYTES_MAX {
            control.pongs.clear();
            skipped = std::mem::take(&mut control.pong_count);
        }
        encode_frame(&mut control.pongs, true, Opcode::Pong, None, payload);
        control.pong_count += 1;
        skipped
    }

    pub(crate) fn ping(&mut self, slot: u32) {
        self.control(slot).ping = true;
    }

    /// Sends this close frame after everything that is queued.
    pub(crate) fn close(&mut self, slot: u32, frame: Vec<u8>) {
        if self.queues[slot as usize].flags & DEAD == 0 {
            self.control(slot).close = Some(frame);
        }
    }

    /// Sends what one session's socket takes at once.
    pub(crate) fn try_flush<D: Driver>(&mut self, driver: &mut D, slot: u32) {
        if self.queues[slot as usize].flags & (BLOCKED | DEAD) == 0 {
            self.flush_alone(driver, slot);
        }
    }

    /// Sends all of one session's queue and control frames, each control frame at a frame boundary, until nothing
    /// is left or the socket refuses.
    pub(super) fn flush_alone<D: Driver>(&mut self, driver: &mut D, slot: u32) {
        let key = Key { slot, generation: self.generations[slot as usize] };
        loop {
            let queue = &self.queues[slot as usize];
            let begun = queue.cursor() > 0 || queue.flags & HEAD != 0;
            let is_empty = queue.is_empty();
            // Only to the next boundary, if a control frame waits there.
            let frames_max = if begun && queue.flags & CONTROL != 0 { 1 } else { PARTS_PER_SEND_MAX };
            let control = self.controls.get_mut(&slot).filter(|_| !begun);
            let control = control.and_then(|control| control.load(is_empty).then_some(control));
            let is_control = control.is_some();
            let (offered, result) = if let Some(control) = control {
                let rest = &control.writing[control.written..];
                let result = driver.send_now(key, &[IoSlice::new(rest)]);
                let offered = rest.len() as u64;
                self.counters().sends.add(1);
                (offered, result)
            } else if is_empty {
                break;
            } else if let Some(range) = self.front_pages(driver, slot) {
                self.send_from_pages(driver, slot, range)
            } else {
                self.send_from_queue(driver, slot, frames_max)
            };
            let taken = match result {
                Ok(taken) => taken as u64,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => 0,
                Err(Errno::NOBUFS | Errno::NOMEM) => return self.starve(slot),
                Err(_) => return self.fail(slot),
            };
            if is_control {
                self.advance_control(slot, taken);
            } else {
                self.advance(slot, taken);
            }
            if taken < offered {
                return self.block(driver, slot);
            }
        }
        self.remove_control(slot);
        self.note_drained(slot);
    }

    fn advance_control(&mut self, slot: u32, taken: u64) {
        let control = self.controls.get_mut(&slot).expect("it was just written from");
        control.written += usize::try_from(taken).expect("a control frame is short");
        if control.written == control.writing.len() {
            control.writing.clear();
            control.written = 0;
        }
        self.counters().bytes_sent.add(taken);
    }

    fn control(&mut self, slot: u32) -> &mut Control {
        self.mark_dirty(slot);
        self.queues[slot as usize].flags |= CONTROL;
        self.controls.entry(slot).or_default()
    }

    pub(super) fn remove_control(&mut self, slot: u32) {
        self.queues[slot as usize].flags &= !CONTROL;
        self.controls.remove(&slot);
    }
}

impl Control {
    /// Makes the next control frame ready in `writing`, if there is one whose turn it is.
    fn load(&mut self, queue_is_empty: bool) -> bool {
        if !self.writing.is_empty() {
            return true;
        }
        if !self.pongs.is_empty() {
            std::mem::swap(&mut self.writing, &mut self.pongs);
            self.pong_count = 0;
        } else if std::mem::take(&mut self.ping) {
            encode_frame(&mut self.writing, true, Opcode::Ping, None, &[]);
        } else if queue_is_empty && let Some(frame) = self.close.take() {
            self.writing = frame;
        }
        !self.writing.is_empty()
    }
}

/// Memory of one session's control frames: the pongs that wait and those being written, in vectors that may have
/// doubled, a close frame, and their entry.
pub(crate) const CONTROL_BYTES_PER_SESSION: u64 =
    (4 * PONG_BYTES_MAX + HEADER_BYTES + CONTROL_BYTES_MAX + size_of::<Control>() + 32) as u64;

/// Pongs that wait for one session: a ping flood costs no more.
pub(super) const PONG_BYTES_MAX: usize = 1024;

/// An unmasked control frame's header.
const HEADER_BYTES: usize = 2;
