//! Reports as text: a line per section, then what has to be known beside the figures.
//!
//! In      a report
//! Out     lines; each figure under the name that --require takes
//! Bounds  a screen
//! Source  none

use std::fmt;

use serde_json::Value;

use super::{Report, figures::Section};

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| setting(name, value)).collect();
        line(out, self.scenario, &settings.join(", "))?;
        for section in self.sections {
            line(out, section.title, &self.figures_of(section))?;
        }
        for table in &self.tables {
            write!(out, "{table}")?;
        }
        if self.closes.count() > 0 {
            line(out, "closes", &self.closes.to_string())?;
        }
        for judgement in &self.judgements {
            let measured = judgement.measured.map_or("not measured".to_owned(), |v| judgement.unit.write(v));
            let word = if judgement.is_met { "met" } else { "NOT MET" };
            line(out, "required", &format!("{}: {word}, {measured}", judgement.text))?;
        }
        if self.is_client_bound() {
            line(out, "WARNING", BOTTLENECK)?;
        }
        for note in &self.notes {
            line(out, "note", note)?;
        }
        match self.what_failed() {
            Some(failure) => line(out, "FAILED", &failure),
            None => Ok(()),
        }
    }
}

impl Report {
    fn figures_of(&self, section: &Section) -> String {
        let measured = section.figures.iter().filter_map(|figure| {
            let value = figure.unit.write(self.value(figure.name)?);
            let mark = if self.is_marked(figure) { "*" } else { "" };
            Some(format!("{} {value}{mark}", figure.name))
        });
        let measured: Vec<_> = measured.collect();
        if measured.is_empty() { "not measured".to_owned() } else { measured.join(", ") }
    }
}

fn line(out: &mut fmt::Formatter<'_>, title: &str, text: &str) -> fmt::Result {
    writeln!(out, "{title:<TITLE_WIDTH$} {text}")
}

fn setting(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("{name} {text}"),
        // Without the point and the zero that a whole number has as JSON.
        other => {
            other.as_f64().map_or_else(|| format!("{name} {other}"), |number| format!("{name} {number}"))
        }
    }
}

const TITLE_WIDTH: usize = 10;

pub(super) const BOTTLENECK: &str = "this program was the bottleneck: figures marked * are its own, not the server's; give \
                          it more CPUs (--threads, --pin-client), or less to do (--rate)";

#[cfg(test)]
mod tests {
    use super::super::tests::report;

    #[test]
    fn figures_stand_under_their_names_and_what_was_not_measured_says_so() {
        let text = report().to_string();
        assert!(text.contains("fanout     subscribers 3, pace closed\n"), "{text}");
        assert!(text.contains("latency    p99 5.000 ms\n"), "{text}");
        assert!(text.contains("server     not measured\n"), "{text}");
        assert!(!text.contains('*') && !text.contains("WARNING"), "{text}");
    }

    #[test]
    fn a_client_at_its_limit_marks_paces_and_says_so() {
        let mut report = report();
        report.values.set("client_cpu", 0.91);
        let text = report.to_string();
        assert!(text.contains("p99 5.000 ms*\n") && text.contains("WARNING"), "{text}");
        assert!(text.contains("client_cpu 91.0 %\n"), "{text}");
    }
}
