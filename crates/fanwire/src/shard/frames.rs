//! The frames that some session of this shard still has to send.
//!
//! In      frames, once per publish and shard; bundles of them; retains and releases, once per session
//! Out     small ids that queues hold instead of reference-counted pointers; the oldest live frame
//! Bounds  `FRAME_OVERHEAD_BYTES` per frame and bundle, which are counted like a frame's own bytes

#[cfg(feature = "sim")]
mod audit;

use std::{
    collections::{HashMap, VecDeque},
    slice,
};

use super::pages::Pages;
use crate::frame::Frame;

/// Names a live frame of one shard, or a bundle of frames that are queued together. Reused after the last release.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct FrameId(pub(crate) u32);

/// A slab of frames with plain counts: no atomic is touched per session.
pub(crate) struct FrameTable {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Few are alive at a time, and each stands for many frames.
    bundles: HashMap<FrameId, Bundle, ahash::RandomState>,
    /// Lists for the next bundles, so that a publish allocates for its frame alone.
    lists: Vec<Vec<FrameId>>,
    /// Insertion order of frames. INVARIANT: every live frame is in it once, under its present stamp; other
    /// entries are dead and at most `live_count + ORDER_DEAD_MAX` of them stay.
    order: VecDeque<(FrameId, u32)>,
    live_count: usize,
    live_bytes: u64,
    /// The frame that was inserted last; it may be gone, and its place taken by another.
    last: Option<FrameId>,
    /// Where frames lie that many sessions send.
    pub(super) pages: Pages,
}

