//! Queues against vectors: random publishes, sends, partial advances and drops; equal chains mean equal content.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    /// One frame to each queue of the mask, as a publish.
    Publish {
        mask: u16,
        bytes: u32,
    },
    /// The same publish, many times: queues grow into blocks.
    Burst {
        mask: u16,
        bytes: u32,
        count: u8,
    },
    /// So many publishes as one id.
    Bundle {
        mask: u16,
        bytes: u32,
        count: u8,
    },
    Send {
        queue: usize,
        bytes: u32,
    },
    /// So many thousandths of what is queued were sent.
    Advance {
        queue: usize,
        share: u64,
    },
    PopFront {
        queue: usize,
    },
    DropOldest {
        queue: usize,
        keeps_front: bool,
    },
    Clear {
        queue: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let queue = 0..QUEUES;
    let bytes = 2..2_000u32;
    // Everybody's mask is frequent, so that queues come to be in step.
    let mask = prop_oneof![Just(u16::MAX), Just(0x00ff), any::<u16>()];
    prop_oneof![
        6 => (mask.clone(), bytes.clone()).prop_map(|(mask, bytes)| Op::Publish { mask, bytes }),
        1 => (mask.clone(), bytes.clone(), any::<u8>())
            .prop_map(|(mask, bytes, count)| Op::Burst { mask, bytes, count }),
        3 => (mask, bytes.clone(), 2..60u8)
            .prop_map(|(mask, bytes, count)| Op::Bundle { mask, bytes, count }),
        2 => (queue.clone(), bytes).prop_map(|(queue, bytes)| Op::Send { queue, bytes }),
        4 => (queue.clone(), 0..=1_000u64).prop_map(|(queue, share)| Op::Advance { queue, share }),
        4 => queue.clone().prop_map(|queue| Op::Advance { queue, share: 1_000 }),
        2 => queue.clone().prop_map(|queue| Op::PopFront { queue }),
        2 => (queue.clone(), any::<bool>())
            .prop_map(|(queue, keeps_front)| Op::DropOldest { queue, keeps_front }),
        1 => queue.prop_map(|queue| Op::Clear { queue }),
    ]
}

/// A queue, and the frames that it should hold.
#[derive(Default)]
struct Pair {
    queue: Queue,
    content: VecDeque<FrameId>,
    cursor: u32,
}

#[derive(Default)]
struct World {
    pool: BlockPool,
    pairs: [Pair; QUEUES],
    /// Length of each frame, 0 for a bundle; ids are not reused here.
    lengths: Vec<u32>,
    /// The frames of a bundle, of a frame only itself.
    parts: Vec<Vec<FrameId>>,
}

impl World {
    fn frame(&mut self, bytes: u32) -> FrameId {
        let id = FrameId(u32::try_from(self.lengths.len()).unwrap());
        self.lengths.push(bytes);
        self.parts.push(vec![id]);
        id
    }

    fn bundle(&mut self, frames: Vec<FrameId>) -> FrameId {
        let id = self.frame(0);
        self.parts[id.0 as usize] = frames;
        id
    }

    fn frames(&self, queue: &Queue) -> Vec<FrameId> {
        queue.iter(&self.pool).flat_map(|id| self.parts[id.0 as usize].clone()).collect()
    }

