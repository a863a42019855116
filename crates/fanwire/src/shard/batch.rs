//! Batches: one contiguous copy of what many sessions in step are about to send.
//!
//! In      the queues of a flush round, one after the other
//! Out     for each, whether its own frames, a batch or shared pages are sent
//! Bounds  `BATCH_BYTES_MAX` per batch, `CHAINS_MAX` batches; only what lies in pages outlives the round
//! Source  docs/architecture.md: one contiguous buffer instead of 16 slices costs 5 to 18 % less

use std::ops::Range;

use super::{
    frames::FrameTable,
    queue::{BlockPool, Queue},
};
use crate::driver::{PARTS_PER_SEND_MAX, PageRange};

/// The batches of one round. Sessions share one only if their chain ids are equal, which is to say their content.
pub(crate) struct Batches {
    bytes: Vec<u8>,
    seen: Vec<Seen>,
    /// The entry that a new chain replaces when all are taken.
    next: usize,
    /// Pages of batches that were forgotten.
    freed: Vec<PageRange>,
}

/// Where a session's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Its queue's frames, each a slice.
    Queue,
    /// A batch of this round.
    Batch(BatchRange),
    /// A batch or a frame in shared pages.
    Pages(PageRange),
}

/// A batch's place in the round's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchRange {
    start: usize,
    end: usize,
}

/// A chain that has been met, in this round or, if its batch lies in pages, in the one before.
struct Seen {
    chain: u64,
    /// Index in its round of the session that was met first.
    first: usize,
    /// Whether a second one was met.
    has_second: bool,
    /// Whether it was met in this round.
    is_used: bool,
    source: Source,
}

impl Batches {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), seen: Vec::new(), next: 0, freed: Vec::new() }
    }

    /// Forgets the last round, but for batches in pages that it has used: ever more sessions may be in step.
    pub(crate) fn start_round(&mut self) {
        self.bytes.clear();
        self.next = 0;
        let freed = &mut self.freed;
        self.seen.retain_mut(|seen| match seen.source {
            Source::Pages(_) if std::mem::take(&mut seen.is_used) => true,
            source => {
                freed.extend(source.pages());
                false
            }
        });
    }

    /// Chooses for the round's session `index`. A batch is copied when the second session of a chain is met,
    /// or when a queue has more frames than a send takes slices. The second session also names the first,
    /// which then has the same source.
    pub(crate) fn choose(
        &mut self,
        index: usize,
        queue: &Queue,
        pool: &BlockPool,
        frames: &FrameTable,
    ) -> (Source, Option<usize>) {
        if queue.len() == 1 || queue.cursor() > 0 {
            return (Source::Queue, None);
        }
        let known = self.seen.iter().position(|seen| seen.chain == queue.chain());
        if let Some(known) = known {
            let is_second = !std::mem::replace(&mut self.seen[known].has_second, true);
            if is_second && self.seen[known].source == Source::Queue {
                self.seen[known].source = self.copy(queue, pool, frames);
            }
            let seen = &mut self.seen[known];
            seen.is_used = true;
            return (seen.source, is_second.then_some(seen.first));
        }
        let is_long = queue.len() as usize > PARTS_PER_SEND_MAX;
        let source = if is_long { self.copy(queue, pool, frames) } else { Source::Queue };
        self.note(Seen { chain: queue.chain(), first: index, has_second: false, is_used: true, source });
        (source, None)
    }

    /// The chain's batch lies in these pages, from now on until it is forgotten.
    pub(crate) fn share(&mut self, chain: u64, batch: BatchRange, range: PageRange) {
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.chain == chain) {
            seen.source = Source::Pages(range);
        }
        if batch.end == self.bytes.len() {
            self.bytes.truncate(batch.start);
        }
    }

    /// Forgets all batches in pages.
    pub(crate) fn forget_shared(&mut self) {
        let freed = &mut self.freed;
        self.seen.retain(|seen| {
            freed.extend(seen.source.pages());
            seen.source.pages().is_none()
        });
        self.next = 0;
    }

    /// The pages of batches that were forgotten.
    pub(crate) fn take_freed(&mut self) -> impl Iterator<Item = PageRange> + '_ {
        self.freed.drain(..)
    }

    /// The pages of batches that are kept.
    #[cfg(feature = "sim")]
    pub(super) fn kept(&self) -> impl Iterator<Item = PageRange> + '_ {
        self.seen.iter().filter_map(|seen| seen.source.pages())
    }

    /// The bytes of a batch of this round.
    pub(crate) fn bytes(&self, batch: BatchRange) -> &[u8] {
        &self.bytes[Range::from(batch)]
    }

    fn note(&mut self, seen: Seen) {
        if self.seen.len() < CHAINS_MAX {
            self.seen.push(seen);
        } else {
            let replaced = std::mem::replace(&mut self.seen[self.next], seen);
            self.freed.extend(replaced.source.pages());
            self.next = (self.next + 1) % CHAINS_MAX;
        }
    }

    /// Copies the front of the queue, whole frames only; its own frames if not even two of them fit.
    fn copy(&mut self, queue: &Queue, pool: &BlockPool, frames: &FrameTable) -> Source {
        let start = self.bytes.len();
        if start + BATCH_BYTES_MAX > ROUND_BYTES_MAX {
            return Source::Queue;
        }
        let mut count = 0;
        'full: for id in queue.iter(pool) {
            for &id in frames.frames_of(&id) {
                let frame = frames.bytes(id);
                if self.bytes.len() - start + frame.len() > BATCH_BYTES_MAX {
                    break 'full;
                }
                self.bytes.extend_from_slice(frame);
                count += 1;
            }
        }
        if count < 2 {
            self.bytes.truncate(start);
            return Source::Queue;
        }
        Source::Batch(BatchRange { start, end: self.bytes.len() })
    }
}

