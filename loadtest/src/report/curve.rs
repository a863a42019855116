//! Curves: how a latency grows towards its rare cases.
//!
//! In      a histogram
//! Out     values at quantiles that come closer to 1 in equal steps of its logarithm
//! Bounds  `STEPS` values per decade, as many decades as there are counts for
//! Source  none

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer, ser::SerializeSeq};

/// Of one latency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// What the names of its figures start with; empty for a delivery's.
    pub name: &'static str,
    /// Ascending; the last is at 1.
    #[serde(serialize_with = "points")]
    pub points: Vec<Point>,
}

/// A value that this part of all is not above.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// 0 to 1.
    pub quantile: f64,
    /// Nanoseconds.
    pub value: u64,
}

impl Curve {
    /// Of a histogram with something in it.
    #[must_use]
    pub fn of(name: &'static str, histogram: &Histogram<u64>) -> Self {
        let decades = (histogram.len() as f64).log10();
        let rare = (0..).map(|step| f64::from(step) / STEPS).take_while(|decade| *decade < decades);
        let quantiles = rare.map(|decade| 1.0 - 10f64.powf(-decade)).chain([1.0]);
        let point = |quantile| Point { quantile, value: histogram.value_at_quantile(quantile) };
        Self { name, points: quantiles.map(point).collect() }
    }
}

fn points<S: Serializer>(points: &[Point], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(points.len()))?;
    points.iter().try_for_each(|point| list.serialize_element(&(point.quantile, point.value)))?;
    list.end()
}

/// Per decade.
const STEPS: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::latency::latency_histogram;

    #[test]
    fn a_curve_ends_where_its_counts_end() {
        let mut histogram = latency_histogram();
        (1..=1000).for_each(|ns| histogram.saturating_record(ns));
        let curve = Curve::of("last", &histogram);
        let at = |quantile: f64| curve.points.iter().find(|p| (p.quantile - quantile).abs() < 1e-9).unwrap();
        assert_eq!([at(0.9).value, at(0.99).value, at(1.0).value], [900, 990, 1000]);
        assert_eq!(curve.points.len(), 24 + 1);
        assert!(curve.points.is_sorted_by(|a, b| a.value <= b.value && a.quantile < b.quantile));
    }
}
