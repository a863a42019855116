//! Axes: where values stand, and which of them are named.
//!
//! In      values in the base unit of their figure
//! Out     places on a straight line; ticks that are round numbers in that unit
//! Bounds  at most `TICKS_MAX` ticks
//! Source  none

use std::ops::Range;

use crate::report::unit::Unit;

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// In proportion, from 0 to a round number.
    Linear,
    /// In proportion, from 0 to the last value.
    Run,
    /// In proportion, from about the least.
    Fit,
    /// Each tenfold as long as the one before.
    Log,
    /// Of quantiles: each nine more as long as the one before; ticks are percent.
    Nines,
}

/// One side of a plot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) unit: Unit,
}

impl Axis {
    /// Where a value stands; `None` if nowhere.
    pub(super) fn place(self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Linear | Scale::Run | Scale::Fit => value,
            Scale::Log => value.log10(),
            Scale::Nines => -(1.0 - value).log10(),
        };
        place.is_finite().then_some(place)
    }

    /// From where to where it runs so that these places are on it, and where its ticks are.
    pub(super) fn span(self, places: impl Iterator<Item = f64>) -> (Range<f64>, Vec<f64>) {
        let (low, high) =
            places.fold((f64::MAX, f64::MIN), |(low, high), place| (low.min(place), high.max(place)));
        if low > high {
            return (0.0..1.0, Vec::new());
        }
        match self.scale {
            Scale::Nines => {
                let ticks = [0.5f64, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999];
                let range = low.min(0.3)..high.max(1.0);
                let places = ticks.into_iter().filter_map(|tick| self.place(tick));
                (range.clone(), places.filter(|place| *place <= range.end + 1e-9).collect())
            }
            Scale::Log => log_span(low, high),
            Scale::Linear => self.linear_span(low.min(0.0), high),
            Scale::Run => {
                let (range, ticks) = self.linear_span(low.min(0.0), high);
                let end = if high > range.start { high } else { range.end };
                (range.start..end, ticks.into_iter().filter(|tick| *tick <= end).collect())
            }
            // A range of a tenth at least: what hardly changes shall not look as if it did.
            Scale::Fit => self.linear_span((low - 0.05 * high.abs()).max(0.0), high * 1.05),
        }
    }

    /// What stands at a tick.
    pub(super) fn label(self, place: f64) -> String {
        match self.scale {
            Scale::Linear | Scale::Run | Scale::Fit => short(self.unit, place),
            Scale::Log => short(self.unit, 10f64.powf(place)),
            Scale::Nines => {
                let percent = 100.0 * (1.0 - 10f64.powf(-place));
                trimmed(format!("{percent:.4}"))
            }
        }
    }

    fn linear_span(self, low: f64, high: f64) -> (Range<f64>, Vec<f64>) {
        let high = if high > low { high } else { low + 1.0 };
        let step = self.step((high - low) / TICKS_MAX as f64);
        let first = (low / step).floor();
        let ticks: Vec<_> = (0..=TICKS_MAX + 2)
            .map(|index| (first + index as f64) * step)
            .take_while(|tick| *tick < high + step)
            .collect();
        let end = ticks.last().copied().unwrap_or(high).max(high);
        (first * step..end, ticks)
    }

    /// The round number that is not below `least`.
    fn step(self, least: f64) -> f64 {
        let base = match self.unit {
            Unit::Bytes => 2f64.powf(least.log2().ceil()),
            _ => {
                let decade = 10f64.powf(least.log10().floor());
                let factor =
                    [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * decade >= least * 0.999);
                factor.unwrap_or(10.0) * decade
            }
        };
        match self.unit {
            // Nobody counts halves.
            Unit::Count | Unit::Bytes => base.max(1.0),
            _ => base,
        }
    }
}

/// Whole decades, or parts of them if there are few.
fn log_span(low: f64, high: f64) -> (Range<f64>, Vec<f64>) {
    let factors: &[f64] = if high - low < 1.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    // Two more than the range of a double: no more than that is asked for.
    #[expect(clippy::cast_possible_truncation)]
    let decades = (low.floor().max(-320.0) as i32 - 1)..=(high.ceil().min(320.0) as i32 + 1);
    let all: Vec<f64> = decades
        .flat_map(|decade| factors.iter().map(move |factor| f64::from(decade) + factor.log10()))
        .collect();
    let start = all.iter().copied().filter(|tick| *tick <= low + 1e-9).fold(f64::MIN, f64::max);
    let end = all.iter().copied().filter(|tick| *tick >= high - 1e-9).fold(f64::MAX, f64::min);
    let end = if end > start { end } else { start + 1.0 };
    (start..end, all.into_iter().filter(|tick| (start - 1e-9..=end + 1e-9).contains(tick)).collect())
}

