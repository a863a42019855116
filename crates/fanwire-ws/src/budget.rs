//! Memory for messages that arrive in pieces, shared by all decoders of a shard.

/// How many bytes all decoders of a shard hold together for messages that are not whole yet, and may hold at most.
///
/// A decoder takes before it allocates and gives back when it frees; it counts capacity, not length.
#[derive(Debug)]
pub struct Budget {
    /// INVARIANT: `used <= max`, and equal to the sum of `Decoder::assembled_bytes` over all decoders.
    used: u64,
    max: u64,
}

impl Budget {
    /// An unused budget of `max` bytes.
    pub const fn new(max: u64) -> Budget {
        Budget { used: 0, max }
    }

    /// Bytes that decoders hold now.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Bytes that decoders may hold at most.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Takes `bytes`, or takes nothing and returns false if they do not fit.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes as u64 <= self.max - self.used;
        if fits {
            self.used += bytes as u64;
        }
        fits
    }

    /// Gives back `bytes` that were taken.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        assert!(bytes as u64 <= self.used, "a decoder gave back memory to a budget it did not take it from");
        self.used -= bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let mut budget = Budget::new(10);
        assert!(budget.take(7));
        assert!(!budget.take(4));
        assert_eq!(budget.used(), 7);
        assert!(budget.take(3));
        budget.give_back(10);
        assert_eq!((budget.used(), budget.max()), (0, 10));
    }

    #[test]
    #[should_panic(expected = "did not take")]
    fn giving_back_more_than_taken_is_a_bug_of_ours() {
        Budget::new(10).give_back(1);
    }
}
