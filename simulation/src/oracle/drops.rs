//! Drops: whether a policy had to pass over the messages that a peer has not got.
//!
//! In      a gap in what a session was to get, with what its queue can have held meanwhile; the counters
//! Out     a message that was dropped although there was room for it; a frame that no counter tells of
//! Bounds  `O(messages after the gap)`
//! Source  docs/architecture.md: a full queue of a blocked session meets its policy

use std::ops::Range;

use fanwire::{Overflow, ShardStats};

use super::{
    Oracle,
    account::{Account, Phase},
};
use crate::settings::Settings;

/// A message on its way to one session, or dropped there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) id: u32,
    /// The turn in which it was queued, and whether an `on_close` hook sent it.
    pub(super) step: u64,
    pub(super) is_from_close_hook: bool,
    pub(super) frame_bytes: usize,
    /// What the peer had got by then: none of it was still queued.
    pub(super) before: Progress,
}

/// What a peer has got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// A session's policy, and when it applies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    overflow: Overflow,
    queue_size: usize,
    queue_bytes: usize,
    /// The memory of all may take any message away.
    is_memory_tight: bool,
}

impl Policy {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            overflow: settings.overflow,
            queue_size: settings.queue_size as usize,
            queue_bytes: settings.queue_bytes as usize,
            is_memory_tight: settings.is_memory_tight(),
        }
    }

    fn is_full(&self, messages: usize, bytes: usize) -> bool {
        messages >= self.queue_size || bytes > self.queue_bytes
    }
}

impl Account {
    /// One of these messages, which the peer has not got although it got the one before them, for which there was
    /// room in the queue.
    pub(super) fn wrongly_dropped(&self, mut gap: Range<usize>, policy: &Policy) -> Option<u32> {
        let wrong = match policy.overflow {
            Overflow::Close => gap.next(),
            _ if policy.is_memory_tight => None,
            Overflow::DropNewest => gap.find(|&place| !self.was_newest_dropped(place, policy)),
            // Those before it left for the sake of the same messages, or of fewer.
            Overflow::DropOldest => gap.last().filter(|&place| !self.was_oldest_dropped(place, policy)),
            _ => None,
        };
        wrong.map(|place| self.expected[place].id)
    }

    /// Under `DropNewest` the queue was full of older messages. All of them have arrived since.
    fn was_newest_dropped(&self, place: usize, policy: &Policy) -> bool {
        let Expected { before, frame_bytes, .. } = self.expected[place];
        let (head, head_bytes) = if before.messages == 0 { (1, RESPONSE_BYTES_MAX) } else { (0, 0) };
        let queued = self.progress.messages - before.messages + head;
        let queued_bytes = self.progress.bytes - before.bytes + head_bytes;
        policy.is_full(queued, queued_bytes + frame_bytes)
    }

    /// Under `DropOldest` the queue was full of what came behind it, but for the one that had begun to leave, and
    /// that arrived before the gap.
    fn was_oldest_dropped(&self, place: usize, policy: &Policy) -> bool {
        let newer = &self.expected[place..];
        let begun_bytes = match self.next.checked_sub(1) {
            Some(begun) => self.expected[begun].frame_bytes,
            None => RESPONSE_BYTES_MAX,
        };
        let bytes: usize = newer.iter().map(|message| message.frame_bytes).sum();
        // The last of them was still to be queued, and the begun one was there.
        policy.is_full(newer.len(), begun_bytes + bytes)
    }
}

/// Messages that were sent by a session's handle and came after its end: they are counted, never queued.
#[derive(Debug, Default)]
pub(super) struct Late {
    certain: u64,
    /// Those that came in the turn in which their session ended.
    possible: u64,
    /// Whom this turn has taken messages in for.
    fresh: Vec<usize>,
}

impl Oracle {
    /// A shard has taken in a message for one session.
    pub(super) fn remote_sent(&mut self, peer: usize, id: u32) {
        if self.accounts[peer].is_open() {
            self.late.fresh.push(peer);
            self.expect(peer, id);
        } else {
            self.late.certain += 1;
        }
    }

    /// A turn is over, and its hooks have told which sessions have ended in it.
    pub(super) fn note_late(&mut self) {
        let accounts = &self.accounts;
        let ended = self.late.fresh.drain(..).filter(|&peer| accounts[peer].phase == Phase::Closed);
        self.late.possible += ended.count() as u64;
    }

    /// At the end of the world, when no queue is left: each frame that was queued was sent or dropped, and what
    /// was dropped by policy is the sum of what the sessions were told.
    pub(crate) fn check_frames(&mut self, total: &ShardStats) {
        let dropped: usize = self.accounts.iter().map(Account::dropped).sum();
        let counted = total.frames_dropped_newest + total.frames_dropped_oldest;
        if dropped as u64 != counted {
            self.fail("every drop is counted", format!("{dropped} by session, {counted} in all"));
        }
        let (queued, sent) = (total.frames_queued, total.frames_sent);
        let (oldest, closed) = (total.frames_dropped_oldest, total.frames_dropped_closed);
        let late = (sent + oldest + closed).checked_sub(queued);
        let Late { certain, possible, .. } = self.late;
        if !late.is_some_and(|late| (certain..=certain + possible).contains(&late)) {
            let what = format!("{queued} queued, {sent} sent, {oldest} and {closed} dropped");
            self.fail(
                "every drop is counted",
                format!("{what}, {certain} to {} more came too late", certain + possible),
            );
        }
    }
}

/// The answer to a handshake is the first in its session's queue.
const RESPONSE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(overflow: Overflow) -> Policy {
        Policy { overflow, queue_size: 3, queue_bytes: 2_000, is_memory_tight: false }
    }

    fn account(count: u32, frame_bytes: usize) -> Account {
        let mut account = Account::default();
        (0..count).for_each(|id| account.expect(id, frame_bytes, 0, false));
        account
    }

    #[test]
    fn what_is_dropped_as_the_newest_found_the_queue_full_of_older_ones() {
        let policy = policy(Overflow::DropNewest);
        let mut account = account(6, 10);
        for id in [0, 1] {
            account.receive(id, &policy).unwrap();
        }
        // With the response there were three.
        assert_eq!(account.wrongly_dropped(2..5, &policy), None);
        account.receive(5, &policy).unwrap();
        account.expect(6, 10, 1, false);
        account.expect(7, 10, 1, false);
        assert_eq!(account.receive(7, &policy), Err("message 6 was dropped although there was room".into()));
    }

    #[test]
    fn what_is_dropped_as_the_oldest_made_room_for_newer_ones() {
        let policy = policy(Overflow::DropOldest);
        let mut account = account(6, 10);
        account.receive(0, &policy).unwrap();
        assert_eq!(account.wrongly_dropped(1..5, &policy), Some(4));
        account.receive(5, &policy).unwrap_err();
        account.receive(4, &policy).unwrap();
        assert_eq!(account.wrongly_dropped(5..6, &policy), Some(5), "the last one always arrives");
    }

    #[test]
    fn bytes_fill_a_queue_as_well() {
        for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
            let mut account = account(2, 1_500);
            account.receive(0, &policy(overflow)).unwrap();
            assert_eq!(account.wrongly_dropped(1..2, &policy(overflow)), None);
        }
        let account = account(1, 10);
        assert_eq!(account.wrongly_dropped(0..1, &policy(Overflow::Close)), Some(0));
    }
}
