//! Plans: when an open loop ends, and how long what is late then is still sent.
//!
//! In      a start, a time, an overtime; an interrupt
//! Out     until when something may become due, and whether that is sent
//! Bounds  the time, then the overtime
//! Source  none

use std::time::Duration;

/// When an open loop ends, on its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    over_ns: u64,
    overtime_ns: u64,
}

impl Plan {
    /// From this start on.
    #[must_use]
    pub fn new(started_ns: u64, time: Duration, overtime: Duration) -> Self {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self { over_ns: started_ns.saturating_add(ns(time)), overtime_ns: ns(overtime) }
    }

    /// What is due before that is sent, now or later: all before the end, and nothing after the overtime. An
    /// interrupt is the end.
    pub fn sends_until_ns(&mut self, now_ns: u64, is_interrupted: bool) -> u64 {
        if is_interrupted {
            self.over_ns = self.over_ns.min(now_ns);
        }
        if now_ns > self.over_ns.saturating_add(self.overtime_ns) { 0 } else { self.over_ns }
    }

    /// When nothing became due any more, now at the latest.
    #[must_use]
    pub fn over_ns(&self, now_ns: u64) -> u64 {
        self.over_ns.min(now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_due_is_sent_in_the_overtime_and_an_interrupt_ends_the_schedule() {
        let mut plan = Plan::new(10, Duration::from_nanos(100), Duration::from_nanos(50));
        assert_eq!([10, 110, 160, 161].map(|now_ns| plan.sends_until_ns(now_ns, false)), [110, 110, 110, 0]);
        assert_eq!((plan.over_ns(60), plan.over_ns(300)), (60, 110));
        assert_eq!([60, 90, 111].map(|now_ns| plan.sends_until_ns(now_ns, true)), [60, 60, 0]);
        assert_eq!(plan.over_ns(300), 60);
    }
}
