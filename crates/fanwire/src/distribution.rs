//! Distributions: how often a quantity had which size, in classes that double.
//!
//! In      values, from the shard that owns them
//! Out     copies, from any thread
//! Bounds  `CLASSES` counters and a sum each; a read may miss what happens meanwhile, never tears a value
//! Source  none

use std::array;

use crate::stats::Counter;

/// What a shard measures of its own work, at one moment.
///
/// Each is kept once per turn, publish or flush, never per subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Distributions {
    /// Times, a turn of the shard's loop each: from the end of its wait to the end of its work.
    pub turn: Distribution,
    /// Times, a publish with subscribers each: from the beginning of the turn that took it in until every subscriber
    /// whose socket took bytes had been sent to. What it waited before, in an inbox or a ring, is not in it.
    pub publish_to_flush: Distribution,
    /// Counts, a publish each: its subscribers on this shard.
    pub fan_out: Distribution,
    /// Counts, a flush of up to 256 sessions each: the messages that its first session had waiting. A sample, for who is
    /// first changes.
    pub queue_depth: Distribution,
}

impl Distributions {
    /// Each with its name, for metrics.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Distribution)> {
        [
            ("turn", self.turn),
            ("publish_to_flush", self.publish_to_flush),
            ("fan_out", self.fan_out),
            ("queue_depth", self.queue_depth),
        ]
        .into_iter()
    }
}

/// How often a quantity had which size: times in nanoseconds, or counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution {
    unit: u64,
    counts: [u64; CLASSES],
    sum: u64,
}

impl Distribution {
    /// Each class: its upper bound, which belongs to it, and how many values fell into it and no smaller one. The last
    /// class has no bound.
    pub fn classes(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bound = |class: usize| (class + 1 < CLASSES).then(|| self.unit << class);
        self.counts.iter().enumerate().map(move |(class, &count)| (bound(class), count))
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum: nanoseconds, or how many.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Whether the values are times.
    pub fn is_of_times(&self) -> bool {
        self.unit == NANOSECONDS
    }

    /// The bound of the class in which the value at this share of all lies (0.99: 99 of 100 are no larger). `None` if
    /// there is no value, or that class has no bound.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a share, 0 to 1")]
        let rank = ((self.count() as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        let class = self.classes().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        class.and_then(|(bound, _)| bound)
    }
}

/// Where the owner shard keeps its own.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) turn: Meter,
    pub(crate) publish_to_flush: Meter,
    pub(crate) fan_out: Meter,
    pub(crate) queue_depth: Meter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            turn: Meter::new(NANOSECONDS),
            publish_to_flush: Meter::new(NANOSECONDS),
            fan_out: Meter::new(1),
            queue_depth: Meter::new(1),
        }
    }

    pub(crate) fn read(&self) -> Distributions {
        Distributions {
            turn: self.turn.read(),
            publish_to_flush: self.publish_to_flush.read(),
            fan_out: self.fan_out.read(),
            queue_depth: self.queue_depth.read(),
        }
    }
}

/// One distribution as it grows. One writer, as of a counter.
#[derive(Debug)]
pub(crate) struct Meter {
    unit: u64,
    counts: [Counter; CLASSES],
    sum: Counter,
}

impl Meter {
    fn new(unit: u64) -> Self {
        Self { unit, counts: array::from_fn(|_| Counter::default()), sum: Counter::default() }
    }

    /// Adds a value as many times as it was had. Only the owner shard may call it.
    pub(crate) fn add(&self, value: u64, times: u64) {
        self.counts[class_of(value.div_ceil(self.unit))].add(times);
        self.sum.add(value.saturating_mul(times));
    }

    fn read(&self) -> Distribution {
        let counts = array::from_fn(|class| self.counts[class].read());
        Distribution { unit: self.unit, counts, sum: self.sum.read() }
    }
}

/// The first class whose bound is no smaller.
fn class_of(units: u64) -> usize {
    let doublings = u64::BITS - units.saturating_sub(1).leading_zeros();
    (doublings as usize).min(CLASSES - 1)
}

/// Times are told apart from a microsecond on.
const NANOSECONDS: u64 = 1_000;

/// Up to 2^23 units each: eight seconds, or eight million; and one class beyond.
const CLASSES: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(unit: u64, values: &[u64]) -> Distribution {
        let meter = Meter::new(unit);
        values.iter().for_each(|&value| meter.add(value, 1));
        meter.read()
    }

    #[test]
    fn a_value_lies_in_the_first_class_whose_bound_is_no_smaller() {
        for unit in [1, NANOSECONDS] {
            let edges = (0..24).flat_map(|doublings| {
                let bound = unit << doublings;
                [bound - 1, bound, bound + 1]
            });
            for value in edges.chain([0, u64::MAX]) {
                let one = read(unit, &[value]);
                let (bound, _) = one.classes().find(|(_, count)| *count == 1).unwrap();
                let expected = (0..24).map(|doublings| unit << doublings).find(|bound| value <= *bound);
                assert_eq!(bound, expected, "{value}");
                assert_eq!((one.count(), one.sum()), (1, value));
            }
        }
    }

    #[test]
    fn a_quantile_is_the_bound_below_which_so_many_lie() {
        let values: Vec<u64> = (1..=100).collect();
        let all = read(1, &values);
        assert_eq!((all.count(), all.sum()), (100, 5_050));
        assert_eq!(all.quantile(0.0), Some(1));
        assert_eq!(all.quantile(0.5), Some(64));
        assert_eq!(all.quantile(0.64), Some(64));
        assert_eq!(all.quantile(0.65), Some(128));
        assert_eq!(all.quantile(1.0), Some(128));
        assert_eq!(read(1, &[]).quantile(0.5), None);
        assert_eq!(read(1, &[u64::MAX]).quantile(0.5), None, "the last class has no bound");
    }

    #[test]
    fn a_value_had_many_times_counts_as_often() {
        let meter = Meter::new(1);
        meter.add(3, 5);
        assert_eq!((meter.read().count(), meter.read().sum()), (5, 15));
    }
}
