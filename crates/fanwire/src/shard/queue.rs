//! What one session still has to send: a queue of ids in one cache line. An id is of a frame or of a bundle of frames.
//!
//! In      ids, pushed whole; how many bytes the socket took
//! Out     ids in order, ids done with (the caller releases them), the chain id
//! Bounds  64 bytes per session; beyond `INLINE_IDS` ids 128 bytes per 31 more, from the shard's pool

#[cfg(feature = "sim")]
mod audit;

use super::frames::FrameId;

/// A send queue. It does not bound itself: who pushes looks at `len` and `bytes` first.
#[repr(align(64))]
pub(crate) struct Queue {
    chain: u64,
    bytes: u64,
    /// Frames, those in bundles each for itself.
    len: u32,
    ids: u32,
    /// INVARIANT: 0 if a bundle is in front.
    cursor: u32,
    block_first: u32,
    block_last: u32,
    /// The shard's; nothing here reads or changes them.
    pub(crate) flags: u8,
    inline_head: u8,
    /// INVARIANT: 0 only if the queue is empty. Inline ids are older than those in blocks.
    inline_len: u8,
    /// Where the oldest id of the first block is.
    block_head: u8,
    inline: [FrameId; INLINE_IDS as usize],
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self {
            chain: CHAIN_EMPTY,
            bytes: 0,
            len: 0,
            ids: 0,
            cursor: 0,
            block_first: NONE,
            block_last: NONE,
            flags: 0,
            inline_head: 0,
            inline_len: 0,
            block_head: 0,
            inline: [FrameId(0); INLINE_IDS as usize],
        }
    }

    /// Queued frames, one that is partly sent included.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Bytes not yet sent.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether some of its ids are of bundles.
    #[inline]
    pub(crate) fn has_bundles(&self) -> bool {
        self.ids != self.len
    }

    /// Bytes of the front frame that are already sent.
    #[inline]
    pub(crate) fn cursor(&self) -> u32 {
        self.cursor
    }

    /// 0 if empty. Two queues of one shard with the same id other than 0 hold the same frames in the same
    /// order, and neither has begun to send.
    #[inline]
    pub(crate) fn chain(&self) -> u64 {
        self.chain
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<FrameId> {
        (self.ids > 0).then(|| self.inline[usize::from(self.inline_head)])
    }

    /// Queues a frame for this session alone.
    #[inline]
    pub(crate) fn push(&mut self, pool: &mut BlockPool, id: FrameId, frame_bytes: u32) {
        self.append(pool, id);
        self.len += 1;
        self.bytes += u64::from(frame_bytes);
        self.chain = pool.chains.fresh();
    }

    /// Queues the frame of a publish, or a bundle; queues that were in step before it stay so.
    #[inline]
    pub(crate) fn push_published(&mut self, pool: &mut BlockPool, publish: &mut ChainMemo) {
        self.append(pool, publish.id);
        self.len += publish.frames;
        self.bytes += u64::from(publish.bytes);
        self.chain = publish.extend(&mut pool.chains, self.chain);
    }

    /// Takes the front frame out, sent or not. `frame_bytes` is its length.
    #[cfg(test)]
    pub(crate) fn pop_front(&mut self, pool: &mut BlockPool, frame_bytes: u32) -> Option<FrameId> {
        let id = self.remove_front(pool)?;
        self.len -= 1;
        self.bytes -= u64::from(frame_bytes - self.cursor);
        self.cursor = 0;
        self.leave_chain(pool);
        Some(id)
    }

    /// Takes out the oldest frame that is not partly sent, for a frame once begun must be finished; with
    /// `keeps_front` the oldest but the front. The queue has no bundles.
    pub(crate) fn drop_oldest(
        &mut self,
        pool: &mut BlockPool,
        keeps_front: bool,
        frame_len: impl Fn(FrameId) -> u32,
    ) -> Option<FrameId> {
        debug_assert!(!self.has_bundles(), "only frames are dropped");
        let keeps_front = keeps_front || self.cursor > 0;
        if self.len <= u32::from(keeps_front) {
            return None;
        }
        let mut dropped = self.remove_front(pool)?;
        if keeps_front {
            // The front takes the place of the one behind it.
            std::mem::swap(&mut dropped, &mut self.inline[usize::from(self.inline_head)]);
        }
        self.len -= 1;
        self.bytes -= u64::from(frame_len(dropped));
        self.leave_chain(pool);
        Some(dropped)
    }

    /// Accounts for `sent_bytes` that the socket took: what is finished leaves, the cursor stands in the next.
    /// `size` gives an id's bytes and frames. If the cursor stands in a bundle, that is to be taken apart.
    ///
    /// # Panics
    /// If more was sent than is queued.
    pub(crate) fn advance(
        &mut self,
        pool: &mut BlockPool,
        sent_bytes: u64,
        size: impl Fn(FrameId) -> (u32, u32),
        on_done: impl FnMut(FrameId),
    ) {
        assert!(sent_bytes <= self.bytes, "the socket takes at most what was given to it");
        if sent_bytes == self.bytes {
            self.clear(pool, on_done);
        } else if sent_bytes > 0 {
            self.advance_in_part(pool, sent_bytes, size, on_done);
        }
    }

    /// Puts `frames` in the place of all ids: what bundles hold instead of these.
    pub(crate) fn take_apart(
        &mut self,
        pool: &mut BlockPool,
        frames: &[FrameId],
        size: impl Fn(FrameId) -> (u32, u32),
        on_done: impl FnMut(FrameId),
    ) {
        assert!(frames.len() == self.len as usize, "bundles hold as many frames as they count for");
        while self.remove_front(pool).is_some() {}
        frames.iter().for_each(|&id| self.append(pool, id));
        if self.cursor > 0 {
            self.advance_in_part(pool, 0, size, on_done);
        }
    }

    /// Takes everything out, oldest first. `flags` stay.
    pub(crate) fn clear(&mut self, pool: &mut BlockPool, mut on_drop: impl FnMut(FrameId)) {
        if self.block_first == NONE {
            (0..self.inline_len).for_each(|offset| on_drop(self.inline[wrapped(self.inline_head + offset)]));
            (self.ids, self.inline_len) = (0, 0);
        }
        while let Some(id) = self.remove_front(pool) {
            on_drop(id);
        }
        self.len = 0;
        self.bytes = 0;
        self.cursor = 0;
        self.chain = CHAIN_EMPTY;
    }

    /// The queued ids, oldest first.
    pub(crate) fn iter<'a>(&'a self, pool: &'a BlockPool) -> impl Iterator<Item = FrameId> + 'a {
        let inline = (0..self.inline_len).map(|offset| self.inline[wrapped(self.inline_head + offset)]);
        let blocks = std::iter::successors(
            (self.block_len() > 0).then_some((self.block_first, usize::from(self.block_head))),
            |&(block, index)| {
                Some(if index + 1 < BLOCK_IDS { (block, index + 1) } else { (pool.block(block).next, 0) })
            },
        );
        let blocks = blocks.take(self.block_len() as usize);
        inline.chain(blocks.map(|(block, index)| pool.block(block).ids[index]))
    }

    fn advance_in_part(
        &mut self,
        pool: &mut BlockPool,
        sent_bytes: u64,
        size: impl Fn(FrameId) -> (u32, u32),
        mut on_done: impl FnMut(FrameId),
    ) {
        self.bytes -= sent_bytes;
        let mut sent = u64::from(self.cursor) + sent_bytes;
        while let Some(id) = self.front() {
            let (bytes, frames) = size(id);
            if sent < u64::from(bytes) {
                break;
            }
            sent -= u64::from(bytes);
            self.remove_front(pool);
            self.len -= frames;
            on_done(id);
        }
        self.cursor = u32::try_from(sent).expect("a cursor is less than its frame's length");
        self.leave_chain(pool);
    }

    /// What is left is like no other queue, or nothing.
    fn leave_chain(&mut self, pool: &mut BlockPool) {
        self.chain = if self.is_empty() { CHAIN_EMPTY } else { pool.chains.fresh() };
    }

    #[inline]
    fn append(&mut self, pool: &mut BlockPool, id: FrameId) {
        if self.inline_len < INLINE_IDS && self.block_first == NONE {
            self.inline[wrapped(self.inline_head + self.inline_len)] = id;
            self.inline_len += 1;
        } else {
            self.append_to_block(pool, id);
        }
        self.ids += 1;
    }

    fn append_to_block(&mut self, pool: &mut BlockPool, id: FrameId) {
        let end = (usize::from(self.block_head) + self.block_len() as usize) % BLOCK_IDS;
        if self.block_first == NONE {
            self.block_first = pool.take();
            self.block_last = self.block_first;
            self.block_head = 0;
        } else if end == 0 {
            let block = pool.take();
            pool.block_mut(self.block_last).next = block;
            self.block_last = block;
        }
        pool.block_mut(self.block_last).ids[end] = id;
    }

    fn remove_front(&mut self, pool: &mut BlockPool) -> Option<FrameId> {
        let id = self.front()?;
        self.inline_head = wrapped_u8(self.inline_head + 1);
        self.inline_len -= 1;
        self.ids -= 1;
        if self.inline_len == 0 && self.ids > 0 {
            self.refill_inline(pool);
        }
        Some(id)
    }

    fn refill_inline(&mut self, pool: &mut BlockPool) {
        self.inline_head = 0;
        while self.inline_len < INLINE_IDS && self.block_len() > 0 {
            self.inline[usize::from(self.inline_len)] =
                pool.block(self.block_first).ids[usize::from(self.block_head)];
            self.inline_len += 1;
            self.block_head += 1;
            if usize::from(self.block_head) == BLOCK_IDS || self.block_len() == 0 {
                self.drop_first_block(pool);
            }
        }
    }

    fn drop_first_block(&mut self, pool: &mut BlockPool) {
        let next = if self.block_len() == 0 { NONE } else { pool.block(self.block_first).next };
        pool.give_back(self.block_first);
        self.block_first = next;
        self.block_head = 0;
    }

    fn block_len(&self) -> u32 {
        self.ids - u32::from(self.inline_len)
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

/// What the queues of one shard share: blocks of ids, and the source of chain ids.
#[derive(Default)]
pub(crate) struct BlockPool {
    blocks: Vec<Block>,
    free: Vec<u32>,
    chains: ChainIds,
}

impl BlockPool {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Bytes of memory held, used or not.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>() + self.free.capacity() * size_of::<u32>()
    }

    /// Blocks that hold ids.
    #[cfg(test)]
    pub(crate) fn used_blocks(&self) -> usize {
        self.blocks.len() - self.free.len()
    }

    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.blocks.len()).expect("fewer than 2^32 blocks are in use");
            assert!(index != NONE, "fewer than 2^32 blocks are in use");
            self.blocks.push(Block { next: NONE, ids: [FrameId(0); BLOCK_IDS] });
            index
        })
    }

    /// After a storm has drained, its memory is given back.
    fn give_back(&mut self, block: u32) {
        self.free.push(block);
        if self.free.len() == self.blocks.len() && self.blocks.len() > BLOCKS_KEPT_MAX {
            self.blocks = Vec::new();
            self.free = Vec::new();
        }
    }

    fn block(&self, index: u32) -> &Block {
        &self.blocks[index as usize]
    }

    fn block_mut(&mut self, index: u32) -> &mut Block {
        &mut self.blocks[index as usize]
    }
}

