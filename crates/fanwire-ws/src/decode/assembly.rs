//! The memory of one message that arrives in pieces.
//!
//! In      pieces in order, and where the message ends at most
//! Out     the message so far, in one piece
//! Bounds  grows with what has arrived, at most to double, never past the end; every byte of capacity is taken from
//!         the budget first

use crate::{Budget, Limit};

/// The pieces of one message so far.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// INVARIANT: its capacity is what was taken from the budget and not given back.
    bytes: Vec<u8>,
}

impl Assembly {
    /// Appends `piece` to a message that has at most `bytes_end` bytes in the end.
    ///
    /// # Errors
    /// `Limit::AssemblyBytes` if the budget has no room; nothing is appended then.
    pub(super) fn append(&mut self, piece: &[u8], bytes_end: u64, budget: &mut Budget) -> Result<(), Limit> {
        let needed = self.bytes.len() + piece.len();
        assert!(needed as u64 <= bytes_end, "a message grows past its announced end");
        if needed > self.bytes.capacity() {
            self.grow(needed, bytes_end, budget)?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The message so far.
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes held, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Frees everything and gives it back to the budget.
    pub(super) fn free(&mut self, budget: &mut Budget) {
        budget.give_back(self.bytes.capacity());
        self.bytes = Vec::new();
    }

    /// What a header announces is not reserved, or a few bytes could claim all memory: capacity at most doubles
    /// what has arrived.
    fn grow(&mut self, needed: usize, bytes_end: u64, budget: &mut Budget) -> Result<(), Limit> {
        let held = self.bytes.capacity();
        let doubled = held.saturating_mul(2).max(needed);
        let capacity = usize::try_from(bytes_end).map_or(doubled, |end| doubled.min(end));
        // Doubling is a convenience: with a short budget, what is needed is enough.
        let capacity = if budget.take(capacity - held) {
            capacity
        } else if budget.take(needed - held) {
            needed
        } else {
            return Err(Limit::AssemblyBytes);
        };
        self.bytes.reserve_exact(capacity - self.bytes.len());
        // `reserve_exact` may give more than asked for; what we hold must still be what we took.
        assert!(self.bytes.capacity() == capacity, "the allocator gave more than it was asked for");
        Ok(())
    }
}
