//! Reloading: what SIGHUP changes while the server runs.
//!
//! In      the settings as the command line, the environment and the file say them now
//! Out     new rules and levels, a line for each setting that has changed, or one that says why all stays
//! Bounds  as reading them at the start
//! Source  docs/configuration.md

use std::{env, ffi::OsString};

use fanwire::{Error, Server};

use crate::{
    args::{flag_of, in_flags},
    auth::Caller,
    live::Live,
    logs::Logs,
    rules::Rules,
    settings::{self, Row, Settings, Source, Trouble},
};

/// All that is needed to do it again.
#[derive(Debug)]
pub(crate) struct Reload {
    line: Vec<OsString>,
    /// As they are in force: those that need a restart are of the start.
    settings: Settings,
    rules: Live<Rules>,
    caller: Caller,
    logs: Logs,
}

impl Reload {
    pub(crate) fn new(
        line: Vec<OsString>,
        settings: Settings,
        rules: Live<Rules>,
        caller: Caller,
        logs: Logs,
    ) -> Self {
        Self { line, settings, rules, caller, logs }
    }

    /// Does it. What cannot be read changes nothing.
    pub(crate) fn run(&mut self) {
        match read(&self.line).and_then(|settings| self.take(settings)) {
            Ok(0) => tracing::info!(
                "read the settings anew: none has changed; the files that they name were read, too"
            ),
            Ok(changed) => tracing::info!(
                "read the settings anew: {changed} changed; the files that they name were read, too"
            ),
            Err(wrong) => tracing::error!("the settings stay as they were: {wrong}"),
        }
    }

    fn take(&mut self, mut new: Settings) -> Result<usize, String> {
        check_form(&new)?;
        // Rules depend on the addresses, which stay: what is fit for another one may open these to strangers, and those of
        // systemd's sockets are in no setting.
        new.args.listen.clone_from(&self.settings.args.listen);
        new.args.listen_proxy.clone_from(&self.settings.args.listen_proxy);
        new.args.api_listen.clone_from(&self.settings.args.api_listen);
        // The webhook's time-out has to fit into the one that is in force.
        new.args.handshake_timeout = self.settings.args.handshake_timeout;
        new.args.check_exposure()?;
        let rules = Rules::new(&new.args)?;
        let restart: Vec<_> = new.rows.iter().filter(|row| !RELOADED.contains(&&*row.key)).collect();
        let asked = restart.iter().filter(|row| self.in_force(row).is_some_and(|old| old.texts != row.texts));
        for row in asked {
            let old = self.in_force(row).map(shown).unwrap_or_default();
            tracing::warn!(
                "{} is {} now ({}) and stays {old} until a restart",
                row.key,
                shown(row),
                row.source
            );
        }
        self.caller.start_for(&rules.gate)?;
        settings::idle(&new).for_each(|idle| tracing::warn!("{idle}"));
        self.rules.replace(rules);
        self.logs.set(&new.args.log);
        let mut changed = 0;
        for row in new.rows.into_iter().filter(|row| RELOADED.contains(&&*row.key)) {
            let Some(old) = self.settings.rows.iter_mut().find(|old| old.key == row.key) else { continue };
            if old.texts != row.texts {
                tracing::info!("{} is {} now ({})", row.key, shown(&row), row.source);
                changed += 1;
            }
            *old = row;
        }
        Ok(changed)
    }

    fn in_force(&self, row: &Row) -> Option<&Row> {
        self.settings.rows.iter().find(|old| old.key == row.key)
    }
}

/// Finds what the engine and the rules would refuse, without serving.
///
/// # Errors
/// What is wrong and who said so.
pub(crate) fn check(settings: &Settings) -> Result<(), String> {
    check_form(settings)?;
    settings.args.check_exposure()
}

/// All but whom the addresses let in.
fn check_form(settings: &Settings) -> Result<(), String> {
    Rules::new(&settings.args)?;
    settings.args.check_proxies()?;
    // Port 0 of loopback can always be had, and nobody is listened to.
    match Server::bind_with("127.0.0.1:0", settings.args.options()) {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(&error, settings)),
    }
}

/// What the engine says, in the words of an operator.
pub(crate) fn refusal(error: &Error, settings: &Settings) -> String {
    let Error::Option { option, advice } = error else { return error.to_string() };
    let source = flag_of(option).and_then(|flag| settings.source_of(flag));
    let place = match source {
        Some(source @ (Source::File { .. } | Source::Variable(_))) => format!(" ({source})"),
        _ => String::new(),
    };
    in_flags(&format!("{option}: {advice}")) + &place
}

fn read(line: &[OsString]) -> Result<Settings, String> {
    Settings::read(line, env::vars_os()).map_err(|trouble| match trouble {
        Trouble::Wrong(wrong) => wrong.join("; "),
        Trouble::CommandLine(error) => error.to_string(),
    })
}

/// For the log: the query of an address may hold what is nobody else's business.
fn shown(row: &Row) -> String {
    if row.texts.is_empty() {
        return "not set".to_owned();
    }
    let is_address = row.key == "auth_webhook_url";
    let text = |text: &'_ String| match text.split_once('?') {
        Some((place, _)) if is_address => format!("{place}?..."),
        _ => text.clone(),
    };
    row.texts.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Settings that need no restart.
pub(crate) const RELOADED: &[&str] = &[
    "origin",
    "host",
    "require_origin",
    "client_publish",
    "auth",
    "allow_unauthenticated",
    "auth_key_file",
    "auth_jwks_file",
    "auth_issuer",
    "auth_audience",
    "auth_leeway",
    "auth_warning",
    "auth_token_from",
    "auth_webhook_url",
    "auth_webhook_header",
    "auth_webhook_secret_file",
    "auth_webhook_ca_file",
    "auth_webhook_timeout",
    "auth_webhook_connections",
    "auth_webhook_answer_bytes",
    "auth_webhook_cache",
    "auth_webhook_cache_refused",
    "auth_webhook_cache_entries",
    "subscribe_topics",
    "publish_topics",
    "api_token_file",
    "log",
];
