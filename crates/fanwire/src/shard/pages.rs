//! Shared pages: what many sessions are to get lies in memory once, and their sockets refer to it.
//!
//! In      frames and batches that more than one session sends
//! Out     where in the driver's pages they lie; ranges that nobody sends from any more
//! Bounds  `frame_bytes_max`, together with the frames; `ROUND_SHARE_BYTES_MAX` newly copied in a flush
//! Source  docs/architecture.md

use std::collections::HashMap;

use rustix::io::Errno;

use super::{
    batch::BatchRange,
    frames::{FrameId, FrameTable},
    outbox::Outbox,
};
use crate::driver::{Driver, Key, PageRange};

/// Which frames of a shard lie in pages, and which pages are to be given back.
pub(crate) struct Pages {
    /// Runs shorter than this are copied into each socket.
    bytes_min: u64,
    /// INVARIANT: no page from here on was ever written. Sockets may hold any of those before for as long as
    /// their peers do not read, so no place is used twice.
    end: u64,
    /// Memory of all that was placed and not given back.
    live_bytes: u64,
    frames: HashMap<FrameId, PageRange, ahash::RandomState>,
    /// Nobody sends from these any more, but the sends of this round.
    freed: Vec<PageRange>,
    /// What this flush may still copy.
    round_bytes_left: u64,
    /// Something was refused in this flush: nothing more is tried.
    is_refused: bool,
}

impl Pages {
    /// From `bytes_min` bytes on; 0: never.
    pub(super) fn new(bytes_min: u32) -> Self {
        Self {
            bytes_min: if bytes_min == 0 { u64::MAX } else { bytes_min.into() },
            end: 0,
            live_bytes: 0,
            // The keys are our own numbers.
            frames: HashMap::with_hasher(ahash::RandomState::with_seeds(0, 0, 0, 0)),
            freed: Vec::new(),
            round_bytes_left: ROUND_SHARE_BYTES_MAX,
            is_refused: false,
        }
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Whether so many bytes are worth it.
    #[inline]
    pub(super) fn is_for(&self, bytes: u64) -> bool {
        bytes >= self.bytes_min
    }

    /// Whether a frame of so many bytes is worth a send of its own.
    #[inline]
    pub(super) fn is_alone(&self, frame_bytes: u32) -> bool {
        u64::from(frame_bytes) >= self.bytes_min.saturating_mul(ALONE_FACTOR)
    }

    pub(super) fn frame(&self, id: FrameId) -> Option<PageRange> {
        self.frames.get(&id).copied()
    }

    /// The frame has gone.
    #[inline]
    pub(super) fn forget(&mut self, id: FrameId) {
        if !self.frames.is_empty() {
            self.freed.extend(self.frames.remove(&id));
        }
    }

    /// All frames are sent from where they are, from now on.
    fn forget_all(&mut self) {
        self.freed.extend(self.frames.drain().map(|(_, range)| range));
    }

    /// All frames that lie in pages.
    #[cfg(feature = "sim")]
    pub(super) fn frames(&self) -> impl Iterator<Item = (FrameId, PageRange)> + '_ {
        self.frames.iter().map(|(&id, &range)| (id, range))
    }

    /// Where the next run of so many bytes would lie.
    fn next_place(&self, bytes: usize) -> PageRange {
        let bytes = u32::try_from(bytes).expect("a frame and a batch have a length of 32 bits");
        PageRange { offset: self.end + RUN_OFFSET, bytes }
    }

    fn place(&mut self, range: PageRange) {
        self.end += range.page_bytes();
        self.live_bytes += range.page_bytes();
    }
}

impl Outbox {
    pub(super) fn start_sharing(&mut self) {
        self.frames.pages.round_bytes_left = ROUND_SHARE_BYTES_MAX;
        self.frames.pages.is_refused = false;
    }

    /// The front frame's rest in pages, if it is sent from there: by itself, or because nothing is behind it.
    pub(super) fn front_pages<D: Driver>(&mut self, driver: &mut D, slot: u32) -> Option<PageRange> {
        let queue = &self.queues[slot as usize];
        let pages = &self.frames.pages;
        if !pages.is_for(queue.bytes()) {
            return None;
        }
        let (id, cursor) = (queue.front()?, queue.cursor());
        if self.frames.is_bundle(id) {
            return None;
        }
        let frame_bytes = self.frames.len(id);
        let is_alone = queue.len() == 1 || Self::is_sent_alone(&self.frames, id);
        if !is_alone || !pages.is_for((frame_bytes - cursor).into()) {
            return None;
        }
        let range = pages.frame(id).or_else(|| self.share_frame(driver, id))?;
        Some(range.after(cursor))
    }

