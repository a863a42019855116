//! Idle settings: what somebody has set and nothing looks at.
//!
//! In      the settings in force
//! Out     a sentence for each of them, with what would make it count
//! Bounds  one per setting
//! Source  docs/configuration.md

use crate::{args::Args, choices::AuthKind};

use super::{Row, Settings, Source};

/// What to tell of settings without effect. They do no harm, but whoever wrote them expects something else.
pub(crate) fn idle(settings: &Settings) -> impl Iterator<Item = String> {
    let set = settings.rows.iter().filter(|row| row.source != Source::Default && !row.texts.is_empty());
    // Who writes down a default expects nothing else of it: what `config print` writes has all of them.
    let changed = set.filter(|row| row.texts.iter().ne(&row.setting.default));
    changed.filter_map(|row| {
        let Row { key, source, .. } = row;
        missing(key, &settings.args).map(|missing| format!("{key} ({source}) has no effect: {missing}"))
    })
}

/// What a setting needs to have an effect, if it is not there.
fn missing(key: &str, args: &Args) -> Option<&'static str> {
    let is_file = |place: &String| place.starts_with("unix:");
    let (is_idle, needed) = match key {
        // A socket of systemd's may come in their place, which only a start tells.
        "proxy_from" => (
            args.listen_proxy.is_empty(),
            "set listen_proxy, or let a socket unit have FileDescriptorName=proxy",
        ),
        "socket_mode" => (
            !args.listen.iter().chain(&args.listen_proxy).any(is_file),
            "it is for places unix:/PATH in listen or listen_proxy",
        ),
        "api_token_file" => (args.api_listen.is_none(), "set api_listen, or there is no API"),
        "auth_key_file" | "auth_jwks_file" | "auth_issuer" | "auth_audience" | "auth_leeway" => {
            (args.auth != AuthKind::Jwt, "set auth to jwt")
        }
        "auth_warning" | "auth_token_from" => (args.auth == AuthKind::None, "set auth to jwt or webhook"),
        "auth_webhook_cache_entries" if args.auth == AuthKind::Webhook => (
            args.webhook.auth_webhook_cache.is_zero() && args.webhook.auth_webhook_cache_refused.is_zero(),
            "set auth_webhook_cache or auth_webhook_cache_refused to a time",
        ),
        key if key.starts_with("auth_webhook") => (args.auth != AuthKind::Webhook, "set auth to webhook"),
        _ => return None,
    };
    is_idle.then_some(needed)
}
