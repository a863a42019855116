//! Plots: lines over axes, as SVG.
//!
//! In      a chart
//! Out     an `svg` element whose colours the page's style decides
//! Bounds  `POINTS_MAX` points a line: of those that would stand on one spot, one is drawn
//! Source  none

use std::{error::Error, ops::Range};

use plotters::{
    chart::ChartBuilder,
    coord::ranged1d::{DefaultFormatting, KeyPointHint},
    prelude::{IntoDrawingArea, LineSeries, Ranged, SVGBackend},
    style::{Color, RGBColor, TextStyle},
};

use super::{
    axis::Scale,
    charts::{Chart, Line},
};

/// The element; empty if there is nothing that can be drawn.
pub(super) fn svg(chart: &Chart) -> String {
    let mut svg = String::new();
    // Drawing to a string fails only where there is no place for it: then there is no plot.
    match draw(chart, &mut svg) {
        Ok(()) => inline(&svg, &chart.title),
        Err(_) => String::new(),
    }
}

fn draw(chart: &Chart, svg: &mut String) -> Result<(), Box<dyn Error>> {
    let lines: Vec<_> = chart.lines.iter().map(|line| pieces(chart, line)).collect();
    let places = || lines.iter().flatten().flatten();
    let (across, x_ticks) = chart.x.span(places().map(|(x, _)| *x));
    let (up, y_ticks) = chart.y.span(places().map(|(_, y)| *y));
    let (x_ticks, y_ticks) = (apart(x_ticks, &across, ACROSS_TICKS), apart(y_ticks, &up, UP_TICKS));

    let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    let mut drawn = ChartBuilder::on(&area)
        .margin_top(TEXT)
        .margin_right(2 * TEXT)
        .x_label_area_size(2 * TEXT)
        .y_label_area_size(5 * TEXT)
        .build_cartesian_2d(Side { range: across, ticks: x_ticks }, Side { range: up, ticks: y_ticks })?;
    let (x_label, y_label) = (|place: &f64| chart.x.label(*place), |place: &f64| chart.y.label(*place));
    drawn
        .configure_mesh()
        .light_line_style(RULE.mix(0.0))
        .bold_line_style(RULE.stroke_width(2))
        .axis_style(FRAME.stroke_width(2))
        .label_style(TextStyle::from(("sans-serif", TEXT_SIZE)))
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label)
        .draw()?;
    // Few moments are shown each; what is worked out from all of them has none.
    let has_dots =
        chart.x.scale != Scale::Nines && chart.lines.iter().all(|line| line.points.len() <= DOTS_MAX);
    for (index, pieces) in lines.into_iter().enumerate() {
        let colour = LINES[index % LINES.len()];
        for piece in pieces {
            // A piece of one point is no line.
            let dot = if piece.len() == 1 || has_dots { 5 } else { 0 };
            drawn.draw_series(LineSeries::new(piece, colour.filled().stroke_width(3)).point_size(dot))?;
        }
    }
    drop(drawn);
    area.present()?;
    Ok(())
}

