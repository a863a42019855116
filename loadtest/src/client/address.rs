//! Addresses: where a server is, and how it is spoken to, as a user gives it.
//!
//! In      a URL, a query, a dialect's name
//! Out     the same for other processes
//! Bounds  none
//! Source  none

use serde::{Deserialize, Serialize};

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// As `ws://HOST:PORT/PATH`.
    pub url: String,
    /// Behind it.
    pub query: Option<String>,
    /// A built-in name, or a file.
    pub dialect: String,
}

impl Address {
    /// Without a query.
    #[must_use]
    pub fn new(url: &str, dialect: &str) -> Self {
        Self { url: url.to_owned(), query: None, dialect: dialect.to_owned() }
    }
}