    /// Puts a frame into pages that more than one session is to send. They stay as long as it lives.
    fn share_frame<D: Driver>(&mut self, driver: &mut D, id: FrameId) -> Option<PageRange> {
        if self.frames.refs(id) < SHARERS_MIN {
            return None;
        }
        let range = self.place(self.frames.len(id) as usize)?;
        let result = driver.write_pages(range.offset, self.frames.bytes(id));
        let range = self.filled(range, result)?;
        self.frames.pages.frames.insert(id, range);
        Some(range)
    }

    /// Puts a batch of this round into pages. They stay until `Batches` gives them up.
    pub(super) fn share_batch<D: Driver>(&mut self, driver: &mut D, batch: BatchRange) -> Option<PageRange> {
        let bytes = self.batches.bytes(batch).len();
        if !self.frames.pages.is_for(bytes as u64) {
            return None;
        }
        let range = self.place(bytes)?;
        let result = driver.write_pages(range.offset, self.batches.bytes(batch));
        self.filled(range, result)
    }

    /// A place for so many bytes, if there is room for them.
    fn place(&mut self, bytes: usize) -> Option<PageRange> {
        if self.frames.pages.is_refused {
            return None;
        }
        let range = self.frames.pages.next_place(bytes);
        let cost = range.page_bytes();
        if self.frames.pages.round_bytes_left == 0 || self.lacks_room(cost) {
            self.refuse_sharing();
            return None;
        }
        let pages = &mut self.frames.pages;
        pages.round_bytes_left = pages.round_bytes_left.saturating_sub(cost);
        pages.place(range);
        Some(range)
    }

    fn filled(&mut self, range: PageRange, result: Result<(), Errno>) -> Option<PageRange> {
        if result.is_err() {
            self.frames.pages.live_bytes -= range.page_bytes();
            self.refuse_sharing();
            return None;
        }
        self.counters().pages_filled.add(1);
        Some(range)
    }

    /// For the rest of this flush: a system call that fails for each session would be too many.
    fn refuse_sharing(&mut self) {
        self.frames.pages.is_refused = true;
        self.counters().shares_refused.add(1);
    }

    /// Whether a frame is sent by itself and not together with those behind it: large, and from pages. Those of a
    /// bundle are not so large.
    pub(super) fn is_sent_alone(frames: &FrameTable, id: FrameId) -> bool {
        let pages = &frames.pages;
        let may_share = || frames.refs(id) >= SHARERS_MIN && !pages.is_refused;
        !frames.is_bundle(id) && pages.is_alone(frames.len(id)) && (pages.frame(id).is_some() || may_share())
    }

    /// One send from pages; `None` if it is to be made from the frames instead, because there may be
    /// something amiss with the pages.
    pub(super) fn send_pages<D: Driver>(
        &mut self,
        driver: &mut D,
        slot: u32,
        range: PageRange,
    ) -> Option<Result<usize, Errno>> {
        let key = Key { slot, generation: self.generations[slot as usize] };
        let result = driver.send_pages(key, range);
        match result {
            Ok(taken) => self.counters().bytes_shared.add(taken as u64),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return None,
        }
        self.counters().sends.add(1);
        self.counters().sends_shared.add(1);
        Some(result)
    }

    /// After the sends of a round: gives back what nobody will send from.
    pub(crate) fn free_pages<D: Driver>(&mut self, driver: &mut D) {
        if self.dirty.is_empty() {
            self.batches.forget_shared();
        }
        let pages = &mut self.frames.pages;
        pages.freed.extend(self.batches.take_freed());
        for range in pages.freed.drain(..) {
            driver.free_pages(range);
            pages.live_bytes -= range.page_bytes();
        }
    }

    /// Gives all pages back: frames have the first right to memory.
    pub(super) fn give_up_pages<D: Driver>(&mut self, driver: &mut D) {
        if self.frames.pages.live_bytes > 0 {
            self.frames.pages.forget_all();
            self.batches.forget_shared();
            self.free_pages(driver);
        }
    }
}

/// A frame is put into pages if so many sessions hold it.
const SHARERS_MIN: u32 = 2;

/// From this many times the least length on, a frame is sent by itself.
const ALONE_FACTOR: u64 = 4;

/// A run begins so far into its first page. Programs read into buffers that begin with a page, or 16 bytes into it,
/// and copying is slow between places that are the same within their pages: readers on the same machine took twice
/// as long, measured on an AMD EPYC.
const RUN_OFFSET: u64 = 512;

/// Bytes that one flush copies into pages, but for what passes it: less than its sends may take.
const ROUND_SHARE_BYTES_MAX: u64 = 16 << 20;
