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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::Frame,
        shard::{frames::FrameId, queue::ChainMemo},
    };

    /// A round of a shard, with the queues that a test has asked for.
    struct Round {
        batches: Batches,
        pool: BlockPool,
        frames: FrameTable,
    }

    impl Round {
        fn new() -> Self {
            Self { batches: Batches::new(), pool: BlockPool::new(), frames: FrameTable::new() }
        }

        /// So many queues in step, with frames of these lengths.
        fn queues<const N: usize>(&mut self, frame_bytes: &[usize]) -> [Queue; N] {
            let mut queues = std::array::from_fn(|_| Queue::new());
            for (number, &bytes) in frame_bytes.iter().enumerate() {
                let content = vec![u8::try_from(number % 251).unwrap(); bytes];
                let id = self.frames.insert(Frame::new(content.as_slice().into()));
                let mut memo = ChainMemo::new(id, self.frames.len(id));
                for queue in &mut queues {
                    queue.push_published(&mut self.pool, &mut memo);
                    self.frames.retain(id);
                }
            }
            queues
        }

        fn choose(&mut self, index: usize, queue: &Queue) -> Source {
            self.batches.choose(index, queue, &self.pool, &self.frames)
        }

        fn batch(&mut self, index: usize, queue: &Queue) -> &[u8] {
            let Source::Batch { batch, .. } = self.choose(index, queue) else {
                panic!("no batch for {index}")
            };
            self.batches.bytes(batch)
        }

        fn content(&self, queue: &Queue) -> Vec<u8> {
            let ids: Vec<FrameId> = queue.iter(&self.pool).collect();
            ids.iter().flat_map(|&id| self.frames.bytes(id).to_vec()).collect()
        }
    }

    #[test]
    fn sessions_in_step_share_one_copy() {
        let mut round = Round::new();
        let [first, second, third] = round.queues(&[10, 20]);
        assert_eq!(round.choose(0, &first), Source::Queue);
        let Source::Batch { batch, first: Some(0) } = round.choose(1, &second) else { panic!("a batch") };
        assert_eq!(round.batches.bytes(batch), round.content(&first));
        assert_eq!(round.choose(2, &third), Source::Batch { batch, first: None });
        let [stranger] = round.queues(&[10, 20]);
        assert_eq!(round.choose(3, &stranger), Source::Queue);
    }

    #[test]
    fn a_round_knows_nothing_of_the_last() {
        let mut round = Round::new();
        let queues: [Queue; 2] = round.queues(&[10, 20]);
        assert_eq!(queues.each_ref().map(|queue| round.choose(0, queue) == Source::Queue), [true, false]);
        round.batches.start_round();
        assert_eq!(round.choose(0, &queues[0]), Source::Queue);
        assert_eq!(round.batch(1, &queues[1]).len(), 30);
    }

    #[test]
    fn one_frame_and_a_begun_frame_leave_from_the_queue() {
        let mut round = Round::new();
        let singles: [Queue; 3] = round.queues(&[10]);
        singles.iter().for_each(|queue| assert_eq!(round.choose(0, queue), Source::Queue));
        let mut begun: [Queue; 3] = round.queues(&vec![10; PARTS_PER_SEND_MAX + 2]);
        for queue in &mut begun {
            queue.advance(&mut round.pool, 1, |_| 10, |_| panic!("no frame has left whole"));
            assert_eq!(round.choose(0, queue), Source::Queue);
        }
    }

    #[test]
    fn more_frames_than_a_send_takes_are_copied_for_one_session() {
        let mut round = Round::new();
        let [most] = round.queues(&[5; PARTS_PER_SEND_MAX]);
        assert_eq!(round.choose(0, &most), Source::Queue);
        let [more, same] = round.queues(&[5; PARTS_PER_SEND_MAX + 1]);
        let Source::Batch { batch, first: None } = round.choose(1, &more) else { panic!("a batch") };
        assert_eq!(round.batches.bytes(batch), round.content(&more));
        assert_eq!(round.choose(2, &same), Source::Batch { batch, first: None });
    }

    #[test]
    fn a_batch_holds_whole_frames_up_to_its_limit() {
        let mut round = Round::new();
        let half = BATCH_BYTES_MAX / 2;
        for (frames, batch_bytes) in [
            (vec![half, half], 2 * half),
            (vec![half, half, 1], 2 * half),
            (vec![half, half - 10, 11, 1], 2 * half - 10),
        ] {
            let [first, second] = round.queues(&frames);
            round.choose(0, &first);
            let content = round.content(&first);
            assert_eq!(round.batch(1, &second), &content[..batch_bytes], "of {frames:?}");
        }
    }

    #[test]
    fn one_frame_that_fills_a_batch_is_not_copied() {
        let mut round = Round::new();
        let queues: [Queue; 2] = round.queues(&[10, BATCH_BYTES_MAX]);
        queues.iter().for_each(|queue| assert_eq!(round.choose(0, queue), Source::Queue));
        assert!(round.batches.bytes.is_empty(), "what was copied in vain is in nobody's way");
    }

    #[test]
    fn a_round_copies_up_to_its_limit() {
        let mut round = Round::new();
        let half = BATCH_BYTES_MAX / 2;
        for index in 0..ROUND_BYTES_MAX / BATCH_BYTES_MAX {
            let [first, second] = round.queues(&[half, half]);
            round.choose(2 * index, &first);
            assert_eq!(round.batch(2 * index + 1, &second).len(), BATCH_BYTES_MAX);
        }
        let late: [Queue; 2] = round.queues(&[1, 1]);
        late.iter().for_each(|queue| assert_eq!(round.choose(9, queue), Source::Queue));
    }

    #[test]
    fn a_round_remembers_the_chains_it_met_last() {
        let mut round = Round::new();
        let met: [[Queue; 2]; CHAINS_MAX + 2] = std::array::from_fn(|_| round.queues(&[1, 2]));
        for (index, [first, _]) in met.iter().enumerate() {
            assert_eq!(round.choose(index, first), Source::Queue);
        }
        for (index, [_, second]) in met.iter().enumerate().skip(2) {
            assert!(
                matches!(round.choose(99, second), Source::Batch { first: Some(first), .. } if first == index)
            );
        }
        // The younger first: each that is met anew takes the place of another.
        for [_, second] in met[..2].iter().rev() {
            assert_eq!(round.choose(99, second), Source::Queue);
        }
    }
}
