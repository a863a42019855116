//! Reports as JSON: one object with the same names as the text.
//!
//! In      a report
//! Out     `scenario`, `settings`, `run`, `figures`, `curves`, `tables`, `series`, `requirements`, `is_clean`
//!         and what explains them
//! Bounds  a figure that was not measured is there, with the value null
//! Source  none

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Report, unit::Unit};

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings: BTreeMap<_, _> = self.settings.iter().map(|(name, value)| (name, value)).collect();
        let mut object = serializer.serialize_struct("Report", 14)?;
        object.serialize_field("scenario", self.scenario)?;
        object.serialize_field("settings", &settings)?;
        let run: BTreeMap<_, _> = self.run.iter().map(|(name, value)| (name, value)).collect();
        object.serialize_field("run", &run)?;
        object.serialize_field("figures", &self.figures())?;
        object.serialize_field("curves", &self.values.curves())?;
        object.serialize_field("tables", &self.tables)?;
        object.serialize_field("series", &self.series)?;
        object.serialize_field("closes", &self.closes)?;
        object.serialize_field("requirements", &self.judgements)?;
        object.serialize_field("is_clean", &self.is_clean())?;
        object.serialize_field("is_client_bound", &self.is_client_bound())?;
        object.serialize_field("is_interrupted", &self.is_interrupted)?;
        object.serialize_field("notes", &self.notes)?;
        object.serialize_field("failure", &self.failure)?;
        object.end()
    }
}

#[derive(Serialize)]
struct Measured {
    value: Option<f64>,
    unit: Unit,
    /// Says more about this program than about the server.
    is_client_bound: bool,
}

impl Report {
    fn figures(&self) -> BTreeMap<&'static str, Measured> {
        let figures = self.sections.iter().flat_map(|section| section.figures);
        let measured = figures.map(|figure| {
            let value = self.value(figure.name);
            (figure.name, Measured { value, unit: figure.unit, is_client_bound: self.is_marked(figure) })
        });
        measured.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{figures::FANOUT, require::Requirement, tests::report};

    #[test]
    fn all_figures_are_there_with_units_marks_and_requirements() {
        let required = Requirement::parse("p99<=5ms", FANOUT).unwrap();
        let mut report = report().judged(&[required]).with_run([("kernel".to_owned(), "7.1".into())]);
        report.values.set("client_cpu", 0.95);
        let json: Value = serde_json::to_value(&report).unwrap();
        assert_eq!(json["figures"]["p99"], json!({"value": 5e6, "unit": "ns", "is_client_bound": true}));
        let server = json!({"value": null, "unit": "ns", "is_client_bound": false});
        assert_eq!(json["figures"]["server_cpu_per_frame"], server);
        assert_eq!(json["settings"]["subscribers"], 3);
        assert_eq!(json["run"]["kernel"], "7.1");
        assert_eq!(json["is_client_bound"], true);
        let judgement = json!({"text": "p99<=5ms", "is_met": true, "measured": 5e6, "unit": "ns"});
        assert_eq!(json["requirements"], json!([judgement]));
    }
}
