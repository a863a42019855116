//! The file of settings: TOML without sections.
//!
//! In      a path
//! Out     each key with its line and its value as a flag would have it
//! Bounds  `FILE_BYTES_MAX`
//! Source  TOML 1.1

use std::{fs::File, io::Read as _, path::Path};

use toml::de::{DeTable, DeValue};

use super::{Said, Source, Texts};

/// Reads it all, or says why it is no such file.
pub(super) fn read(path: &Path) -> Result<Vec<Said>, String> {
    let shown = path.display();
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("cannot open {shown}: {error}"))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{shown} is longer than {FILE_BYTES_MAX} bytes: is it the right file?"));
    }
    let table = DeTable::parse(&text).map_err(|error| format!("{shown}: {error}"))?;
    let said = table.get_ref().iter().map(|(key, value)| {
        let line = text[..key.span().start].matches('\n').count() + 1;
        let source = Source::File { path: path.to_owned(), line };
        Said { key: key.get_ref().to_string(), texts: texts_of(value.get_ref()), source }
    });
    Ok(said.collect())
}

fn texts_of(value: &DeValue<'_>) -> Result<Texts, String> {
    match value {
        DeValue::Array(values) => {
            values.iter().map(|value| text_of(value.get_ref())).collect::<Result<_, _>>().map(Texts::List)
        }
        _ => text_of(value).map(Texts::One),
    }
}

fn text_of(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            number.map(|number| number.to_string()).map_err(|_| "is too large a number".to_owned())
        }
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Table(_) => Err(IS_SECTION.to_owned()),
        DeValue::Array(_) => Err("is a list within a list: give one list of texts".to_owned()),
        DeValue::Datetime(_) => Err("is a date: give a text, a whole number, true or false".to_owned()),
    }
}

pub(super) const IS_SECTION: &str = "settings stand at the top level, without sections";

/// All settings with their help take a tenth of it.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;