/// One side of the drawing: places, and its ticks among them.
struct Side {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Ranged for Side {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        let share = (place - self.range.start) / (self.range.end - self.range.start);
        // A place on the side is at a point of it.
        #[expect(clippy::cast_possible_truncation)]
        let offset = (share * f64::from(limit.1 - limit.0)).round() as i32;
        limit.0 + offset
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// The parts of a line between points that are missing, in places.
fn pieces(chart: &Chart, line: &Line) -> Vec<Vec<(f64, f64)>> {
    let placed: Vec<Option<(f64, f64)>> = line
        .points
        .chunks(line.points.len().div_ceil(POINTS_MAX).max(1))
        .map(|spot| {
            let here = spot.iter().filter_map(|(x, y)| Some((*x, (*y)?)));
            // The worst of a spot, so that no peak is lost.
            let (x, y) = here.reduce(|worst, next| if next.1 > worst.1 { next } else { worst })?;
            Some((chart.x.place(x)?, chart.y.place(y)?))
        })
        .collect();
    let pieces = placed.split(Option::is_none).filter(|piece| !piece.is_empty());
    pieces.map(|piece| piece.iter().copied().flatten().collect()).collect()
}

/// So few of these ticks that what stands at them does not overlap.
fn apart(ticks: Vec<f64>, range: &Range<f64>, most: usize) -> Vec<f64> {
    let inside: Vec<_> =
        ticks.into_iter().filter(|tick| (range.start - 1e-9..=range.end + 1e-9).contains(tick)).collect();
    let every = inside.len().div_ceil(most).max(1);
    inside.into_iter().step_by(every).collect()
}

/// As an element of a page: the page's style gives the size, and names are not fetched from anywhere.
fn inline(svg: &str, title: &str) -> String {
    let start = format!("width=\"{WIDTH}\" height=\"{HEIGHT}\" ");
    let named = format!("<svg role=\"img\" aria-label=\"{}\"", super::Text(title));
    svg.replacen(&start, "", 1)
        .replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1)
        .replacen("<svg", &named, 1)
}

// Twice what is seen: the crate draws at whole points only.
const WIDTH: u32 = 960;
const HEIGHT: u32 = 520;
const TEXT: u32 = 30;
const TEXT_SIZE: u32 = 36;

const POINTS_MAX: usize = 400;

const DOTS_MAX: usize = 30;

const ACROSS_TICKS: usize = 7;
const UP_TICKS: usize = 9;

// Names rather than colours: style.css says what each is in light and dark.
const RULE: RGBColor = RGBColor(0, 0, 1);
const FRAME: RGBColor = RGBColor(0, 0, 2);
const LINES: [RGBColor; 4] =
    [RGBColor(0, 0, 0x10), RGBColor(0, 0, 0x11), RGBColor(0, 0, 0x12), RGBColor(0, 0, 0x13)];

#[cfg(test)]
mod tests {
    use super::{super::axis::Axis, *};
    use crate::report::unit::Unit;

    fn chart(points: Vec<(f64, Option<f64>)>) -> Chart {
        Chart {
            title: "a <title>".to_owned(),
            axes: String::new(),
            x: Axis { scale: Scale::Linear, unit: Unit::Time },
            y: Axis { scale: Scale::Log, unit: Unit::Time },
            lines: vec![Line { name: "p50".to_owned(), points }],
        }
    }

    #[test]
    fn gaps_part_lines_and_peaks_stay() {
        let chart = chart((0..2000).map(|x| (f64::from(x), (x != 700).then_some(10.0))).collect());
        let mut line = chart.lines[0].points.clone();
        line[1500].1 = Some(1e6);
        let [piece] = pieces(&chart, &Line { name: String::new(), points: line.clone() })
            .try_into()
            .expect("a missing point among others is no gap");
        assert!(piece.len() == POINTS_MAX && piece.contains(&(1500.0, 6.0)), "{}", piece.len());
        line.truncate(3);
        line[1].1 = None;
        assert_eq!(pieces(&chart, &Line { name: String::new(), points: line }).len(), 2);
    }

    #[test]
    fn a_plot_has_its_lines_and_no_size_of_its_own() {
        let svg = svg(&chart(vec![(0.0, Some(1e6)), (1e9, Some(2e6))]));
        assert!(
            svg.starts_with("<svg role=\"img\" aria-label=\"a &lt;title&gt;\" viewBox=\"0 0 960 520\">"),
            "{svg}"
        );
        assert_eq!(svg.matches("stroke=\"#000010\"").count(), 1, "{svg}");
        assert!(svg.contains("1 ms") && !svg.contains("http") && svg.trim_end().ends_with("</svg>"), "{svg}");
    }

    #[test]
    fn what_cannot_be_placed_is_left_out() {
        for y in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(!svg(&chart(vec![(0.0, Some(y)), (1.0, None)])).contains("#000010"), "{y}");
        }
    }
}
