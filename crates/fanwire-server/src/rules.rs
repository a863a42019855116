//! Rules: who may connect and publish, as far as it can change while the server runs.
//!
//! In      the settings
//! Out     what the shards ask at each request
//! Bounds  as long as the settings
//! Source  docs/configuration.md

use crate::{args::Args, origin::Origins};

/// One set of rules; a reload makes another.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) origins: Origins,
    /// None: only where nobody else's machine reaches the server.
    pub(crate) client_publish: Option<bool>,
}

impl Rules {
    /// # Errors
    /// What is wrong with the settings.
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        Ok(Self { origins: args.origins(), client_publish: args.client_publish })
    }
}
