//! Shrinking: the shortest plan that still fails.
//!
//! In      a plan that fails, and whether another one fails in the same way
//! Out     a plan with fewer operations, fewer turns between them and, if possible, no faults
//! Bounds  `RUNS_MAX` runs
//! Source  Zeller, Hildebrandt: Simplifying and Isolating Failure-Inducing Input (2002)

use fanwire::sim::Faults;

use crate::plan::Plan;

/// Makes a failing plan shorter as long as it fails.
pub fn shrink(plan: &Plan, fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut shrinking = Shrinking { best: plan.clone(), fails, runs_left: RUNS_MAX };
    shrinking.drop_faults();
    loop {
        let before = shrinking.size();
        shrinking.drop_operations();
        shrinking.drop_turns();
        if shrinking.size() == before || shrinking.runs_left == 0 {
            return shrinking.best;
        }
    }
}

struct Shrinking<F> {
    best: Plan,
    fails: F,
    runs_left: usize,
}

impl<F: FnMut(&Plan) -> bool> Shrinking<F> {
    fn size(&self) -> (usize, usize) {
        let turns = self.best.operations.iter().map(|(_, turns)| usize::from(*turns)).sum();
        (self.best.operations.len(), turns)
    }

    /// Keeps `candidate` if it fails.
    fn try_plan(&mut self, candidate: Plan) -> bool {
        if self.runs_left == 0 {
            return false;
        }
        self.runs_left -= 1;
        let fails = (self.fails)(&candidate);
        if fails {
            self.best = candidate;
        }
        fails
    }

    fn drop_faults(&mut self) {
        let mut calm = self.best.clone();
        calm.settings.faults = Faults::none();
        self.try_plan(calm);
    }

    /// Takes out ever smaller pieces.
    fn drop_operations(&mut self) {
        let mut length = self.best.operations.len() / 2;
        while length > 0 {
            let mut start = 0;
            while start < self.best.operations.len() && self.runs_left > 0 {
                let mut candidate = self.best.clone();
                let end = (start + length).min(candidate.operations.len());
                candidate.operations.drain(start..end);
                if !self.try_plan(candidate) {
                    start += length;
                }
            }
            length /= 2;
        }
    }

    fn drop_turns(&mut self) {
        for index in 0..self.best.operations.len() {
            let mut candidate = self.best.clone();
            if std::mem::take(&mut candidate.operations[index].1) > 0 {
                self.try_plan(candidate);
            }
        }
    }
}

const RUNS_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Operation;

    #[test]
    fn only_what_the_failure_needs_is_left() {
        let is_needed =
            |operation: &Operation| matches!(operation, Operation::Jump(_) | Operation::Decide(..));
        let needed =
            |plan: &Plan| plan.operations.iter().filter(|(operation, _)| is_needed(operation)).count();
        let plan = (0..).map(Plan::draw).find(|plan| needed(plan) > 3).unwrap();
        let shortest = shrink(&plan, |candidate| needed(candidate) > 3);
        assert_eq!((shortest.operations.len(), needed(&shortest)), (4, 4));
        assert!(shortest.operations.iter().all(|(_, turns)| *turns == 0));
        assert_eq!(shortest.settings.faults, Faults::none());
    }
}
