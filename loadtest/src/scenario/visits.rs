//! Visits: what scenarios with visitors have in common.
//!
//! In      what the visitors have shown
//! Out     the same in the ending and the values of a run
//! Bounds  none
//! Source  Little's law: those who are there are those who come, times how long they stay
//!
//! Visitors are receivers like the group: what they miss is lost, and one that the server closes is closed. How
//! much they got has a figure of its own.

use std::time::Duration;

use super::{ending::Ending, stage::Act};
use crate::{
    client::visitors::VisitOutcome,
    report::values::{JOINS, Values},
    truth::sequence::Tally,
};

/// Room for visitors: twice those that are there on average, and some.
#[must_use]
pub fn present_max(per_s: f64, stay: Duration) -> usize {
    // A rate of connections is far from the range's end.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let twice = (2.0 * per_s * stay.as_secs_f64()) as usize;
    twice + 16
}

/// Adds what visitors missed, and which were closed.
pub fn add_to(ending: &mut Ending, visited: &VisitOutcome) {
    let others = Tally { delivered: 0, ..visited.tally };
    ending.outcome.tally = [ending.outcome.tally, others].into_iter().sum();
    ending.outcome.closes = [ending.outcome.closes.clone(), visited.closes.clone()].into_iter().sum();
}

/// Sets the visitors' own figures.
pub fn set(values: &mut Values, visited: &VisitOutcome, act: &Act) {
    values.set("joins", visited.joins as f64);
    values.set("late", visited.late as f64);
    values.set("refused", visited.refusals.count() as f64);
    values.set("visitors_max", visited.present_max as f64);
    values.set("visitor_delivered", visited.tally.delivered as f64);
    values.set("joins_per_s", visited.joins as f64 / act.spent.elapsed.as_secs_f64());
    values.set_latency(&visited.latency_ns, &JOINS);
}

/// Who was refused, and why.
#[must_use]
pub fn refused(visited: &VisitOutcome) -> Option<String> {
    visited.refusals.text().map(|text| format!("refused: {text}"))
}
