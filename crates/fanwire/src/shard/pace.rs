//! Pace: how long publishes wait until they have been sent to everybody.
//!
//! In      what was published by when, how many sessions have had their turn to be flushed
//! Out     distributions: times from publish to flush, and what a publish fans out to
//! Bounds  `MARKS_MAX` marks; one clock reading per turn, and nothing per subscriber
//! Source  docs/http-api.md
//!
//! Sessions with something to send wait in one line, in which nobody is overtaken. So all that was published by now has
//! been flushed once as many have left the front of the line as stand in it now.

use std::collections::VecDeque;

use super::{Core, ShardSide};
use crate::driver::Driver;

/// One shard's publishes on their way out.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Publishes since the last mark.
    unmarked: u64,
    /// When they may have begun: the turn of that mark.
    since_ns: u64,
    marks: VecDeque<Mark>,
}

/// Publishes of one turn.
#[derive(Debug)]
struct Mark {
    since_ns: u64,
    publishes: u64,
    /// How many sessions will have left the line by then.
    behind: u64,
}

impl Pace {
    /// A publish goes to so many sessions of this shard at most.
    pub(crate) fn note(&mut self, subscribers: u64, side: &ShardSide) {
        self.unmarked += 1;
        side.meters.fan_out.add(subscribers, 1);
    }

    /// Everything that was published stands in the line now, which ends `behind` sessions after its very first.
    pub(crate) fn mark(&mut self, now_ns: u64, behind: u64) {
        let publishes = std::mem::take(&mut self.unmarked);
        let since_ns = std::mem::replace(&mut self.since_ns, now_ns);
        if publishes == 0 {
            return;
        }
        let is_full = self.marks.len() == MARKS_MAX;
        match self.marks.back_mut().filter(|_| is_full) {
            // One time for both, the longer one.
            Some(last) => {
                last.publishes += publishes;
                last.behind = behind;
            }
            None => self.marks.push_back(Mark { since_ns, publishes, behind }),
        }
    }

    /// A turn ends that began at `since_ns`; so many sessions have left the line.
    pub(crate) fn end_turn(&mut self, since_ns: u64, now_ns: u64, left: u64, side: &ShardSide) {
        self.flushed(left, now_ns, side);
        side.meters.turn.add(now_ns.saturating_sub(since_ns), 1);
    }

    fn flushed(&mut self, left: u64, now_ns: u64, side: &ShardSide) {
        while let Some(mark) = self.marks.front().filter(|mark| mark.behind <= left) {
            let time_ns = now_ns.saturating_sub(mark.since_ns);
            side.meters.publish_to_flush.add(time_ns, mark.publishes);
            self.marks.pop_front();
        }
    }
}

impl<D: Driver> Core<D> {
    /// A publish goes to so many sessions of this shard at most.
    pub(super) fn note_fan_out(&mut self, subscribers: u64) {
        self.pace.note(subscribers, &self.shared.shards[self.index]);
    }

    /// All publishes so far are queued, and the next flush is yet to come.
    pub(super) fn mark_publishes(&mut self) {
        let (left, waiting) = self.publishes.look().line();
        self.pace.mark(self.now_ns, left + waiting);
    }

    /// The turn's work is done.
    pub(super) fn end_turn(&mut self) {
        // What hooks published on the way out waits for the next turn's flush.
        let now_ns = self.driver.clock();
        let (left, _) = self.publishes.look().line();
        self.pace.end_turn(self.now_ns, now_ns, left, &self.shared.shards[self.index]);
    }
}

/// Turns whose publishes may wait to be flushed and are told apart.
const MARKS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Options, shard::parking::Parking, shared::Shared};

    fn shared() -> Arc<Shared> {
        let options = Options::default();
        let limits = options.limits(1);
        Arc::new(Shared::new(options.codec.clone(), limits, [1, 2, 3, 4], 1, vec![Parking::new()]))
    }

    #[test]
    fn publishes_are_flushed_when_those_in_line_before_their_mark_have_left() {
        let shared = shared();
        let side = &shared.shards[0];
        let mut pace = Pace { since_ns: 1_000, ..Pace::default() };
        pace.unmarked = 2;
        pace.mark(2_000, 10);
        pace.unmarked = 1;
        pace.mark(3_000, 15);
        pace.mark(4_000, 20);
        pace.flushed(9, 5_000, side);
        assert_eq!(side.meters.read().publish_to_flush.count(), 0);
        pace.flushed(12, 6_000, side);
        let times = side.meters.read().publish_to_flush;
        assert_eq!((times.count(), times.sum()), (2, 10_000), "two publishes took 5 us each");
        pace.flushed(20, 9_000, side);
        let times = side.meters.read().publish_to_flush;
        assert_eq!((times.count(), times.sum()), (3, 17_000), "and one 7 us");
    }

    #[test]
    fn of_very_many_marks_the_last_ones_are_one() {
        let shared = shared();
        let side = &shared.shards[0];
        let mut pace = Pace::default();
        for turn in 0..1_000 {
            pace.unmarked = 1;
            pace.mark(turn, turn);
        }
        assert_eq!(pace.marks.len(), MARKS_MAX);
        pace.flushed(998, 1_000, side);
        assert_eq!(side.meters.read().publish_to_flush.count(), MARKS_MAX as u64 - 1);
        pace.flushed(999, 1_000, side);
        assert_eq!(side.meters.read().publish_to_flush.count(), 1_000);
    }
}
