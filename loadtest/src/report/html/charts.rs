//! Charts: which plots a report has, and of what.
//!
//! In      curves, a series, tables
//! Out     a chart for each that has at least two points to show
//! Bounds  none
//! Source  none

use super::axis::{Axis, Scale};
use crate::report::{Report, curve::Curve, series::COLUMNS, table::Table, unit::Unit};

/// What one plot shows.
pub(super) struct Chart {
    /// Above it.
    pub(super) title: String,
    /// What its axes are.
    pub(super) axes: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

/// One of its lines.
pub(super) struct Line {
    pub(super) name: String,
    /// Ascending in the first; `None` was not measured.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// All that there are, the most telling first.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let over_time = OVER_TIME.iter().map(|plan| plan.chart(report));
    let charts = [curves(report.values.curves())].into_iter().chain(over_time);
    charts.chain(report.tables.iter().filter_map(steps)).filter(Chart::is_telling).collect()
}

impl Chart {
    /// Whether there is a line to see in it. What is 0 all the time is none.
    fn is_telling(&self) -> bool {
        let is_line = |line: &Line| line.points.iter().filter(|(_, y)| y.is_some()).count() >= 2;
        let is_something = |line: &Line| line.points.iter().any(|(_, y)| y.is_some_and(|y| y != 0.0));
        self.lines.iter().any(is_line) && self.lines.iter().any(is_something)
    }
}

/// Latency towards its rare cases.
fn curves(curves: &[Curve]) -> Chart {
    let line = |curve: &Curve| {
        // The fast half hides the rest; what is above all has no place on this axis, but is a figure.
        let points = curve.points.iter().filter(|point| (0.4..1.0).contains(&point.quantile));
        let points = points.map(|point| (point.quantile, Some(point.value as f64))).collect();
        Line { name: of(curve.name).to_owned(), points }
    };
    Chart {
        title: "Latency by percentile".to_owned(),
        axes: "x: percent of all that took no longer; y: latency".to_owned(),
        x: Axis { scale: Scale::Nines, unit: Unit::Share },
        y: Axis { scale: Scale::Log, unit: Unit::Time },
        lines: curves.iter().map(line).collect(),
    }
}

/// What a curve is of.
fn of(name: &str) -> &str {
    match name {
        "" => "each delivery",
        "last" => "last subscriber",
        "handshake" => "handshake",
        other => other,
    }
}

/// Steps of which the first column says what is varied, and others how long something took.
fn steps(table: &Table) -> Option<Chart> {
    let (first, others) = table.columns.split_first()?;
    let times: Vec<usize> =
        (1..=others.len()).filter(|&index| table.columns[index].unit == Unit::Time).collect();
    let latencies: Vec<usize> =
        times.iter().copied().filter(|&index| !table.columns[index].name.contains("cpu")).collect();
    let mut rows: Vec<_> = table.rows.iter().filter_map(|row| Some((row[0]?, row))).collect();
    rows.sort_by(|(one, _), (two, _)| one.total_cmp(two));
    let line = |index: usize| Line {
        name: table.columns[index].name.to_owned(),
        points: rows.iter().map(|(x, row)| (*x, row[index])).collect(),
    };
    (!latencies.is_empty()).then(|| Chart {
        title: format!("Latency by {}", first.name.replace('_', " ")),
        axes: format!("x: {}; y: latency, at each {}", first.name, table.title),
        x: Axis { scale: Scale::Linear, unit: first.unit },
        y: Axis { scale: Scale::Log, unit: Unit::Time },
        lines: latencies.into_iter().take(LINES_MAX).map(line).collect(),
    })
}

/// A chart of columns of the series.
struct OverTime {
    title: &'static str,
    y: &'static str,
    scale: Scale,
    columns: &'static [&'static str],
}

impl OverTime {
    fn chart(&self, report: &Report) -> Chart {
        let columns = || COLUMNS.iter().filter(|column| self.columns.contains(&column.name));
        let points = report.series.points();
        let lines = columns().map(|column| Line {
            name: column.name.to_owned(),
            points: points.iter().map(|point| (point.elapsed_ns as f64, (column.value)(point))).collect(),
        });
        Chart {
            title: self.title.to_owned(),
            axes: format!("x: time; y: {}", self.y),
            x: Axis { scale: Scale::Run, unit: Unit::Time },
            y: Axis { scale: self.scale, unit: columns().next().map_or(Unit::Number, |column| column.unit) },
            lines: lines.filter(|line| line.points.iter().any(|(_, y)| y.is_some())).collect(),
        }
    }
}

const OVER_TIME: [OverTime; 8] = [
    OverTime {
        title: "Latency over time",
        y: "latency of what arrived since the point before",
        scale: Scale::Log,
        columns: &["p50", "p99", "max"],
    },
    OverTime {
        title: "Deliveries over time",
        y: "deliveries per second",
        scale: Scale::Linear,
        columns: &["delivered_per_s"],
    },
    OverTime {
        title: "Server CPU per frame over time",
        y: "CPU of threads and ksoftirqd",
        scale: Scale::Linear,
        columns: &["server_cpu_per_frame"],
    },
    OverTime {
        title: "CPUs over time",
        y: "CPUs that the server kept busy",
        scale: Scale::Linear,
        columns: &["server_cpus"],
    },
    OverTime {
        title: "Server memory over time",
        y: "user memory; the axis need not begin at 0",
        scale: Scale::Fit,
        columns: &["server_pss", "server_anonymous"],
    },
    OverTime {
        title: "Socket buffers over time",
        y: "kernel memory of the machine's TCP sockets",
        scale: Scale::Linear,
        columns: &["kernel_sockets"],
    },
    OverTime {
        title: "Connections over time",
        y: "open connections and descriptors, and those that the server has ended",
        scale: Scale::Linear,
        columns: &["descriptors", "connections", "closed"],
    },
    OverTime {
        title: "Messages sent over time",
        y: "messages per second",
        scale: Scale::Linear,
        columns: &["published_per_s"],
    },
];

/// As many as there are colours.
const LINES_MAX: usize = 4;
