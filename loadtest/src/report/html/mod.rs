//! Reports as a page: everything that the text has, with meanings and plots.
//!
//! In      a report
//! Out     one HTML document that loads nothing, in light or dark as its reader's system is
//! Bounds  a plot has at most `plot::POINTS_MAX` points a line, however long the run was
//! Source  HTML, written so that it is well-formed XML, too

mod axis;
mod charts;
mod plot;

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::{Report, figures::Figure, series, table::Table};

/// The whole document.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(report, &mut page);
    page
}

fn write_page(report: &Report, out: &mut String) -> fmt::Result {
    let scenario = Text(report.scenario);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>loadtest {scenario}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    )?;
    write_head(report, out)?;
    write_plots(report, out)?;
    write_figures(report, out)?;
    report.tables.iter().try_for_each(|table| write_table(table, out))?;
    write_series(report, out)?;
    write_run(report, out)?;
    write!(out, "<footer>loadtest {}</footer>\n</main>\n</body>\n</html>\n", env!("CARGO_PKG_VERSION"))
}

fn write_head(report: &Report, out: &mut String) -> fmt::Result {
    let (class, verdict) = verdict(report);
    writeln!(out, "<header>\n<h1>{} <span class=\"{class}\">{verdict}</span></h1>", Text(report.scenario))?;
    if let Some(failure) = report.what_failed() {
        writeln!(out, "<p class=\"bad\">{}</p>", Text(&failure))?;
    }
    if report.is_client_bound() {
        writeln!(out, "<p class=\"warn\">{}</p>", Text(super::text::BOTTLENECK))?;
    }
    out.push_str("<dl>\n");
    for (name, value) in &report.settings {
        let value = setting(value);
        writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", Name(name), Text(&value))?;
    }
    out.push_str("</dl>\n");
    if !report.judgements.is_empty() {
        out.push_str("<h2>Required</h2>\n<div class=\"wide\"><table class=\"short\">\n");
        for judgement in &report.judgements {
            let (class, word) = if judgement.is_met { ("good", "met") } else { ("bad", "not met") };
            let measured =
                judgement.measured.map_or_else(|| "not measured".to_owned(), |v| judgement.unit.write(v));
            writeln!(
                out,
                "<tr><th>{}</th><td class=\"number\">{}</td><td class=\"{class}\">{word}</td></tr>",
                Text(&judgement.text),
                Text(&measured)
            )?;
        }
        out.push_str("</table></div>\n");
    }
    let closes = (report.closes.count() > 0).then(|| format!("closes: {}", report.closes));
    let notes: Vec<_> = report.notes.iter().cloned().chain(closes).collect();
    if !notes.is_empty() {
        out.push_str("<ul>\n");
        notes.iter().try_for_each(|note| writeln!(out, "<li>{}</li>", Text(note)))?;
        out.push_str("</ul>\n");
    }
    out.push_str("</header>\n");
    Ok(())
}

fn verdict(report: &Report) -> (&'static str, &'static str) {
    match (report.is_clean(), report.is_as_required(), report.is_interrupted) {
        (_, false, _) => ("badge bad", "not as required"),
        (false, true, _) => ("badge bad", "failed"),
        (true, true, true) => ("badge warn", "interrupted"),
        (true, true, false) => ("badge good", "clean"),
    }
}

fn write_plots(report: &Report, out: &mut String) -> fmt::Result {
    let charts = charts::charts(report);
    if charts.is_empty() {
        return Ok(());
    }
    out.push_str("<section class=\"plots\">\n");
    for chart in charts {
        writeln!(out, "<figure>\n<figcaption>{}</figcaption>", Text(&chart.title))?;
        out.push_str(&plot::svg(&chart));
        out.push_str("<p class=\"legend\">");
        for (index, line) in chart.lines.iter().enumerate() {
            write!(out, "<span class=\"line{index}\">{}</span> ", Text(&line.name))?;
        }
        writeln!(out, "<small>{}</small></p>\n</figure>", Text(&chart.axes))?;
    }
    out.push_str("</section>\n");
    Ok(())
}

