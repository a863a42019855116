//! Settings as a file: what `config print` says.
//!
//! In      the settings in force
//! Out     TOML that sets the same, each line with its source and the default
//! Bounds  one line a setting
//! Source  TOML 1.1

use super::{Row, Settings, Source};

/// The whole file.
pub(crate) fn printed(settings: &Settings) -> String {
    let mut lines = vec![format!("# fanwire-server {}: settings in force", env!("CARGO_PKG_VERSION"))];
    if let Some(file) = &settings.file {
        lines.push(format!("# file: {}", file.display()));
    }
    let mut heading = "";
    for row in &settings.rows {
        if row.setting.heading != heading {
            heading = &row.setting.heading;
            lines.push(format!("\n# {heading}"));
        }
        lines.push(line(row));
    }
    lines.join("\n") + "\n"
}

fn line(row: &Row) -> String {
    let default = default_of(row);
    match &row.source {
        Source::Default if row.texts.is_empty() => format!("# {} is not set; default: {default}", row.key),
        Source::Default => format!("{} = {}  # default", row.key, value(row)),
        source => format!("{} = {}  # {source}; default: {default}", row.key, value(row)),
    }
}

fn value(row: &Row) -> String {
    let values: Vec<_> = row.texts.iter().map(|text| literal(text)).collect();
    if row.setting.is_list { format!("[{}]", values.join(", ")) } else { values.concat() }
}

fn literal(text: &str) -> String {
    let is_plain =
        text == "true" || text == "false" || text.parse::<i64>().is_ok_and(|n| n.to_string() == text);
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// A basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted += &format!("\\u{:04X}", u32::from(letter)),
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// Where there is no value, the help says what happens then.
pub(super) fn default_of(row: &Row) -> String {
    if let Some(default) = &row.setting.default {
        return literal(default);
    }
    let said = row.setting.help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
    said.map_or_else(|| "none".to_owned(), |(said, _)| said.to_owned())
}
