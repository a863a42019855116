//! The rings between shards: one for every ordered pair.
//!
//! In      one entry per interested shard, pushed to all of them or to none
//! Out     entries in push order per sender; rings are visited in turn
//! Bounds  `ring_entries` per ordered pair, allocated at start; a full ring is the sender's to handle
//! Source  rtrb; the dirty mask and the sleep flag are Dekker pairs (see `parking`)

#[cfg(feature = "sim")]
mod audit;

use std::sync::Arc;

use super::parking::Parking;
use crate::sync::{
    Consumer, Producer, RingBuffer,
    atomic::{AtomicU64, Ordering, fence},
};

/// What all ends of a mesh share.
pub(crate) struct MeshShared {
    shards: Box<[Inlet]>,
}

impl MeshShared {
    /// # Panics
    /// If `shards` is not 1 to 64.
    pub(crate) fn build<T>(shards: usize, ring_entries: usize) -> (Arc<Self>, Vec<MeshEnd<T>>) {
        assert!((1..=SHARDS_MAX).contains(&shards), "a mask has one bit per shard");
        let inlets = std::iter::repeat_with(Inlet::default).take(shards).collect();
        let shared = Arc::new(Self { shards: inlets });
        let mut ends: Vec<_> = (0..shards).map(|shard| MeshEnd::new(shard, Arc::clone(&shared))).collect();
        for from in 0..shards {
            for to in 0..shards {
                let (outlet, inlet) = ring(from, to, ring_entries).unzip();
                ends[from].outgoing.push(outlet);
                ends[to].incoming.push(inlet);
                ends[to].taken.push(0);
            }
        }
        (shared, ends)
    }

    /// Where `shard` sleeps: its inbox wakes it there too.
    pub(crate) fn parking(&self, shard: usize) -> &Arc<Parking> {
        &self.shards[shard].parking
    }
}

/// One shard's end of all its rings.
pub(crate) struct MeshEnd<T> {
    shard: usize,
    shared: Arc<MeshShared>,
    outgoing: Vec<Option<Producer<T>>>,
    incoming: Vec<Option<Consumer<T>>>,
    /// Entries that have come, by sender.
    taken: Vec<u64>,
    /// The ring that `drain` looks at first.
    next: u32,
}

/// An interested shard's ring has no room. Nothing was pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

impl<T> MeshEnd<T> {
    fn new(shard: usize, shared: Arc<MeshShared>) -> Self {
        Self { shard, shared, outgoing: Vec::new(), incoming: Vec::new(), taken: Vec::new(), next: 0 }
    }

    /// Whether each ring to the shards of `mask` takes `count` more entries. It can only get better until
    /// this end pushes. This shard's own bit is ignored.
    pub(crate) fn room(&self, mask: u64, count: usize) -> bool {
        self.others(mask).all(|to| {
            let ring = self.outgoing[to].as_ref().expect(RING_EXISTS);
            ring.cached_slots() >= count || ring.slots() >= count
        })
    }

    /// Pushes `make(shard)` to each other shard of `mask`, and wakes those that sleep.
    ///
    /// # Panics
    /// If a ring is full: ask `room` first.
    pub(crate) fn push(&mut self, mask: u64, mut make: impl FnMut(usize) -> T) {
        for to in self.others(mask) {
            let ring = self.outgoing[to].as_mut().expect(RING_EXISTS);
            assert!(ring.push(make(to)).is_ok(), "the sender has made sure of room");
        }
        self.announce(mask);
    }

    /// `push` if there is room everywhere.
    ///
    /// # Errors
    /// `Full` if one ring is full; then `make` was not called.
    #[cfg(test)]
    pub(crate) fn try_push_all(&mut self, mask: u64, make: impl FnMut(usize) -> T) -> Result<(), Full> {
        if !self.room(mask, 1) {
            return Err(Full);
        }
        self.push(mask, make);
        Ok(())
    }

