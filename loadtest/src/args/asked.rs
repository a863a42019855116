//! What was asked for: the command line as it was given, and each option as it is.
//!
//! In      arguments; what clap has made of them
//! Out     names and values for a report, so that a run can be repeated
//! Bounds  none
//! Source  none

use std::ffi::{OsStr, OsString};

use clap::{ArgMatches, Command};
use serde_json::Value;

/// Names and values, the command line first; then options with their values, whether given or by default.
pub(super) fn asked(given: &[OsString], matches: &ArgMatches, command: &Command) -> Vec<(String, Value)> {
    let line: Vec<_> = given.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    let (matches, command) = match matches.subcommand() {
        Some((name, below)) => (below, command.find_subcommand(name).unwrap_or(command)),
        None => (matches, command),
    };
    let options = command.get_arguments().filter_map(|option| {
        let id = option.get_id().as_str();
        let values = matches.try_get_raw(id).ok().flatten()?;
        let mut values: Vec<_> = values.map(|value: &OsStr| value.to_string_lossy().into_owned()).collect();
        // One that may be given once has no list.
        let value = if values.len() == 1 { values.remove(0).into() } else { values.into() };
        Some((format!("option_{id}"), value))
    });
    [("command".to_owned(), line.join(" ").into())].into_iter().chain(options).collect()
}

/// As a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{super::Cli, *};

    fn value(line: &[&str], name: &str) -> Option<Value> {
        let given: Vec<OsString> = line.iter().map(OsString::from).collect();
        let mut command = Cli::command();
        let matches = command.try_get_matches_from_mut(given.clone()).unwrap();
        let all = asked(&given, &matches, &command);
        all.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    #[test]
    fn what_was_given_and_what_was_not_has_its_value() {
        for line in
            [&["loadtest", "--require", "p99<5ms"][..], &["loadtest", "fanout", "--require", "p99<5ms"]]
        {
            assert_eq!(value(line, "option_require"), Some("p99<5ms".into()));
            assert_eq!(value(line, "option_patience"), Some("10".into()));
            assert_eq!(value(line, "option_quiet"), Some("false".into()));
            assert_eq!(value(line, "option_json"), None);
        }
        let command = value(&["loadtest", "echo", "--query", "user=it's {n}"], "command").unwrap();
        assert_eq!(command, r"loadtest echo --query 'user=it'\''s {n}'");
    }
}