/// A value in few characters.
fn short(unit: Unit, value: f64) -> String {
    let scaled = |value: f64| {
        let scales = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
        let scale = scales.into_iter().find(|(scale, _)| value.abs() >= *scale);
        let (scale, name) = scale.unwrap_or((1.0, ""));
        // Three digits of what is small, too.
        let zeros = if value == 0.0 { 0.0 } else { (-value.abs().log10()).ceil().clamp(0.0, 300.0) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let digits = 3 + zeros as usize;
        format!("{}{name}", trimmed(format!("{:.digits$}", value / scale)))
    };
    match unit {
        Unit::Count | Unit::Number => scaled(value),
        Unit::Rate => format!("{}/s", scaled(value)),
        Unit::Share => format!("{} %", trimmed(format!("{:.1}", value * 100.0))),
        _ if value == 0.0 => "0".to_owned(),
        Unit::Time | Unit::Bytes => {
            let text = unit.write(value);
            match text.split_once(' ') {
                Some((number, name)) => format!("{} {name}", trimmed(number.to_owned())),
                None => text,
            }
        }
    }
}

/// Without the zeros behind a point.
fn trimmed(number: String) -> String {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number }
}

const TICKS_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, unit: Unit, values: &[f64]) -> Vec<String> {
        let axis = Axis { scale, unit };
        let (range, ticks) = axis.span(values.iter().filter_map(|value| axis.place(*value)));
        for value in values.iter().filter_map(|value| axis.place(*value)) {
            assert!(range.start <= value && value <= range.end + 1e-9, "{value} in {range:?}");
        }
        ticks.into_iter().map(|tick| axis.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_in_their_unit() {
        assert_eq!(
            labels(Scale::Linear, Unit::Time, &[1e9, 1.2e10]),
            ["0", "2 s", "4 s", "6 s", "8 s", "10 s", "12 s"]
        );
        assert_eq!(
            labels(Scale::Linear, Unit::Rate, &[91_234.0]),
            ["0/s", "20k/s", "40k/s", "60k/s", "80k/s", "100k/s"]
        );
        assert_eq!(
            labels(Scale::Linear, Unit::Bytes, &[3e6]),
            ["0", "512 KiB", "1 MiB", "1.5 MiB", "2 MiB", "2.5 MiB", "3 MiB"]
        );
        assert_eq!(labels(Scale::Linear, Unit::Count, &[2.0]), ["0", "1", "2"]);
        assert_eq!(
            labels(Scale::Linear, Unit::Number, &[4e-4]),
            ["0", "0.0001", "0.0002", "0.0003", "0.0004"]
        );
        assert_eq!(labels(Scale::Run, Unit::Time, &[1e9, 8.1e9]), ["0", "2 s", "4 s", "6 s", "8 s"]);
        assert_eq!(labels(Scale::Log, Unit::Time, &[1.5e6, 9e6]), ["1 ms", "2 ms", "5 ms", "10 ms"]);
        assert_eq!(
            labels(Scale::Log, Unit::Time, &[1.5e3, 9e6]),
            ["1 us", "10 us", "100 us", "1 ms", "10 ms"]
        );
        assert_eq!(labels(Scale::Nines, Unit::Number, &[0.0, 0.9995]), ["50", "90", "99", "99.9"]);
    }

    #[test]
    fn odd_values_have_an_axis_too() {
        for scale in [Scale::Linear, Scale::Run, Scale::Fit, Scale::Log, Scale::Nines] {
            for values in [&[][..], &[0.0], &[7.0, 7.0], &[1e300, 1e-300], &[f64::NAN], &[1.0, f64::INFINITY]]
            {
                assert!(labels(scale, Unit::Time, values).len() < 700, "{scale:?} {values:?}");
            }
        }
    }
}
