//! Drift: how much something grows in an hour.
//!
//! In      a run's series
//! Out     slopes of lines through its points
//! Bounds  `POINTS_MIN` points; the first tenth of the time, in which a server warms up, is left out
//! Source  least squares

use super::series::{Point, Series};

/// Of one of the series' values, in its unit per hour; `None` of too few points.
#[must_use]
pub fn per_hour(series: &Series, value: impl Fn(&Point) -> Option<f64>) -> Option<f64> {
    let points = series.points();
    let last_ns = points.last()?.elapsed_ns;
    let late = points.iter().filter(|point| point.elapsed_ns > last_ns / 10);
    let places: Vec<(f64, f64)> =
        late.filter_map(|point| Some((point.elapsed_ns as f64 / 3.6e12, value(point)?))).collect();
    if places.len() < POINTS_MIN {
        return None;
    }
    let count = places.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| places.iter().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|place| place.0), mean(|place| place.1));
    let (mut products, mut squares) = (0.0, 0.0);
    for (x, y) in &places {
        products += (x - mean_x) * (y - mean_y);
        squares += (x - mean_x) * (x - mean_x);
    }
    Some(products / squares)
}

/// Fewer say nothing.
const POINTS_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: impl Iterator<Item = u64>) -> Series {
        let mut series = Series::default();
        for (second, bytes) in values.enumerate() {
            let elapsed_ns = (second as u64 + 1) * 1_000_000_000;
            series.push(Point { elapsed_ns, descriptors: Some(bytes), ..Point::default() });
        }
        series
    }

    fn drift(series: &Series) -> Option<f64> {
        per_hour(series, |point| point.descriptors.map(|count| count as f64))
    }

    #[test]
    fn a_line_has_its_slope_and_the_start_does_not_count() {
        let slope = drift(&series((0..100).map(|second| 7 + 2 * second))).unwrap();
        assert!((slope - 7200.0).abs() < 1e-6, "{slope}");
        let flat = drift(&series((0..100).map(|second| if second < 9 { 1000 } else { 5 }))).unwrap();
        assert!(flat.abs() < 1e-6, "{flat}");
        assert_eq!(drift(&series(0..8)), None);
    }
}
