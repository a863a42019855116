//! Output: what a peer still has to send, and what of it is whole once it has left.
//!
//! In      bytes, with marks behind a request head and behind each message
//! Out     the same bytes to the connection, cut by chance; the oracle hears of each mark they have passed
//! Bounds  as the plan
//! Source  none

use std::collections::VecDeque;

use fanwire::sim::SimClient;
use fastrand::Rng;

use crate::oracle::Oracle;

/// What a peer still has to send.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// So many bytes have left.
    sent_bytes: usize,
    /// What ends where, counted from the first byte that ever left.
    marks: VecDeque<(usize, Mark)>,
}

/// What ends at some byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    Head,
    Message,
}

impl Output {
    /// Where to write what is sent next.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What was written last is the end of this.
    pub(super) fn mark(&mut self, mark: Mark) {
        self.marks.push_back((self.sent_bytes + self.bytes.len(), mark));
    }

    /// Sends what the connection takes, or a part of it; `false`: nothing.
    pub(super) fn send(&mut self, link: &mut SimClient, rng: &mut Rng) -> bool {
        if self.bytes.is_empty() {
            return false;
        }
        let all = self.bytes.len();
        let part = if rng.u8(..4) == 0 { rng.usize(1..=all.min(SHORT_BYTES_MAX)) } else { all };
        let taken = link.send(&self.bytes[..part]);
        self.bytes.drain(..taken);
        self.sent_bytes += taken;
        taken > 0
    }

    /// Tells what has left whole.
    pub(super) fn tell(&mut self, index: usize, oracle: &mut Oracle) {
        while let Some(&(_, mark)) = self.marks.front().filter(|(end, _)| *end <= self.sent_bytes) {
            match mark {
                Mark::Head => oracle.has_asked(index),
                Mark::Message => oracle.has_said(index),
            }
            self.marks.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What has not left never will.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
    }
}

/// A short piece of what is to be sent.
const SHORT_BYTES_MAX: usize = 9;