impl FrameTable {
    /// Frames from `page_share_bytes_min` bytes on may lie in pages.
    pub(crate) fn new(page_share_bytes_min: u32) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            // The keys are our own numbers.
            bundles: HashMap::with_hasher(ahash::RandomState::with_seeds(0, 0, 0, 0)),
            lists: Vec::new(),
            order: VecDeque::new(),
            live_count: 0,
            live_bytes: 0,
            last: None,
            pages: Pages::new(page_share_bytes_min),
        }
    }

    /// Takes a frame in. The caller holds its first reference, and releases it after the fan-out: a frame
    /// that found no session is dropped then.
    pub(crate) fn insert(&mut self, frame: Frame) -> FrameId {
        self.live_count += 1;
        self.live_bytes += Self::bytes_of(&frame);
        let id = self.place(Some(frame));
        self.order.push_back((id, self.entries[id.0 as usize].stamp));
        self.trim_order();
        self.last = Some(id);
        id
    }

    /// Another reference to the frame that was inserted last, if it is this one and still live: one frame that is
    /// sent to many sessions, one after the other, is one frame here too.
    pub(crate) fn insert_again(&mut self, frame: &Frame) -> Option<FrameId> {
        let id = self.last?;
        let is_same = self.entries[id.0 as usize].frame.as_ref().is_some_and(|live| live.is_same(frame));
        is_same.then(|| {
            self.retain(id);
            id
        })
    }

    /// Makes one id of several frames, in this order. The caller's references to them become the bundle's, and it
    /// holds the first one to the bundle.
    pub(crate) fn bundle(&mut self, frames: &[FrameId]) -> FrameId {
        let bytes = frames.iter().map(|&id| self.len(id)).sum();
        let id = self.place(None);
        let mut list = self.lists.pop().unwrap_or_default();
        list.extend_from_slice(frames);
        let bundle = Bundle { frames: list, bytes };
        self.live_bytes += Self::bytes_of_bundle(frames.len());
        self.bundles.insert(id, bundle);
        id
    }

    #[inline]
    pub(super) fn is_bundle(&self, id: FrameId) -> bool {
        self.entries[id.0 as usize].frame.is_none()
    }

    /// The frames of a bundle, or the frame itself.
    #[inline]
    pub(super) fn frames_of<'a>(&'a self, id: &'a FrameId) -> &'a [FrameId] {
        if self.is_bundle(*id) { &self.bundle_of(*id).frames } else { slice::from_ref(id) }
    }

    /// Bytes on the wire and frames of a frame or bundle.
    #[inline]
    pub(super) fn size(&self, id: FrameId) -> (u32, u32) {
        match &self.entries[id.0 as usize].frame {
            Some(frame) => (frame.len(), 1),
            None => {
                let bundle = self.bundle_of(id);
                (bundle.bytes, u32::try_from(bundle.frames.len()).expect("bundles are small"))
            }
        }
    }

    /// Adds a reference.
    #[inline]
    pub(crate) fn retain(&mut self, id: FrameId) {
        let entry = &mut self.entries[id.0 as usize];
        debug_assert!(entry.refs > 0, "the frame is live");
        entry.refs += 1;
    }

    /// Gives a reference back; the last one drops the frame.
    #[inline]
    pub(crate) fn release(&mut self, id: FrameId) {
        let entry = &mut self.entries[id.0 as usize];
        assert!(entry.refs > 0, "a reference is given back once");
        entry.refs -= 1;
        if entry.refs == 0 {
            self.remove(id);
        }
    }

    /// The frame as it goes onto the wire.
    ///
    /// # Panics
    /// If the frame is not live.
    #[inline]
    pub(crate) fn bytes(&self, id: FrameId) -> &[u8] {
        self.frame(id).as_bytes()
    }

    /// Bytes of the frame on the wire.
    ///
    /// # Panics
    /// If the frame is not live.
    #[inline]
    pub(crate) fn len(&self, id: FrameId) -> u32 {
        self.frame(id).len()
    }

    /// References to a live frame.
    #[inline]
    pub(super) fn refs(&self, id: FrameId) -> u32 {
        self.entries[id.0 as usize].refs
    }

    /// Memory of all live frames.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Memory that a frame takes while it is live.
    pub(crate) fn bytes_of(frame: &Frame) -> u64 {
        frame.buffer_bytes() + FRAME_OVERHEAD_BYTES
    }

    /// Memory of a bundle of so many frames, beside theirs.
    pub(crate) fn bytes_of_bundle(frames: usize) -> u64 {
        FRAME_OVERHEAD_BYTES + (frames * size_of::<FrameId>()) as u64
    }

    /// How many frames are live.
    pub(crate) fn live_frames(&self) -> usize {
        self.live_count
    }

    /// The live frame that was inserted first. O(1), amortised over inserts.
    pub(crate) fn oldest(&mut self) -> Option<FrameId> {
        while let Some(&(id, stamp)) = self.order.front() {
            if is_live(&self.entries, id, stamp) {
                return Some(id);
            }
            self.order.pop_front();
        }
        None
    }

    fn frame(&self, id: FrameId) -> &Frame {
        self.entries[id.0 as usize].frame.as_ref().expect("a queued frame is live")
    }

    fn bundle_of(&self, id: FrameId) -> &Bundle {
        self.bundles.get(&id).expect("what is live and no frame is a bundle")
    }

    /// `None`: for a bundle.
    fn place(&mut self, frame: Option<Frame>) -> FrameId {
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            *entry = Entry { frame, refs: 1, stamp: entry.stamp.wrapping_add(1) };
            return FrameId(index);
        }
        let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 frames are live");
        self.entries.push(Entry { frame, refs: 1, stamp: 0 });
        FrameId(index)
    }

    fn remove(&mut self, id: FrameId) {
        self.free.push(id.0);
        let Some(frame) = self.entries[id.0 as usize].frame.take() else { return self.remove_bundle(id) };
        self.live_bytes -= Self::bytes_of(&frame);
        self.pages.forget(id);
        self.live_count -= 1;
        self.trim_order();
    }

    fn remove_bundle(&mut self, id: FrameId) {
        let bundle = self.bundles.remove(&id).expect("what is live and no frame is a bundle");
        self.live_bytes -= Self::bytes_of_bundle(bundle.frames.len());
        let mut list = bundle.frames;
        list.drain(..).for_each(|frame| self.release(frame));
        if self.lists.len() < LISTS_KEPT_MAX {
            self.lists.push(list);
        }
    }

    /// Each pass removes more than half of what it looks at, so a frame pays for one look.
    fn trim_order(&mut self) {
        if self.order.len() > 2 * self.live_count + ORDER_DEAD_MAX {
            let entries = &self.entries;
            self.order.retain(|&(id, stamp)| is_live(entries, id, stamp));
            // A burst of the next tick must not have to grow it again.
            self.order.shrink_to((4 * self.live_count).max(ORDER_KEPT));
        }
    }
}

/// Frames of publishes that followed each other, for queues to hold as one.
struct Bundle {
    frames: Vec<FrameId>,
    bytes: u32,
}

struct Entry {
    /// `None` in a live entry: it is a bundle.
    frame: Option<Frame>,
    refs: u32,
    /// Which use of this entry. It may wrap: the age order never keeps a dead pair for 2^32 uses.
    stamp: u32,
}

fn is_live(entries: &[Entry], id: FrameId, stamp: u32) -> bool {
    let entry = &entries[id.0 as usize];
    entry.refs > 0 && entry.stamp == stamp
}

/// A frame beyond its bytes: the allocation's head and rounding (about 40), its entry here (32), its places in the age
/// order (at most 16) and among the free. Measured with a million frames of 31 bytes: 111 bytes each.
pub(crate) const FRAME_OVERHEAD_BYTES: u64 = 96;

const ORDER_DEAD_MAX: usize = 32;

/// Each is 1 KiB at most.
const LISTS_KEPT_MAX: usize = 8;

/// Entries of the age order for which memory is kept: 32 KiB.
const ORDER_KEPT: usize = 4_096;

