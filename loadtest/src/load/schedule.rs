//! Schedules: the intended times of an open loop.
//!
//! In      a start, a rate
//! Out     one time after the other, on the run's clock
//! Bounds  rounding never adds up: each time is worked out from the start
//! Source  coordinated omission: latency counts from the intended time, so a late send hides nothing

/// Times at a constant rate, on a clock of nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    start_ns: u64,
    interval_ns: f64,
    taken: u64,
}

impl Schedule {
    /// The first at `start_ns`, then `per_s` a second.
    #[must_use]
    pub fn new(start_ns: u64, per_s: f64) -> Self {
        Self { start_ns, interval_ns: 1e9 / per_s, taken: 0 }
    }

    /// The next intended time.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        self.at(self.taken)
    }

    /// How many of those that were not gone past are before `ns`.
    #[must_use]
    pub fn due_before(&self, ns: u64) -> u64 {
        let since_ns = ns.saturating_sub(self.start_ns) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let mut count = (since_ns / self.interval_ns).ceil() as u64;
        // A quotient that was rounded is one off.
        while count > 0 && self.at(count - 1) >= ns {
            count -= 1;
        }
        while self.at(count) < ns {
            count += 1;
        }
        count.saturating_sub(self.taken)
    }

    fn at(&self, index: u64) -> u64 {
        // A float above the range becomes the range's end: such a time never comes.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let since_ns = (index as f64 * self.interval_ns) as u64;
        self.start_ns.saturating_add(since_ns)
    }

    /// Goes on to the one after it.
    pub fn advance(&mut self) {
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_the_rate_without_drift() {
        let mut schedule = Schedule::new(1000, 3.0);
        let times: Vec<u64> = (0..7)
            .map(|_| {
                let due_ns = schedule.due_ns();
                schedule.advance();
                due_ns - 1000
            })
            .collect();
        let third = 333_333_333;
        assert_eq!(times[..3], [0, third, 2 * third]);
        assert_eq!((times[3], times[6]), (1_000_000_000, 2_000_000_000));
    }

    #[test]
    fn what_is_due_before_a_time_is_what_would_be_taken_until_then() {
        for (per_s, span_ns) in
            [(0.7, 4_000_000_000), (3.0, 2_000_000_000), (300.0, 3_000_000_000), (1e9, 2000)]
        {
            for ns in [0, 1000, 1001, 1000 + span_ns, 1001 + span_ns] {
                let mut schedule = Schedule::new(1000, per_s);
                let all = schedule.due_before(ns);
                let mut taken = 0;
                while schedule.due_ns() < ns {
                    schedule.advance();
                    taken += 1;
                    assert_eq!(schedule.due_before(ns), all - taken);
                }
                assert_eq!(taken, all, "{per_s} {ns}");
            }
        }
        assert_eq!(Schedule::new(0, 500.0).due_before(3_000_000_000), 1500);
        assert_eq!(Schedule::new(0, 300.0).due_before(3_000_000_000), 900);
    }

    #[test]
    fn a_time_beyond_the_clock_never_comes() {
        let mut schedule = Schedule::new(1, 1e-12);
        schedule.advance();
        assert_eq!(schedule.due_ns(), u64::MAX);
    }
}
