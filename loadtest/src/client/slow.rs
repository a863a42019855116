//! Slow subscribers: they read so many bytes a second, or nothing, and are judged apart.
//!
//! In      the clock; a speaker that may read
//! Out     how many bytes each may read now; a tally of its own
//! Bounds  what was not read in a turn is not saved up: a slow reader never bursts
//! Source  none

use super::{error::Ended, progress::LOOK_AGAIN, speaker::Speaker};
use crate::{
    dialect::Incoming,
    truth::{sequence::Tally, sequences::Sequences, stamp::Stamp},
};

/// The slow ones of a worker: its first `count` subscribers.
#[derive(Debug, Default)]
pub(super) struct Slow {
    count: usize,
    bytes_per_s: u64,
    read_ns: u64,
    tally: Tally,
}

impl Slow {
    pub(super) fn new(count: usize, bytes_per_s: u64) -> Self {
        Self { count, bytes_per_s, read_ns: 0, tally: Tally::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Bytes that each may read now, once in `LOOK_AGAIN`; `None`: not yet, or nothing at all.
    pub(super) fn allowed(&mut self, now_ns: u64) -> Option<usize> {
        let turn_ns = u64::from(LOOK_AGAIN.subsec_nanos());
        if self.count == 0 || self.bytes_per_s == 0 || now_ns < self.read_ns + turn_ns {
            return None;
        }
        self.read_ns = now_ns;
        let bytes = u128::from(self.bytes_per_s) * LOOK_AGAIN.as_nanos() / 1_000_000_000;
        usize::try_from(bytes.max(1)).ok()
    }

    /// Reads once, and judges order and content; what is late is the reader's own doing.
    pub(super) fn judge(
        &mut self,
        speaker: &mut Speaker,
        sequences: &mut Sequences,
        buffer: &mut [u8],
    ) -> Result<(), Ended> {
        let tally = &mut self.tally;
        speaker.receive(buffer, |incoming| {
            let Incoming::Delivery { data, .. } = incoming else { return tally.unexpected += 1 };
            let Ok(stamp) = Stamp::decode(&data) else { return tally.corrupted += 1 };
            match sequences.get_mut(stamp.stream) {
                Some(sequence) => tally.count(sequence.observe(stamp.sequence)),
                None => tally.unexpected += 1,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_given_by_the_turn_and_never_saved_up() {
        let turn_ns = u64::from(LOOK_AGAIN.subsec_nanos());
        let mut slow = Slow::new(3, 50_000);
        assert_eq!(slow.allowed(turn_ns), Some(1000));
        assert_eq!(slow.allowed(2 * turn_ns - 1), None);
        assert_eq!(slow.allowed(100 * turn_ns), Some(1000));
        assert_eq!(Slow::new(3, 0).allowed(u64::MAX), None);
        assert_eq!(Slow::new(0, 1).allowed(u64::MAX), None);
        assert_eq!(Slow::new(1, 1).allowed(turn_ns), Some(1));
    }
}
