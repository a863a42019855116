//! The webhook's settings, as an operator gives them.
//!
//! In      the command line, which `settings` has completed
//! Out     where to ask, what is sent along, how long, how often and how much
//! Bounds  each value's form is checked here; what they mean together in `Webhook::new`
//! Source  docs/configuration.md

use std::{path::PathBuf, time::Duration};

use crate::{
    forms::parse_number,
    units::{parse_bytes_u32, parse_duration, parse_duration_not_zero},
};

/// Settings that begin with `auth_webhook`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WebhookArgs {
    /// Where to ask who may connect, as `http://` or `https://`
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    pub(crate) auth_webhook_url: Option<String>,

    /// Headers of the request that are passed on, such as cookie, once for each [default: none, only the token]
    #[arg(long, value_name = "NAME", value_parser = parse_header, help_heading = HEADING)]
    pub(crate) auth_webhook_header: Vec<String>,

    /// File with a secret of 32 bytes or more, with which questions are signed [default: they are not signed]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) auth_webhook_secret_file: Option<PathBuf>,

    /// File with certificates in PEM that `https://` is trusted by [default: those of the system]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) auth_webhook_ca_file: Option<PathBuf>,

    /// For an answer, the wait for a place included; beyond, 503
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration_not_zero, help_heading = HEADING)]
    pub(crate) auth_webhook_timeout: Duration,

    /// Questions that are asked at a time
    #[arg(long, value_name = "N", default_value = "64", value_parser = parse_number::<u16>, help_heading = HEADING)]
    pub(crate) auth_webhook_requests: u16,

    /// Questions that wait for a place; beyond, 503
    #[arg(long, value_name = "N", default_value = "1024", value_parser = parse_number::<u16>, help_heading = HEADING)]
    pub(crate) auth_webhook_queue: u16,

    /// Connections that are kept open between questions; 0: a new one for each
    #[arg(long, value_name = "N", default_value = "16", value_parser = parse_number::<u16>, help_heading = HEADING)]
    pub(crate) auth_webhook_connections: u16,

    /// Longest answer that is read; beyond, 503
    #[arg(long, value_name = "BYTES", default_value = "16KiB", value_parser = parse_bytes_u32, help_heading = HEADING)]
    pub(crate) auth_webhook_answer_bytes: u32,

    /// How long who was let in is let in again without a question; 0: each time it is asked
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration, help_heading = HEADING)]
    pub(crate) auth_webhook_cache: Duration,

    /// How long who was refused is refused again without a question; 0: each time it is asked
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration, help_heading = HEADING)]
    pub(crate) auth_webhook_cache_refused: Duration,

    /// Answers that are kept of either kind; beyond, those that end first are left out
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_number::<u32>, help_heading = HEADING)]
    pub(crate) auth_webhook_cache_entries: u32,
}

/// A name as RFC 9110 section 5.6.2 has it. Those that belong to a connection say nothing of who asks.
fn parse_header(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_token) {
        return Err("give the name of a header, such as cookie".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

const HEADING: &str = "Who may connect, by a webhook";

impl WebhookArgs {
    /// Descriptors of the connections to it.
    pub(crate) fn descriptors_max(&self) -> u32 {
        u32::from(self.auth_webhook_requests) + u32::from(self.auth_webhook_connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_names_without_regard_to_case() {
        assert_eq!(parse_header("X-Forwarded-For").as_deref(), Ok("x-forwarded-for"));
        for bad in ["", "a b", "cookie:", "ä", "a\nb"] {
            assert!(parse_header(bad).is_err(), "{bad}");
        }
    }
}
