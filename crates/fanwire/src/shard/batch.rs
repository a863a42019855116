//! Batches: one contiguous copy of what many sessions in step are about to send.
//!
//! In      the queues of a flush round, one after the other
//! Out     for each, whether its own frames or a shared batch are sent
//! Bounds  `BATCH_BYTES_MAX` per batch, `BATCHES_MAX` batches; nothing outlives the round
//! Source  docs/architecture.md: one contiguous buffer instead of 16 slices costs 5 to 18 % less

use std::ops::Range;

use super::{
    frames::FrameTable,
    queue::{BlockPool, Queue},
};
use crate::driver::PARTS_PER_SEND_MAX;

/// The batches of one round. Sessions share one only if their chain ids are equal, which is to say their content.
pub(crate) struct Batches {
    bytes: Vec<u8>,
    seen: Vec<Seen>,
    /// The entry that a new chain replaces when all are taken.
    next: usize,
}

/// Where a session's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Its queue's frames, each a slice.
    Queue,
    /// A batch. `first`: the session of this index in the round, until now on its own, shares it too.
    Batch { batch: BatchRange, first: Option<usize> },
}

/// A batch's place in the round's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchRange {
    start: usize,
    end: usize,
}

/// A chain that has been met in this round.
struct Seen {
    chain: u64,
    /// Index of the session that was met first.
    first: usize,
    batch: Option<BatchRange>,
}

impl Batches {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), seen: Vec::new(), next: 0 }
    }

    /// Forgets the last round.
    pub(crate) fn start_round(&mut self) {
        self.bytes.clear();
        self.seen.clear();
        self.next = 0;
    }

    /// Chooses for the round's session `index`. A batch is copied when the second session of a chain is met, or
    /// when a queue has more frames than a send takes slices.
    pub(crate) fn choose(
        &mut self,
        index: usize,
        queue: &Queue,
        pool: &BlockPool,
        frames: &FrameTable,
    ) -> Source {
        if queue.len() == 1 || queue.cursor() > 0 {
            return Source::Queue;
        }
        let known = self.seen.iter().position(|seen| seen.chain == queue.chain());
        if let Some(seen) = known
            && let Some(batch) = self.seen[seen].batch
        {
            return Source::Batch { batch, first: None };
        }
        if known.is_none() && queue.len() as usize <= PARTS_PER_SEND_MAX {
            self.note(Seen { chain: queue.chain(), first: index, batch: None });
            return Source::Queue;
        }
        let Some(batch) = self.copy(queue, pool, frames) else { return Source::Queue };
        let Some(seen) = known else {
            self.note(Seen { chain: queue.chain(), first: index, batch: Some(batch) });
            return Source::Batch { batch, first: None };
        };
        self.seen[seen].batch = Some(batch);
        Source::Batch { batch, first: Some(self.seen[seen].first) }
    }

    /// The bytes of a batch of this round.
    pub(crate) fn bytes(&self, batch: BatchRange) -> &[u8] {
        &self.bytes[Range::from(batch)]
    }

    fn note(&mut self, seen: Seen) {
        if self.seen.len() < CHAINS_MAX {
            self.seen.push(seen);
        } else {
            self.seen[self.next] = seen;
            self.next = (self.next + 1) % CHAINS_MAX;
        }
    }

    /// Copies the front of the queue, whole frames only; `None` if not even two of them fit.
    fn copy(&mut self, queue: &Queue, pool: &BlockPool, frames: &FrameTable) -> Option<BatchRange> {
        let start = self.bytes.len();
        if start + BATCH_BYTES_MAX > ROUND_BYTES_MAX {
            return None;
        }
        let mut count = 0;
        for id in queue.iter(pool) {
            let frame = frames.bytes(id);
            if self.bytes.len() - start + frame.len() > BATCH_BYTES_MAX {
                break;
            }
            self.bytes.extend_from_slice(frame);
            count += 1;
        }
        if count < 2 {
            self.bytes.truncate(start);
            return None;
        }
        Some(BatchRange { start, end: self.bytes.len() })
    }
}

impl From<BatchRange> for Range<usize> {
    fn from(batch: BatchRange) -> Self {
        batch.start..batch.end
    }
}

/// Larger sends gain nothing: the copy in the kernel dominates.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// All batches of a round together.
const ROUND_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;

/// Chains remembered in a round. Sessions in step follow each other, so few are enough.
const CHAINS_MAX: usize = 8;
