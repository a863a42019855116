//! The search for the highest rate that passes: doubling, then halving the interval.
//!
//! In      a first rate, a largest one, a precision; whether each rate passed
//! Out     the next rate to try; the highest that passed
//! Bounds  `STEPS_MAX` steps
//! Source  none

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// Those that passed and were not refuted, ascending.
    passed: Vec<f64>,
    failed: Option<f64>,
    next: f64,
    rate_max: f64,
    /// The interval is small enough when its ends are no more than this share apart.
    precision: f64,
    steps: u32,
}

impl Search {
    /// From this rate on.
    #[must_use]
    pub fn new(first: f64, rate_max: f64, precision: f64) -> Self {
        Self { passed: Vec::new(), failed: None, next: first.min(rate_max), rate_max, precision, steps: 0 }
    }

    /// The rate to try now; `None`: the search is over, or `passed` is refuted.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        let is_close = match (self.passed(), self.failed) {
            (Some(passed), Some(failed)) => failed - passed <= passed * self.precision,
            (Some(passed), None) => passed >= self.rate_max,
            (None, Some(failed)) => failed <= RATE_MIN,
            (None, None) => false,
        };
        (!is_close && self.steps < STEPS_MAX).then_some(self.next)
    }

    /// How the rate of `next` went.
    pub fn tried(&mut self, is_passed: bool) {
        if is_passed {
            self.passed.push(self.next);
        } else {
            self.failed = Some(self.next);
        }
        self.go_on();
    }

    /// The highest rate that passed.
    #[must_use]
    pub fn passed(&self) -> Option<f64> {
        self.passed.last().copied()
    }

    /// The highest rate that passed, if it may still be tried a second time.
    #[must_use]
    pub fn to_confirm(&self) -> Option<f64> {
        self.passed().filter(|_| self.steps <= STEPS_MAX)
    }

    /// It did not pass a second time: the search goes on below it.
    pub fn refuted(&mut self) {
        self.failed = self.passed.pop();
        self.go_on();
    }

    fn go_on(&mut self) {
        self.steps += 1;
        self.next = match (self.passed(), self.failed) {
            (Some(passed), Some(failed)) => (passed + failed) / 2.0,
            (Some(passed), None) => (passed * 2.0).min(self.rate_max),
            (None, Some(failed)) => failed / 2.0,
            (None, None) => self.next,
        };
    }

    /// How many rates were tried.
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.steps
    }
}

const STEPS_MAX: u32 = 40;

/// Who cannot do this cannot do anything.
const RATE_MIN: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limit: f64, first: f64, rate_max: f64) -> (Option<f64>, u32) {
        let mut search = Search::new(first, rate_max, 0.05);
        while let Some(rate) = search.next() {
            assert!(rate <= rate_max);
            search.tried(rate <= limit);
        }
        (search.passed(), search.steps())
    }

    #[test]
    fn the_limit_is_found_within_the_precision_from_either_side() {
        for limit in [0.7, 9.0, 10.0, 1234.5, 99_999.0] {
            for first in [1.0, 10.0, 50_000.0] {
                let (rate, steps) = found(limit, first, 1e6);
                let rate = rate.unwrap();
                assert!(rate <= limit && rate * 1.05 >= limit * 0.999, "{rate} of {limit} from {first}");
                assert!(steps < 30, "{steps}");
            }
        }
    }

    #[test]
    fn there_is_an_end_where_all_passes_and_where_nothing_does() {
        assert_eq!(found(f64::MAX, 10.0, 1000.0).0, Some(1000.0));
        let (none, steps) = found(0.0, 10.0, 1000.0);
        assert!(none.is_none() && steps < 10, "{steps}");
    }

    #[test]
    fn what_is_refuted_is_searched_for_below() {
        let mut search = Search::new(100.0, 1e6, 0.05);
        // Luck has 1600 pass once; 500 is what can be borne.
        while let Some(rate) = search.next() {
            search.tried(rate <= 1600.0);
        }
        assert_eq!(search.to_confirm(), Some(1600.0));
        while let Some(rate) = search.to_confirm().filter(|rate| *rate > 500.0) {
            search.refuted();
            assert!(search.passed() < Some(rate));
            while let Some(rate) = search.next() {
                search.tried(rate <= 500.0);
            }
        }
        let rate = search.to_confirm().unwrap();
        assert!(rate <= 500.0 && rate * 1.05 >= 499.0, "{rate}");
    }

    #[test]
    fn a_search_in_which_everything_is_refuted_ends() {
        let mut search = Search::new(100.0, 1e6, 0.05);
        let mut confirmations = 0;
        loop {
            while search.next().is_some() {
                search.tried(true);
            }
            if search.to_confirm().is_none() {
                break;
            }
            confirmations += 1;
            search.refuted();
        }
        assert!(confirmations > 0 && search.steps() <= STEPS_MAX + 1, "{confirmations}, {}", search.steps());
    }
}
