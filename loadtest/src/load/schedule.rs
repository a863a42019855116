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
        // A float above the range becomes the range's end: such a time never comes.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let since_ns = (self.taken as f64 * self.interval_ns) as u64;
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
    fn a_time_beyond_the_clock_never_comes() {
        let mut schedule = Schedule::new(1, 1e-12);
        schedule.advance();
        assert_eq!(schedule.due_ns(), u64::MAX);
    }
}
