//! Audit of one queue: what it says of itself is what it holds.

use super::{BLOCK_IDS, BlockPool, CHAIN_EMPTY, INLINE_IDS, NONE, Queue};
use crate::shard::frames::FrameId;

impl Queue {
    /// Checks the queue against the ids that it holds; `on_id` is given each, oldest first, and answers its bytes
    /// and frames.
    /// Blocks that it holds.
    pub(in crate::shard) fn audit(
        &self,
        pool: &BlockPool,
        mut on_id: impl FnMut(FrameId) -> (u32, u32),
    ) -> Result<usize, String> {
        ensure!(
            self.inline_len <= INLINE_IDS && u32::from(self.inline_len) <= self.ids,
            "holds more ids than its length says"
        );
        ensure!(
            (self.chain == CHAIN_EMPTY) == (self.len == 0),
            "has chain {} with {} frames",
            self.chain,
            self.len
        );
        if self.len == 0 {
            ensure!(self.ids == 0, "is empty but holds {} ids", self.ids);
            ensure!(self.bytes == 0, "is empty but says that {} bytes wait", self.bytes);
            ensure!(self.cursor == 0, "is empty but has begun a frame");
            ensure!(self.block_first == NONE, "is empty but holds a block");
            return Ok(0);
        }
        ensure!(self.inline_len > 0, "has frames, but none of them inline");
        let (mut bytes, mut frames) = (0, 0);
        for (index, id) in self.iter(pool).enumerate() {
            let (id_bytes, id_frames) = on_id(id);
            ensure!(id_bytes > 0, "holds a frame that is not live");
            ensure!(index > 0 || self.cursor < id_bytes, "has sent more of its first frame than that has");
            ensure!(index > 0 || self.cursor == 0 || id_frames == 1, "has begun a bundle");
            bytes += u64::from(id_bytes);
            frames += id_frames;
        }
        ensure!(frames == self.len, "says that {} frames wait, but it is {frames}", self.len);
        bytes -= u64::from(self.cursor);
        ensure!(bytes == self.bytes, "says that {} bytes wait, but it is {bytes}", self.bytes);
        self.audit_blocks(pool)
    }

    fn audit_blocks(&self, pool: &BlockPool) -> Result<usize, String> {
        let ids = self.block_len() as usize;
        let needed = if ids == 0 { 0 } else { (usize::from(self.block_head) + ids).div_ceil(BLOCK_IDS) };
        let (mut count, mut block) = (0, self.block_first);
        while block != NONE && count <= needed {
            count += 1;
            block = if block == self.block_last { NONE } else { pool.block(block).next };
        }
        ensure!(count == needed, "holds another number of blocks than the {needed} that its ids need");
        Ok(count)
    }
}

impl BlockPool {
    /// Blocks that some queue holds.
    pub(in crate::shard) fn blocks_in_use(&self) -> usize {
        self.blocks.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::queue::ChainMemo;

    impl Queue {
        /// Puts the queue into a chain where it may not belong.
        pub(in crate::shard) fn set_chain(&mut self, chain: u64) {
            self.chain = chain;
        }
    }

    impl BlockPool {
        /// A block that nobody holds.
        pub(in crate::shard) fn leak_block(&mut self) {
            self.take();
        }
    }

    /// A queue of 50 frames of 10 bytes, 3 of which have left, and half of the next one.
    fn queue() -> (Queue, BlockPool) {
        let (mut queue, mut pool) = (Queue::new(), BlockPool::new());
        (0..50).for_each(|id| queue.push_published(&mut pool, &mut ChainMemo::new(FrameId(id), (10, 1))));
        queue.advance(&mut pool, 35, |_| (10, 1), |_| ());
        (queue, pool)
    }

    fn broken(corrupt: impl Fn(&mut Queue, &mut BlockPool)) -> String {
        let (mut queue, mut pool) = queue();
        assert_eq!(queue.audit(&pool, |_| (10, 1)), Ok(pool.blocks_in_use()));
        corrupt(&mut queue, &mut pool);
        queue.audit(&pool, |_| (10, 1)).unwrap_err()
    }

    #[test]
    fn each_lie_of_a_queue_is_found() {
        assert!(broken(|queue, _| queue.cursor += 1).contains("bytes wait"));
        assert!(broken(|queue, _| queue.bytes -= 1).contains("bytes wait"));
        assert!(broken(|queue, _| queue.cursor = 10).contains("more of its first frame"));
        assert!(broken(|queue, _| queue.chain = 0).contains("has chain 0"));
        assert!(broken(|queue, _| queue.block_last = queue.block_first).contains("number of blocks"));
        assert!(broken(|queue, _| queue.inline_len = 0).contains("none of them inline"));
        assert!(broken(|queue, _| queue.ids = 2).contains("more ids"));
        assert!(broken(|queue, _| queue.len += 1).contains("frames wait"));
        let emptied = |queue: &mut Queue, pool: &mut BlockPool| queue.clear(pool, |_| ());
        assert!(
            broken(|queue, pool| (emptied(queue, pool), queue.bytes = 1).1).contains("is empty but says")
        );
        assert!(broken(|queue, pool| (emptied(queue, pool), queue.cursor = 1).1).contains("has begun"));
        assert!(
            broken(|queue, pool| (emptied(queue, pool), queue.block_first = pool.take()).1)
                .contains("a block")
        );
        let (queue, pool) = queue();
        assert!(
            queue
                .audit(&pool, |id| if id.0 == 9 { (0, 0) } else { (10, 1) })
                .unwrap_err()
                .contains("not live")
        );
    }
}
