//! One direction of a simulated connection.
//!
//! In      bytes and an end, each with the time at which it arrives
//! Out     the same bytes in order, then the end
//! Bounds  `capacity` bytes, as socket buffers have; a reset, or the reader's end, frees what is under way

use std::{collections::VecDeque, ops::Range};

use super::pages::PagePart;

/// One direction.
pub(super) struct Pipe {
    segments: VecDeque<Segment>,
    bytes: usize,
    capacity: usize,
    end: Option<(u64, PipeEnd)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PipeEnd {
    Fin,
    Reset,
}

/// Bytes that arrive together.
struct Segment {
    ready_at: u64,
    bytes: Bytes,
    read: usize,
}

enum Bytes {
    Own(Vec<u8>),
    Shared(PagePart),
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Self {
        Self { segments: VecDeque::new(), bytes: 0, capacity, end: None }
    }

    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes)
    }

    /// Bytes that were sent and not yet taken out, arrived or not.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_reset(&self) -> bool {
        matches!(self.end, Some((_, PipeEnd::Reset)))
    }

    pub(super) fn push(&mut self, ready_at: u64, bytes: &[u8]) {
        self.push_bytes(ready_at, Bytes::Own(bytes.to_vec()));
    }

    /// A part of a page, which is read only when it is taken out.
    pub(super) fn push_shared(&mut self, ready_at: u64, part: PagePart) {
        self.push_bytes(ready_at, Bytes::Shared(part));
    }

    fn push_bytes(&mut self, ready_at: u64, bytes: Bytes) {
        if bytes.len() == 0 || self.end.is_some() {
            return;
        }
        // Nothing overtakes what was sent before.
        let ready_at = self.segments.back().map_or(ready_at, |last| last.ready_at.max(ready_at));
        self.bytes += bytes.len();
        self.segments.push_back(Segment { ready_at, bytes, read: 0 });
    }

    /// Moves what has arrived to the end of `out`.
    pub(super) fn pull(&mut self, now: u64, bytes_max: usize, out: &mut Vec<u8>) {
        let mut left = bytes_max;
        while left > 0
            && let Some(segment) = self.segments.front_mut().filter(|segment| segment.ready_at <= now)
        {
            let count = left.min(segment.bytes.len() - segment.read);
            segment.bytes.copy(segment.read..segment.read + count, out);
            segment.read += count;
            left -= count;
            self.bytes -= count;
            if segment.read == segment.bytes.len() {
                self.segments.pop_front();
            }
        }
    }

    /// Nobody will ever read it: what is under way is freed.
    pub(super) fn forget(&mut self) {
        self.segments = VecDeque::new();
        self.bytes = 0;
    }

    /// A reset loses what is under way; after any end nothing follows, but a reset may still overtake a FIN.
    pub(super) fn end(&mut self, ready_at: u64, end: PipeEnd) {
        match (self.end, end) {
            (None, PipeEnd::Fin) => {
                let ready_at = self.segments.back().map_or(ready_at, |last| last.ready_at.max(ready_at));
                self.end = Some((ready_at, PipeEnd::Fin));
            }
            (None | Some((_, PipeEnd::Fin)), PipeEnd::Reset) => {
                self.segments.clear();
                self.bytes = 0;
                self.end = Some((ready_at, PipeEnd::Reset));
            }
            (Some(_), _) => {}
        }
    }

    pub(super) fn has_arrived(&self, now: u64) -> bool {
        self.segments.front().is_some_and(|segment| segment.ready_at <= now)
    }

    /// The end, if it has arrived and everything before it has been read.
    pub(super) fn arrived_end(&self, now: u64) -> Option<PipeEnd> {
        self.end.filter(|&(at, _)| at <= now && self.segments.is_empty()).map(|(_, end)| end)
    }

    /// Whether its writer has ended it.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some()
    }
}

impl Bytes {
    fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Shared(part) => part.len(),
        }
    }

    fn copy(&self, range: Range<usize>, out: &mut Vec<u8>) {
        match self {
            Self::Own(bytes) => out.extend_from_slice(&bytes[range]),
            Self::Shared(part) => part.copy(range, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulled(pipe: &mut Pipe, now: u64, bytes_max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        pipe.pull(now, bytes_max, &mut out);
        out
    }

    #[test]
    fn nothing_overtakes_what_was_sent_before() {
        let mut pipe = Pipe::new(9);
        pipe.push(10, b"a");
        pipe.push(5, b"b");
        pipe.end(5, PipeEnd::Fin);
        assert!(pulled(&mut pipe, 9, 9).is_empty() && !pipe.has_arrived(9));
        assert_eq!(pipe.arrived_end(9), None);
        assert_eq!(pulled(&mut pipe, 10, 1), b"a");
        assert_eq!((pipe.room(), pipe.arrived_end(10)), (8, None));
        assert_eq!(pulled(&mut pipe, 10, 9), b"b");
        assert_eq!(pipe.arrived_end(10), Some(PipeEnd::Fin));
    }

    #[test]
    fn a_reset_overtakes_bytes_and_a_fin_but_nothing_follows_a_reset() {
        let mut pipe = Pipe::new(9);
        pipe.push(10, b"a");
        pipe.end(20, PipeEnd::Fin);
        pipe.end(1, PipeEnd::Reset);
        pipe.end(0, PipeEnd::Fin);
        pipe.push(0, b"late");
        assert!(pipe.is_reset() && pipe.is_ended());
        assert_eq!((pipe.bytes(), pipe.arrived_end(0), pipe.arrived_end(1)), (0, None, Some(PipeEnd::Reset)));
    }
}
