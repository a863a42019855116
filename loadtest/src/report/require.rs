//! Requirements: what a run's figures must be, as `p99<5ms` says it.
//!
//! In      text, and the sections of the scenario's report
//! Out     a requirement, or what to write instead; whether a measured value meets it
//! Bounds  a figure that could not be measured meets nothing
//! Source  none

use serde::Serialize;

use super::{
    figures::{Figure, Section},
    unit::Unit,
};

/// A bound for one figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    text: String,
    figure: Figure,
    operator: Operator,
    bound: f64,
}

impl Requirement {
    /// Reads one, such as `p99<5ms` or `lost==0`.
    ///
    /// # Errors
    /// No operator, a name that is in none of `sections`, or a number with a unit of another kind.
    pub fn parse(text: &str, sections: &[Section]) -> Result<Self, RequirementError> {
        let error = |problem| RequirementError { text: text.to_owned(), problem };
        let found = text.find(['<', '=', '>']).ok_or_else(|| error(Problem::Operator))?;
        let (name, rest) = (text[..found].trim(), &text[found..]);
        let (operator, bound) = Operator::split(rest).ok_or_else(|| error(Problem::Operator))?;
        let mut figures = sections.iter().flat_map(|section| section.figures);
        let Some(&figure) = figures.find(|figure| figure.name == name) else {
            let names = sections.iter().flat_map(|section| section.figures).map(|figure| figure.name);
            return Err(error(Problem::Name { names: names.collect::<Vec<_>>().join(", ") }));
        };
        let bound = figure.unit.read(bound.trim()).ok_or_else(|| error(Problem::Number { figure }))?;
        Ok(Self { text: text.to_owned(), figure, operator, bound })
    }

    /// The figure it bounds.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.figure.name
    }

    /// Judges a measured value.
    #[must_use]
    pub fn judge(&self, measured: Option<f64>) -> Judgement {
        let is_met = measured.is_some_and(|value| self.operator.holds(value, self.bound));
        Judgement { text: self.text.clone(), is_met, measured, unit: self.figure.unit }
    }
}

/// What became of one requirement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// As it was given.
    pub text: String,
    /// Whether the measured value is within the bound.
    pub is_met: bool,
    /// In the figure's base unit; `None` if it could not be measured.
    pub measured: Option<f64>,
    /// Of the figure.
    pub unit: Unit,
}

/// A requirement that cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("--require '{text}': {problem}")]
pub struct RequirementError {
    text: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Problem {
    #[error("write NAME, one of < <= == >= >, and a number, such as 'p99<5ms' or 'lost==0'")]
    Operator,
    #[error("no such figure here; there are {names}")]
    Name { names: String },
    #[error("{} takes a number and behind it {}", figure.name, figure.unit.suffixes())]
    Number { figure: Figure },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl Operator {
    /// Takes the operator from the start of `text`.
    fn split(text: &str) -> Option<(Self, &str)> {
        // The longer ones first: each of them starts with, or is mistaken for, a shorter one.
        let all = [
            ("<=", Self::LessOrEqual),
            ("==", Self::Equal),
            (">=", Self::GreaterOrEqual),
            ("<", Self::Less),
            (">", Self::Greater),
        ];
        all.iter().find_map(|&(sign, operator)| Some((operator, text.strip_prefix(sign)?)))
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Equal => value == bound,
            Self::GreaterOrEqual => value >= bound,
            Self::Greater => value > bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::figures::FANOUT, *};

    fn is_met(text: &str, measured: f64) -> bool {
        Requirement::parse(text, FANOUT).unwrap().judge(Some(measured)).is_met
    }

    fn error(text: &str) -> String {
        Requirement::parse(text, FANOUT).unwrap_err().to_string()
    }

    #[test]
    fn each_operator_decides_below_at_and_above_its_bound() {
        for (operator, expected) in [
            ("<", [true, false, false]),
            ("<=", [true, true, false]),
            ("==", [false, true, false]),
            (">=", [false, true, true]),
            (">", [false, false, true]),
        ] {
            let text = format!("p99.9 {operator} 5us");
            assert_eq!([4999.0, 5000.0, 5001.0].map(|measured| is_met(&text, measured)), expected, "{text}");
        }
    }

    #[test]
    fn what_was_not_measured_meets_nothing() {
        for text in ["lost==0", "lost>=0", "server_cpu_per_frame<1s"] {
            assert!(!Requirement::parse(text, FANOUT).unwrap().judge(None).is_met, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_to_write() {
        let names = error("p98<5ms");
        assert!(names.contains("p99.99") && names.contains("lost") && names.contains("'p98<5ms'"), "{names}");
        assert!(error("p99<5").ends_with("p99 takes a number and behind it ns, us, ms or s"));
        assert!(error("lost==0ms").ends_with("lost takes a number and behind it nothing"));
        for wrong in ["p99", "p99=5ms", "p99!=5ms", ""] {
            assert!(error(wrong).contains("'p99<5ms' or 'lost==0'"), "{wrong}");
        }
    }
}
