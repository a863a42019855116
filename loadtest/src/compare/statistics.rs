//! Statistics of rounds: medians and ranges.
//!
//! In      a value per round
//! Out     median, least and most
//! Bounds  none
//! Source  none

use serde::Serialize;

/// Of the rounds that have a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half are above, half below.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

impl Spread {
    /// `None` of no values.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, min, max })
    }

    /// Whether 1 lies within, so that a ratio says nothing.
    #[must_use]
    pub fn holds_one(&self) -> bool {
        (self.min..=self.max).contains(&1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
        assert!(Spread::of([0.9, 1.1]).unwrap().holds_one() && !Spread::of([1.1]).unwrap().holds_one());
    }
}
