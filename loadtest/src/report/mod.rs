//! Reports: the figures of a run, for people and as JSON.
//!
//! In      what a scenario has measured
//! Out     lines of text, one JSON object, a page, and whether the run is a success
//! Bounds  none
//! Source  none

pub mod curve;
pub mod drift;
pub mod figures;
pub mod html;
mod json;
pub mod require;
pub mod series;
pub mod table;
mod text;
pub mod unit;
pub mod values;

use serde_json::Value;

use crate::truth::{closes::Closes, sequence::Tally};
use figures::{Figure, Section};
use require::{Judgement, Requirement};
use series::Series;
use table::Table;
use values::Values;

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name on the command line.
    pub scenario: &'static str,
    /// What was asked for.
    pub settings: Vec<(&'static str, Value)>,
    /// With what, and on what: all that it takes to do the same again.
    pub run: Vec<(String, Value)>,
    /// Which figures there are.
    pub sections: &'static [Section],
    /// What they are.
    pub values: Values,
    /// What arrived, and what did not.
    pub tally: Tally,
    /// Connections that the server ended.
    pub closes: Closes,
    /// How it went, moment by moment.
    pub series: Series,
    /// Figures step by step.
    pub tables: Vec<Table>,
    /// What a reader has to know to read the figures right.
    pub notes: Vec<String>,
    /// The requirements, judged.
    pub judgements: Vec<Judgement>,
    /// Whether anything happened to be measured.
    pub is_measured: bool,
    /// The user ended the run.
    pub is_interrupted: bool,
    /// What went wrong.
    pub failure: Option<String>,
}

impl Report {
    /// The value of a figure; `None` if it was not measured.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name)
    }

    /// Judges the figures by what the user requires of them.
    #[must_use]
    pub fn judged(mut self, requirements: &[Requirement]) -> Self {
        let judged = requirements.iter().map(|requirement| requirement.judge(self.value(requirement.name())));
        self.judgements = judged.collect();
        self
    }

    /// Adds how it went.
    #[must_use]
    pub fn with_series(mut self, series: Series) -> Self {
        self.series = series;
        self
    }

    /// Adds one of the things that were asked for.
    #[must_use]
    pub fn with_setting(mut self, name: &'static str, value: Value) -> Self {
        self.settings.push((name, value));
        self
    }

    /// Adds with what it was run.
    #[must_use]
    pub fn with_run(mut self, run: impl IntoIterator<Item = (String, Value)>) -> Self {
        self.run.extend(run);
        self
    }

    /// Adds what a reader has to know.
    #[must_use]
    pub fn with_note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// Adds what was measured step by step.
    #[must_use]
    pub fn with_table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// Adds the cause of a failure that was seen from outside; it stands before what it led to.
    #[must_use]
    pub fn with_failure(mut self, cause: String) -> Self {
        self.failure = Some(match self.failure {
            Some(seen) => format!("{cause}; {seen}"),
            None => cause,
        });
        self
    }

    /// Whether something was measured, all that was due was sent, every message arrived once, in order and
    /// unchanged, and all connections stayed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failure.is_none()
            && self.is_measured
            && self.is_all_sent()
            && self.tally.is_clean()
            && self.closes.count() == 0
    }

    fn is_all_sent(&self) -> bool {
        self.value("unsent").is_none_or(|count| count == 0.0)
    }

    /// Why it is not clean.
    #[must_use]
    pub fn what_failed(&self) -> Option<String> {
        if self.is_clean() {
            return None;
        }
        Some(match &self.failure {
            Some(failure) => failure.clone(),
            None if !self.is_measured => "nothing was measured".to_owned(),
            None if !self.tally.is_clean() => {
                "not every message arrived once, in order and unchanged".to_owned()
            }
            None if !self.is_all_sent() => "not all that was due could be sent in time".to_owned(),
            None => "the server ended connections that were to stay".to_owned(),
        })
    }

    /// Whether the figures are all that the user requires.
    #[must_use]
    pub fn is_as_required(&self) -> bool {
        self.judgements.iter().all(|judgement| judgement.is_met)
    }

    /// Whether this program was the bottleneck, now or at the rate that was too high, so that rates and latencies
    /// are its own.
    #[must_use]
    pub fn is_client_bound(&self) -> bool {
        ["client_cpu", "limit_client_cpu"]
            .iter()
            .any(|name| self.value(name).is_some_and(|share| share > SATURATION_MAX))
    }

    /// Whether a figure is to be read with that in mind.
    fn is_marked(&self, figure: &Figure) -> bool {
        figure.is_pace && self.is_client_bound()
    }
}

/// Of its CPUs, or of one by its busiest thread; above this the client decides the figures.
const SATURATION_MAX: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a small run without an observed server.
    pub(super) fn report() -> Report {
        let mut values = Values::default();
        values.set("p99", 5e6);
        Report {
            scenario: "fanout",
            settings: vec![("subscribers", 3.into()), ("pace", "closed".into())],
            run: Vec::new(),
            sections: figures::FANOUT,
            values,
            tally: Tally::default(),
            closes: Closes::default(),
            series: Series::default(),
            tables: Vec::new(),
            notes: Vec::new(),
            judgements: Vec::new(),
            is_measured: true,
            is_interrupted: false,
            failure: None,
        }
    }

    #[test]
    fn a_report_is_clean_only_if_something_was_measured_and_nothing_was_wrong() {
        assert!(report().is_clean());
        assert!(!Report { is_measured: false, ..report() }.is_clean());
        assert!(!report().with_failure("x".to_owned()).is_clean());
        assert!(!Report { tally: Tally { missing: 1, ..Tally::default() }, ..report() }.is_clean());
        let mut late = report();
        late.values.set("unsent", 1.0);
        assert!(!late.is_clean() && late.to_string().contains("FAILED     not all that was due"), "{late}");
        let mut closed = report();
        closed.closes.add(1013);
        assert!(!closed.is_clean() && closed.to_string().contains("closes     1 with 1013\n"), "{closed}");
    }

    #[test]
    fn requirements_are_judged_by_the_measured_values() {
        let required = |text| Requirement::parse(text, figures::FANOUT).unwrap();
        assert!(report().judged(&[required("p99<=5ms")]).is_as_required());
        assert!(!report().judged(&[required("p99<=5ms"), required("lost==0")]).is_as_required());
    }

    #[test]
    fn a_cause_stands_before_what_it_led_to() {
        let report = report().with_failure("second".to_owned()).with_failure("first".to_owned());
        assert_eq!(report.failure.as_deref(), Some("first; second"));
    }
}
