//! Rules: who may connect, subscribe and publish, as far as it can change while the server runs.
//!
//! In      the settings, and the files of keys that they name
//! Out     what the shards ask at each request
//! Bounds  as long as the settings
//! Source  docs/configuration.md

use crate::{api::Access, args::Args, auth::Gate, host::Hosts, origin::Origins, topics::Patterns};

/// One set of rules; a reload makes another.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) origins: Origins,
    /// None: only where nobody else's machine reaches the server.
    pub(crate) client_publish: Option<bool>,
    pub(crate) gate: Gate,
    pub(crate) subscribe: Patterns,
    pub(crate) publish: Patterns,
    /// Of the HTTP API.
    pub(crate) api: Access,
    /// Under which the API may be asked for where no token is, which is on loopback only.
    pub(crate) api_hosts: Hosts,
}

impl Rules {
    /// # Errors
    /// What is wrong with the settings.
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        let patterns =
            |key: &str, texts: &[String]| Patterns::parse(texts).map_err(|why| format!("{key}: {why}"));
        Ok(Self {
            origins: args.origins(),
            client_publish: args.client_publish,
            gate: Gate::new(args)?,
            subscribe: patterns("subscribe_topics", &args.subscribe_topics)?,
            publish: patterns("publish_topics", &args.publish_topics)?,
            api: Access::new(args)?,
            api_hosts: Hosts::of_loopback_and(&args.host),
        })
    }
}