    /// As whoever owns the frames does it before one of them is dropped. The frames that were found to be sent.
    fn take_apart(&mut self, index: usize) -> Vec<FrameId> {
        let frames = self.frames(&self.pairs[index].queue);
        let size = size_by(&self.lengths, &self.parts);
        let mut done = Vec::new();
        self.pairs[index].queue.take_apart(&mut self.pool, &frames, size, |id| done.push(id));
        done
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Publish { mask, bytes } => self.publish(mask, bytes),
            Op::Burst { mask, bytes, count } => (0..count).for_each(|_| self.publish(mask, bytes)),
            Op::Bundle { mask, bytes, count } => {
                let frames: Vec<_> = (0..count).map(|_| self.frame(bytes)).collect();
                let id = self.bundle(frames);
                self.push(mask, id);
            }
            Op::Send { queue, bytes } => {
                let id = self.frame(bytes);
                self.pairs[queue].queue.push(&mut self.pool, id, bytes);
                self.pairs[queue].content.push_back(id);
            }
            Op::Advance { queue, share } => self.advance(queue, share),
            Op::PopFront { queue } => {
                assert_eq!(self.take_apart(queue), []);
                let Pair { queue, content, cursor } = &mut self.pairs[queue];
                let bytes = content.front().map_or(0, |id| self.lengths[id.0 as usize]);
                assert_eq!(queue.pop_front(&mut self.pool, bytes), content.pop_front());
                *cursor = 0;
            }
            Op::DropOldest { queue, keeps_front } => {
                assert_eq!(self.take_apart(queue), []);
                let Pair { queue, content, cursor } = &mut self.pairs[queue];
                let expected = content.remove(usize::from(keeps_front || *cursor > 0));
                let dropped =
                    queue.drop_oldest(&mut self.pool, keeps_front, |id| self.lengths[id.0 as usize]);
                assert_eq!(dropped, expected);
            }
            Op::Clear { queue } => {
                let Pair { queue, content, cursor } = &mut self.pairs[queue];
                let parts = &self.parts;
                queue.clear(&mut self.pool, |id| {
                    parts[id.0 as usize].iter().for_each(|id| assert_eq!(Some(*id), content.pop_front()));
                });
                assert!(content.is_empty());
                *cursor = 0;
            }
        }
    }

    fn publish(&mut self, mask: u16, bytes: u32) {
        let id = self.frame(bytes);
        self.push(mask, id);
    }

    fn push(&mut self, mask: u16, id: FrameId) {
        let mut publish = ChainMemo::new(id, size_by(&self.lengths, &self.parts)(id));
        for (index, pair) in self.pairs.iter_mut().enumerate() {
            if mask >> index & 1 == 1 {
                pair.queue.push_published(&mut self.pool, &mut publish);
                pair.content.extend(&self.parts[id.0 as usize]);
            }
        }
    }

    fn advance(&mut self, index: usize, share: u64) {
        let Pair { queue, content, cursor } = &mut self.pairs[index];
        let sent = queue.bytes() * share / 1_000;
        let mut left = sent;
        let mut done = Vec::new();
        while let Some(&id) = content.front() {
            let missing = u64::from(self.lengths[id.0 as usize] - *cursor);
            if left < missing {
                *cursor += u32::try_from(left).unwrap();
                break;
            }
            left -= missing;
            *cursor = 0;
            done.extend(content.pop_front());
        }
        let mut reported = Vec::new();
        let size = size_by(&self.lengths, &self.parts);
        queue.advance(&mut self.pool, sent, size, |id| reported.extend(&self.parts[id.0 as usize]));
        let is_in_bundle = |id: FrameId| self.parts[id.0 as usize].len() > 1;
        if queue.cursor() > 0 && queue.front().is_some_and(is_in_bundle) {
            reported.extend(self.take_apart(index));
        }
        assert_eq!(reported, done);
    }

    fn check(&self) {
        for pair in &self.pairs {
            self.check_content(pair);
        }
        for (index, one) in self.pairs.iter().enumerate() {
            for other in &self.pairs[..index] {
                if one.queue.chain() == other.queue.chain() {
                    assert_eq!(one.content, other.content, "one chain, one content");
                    assert_eq!((one.cursor, other.cursor), (0, 0), "one chain, nothing sent");
                }
            }
        }
    }

    fn check_content(&self, pair: &Pair) {
        let queue = &pair.queue;
        let queued: u64 = pair.content.iter().map(|id| u64::from(self.lengths[id.0 as usize])).sum();
        assert_eq!(VecDeque::from(self.frames(queue)), pair.content);
        let front = queue.front().map(|id| self.parts[id.0 as usize][0]);
        assert_eq!(front, pair.content.front().copied());
        assert_eq!(queue.has_bundles(), queue.iter(&self.pool).count() < pair.content.len());
        assert_eq!(queue.len() as usize, pair.content.len());
        assert_eq!(queue.is_empty(), pair.content.is_empty());
        assert_eq!(queue.bytes(), queued - u64::from(pair.cursor));
        assert_eq!(queue.cursor(), pair.cursor);
        assert_eq!(queue.chain() == CHAIN_EMPTY, pair.content.is_empty());
    }

    /// No queue has more than a part of a block at each end beyond what it needs.
    fn check_blocks(&self) {
        let needed = |pair: &Pair| match pair.content.len().saturating_sub(1) {
            0 => 0,
            rest => rest.div_ceil(BLOCK_IDS) + 1,
        };
        assert!(self.pool.used_blocks() <= self.pairs.iter().map(needed).sum());
        if self.pairs.iter().all(|pair| pair.content.len() <= 1) {
            assert_eq!(self.pool.used_blocks(), 0);
        }
    }
}

/// Bytes and frames of an id.
fn size_by<'a>(lengths: &'a [u32], parts: &'a [Vec<FrameId>]) -> impl Fn(FrameId) -> (u32, u32) + 'a {
    |id| {
        let parts = &parts[id.0 as usize];
        (parts.iter().map(|id| lengths[id.0 as usize]).sum(), u32::try_from(parts.len()).unwrap())
    }
}

