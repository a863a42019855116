//! Checks: does each subscriber get each publisher's messages once, and in order?
//!
//! In      sequence numbers as they arrive at one subscriber from one publisher
//! Out     a verdict per message; the sums in a `Tally`
//! Bounds  one range per gap; a server that loses nothing costs 8 bytes of comparison per message
//! Source  the promise "per publisher and topic every subscriber sees publish order"

use std::{iter::Sum, ops::Range};

use serde::{Deserialize, Serialize};

/// One publisher's messages as one subscriber sees them.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    first: u64,
    next: u64,
    /// Skipped so far, ascending, none empty, all below `next`.
    gaps: Vec<Range<u64>>,
}

impl Sequence {
    /// Of somebody who came later: this message is its first.
    #[must_use]
    pub fn starting_at(first: u64) -> Self {
        Self { first, next: first, gaps: Vec::new() }
    }

    /// The first message that counts.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number behind the greatest that has come.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Judges the message with this number.
    pub fn observe(&mut self, sequence: u64) -> Verdict {
        if sequence == self.next {
            self.next += 1;
            return Verdict::InOrder;
        }
        if sequence > self.next {
            self.gaps.push(self.next..sequence);
            self.next = sequence + 1;
            return Verdict::AfterGap;
        }
        if self.fill_gap(sequence) { Verdict::Late } else { Verdict::Duplicate }
    }

    /// How many different messages have come.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.next - self.first - self.skipped()
    }

    /// How many of the messages below `published` have not come.
    #[must_use]
    pub fn missing(&self, published: u64) -> u64 {
        self.skipped() + published.saturating_sub(self.next)
    }

    /// How many messages between the first and the last that came have not.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.end - gap.start).sum()
    }

    fn fill_gap(&mut self, sequence: u64) -> bool {
        let Some(index) = self.gaps.iter().position(|gap| gap.contains(&sequence)) else { return false };
        let gap = self.gaps.remove(index);
        let parts = [gap.start..sequence, sequence + 1..gap.end];
        self.gaps.splice(index..index, parts.into_iter().filter(|part| !part.is_empty()));
        true
    }
}

/// One message's place in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next one.
    InOrder,
    /// A later one: those between are missing unless they come late.
    AfterGap,
    /// One that was missing, after a later one.
    Late,
    /// One that had come before.
    Duplicate,
}

/// What a run delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Messages that came for the first time, whole.
    pub delivered: u64,
    /// Published and never delivered, over all subscribers.
    pub missing: u64,
    /// Delivered after a later message of the same publisher.
    pub reordered: u64,
    /// Delivered again.
    pub duplicated: u64,
    /// Messages whose content is not what was published.
    pub corrupted: u64,
    /// Messages of another topic or form, which nobody asked for.
    pub unexpected: u64,
}

impl Tally {
    /// Adds one verdict.
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::InOrder | Verdict::AfterGap => self.delivered += 1,
            Verdict::Late => {
                self.delivered += 1;
                self.reordered += 1;
            }
            Verdict::Duplicate => self.duplicated += 1,
        }
    }

    /// Whether each message came once, in order and unchanged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.reordered == 0 && self.duplicated == 0 && self.corrupted == 0
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, tally| Self {
            delivered: sum.delivered + tally.delivered,
            missing: sum.missing + tally.missing,
            reordered: sum.reordered + tally.reordered,
            duplicated: sum.duplicated + tally.duplicated,
            corrupted: sum.corrupted + tally.corrupted,
            unexpected: sum.unexpected + tally.unexpected,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle remembers every number that came.
        #[test]
        fn verdicts_equal_those_of_a_full_memory(arrivals in prop::collection::vec(0u64..40, 0..80)) {
            let mut sequence = Sequence::default();
            let mut seen = BTreeSet::new();
            for number in arrivals {
                let expected = match seen.last().copied() {
                    _ if seen.contains(&number) => Verdict::Duplicate,
                    Some(last) if number < last => Verdict::Late,
                    Some(last) if number == last + 1 => Verdict::InOrder,
                    None if number == 0 => Verdict::InOrder,
                    _ => Verdict::AfterGap,
                };
                seen.insert(number);
                prop_assert_eq!(sequence.observe(number), expected);
                prop_assert_eq!(sequence.missing(40), 40 - seen.len() as u64);
                prop_assert_eq!(sequence.received(), seen.len() as u64);
            }
        }
    }

    #[test]
    fn a_tally_is_clean_only_without_faults() {
        let mut tally = Tally { unexpected: 1, ..Tally::default() };
        tally.count(Verdict::InOrder);
        assert!(tally.is_clean() && tally.delivered == 1);
        for verdict in [Verdict::Late, Verdict::Duplicate] {
            let mut faulty = tally;
            faulty.count(verdict);
            assert!(!faulty.is_clean());
        }
        assert!(!Tally { missing: 1, ..tally }.is_clean());
        assert!(!Tally { corrupted: 1, ..tally }.is_clean());
    }
}
