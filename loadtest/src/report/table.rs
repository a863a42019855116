//! Tables: figures of a run step by step.
//!
//! In      columns, rows of values
//! Out     aligned text; the same as JSON
//! Bounds  a row per step
//! Source  none

use std::fmt;

use serde::Serialize;

use super::unit::Unit;

/// What was measured at each step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// Of the steps.
    pub title: &'static str,
    /// By name.
    pub columns: Vec<Column>,
    /// As many values as there are columns; `None` was not measured.
    pub rows: Vec<Vec<Option<f64>>>,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// As a figure's name.
    pub name: &'static str,
    /// Of its values.
    pub unit: Unit,
}

impl Table {
    /// Without rows.
    #[must_use]
    pub fn new(title: &'static str, columns: &[(&'static str, Unit)]) -> Self {
        let columns = columns.iter().map(|&(name, unit)| Column { name, unit }).collect();
        Self { title, columns, rows: Vec::new() }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.columns.iter().map(|column| column.name.to_owned()).collect();
        let cell = |(column, value): (&Column, &Option<f64>)| {
            value.map_or_else(|| "-".to_owned(), |value| column.unit.write(value))
        };
        let rows = self.rows.iter().map(|row| self.columns.iter().zip(row).map(cell).collect());
        let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
        let width = |index: usize| lines.iter().map(|line| line[index].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for line in &lines {
            let cells: Vec<_> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            writeln!(out, "{:<10} {}", self.title, cells.join("  "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_names() {
        let mut table = Table::new("step", &[("rate", Unit::Rate), ("p99", Unit::Time)]);
        table.rows.extend([vec![Some(1000.0), Some(5e6)], vec![Some(20.0), None]]);
        let expected = "\
step         rate       p99
step       1000/s  5.000 ms
step         20/s         -
";
        assert_eq!(table.to_string(), expected);
    }
}
