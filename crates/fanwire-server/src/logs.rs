//! Logs: what goes to stderr, in which form.
//!
//! In      levels by module, a form
//! Out     lines; the levels can be changed while the server runs
//! Bounds  nothing is logged per message
//! Source  docs/operations.md

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::choices::LogFormat;

/// The handle that changes levels.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    levels: reload::Handle<Targets, Registry>,
}

impl Logs {
    /// Begins to log. Once in a process.
    pub(crate) fn begin(levels: &str, form: LogFormat) -> Self {
        let (filter, handle) = reload::Layer::new(targets(levels));
        let lines = fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(form == LogFormat::Human && io::stderr().is_terminal())
            // It would tell of a line that could not be written by writing another one, and panic if that fails too.
            .log_internal_errors(false);
        let registry = tracing_subscriber::registry().with(filter);
        match form {
            LogFormat::Human => registry.with(lines).init(),
            LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
        }
        Self { levels: handle }
    }

    /// Changes the levels.
    pub(crate) fn set(&self, levels: &str) {
        // It fails only if the subscriber has gone, and then nothing is logged anyway.
        let _ = self.levels.reload(targets(levels));
    }
}

/// Checks levels; `Targets` itself would take a misspelt level for a module.
pub(crate) fn parse_levels(text: &str) -> Result<String, String> {
    // It would take numbers, and nothing at all, for levels as well.
    let is_level =
        |level: &str| level.parse::<LevelFilter>().is_ok() && level.starts_with(|c: char| c.is_alphabetic());
    let is_part = |part: &str| match part.split_once('=') {
        Some((module, level)) => {
            let is_module = module.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:-".contains(&b));
            !module.is_empty() && is_module && is_level(level)
        }
        None => is_level(part),
    };
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    if !parts.iter().all(|part| is_part(part)) {
        return Err(
            "give off, error, warn, info, debug or trace, and MODULE=LEVEL where one differs, such as \
                    info,fanwire::shard=debug"
                .to_owned(),
        );
    }
    if parts.iter().filter(|part| !part.contains('=')).count() > 1 {
        return Err("give one level for all modules, and MODULE=LEVEL for the others".to_owned());
    }
    Ok(parts.join(","))
}

/// Levels that [`parse_levels`] has checked. Modules come without a level for all others: those then log nothing.
fn targets(levels: &str) -> Targets {
    let mut targets = Targets::new();
    for part in levels.split(',') {
        targets = match part.split_once('=') {
            Some((module, level)) => targets.with_target(module, level_of(level)),
            None => targets.with_default(level_of(part)),
        };
    }
    targets
}

fn level_of(text: &str) -> LevelFilter {
    text.parse().unwrap_or(LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_are_checked_and_read_by_module() {
        assert_eq!(parse_levels("info, fanwire::shard=debug").as_deref(), Ok("info,fanwire::shard=debug"));
        let targets = targets("warn,fanwire::shard=debug");
        assert!(targets.would_enable("fanwire::shard::accept", &Level::DEBUG));
        assert!(
            targets.would_enable("fanwire", &Level::WARN) && !targets.would_enable("fanwire", &Level::INFO)
        );
        for bad in ["", "inof", "3", "info,debug", "fanwire=loud", "=info", "a b=info", "info,,warn"] {
            assert!(parse_levels(bad).is_err(), "{bad}");
        }
    }
}