proptest! {
    #[test]
    fn behaves_like_deques_and_one_chain_means_one_content(ops in prop::collection::vec(op(), 1..120)) {
        let mut world = World::default();
        for op in &ops {
            world.apply(op);
            world.check();
            world.check_blocks();
        }
        for queue in 0..QUEUES {
            world.apply(&Op::Clear { queue });
        }
        prop_assert_eq!(world.pool.used_blocks(), 0);
    }
}

#[test]
fn sessions_in_step_stay_in_step_through_many_publishes() {
    let mut world = World::default();
    for _ in 0..300 {
        world.publish(u16::MAX, 10);
        let chain = world.pairs[0].queue.chain();
        assert!(world.pairs.iter().all(|pair| pair.queue.chain() == chain));
    }
}

#[test]
fn a_session_whose_socket_took_nothing_stays_in_step() {
    let mut world = World::default();
    world.publish(u16::MAX, 10);
    world.apply(&Op::Advance { queue: 0, share: 0 });
    assert_eq!(world.pairs[0].queue.chain(), world.pairs[1].queue.chain());
}

#[test]
fn sessions_out_of_step_do_not_part_the_others() {
    let mut world = World::default();
    for queue in 0..8 {
        world.apply(&Op::Send { queue, bytes: 10 });
    }
    world.publish(u16::MAX, 10);
    let chain = world.pairs[8].queue.chain();
    assert!(world.pairs[8..].iter().all(|pair| pair.queue.chain() == chain));
}

#[test]
fn two_groups_keep_their_chains_however_they_alternate() {
    let mut world = World::default();
    world.publish(0x5555, 10);
    for _ in 0..3 {
        world.publish(u16::MAX, 10);
    }
    for group in [0, 1] {
        let chain = world.pairs[group].queue.chain();
        assert!(world.pairs.iter().skip(group).step_by(2).all(|pair| pair.queue.chain() == chain));
    }
    assert_ne!(world.pairs[0].queue.chain(), world.pairs[1].queue.chain());
}

#[test]
fn a_begun_frame_survives_drop_oldest() {
    let mut world = World::default();
    let lengths = [10, 20, 30];
    for bytes in lengths {
        world.apply(&Op::Send { queue: 0, bytes });
    }
    let queue = &mut world.pairs[0].queue;
    let frame_len = |id: FrameId| lengths[id.0 as usize];
    queue.advance(&mut world.pool, 4, |id| (frame_len(id), 1), |_| panic!("nothing is finished"));
    assert_eq!(queue.drop_oldest(&mut world.pool, false, frame_len), Some(FrameId(1)));
    assert_eq!(queue.drop_oldest(&mut world.pool, false, frame_len), Some(FrameId(2)));
    assert_eq!(queue.drop_oldest(&mut world.pool, false, frame_len), None);
    assert_eq!((queue.front(), queue.cursor(), queue.bytes()), (Some(FrameId(0)), 4, 6));
}

#[test]
fn flags_are_left_alone() {
    let mut world = World::default();
    world.pairs[0].queue.flags = 0xa5;
    world.publish(1, 10);
    world.apply(&Op::Advance { queue: 0, share: 500 });
    world.apply(&Op::Clear { queue: 0 });
    assert_eq!(world.pairs[0].queue.flags, 0xa5);
}

#[test]
fn a_storm_that_drained_gives_its_memory_back() {
    let mut world = World::default();
    let frames = BLOCKS_KEPT_MAX * BLOCK_IDS / QUEUES + 100;
    for _ in 0..frames {
        world.publish(u16::MAX, 10);
    }
    assert!(world.pool.held_bytes() > BLOCKS_KEPT_MAX * size_of::<Block>());
    for queue in 0..QUEUES {
        world.apply(&Op::Advance { queue, share: 1_000 });
    }
    assert_eq!(world.pool.held_bytes(), 0);
}

#[test]
fn some_blocks_are_kept_for_the_next_storm() {
    for (blocks, kept) in [(BLOCKS_KEPT_MAX, BLOCKS_KEPT_MAX), (BLOCKS_KEPT_MAX + 1, 0)] {
        let mut pool = BlockPool::new();
        let taken: Vec<_> = (0..blocks).map(|_| pool.take()).collect();
        taken.into_iter().for_each(|block| pool.give_back(block));
        assert_eq!((pool.blocks.len(), pool.used_blocks()), (kept, 0));
    }
}

#[test]
#[should_panic(expected = "the socket takes at most")]
fn more_sent_than_queued_panics() {
    let mut world = World::default();
    world.publish(1, 10);
    world.pairs[0].queue.advance(&mut world.pool, 11, |_| (10, 1), |_| {});
}

const QUEUES: usize = 16;
