//! docs/conformance.md against the code: every file, function and test that it names exists.
//!
//! In      the tables of the document, the sources below `crates/`
//! Out     a failure that says which row to mend
//! Bounds  reads files of this repository only
//! Source  docs/conformance.md

use std::{collections::BTreeMap, fs, path::Path};

#[test]
fn every_rule_names_code_that_exists() {
    let mut sources = Sources::default();
    for row in rules() {
        let [section, _, places, _] = row.as_slice() else { panic!("{row:?} has not four cells") };
        let places = quoted(places);
        assert!(!places.is_empty(), "{section}: no place is named");
        for place in places {
            let (file, functions) = place.split_once(": ").unwrap_or_else(|| panic!("{section}: {place}"));
            for function in functions.split(", ") {
                assert!(sources.defines(file, function), "{section}: {file} has no function {function}");
            }
        }
    }
}

#[test]
fn every_rule_names_tests_that_exist() {
    let mut sources = Sources::default();
    let rows = rules();
    let smuggling = tables("### Request smuggling");
    assert!(smuggling.len() >= 7, "the table of smuggling is read");
    for row in rows.iter().chain(&smuggling) {
        let tests = quoted(row.last().expect("a row has cells"));
        assert!(!tests.is_empty(), "{}: no test is named", row[0]);
        for test in tests {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{}: {test}", row[0]));
            assert!(sources.has_test(file, name), "{}: {file} has no test {name}", row[0]);
        }
    }
}

/// The sections of RFC 6455 in which a server is told what it must do or must not do.
#[test]
fn every_section_that_binds_a_server_has_a_row() {
    let sections: Vec<String> = tables("## RFC 6455").into_iter().map(|row| row[0].clone()).collect();
    for section in [
        "4.2.1", "4.2.2", "4.4", "5.1", "5.2", "5.3", "5.4", "5.5", "5.5.1", "5.5.2", "5.6", "5.8", "6.1",
        "6.2", "7.1.2", "7.1.7", "7.2.2", "7.4.1", "8.1", "9", "9.1", "10.4", "10.7", "11.3.1", "11.3.2",
        "11.3.4", "11.3.5",
    ] {
        let is_named = sections.iter().any(|cell| cell.split([',', ' ']).any(|word| word == section));
        assert!(is_named, "docs/conformance.md has no row for section {section}");
    }
}

#[test]
fn what_does_not_apply_has_a_reason() {
    let rows = tables("## What does not apply");
    assert!(rows.len() >= 8, "the table is read");
    for row in rows {
        assert!(row.len() == 3 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

/// The checker finds what is not there; else its silence would say nothing.
#[test]
fn names_that_do_not_exist_are_found_out() {
    let mut sources = Sources::default();
    assert!(sources.has_test("fanwire/tests/conformance.rs", "names_that_do_not_exist_are_found_out"));
    assert!(!sources.has_test("fanwire/tests/conformance.rs", "names_that_do_not_exist_are"));
    assert!(!sources.has_test("fanwire/tests/conformance.rs", "rules"), "a function is no test");
    assert!(sources.has_test("fanwire/tests/engine/ends.rs", "the_peer_closes"));
    assert!(!sources.has_test("fanwire/tests/engine/ends.rs", "check_end"));
    assert!(
        sources.defines("fanwire-ws/src/mask.rs", "apply")
            && !sources.defines("fanwire-ws/src/mask.rs", "app")
    );
}

/// The rows of all tables of rules.
fn rules() -> Vec<Vec<String>> {
    let rows = [tables("## RFC 6455"), tables("## HTTP/1.1")].concat();
    assert!(rows.len() >= 70, "the tables are read: {} rows", rows.len());
    rows.into_iter().filter(|row| row.len() != 3).collect()
}

/// The rows of all tables between this heading and the next of its level, without their heads.
fn tables(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/conformance.md")).expect("the document is there");
    let (_, rest) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let level = heading.split(' ').next().expect("a heading has a level");
    let ends = ["\n# ", "\n## ", "\n### "].into_iter().filter(|end| end.len() <= level.len() + 2);
    let end = ends.filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
    let lines = rest[..end].lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = lines.map(|line| line.split(" | ").map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| !matches!(row[0].as_str(), "section" | "shape")).collect()
}

/// Sources by their path below `crates/`.
#[derive(Default)]
struct Sources(BTreeMap<String, String>);

impl Sources {
    fn read(&mut self, file: &str) -> &str {
        self.0.entry(file.to_owned()).or_insert_with(|| {
            let path = root().join("crates").join(file);
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("crates/{file}: {error}"))
        })
    }

    fn defines(&mut self, file: &str, function: &str) -> bool {
        self.read(file)
            .split("fn ")
            .skip(1)
            .any(|rest| rest.strip_prefix(function).is_some_and(|after| after.starts_with(['(', '<'])))
    }

    /// A function below `#[test]`, perhaps with another attribute between, or one that a list of worlds names.
    fn has_test(&mut self, file: &str, name: &str) -> bool {
        let source = self.read(file);
        let attributes = source.split("#[test]").skip(1);
        let is_attributed = attributes
            .filter_map(|rest| rest.split_once("fn "))
            .any(|(_, rest)| rest.strip_prefix(name).is_some_and(|after| after.starts_with('(')));
        let lists = source.split("!(\n").skip(1).filter_map(|rest| rest.split_once(");"));
        let is_listed =
            lists.into_iter().any(|(list, _)| list.lines().any(|line| line.trim() == format!("{name},")));
        is_attributed || is_listed && self.defines(file, name)
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