fn write_figures(report: &Report, out: &mut String) -> fmt::Result {
    out.push_str("<section class=\"figures\">\n");
    for section in report.sections {
        writeln!(out, "<div class=\"wide\"><h2>{}</h2>\n<table>", Text(section.title))?;
        section.figures.iter().try_for_each(|figure| write_figure(report, figure, out))?;
        out.push_str("</table></div>\n");
    }
    out.push_str("</section>\n");
    Ok(())
}

fn write_figure(report: &Report, figure: &Figure, out: &mut String) -> fmt::Result {
    let mark = if report.is_marked(figure) { "*" } else { "" };
    let value = report.value(figure.name).map_or_else(|| "–".to_owned(), |value| figure.unit.write(value));
    writeln!(
        out,
        "<tr><th>{}</th><td class=\"number\">{}{mark}</td><td>{}</td></tr>",
        Name(figure.name),
        Text(&value),
        Text(figure.meaning)
    )
}

fn write_table(table: &Table, out: &mut String) -> fmt::Result {
    writeln!(out, "<section class=\"wide\"><h2>{}</h2>\n<table class=\"steps\">\n<tr>", Text(table.title))?;
    table.columns.iter().try_for_each(|column| writeln!(out, "<th>{}</th>", Name(column.name)))?;
    out.push_str("</tr>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (column, value) in table.columns.iter().zip(row) {
            let value = value.map_or_else(|| "–".to_owned(), |value| column.unit.write(value));
            write!(out, "<td class=\"number\">{}</td>", Text(&value))?;
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></section>\n");
    Ok(())
}

/// What the plots over time are made of, in words: the rows themselves stand in the JSON.
fn write_series(report: &Report, out: &mut String) -> fmt::Result {
    let points = report.series.points();
    let Some(last) = points.last() else { return Ok(()) };
    let cost = report.series.cpu_ns as f64 / last.elapsed_ns.max(1) as f64;
    writeln!(
        out,
        "<section><h2>series</h2>\n<p>{} rows, which the JSON report has; taking them took {} of one CPU of \
         this program.</p>\n<details><summary>what each row has</summary><div class=\"wide\"><table>",
        points.len(),
        super::unit::Unit::Share.write(cost)
    )?;
    for column in series::COLUMNS {
        writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", Name(column.name), Text(column.meaning))?;
    }
    out.push_str("</table></div></details></section>\n");
    Ok(())
}

/// How to do the same again.
fn write_run(report: &Report, out: &mut String) -> fmt::Result {
    if report.run.is_empty() {
        return Ok(());
    }
    out.push_str(
        "<section><h2>run</h2>\n<details><summary>command, versions, machine and all options</summary>",
    );
    out.push_str("<div class=\"wide\"><table>\n");
    for (name, value) in &report.run {
        writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", Name(name), Text(&setting(value)))?;
    }
    out.push_str("</table></div></details></section>\n");
    Ok(())
}

fn setting(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.as_f64().map_or_else(|| other.to_string(), |number| number.to_string()),
    }
}

/// Text from anywhere, as HTML and XML have it.
struct Text<'t>(&'t str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '"' => out.write_str("&quot;"),
            '\'' => out.write_str("&#39;"),
            // XML has no others of these, not even escaped.
            '\n' | '\t' => out.write_char(character),
            control if control.is_control() => out.write_char(char::REPLACEMENT_CHARACTER),
            '\u{fffe}' | '\u{ffff}' => out.write_char(char::REPLACEMENT_CHARACTER),
            other => out.write_char(other),
        })
    }
}

/// The name of a figure, which may be broken between its words.
struct Name<'t>(&'t str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.0.split('_');
        write!(out, "{}", Text(words.next().unwrap_or_default()))?;
        words.try_for_each(|word| write!(out, "_<wbr/>{}", Text(word)))
    }
}

const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests;