impl Source {
    fn pages(self) -> Option<PageRange> {
        if let Self::Pages(range) = self { Some(range) } else { None }
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
            Self { batches: Batches::new(), pool: BlockPool::new(), frames: FrameTable::new(0) }
        }

        /// So many queues in step, with frames of these lengths.
        fn queues<const N: usize>(&mut self, frame_bytes: &[usize]) -> [Queue; N] {
            let mut queues = std::array::from_fn(|_| Queue::new());
            for (number, &bytes) in frame_bytes.iter().enumerate() {
                let content = vec![u8::try_from(number % 251).unwrap(); bytes];
                let id = self.frames.insert(Frame::new(content.as_slice().into()));
                let mut memo = ChainMemo::new(id, self.frames.size(id));
                for queue in &mut queues {
                    queue.push_published(&mut self.pool, &mut memo);
                    self.frames.retain(id);
                }
            }
            queues
        }

        fn choose(&mut self, index: usize, queue: &Queue) -> Source {
            self.choose_with_first(index, queue).0
        }

        fn choose_with_first(&mut self, index: usize, queue: &Queue) -> (Source, Option<usize>) {
            self.batches.choose(index, queue, &self.pool, &self.frames)
        }

        fn batch(&mut self, index: usize, queue: &Queue) -> &[u8] {
            let Source::Batch(batch) = self.choose(index, queue) else { panic!("no batch for {index}") };
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
        let (Source::Batch(batch), Some(0)) = round.choose_with_first(1, &second) else { panic!("a batch") };
        assert_eq!(round.batches.bytes(batch), round.content(&first));
        assert_eq!(round.choose_with_first(2, &third), (Source::Batch(batch), None));
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
            queue.advance(&mut round.pool, 1, |_| (10, 1), |_| panic!("no frame has left whole"));
            assert_eq!(round.choose(0, queue), Source::Queue);
        }
    }

    #[test]
    fn more_frames_than_a_send_takes_are_copied_for_one_session() {
        let mut round = Round::new();
        let [most] = round.queues(&[5; PARTS_PER_SEND_MAX]);
        assert_eq!(round.choose(0, &most), Source::Queue);
        let [more, same] = round.queues(&[5; PARTS_PER_SEND_MAX + 1]);
        let (Source::Batch(batch), None) = round.choose_with_first(1, &more) else { panic!("a batch") };
        assert_eq!(round.batches.bytes(batch), round.content(&more));
        assert_eq!(round.choose_with_first(2, &same), (Source::Batch(batch), Some(1)));
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
            let (source, first) = round.choose_with_first(99, second);
            assert!(matches!(source, Source::Batch(_)) && first == Some(index));
        }
        // The younger first: each that is met anew takes the place of another.
        for [_, second] in met[..2].iter().rev() {
            assert_eq!(round.choose(99, second), Source::Queue);
        }
    }

    /// A batch of two in step, put into these pages.
    fn shared(round: &mut Round, [first, second]: &[Queue; 2], range: PageRange) {
        round.choose(0, first);
        let Source::Batch(batch) = round.choose(1, second) else { panic!("a batch") };
        round.batches.share(first.chain(), batch, range);
    }

    #[test]
    fn a_batch_in_pages_serves_later_rounds_as_long_as_each_uses_it() {
        let mut round = Round::new();
        let queues: [Queue; 2] = round.queues(&[10, 20]);
        shared(&mut round, &queues, RANGE);
        assert!(round.batches.bytes.is_empty(), "the copy has served");
        for _ in 0..3 {
            round.batches.start_round();
            assert_eq!(round.choose_with_first(0, &queues[0]), (Source::Pages(RANGE), None));
            assert_eq!(round.batches.take_freed().count(), 0);
        }
        round.batches.start_round();
        round.batches.start_round();
        assert_eq!(round.batches.take_freed().collect::<Vec<_>>(), [RANGE]);
        assert_eq!(round.choose(0, &queues[0]), Source::Queue);
    }

    #[test]
    fn each_batch_in_pages_that_is_forgotten_is_given_back_once() {
        let mut round = Round::new();
        let range = |number: u32| PageRange { offset: u64::from(number) << 20, bytes: 30 };
        let count = u32::try_from(CHAINS_MAX).unwrap() + 3;
        for number in 0..count {
            let queues = round.queues(&[10, 20]);
            shared(&mut round, &queues, range(number));
        }
        round.batches.forget_shared();
        let mut freed: Vec<_> = round.batches.take_freed().collect();
        freed.sort_unstable_by_key(|range| range.offset);
        assert_eq!(freed, (0..count).map(range).collect::<Vec<_>>());
        round.batches.start_round();
        round.batches.forget_shared();
        assert_eq!(round.batches.take_freed().count(), 0);
    }

    const RANGE: PageRange = PageRange { offset: 1 << 20, bytes: 30 };
}