    /// Hands up to `entries_max` entries to `handle`, with the shard each came from; stops after the one for
    /// which it answers false. What stays in a ring keeps its dirty bit, and the next call begins behind
    /// the ring where this one ended. Returns how many were handed over.
    pub(crate) fn drain(&mut self, entries_max: usize, mut handle: impl FnMut(usize, T) -> bool) -> usize {
        if !self.has_entries() || entries_max == 0 {
            return 0;
        }
        let inlet = &self.shared.shards[self.shard];
        let mut dirty = inlet.dirty.swap(0, Ordering::SeqCst);
        // A sender that still saw its bit set has pushed before this fence: its entry is seen below.
        fence(Ordering::SeqCst);
        let mut count = 0;
        let mut more = true;
        while let Some(from) = first_from(dirty, self.next).filter(|_| more) {
            let ring = self.incoming[from as usize].as_mut().expect(RING_EXISTS);
            while more && let Ok(entry) = ring.pop() {
                count += 1;
                self.taken[from as usize] += 1;
                more = handle(from as usize, entry) && count < entries_max;
            }
            if ring.is_empty() {
                dirty &= !(1 << from);
            }
            self.next = from + 1;
        }
        if dirty != 0 {
            inlet.dirty.fetch_or(dirty, Ordering::SeqCst);
        }
        count
    }

    /// Marks behind all that was pushed to this end by now: `has_reached` tells when it has been drained.
    pub(crate) fn horizon(&self) -> Vec<u64> {
        let waiting = |ring: &Option<Consumer<T>>| ring.as_ref().map_or(0, |ring| ring.slots() as u64);
        self.incoming.iter().zip(&self.taken).map(|(ring, taken)| taken + waiting(ring)).collect()
    }

    pub(crate) fn has_reached(&self, horizon: &[u64]) -> bool {
        self.taken.iter().zip(horizon).all(|(taken, mark)| taken >= mark)
    }

    /// Whether `drain` may find something. False for sure only between `Parking::prepare_sleep` and the wait.
    #[inline]
    pub(crate) fn has_entries(&self) -> bool {
        self.shared.shards[self.shard].dirty.load(Ordering::SeqCst) != 0
    }

    fn announce(&self, mask: u64) {
        let own_bit = 1 << self.shard;
        fence(Ordering::SeqCst);
        let mut marked = false;
        for to in self.others(mask) {
            let dirty = &self.shared.shards[to].dirty;
            // Under load the bit stands already, and a load costs less than a write to a shared line.
            if dirty.load(Ordering::Relaxed) & own_bit == 0 {
                dirty.fetch_or(own_bit, Ordering::SeqCst);
                marked = true;
            }
        }
        if marked {
            fence(Ordering::SeqCst);
        }
        for to in self.others(mask) {
            self.shared.shards[to].parking.notify_fenced();
        }
    }

    fn others(&self, mask: u64) -> Bits {
        Bits(mask & !(1 << self.shard))
    }
}

/// What others write for one shard to read. A line of its own (two: adjacent lines are fetched in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Inlet {
    /// Bit s: the ring from shard s may have entries.
    dirty: AtomicU64,
    parking: Arc<Parking>,
}

/// The places of the bits of a mask, lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let bit = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

fn ring<T>(from: usize, to: usize, entries: usize) -> Option<(Producer<T>, Consumer<T>)> {
    (from != to).then(|| RingBuffer::new(entries))
}

/// The first bit of `mask` at or after `start`, going round.
fn first_from(mask: u64, start: u32) -> Option<u32> {
    let turned = mask.rotate_right(start);
    (mask != 0).then(|| (start + turned.trailing_zeros()) % u64::BITS)
}

const SHARDS_MAX: usize = 64;
const RING_EXISTS: &str = "a mask names shards of this mesh, and no shard has a ring to itself";

#[cfg(all(loom, test))]
mod models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