const _: () = assert!(size_of::<Entry>() == 32);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert { bytes: usize },
        Retain { pick: usize },
        Release { pick: usize },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => (1..300usize).prop_map(|bytes| Op::Insert { bytes }),
            2 => any::<usize>().prop_map(|pick| Op::Retain { pick }),
            3 => any::<usize>().prop_map(|pick| Op::Release { pick }),
        ]
    }

    /// A frame as the oracle sees it, in a `Vec` kept in insertion order.
    struct Known {
        id: FrameId,
        refs: u32,
        bytes: Vec<u8>,
    }

    fn frame(bytes: &[u8]) -> Frame {
        Frame::new(bytes.into())
    }

    fn check(table: &mut FrameTable, known: &[Known]) {
        assert_eq!(table.live_frames(), known.len());
        assert_eq!(
            table.live_bytes(),
            known.iter().map(|frame| frame.bytes.len() as u64 + FRAME_OVERHEAD_BYTES).sum::<u64>()
        );
        assert_eq!(table.oldest(), known.first().map(|frame| frame.id));
        for frame in known {
            assert_eq!(table.bytes(frame.id), frame.bytes);
            assert_eq!(table.len(frame.id) as usize, frame.bytes.len());
        }
        assert!(table.order.len() <= 2 * known.len() + ORDER_DEAD_MAX);
    }

    proptest! {
        #[test]
        fn behaves_like_a_list_of_counted_frames(ops in prop::collection::vec(op(), 1..400)) {
            let mut table = FrameTable::new(0);
            let mut known: Vec<Known> = Vec::new();
            for (step, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert { bytes } => {
                        let bytes = vec![step.to_le_bytes()[0]; bytes];
                        known.push(Known { id: table.insert(frame(&bytes)), refs: 1, bytes });
                    }
                    Op::Retain { pick } if !known.is_empty() => {
                        let index = pick % known.len();
                        known[index].refs += 1;
                        table.retain(known[index].id);
                    }
                    Op::Release { pick } if !known.is_empty() => {
                        let index = pick % known.len();
                        known[index].refs -= 1;
                        table.release(known[index].id);
                        known.retain(|frame| frame.refs > 0);
                    }
                    _ => {}
                }
                check(&mut table, &known);
            }
        }
    }

    #[test]
    fn the_last_release_drops_the_frame_itself() {
        let shared: std::sync::Arc<[u8]> = [1u8, 2, 3].as_slice().into();
        let mut table = FrameTable::new(0);
        let id = table.insert(Frame::new(std::sync::Arc::clone(&shared)));
        table.retain(id);
        table.release(id);
        assert_eq!(std::sync::Arc::strong_count(&shared), 2);
        table.release(id);
        assert_eq!(std::sync::Arc::strong_count(&shared), 1);
    }

    #[test]
    fn an_old_frame_does_not_make_the_age_order_grow() {
        let mut table = FrameTable::new(0);
        let old = table.insert(frame(b"old"));
        let mut longest = 0;
        for _ in 0..10_000 {
            let id = table.insert(frame(b"new"));
            table.release(id);
            longest = longest.max(table.order.len());
        }
        // No more, and no less: looking at all of them after each frame would cost more than the frame.
        assert_eq!(longest, 2 * table.live_frames() + ORDER_DEAD_MAX);
        assert_eq!(table.oldest(), Some(old));
        assert_eq!(table.entries.len(), 2);
    }

    #[test]
    fn the_age_order_shrinks_after_a_burst_but_keeps_room_for_the_next_one() {
        let mut table = FrameTable::new(0);
        let burst: Vec<_> = (0..40_000).map(|_| table.insert(frame(b"new"))).collect();
        for id in burst {
            let room = table.order.capacity();
            table.release(id);
            let left = table.order.capacity();
            assert!(left == room || left >= 4 * table.live_frames(), "{left} of {room} places are left");
        }
        assert_eq!(table.order.capacity(), ORDER_KEPT);
    }

    #[test]
    fn a_frame_that_is_sent_again_is_one_frame_as_long_as_it_lives() {
        let mut table = FrameTable::new(0);
        let sent = frame(b"x");
        assert_eq!(table.insert_again(&sent), None, "there was no frame yet");
        let id = table.insert(sent.clone());
        assert_eq!(table.insert_again(&sent), Some(id));
        assert_eq!(table.insert_again(&frame(b"x")), None, "another frame with the same bytes");
        assert_eq!(table.live_frames(), 1);
        table.release(id);
        assert_eq!(table.insert_again(&sent), Some(id), "one of its two references is left");
        table.release(id);
        table.release(id);
        assert_eq!((table.live_frames(), table.insert_again(&sent)), (0, None));
    }

    #[test]
    #[should_panic(expected = "a reference is given back once")]
    fn a_release_too_many_panics() {
        let mut table = FrameTable::new(0);
        let id = table.insert(frame(b"x"));
        table.release(id);
        table.release(id);
    }
}