/// One publish, or a bundle of them, as queues see it: its id, and which chain became which. Made anew for each.
pub(crate) struct ChainMemo {
    pub(crate) id: FrameId,
    pub(crate) bytes: u32,
    pub(crate) frames: u32,
    known_len: u8,
    known: [(u64, u64); CHAINS_KNOWN_MAX],
}

impl ChainMemo {
    /// `size`: bytes and frames.
    pub(crate) fn new(id: FrameId, size: (u32, u32)) -> Self {
        Self { id, bytes: size.0, frames: size.1, known_len: 0, known: [(0, 0); CHAINS_KNOWN_MAX] }
    }

    /// The chain of a queue that was in `old` and now has this frame as well.
    #[inline]
    fn extend(&mut self, ids: &mut ChainIds, old: u64) -> u64 {
        if self.known_len > 0 && self.known[0].0 == old {
            return self.known[0].1;
        }
        self.extend_slowly(ids, old)
    }

    /// A hit moves to the front; a new chain takes the last place, so that queues which are in step with
    /// nobody push out each other and not the chain that many are in. Forgetting one is harmless: its later
    /// queues get another id for the same frames.
    fn extend_slowly(&mut self, ids: &mut ChainIds, old: u64) -> u64 {
        let known = &mut self.known[..usize::from(self.known_len)];
        if let Some(index) = known.iter().position(|&(from, _)| from == old) {
            known.swap(0, index);
            return known[0].1;
        }
        let new = ids.fresh();
        if usize::from(self.known_len) < CHAINS_KNOWN_MAX {
            self.known_len += 1;
        }
        self.known[usize::from(self.known_len) - 1] = (old, new);
        new
    }
}

/// Chain ids, each given once.
#[derive(Default)]
struct ChainIds {
    last: u64,
}

impl ChainIds {
    fn fresh(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

#[repr(align(128))]
struct Block {
    next: u32,
    ids: [FrameId; BLOCK_IDS],
}

#[inline]
fn wrapped(index: u8) -> usize {
    usize::from(wrapped_u8(index))
}

#[inline]
fn wrapped_u8(index: u8) -> u8 {
    if index >= INLINE_IDS { index - INLINE_IDS } else { index }
}

const CHAIN_EMPTY: u64 = 0;
const NONE: u32 = u32::MAX;
const INLINE_IDS: u8 = 6;
const BLOCK_IDS: usize = 31;
const BLOCKS_KEPT_MAX: usize = 1024;
const CHAINS_KNOWN_MAX: usize = 4;

const _: () = assert!(size_of::<Queue>() == 64);
const _: () = assert!(size_of::<Block>() == 128);

#[cfg(test)]
mod tests;
