//! The chart of a comparison: how each server stands to Fanwire, cell by cell.
//!
//! In      the figures of all rounds
//! Out     an SVG file: a row per cell, a dot per server at its median ratio, a line from least to most
//! Bounds  ratios of `RATIO_MIN` to `RATIO_MAX`, on a log axis; what lies beyond stands at the edge
//! Source  none

use std::error::Error;

use plotters::{
    coord::Shift,
    prelude::{Circle, DrawingArea, IntoDrawingArea, PathElement, Rectangle, SVGBackend, Text},
    style::{BLACK, Color, IntoFont, RGBColor, WHITE},
};

use super::{manifest::OURS, measured::Measured, record::Comparison};

/// The file's text; without rows if Fanwire took no part.
///
/// # Errors
/// There is no place to draw.
pub fn svg(comparison: &Comparison) -> Result<String, Box<dyn Error>> {
    let rows: Vec<&Measured> =
        comparison.measured.iter().filter(|measured| measured.ratio(0, OURS).is_some()).collect();
    // Some servers are for some cells only; they come last.
    let names = rows.iter().map(|measured| measured.names.as_slice()).max_by_key(|names| names.len());
    let names = names.unwrap_or_default();
    let legend_lines = names.len().div_ceil(LEGEND_COLUMNS);
    let height = TOP + ROW * len(rows.len()) + AXIS + LINE * len(legend_lines);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height.unsigned_abs())).into_drawing_area();
        area.fill(&WHITE)?;
        let title =
            format!("To {OURS}: cost per unit of the same round, less is better ({})", comparison.host.date);
        area.draw(&Text::new(title, (MARGIN, 12), ("sans-serif", 20).into_font()))?;
        draw_axis(&area, len(rows.len()))?;
        for (index, measured) in rows.iter().enumerate() {
            draw_row(&area, measured, len(index))?;
        }
        draw_legend(&area, names, TOP + ROW * len(rows.len()) + AXIS)?;
        area.present()?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_axis(area: &Area<'_>, rows: i32) -> Result<(), Box<dyn Error>> {
    let bottom = TOP + ROW * rows;
    for ratio in TICKS {
        let x = place(ratio);
        let colour = if ratio == 1.0 { BLACK.mix(0.6) } else { BLACK.mix(0.12) };
        area.draw(&PathElement::new([(x, TOP - 6), (x, bottom)], colour))?;
        area.draw(&Text::new(format!("{ratio}x"), (x - 12, bottom + 8), ("sans-serif", 15).into_font()))?;
    }
    Ok(())
}

fn draw_row(area: &Area<'_>, measured: &Measured, index: i32) -> Result<(), Box<dyn Error>> {
    let top = TOP + ROW * index;
    if index % 2 == 1 {
        area.draw(&Rectangle::new([(0, top), (len(WIDTH as usize), top + ROW)], BLACK.mix(0.04).filled()))?;
    }
    let label = ("sans-serif", 15).into_font();
    area.draw(&Text::new(measured.cell.name.clone(), (MARGIN, top + 4), label))?;
    area.draw(&Text::new(
        measured.cell.main,
        (MARGIN, top + 19),
        ("sans-serif", 12).into_font().color(&BLACK.mix(0.6)),
    ))?;
    for server in 0..measured.names.len() {
        let Some(ratio) = measured.ratio(server, OURS) else { continue };
        // Where more is better, a cost is the inverse.
        let (median, ends) = if measured.cell.is_more_better {
            (1.0 / ratio.median, [1.0 / ratio.max, 1.0 / ratio.min])
        } else {
            (ratio.median, [ratio.min, ratio.max])
        };
        let (colour, y) = (colour(server), top + 8 + 2 * len(server));
        let line = ends.map(|end| (place(end), y));
        area.draw(&PathElement::new(line, colour.stroke_width(1)))?;
        area.draw(&Circle::new((place(median), y), 4, colour.filled()))?;
    }
    Ok(())
}

fn draw_legend(area: &Area<'_>, names: &[String], top: i32) -> Result<(), Box<dyn Error>> {
    for (index, name) in names.iter().enumerate() {
        let (column, line) = (index % LEGEND_COLUMNS, index / LEGEND_COLUMNS);
        let (x, y) = (MARGIN + 180 * len(column), top + LINE * len(line));
        area.draw(&Circle::new((x + 6, y + 8), 5, colour(index).filled()))?;
        area.draw(&Text::new(name.clone(), (x + 18, y), ("sans-serif", 15).into_font()))?;
    }
    Ok(())
}

/// Where a ratio stands.
fn place(ratio: f64) -> i32 {
    let share = (ratio.clamp(RATIO_MIN, RATIO_MAX) / RATIO_MIN).ln() / (RATIO_MAX / RATIO_MIN).ln();
    // A share of the width is in it.
    #[expect(clippy::cast_possible_truncation)]
    let offset = (share * f64::from(RIGHT - LEFT)).round() as i32;
    LEFT + offset
}

fn colour(server: usize) -> RGBColor {
    COLOURS[server % COLOURS.len()]
}

fn len(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

const WIDTH: u32 = 1140;
const LEFT: i32 = 300;
const RIGHT: i32 = 1100;
const MARGIN: i32 = 12;
const TOP: i32 = 56;
const ROW: i32 = 40;
const AXIS: i32 = 40;
const LINE: i32 = 24;
const LEGEND_COLUMNS: usize = 6;

const RATIO_MIN: f64 = 0.25;
const RATIO_MAX: f64 = 100.0;
const TICKS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 20.0, 50.0, 100.0];

/// Told apart by those who see few colours, too, as far as thirteen can be.
const COLOURS: [RGBColor; 13] = [
    RGBColor(0, 90, 181),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(220, 50, 32),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(117, 80, 30),
    RGBColor(120, 94, 240),
    RGBColor(240, 228, 66),
    RGBColor(130, 200, 60),
    RGBColor(150, 150, 150),
    RGBColor(90, 0, 60),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_stand_on_a_log_axis_within_its_ends() {
        assert_eq!((place(RATIO_MIN), place(RATIO_MAX), place(1e9)), (LEFT, RIGHT, RIGHT));
        let (one, two) = (place(1.0) - place(0.5), place(2.0) - place(1.0));
        assert!(one > 50 && one.abs_diff(two) <= 1, "whole points: {one} {two}");
    }
}
