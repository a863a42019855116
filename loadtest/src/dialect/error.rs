//! Errors of dialects: why there is none, or why it cannot do something.
//!
//! In      what was asked for
//! Out     errors that say what to write instead
//! Bounds  none
//! Source  none

/// Why there is no dialect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialectError {
    /// Neither built in nor a file.
    #[error("--dialect {name}: {error}; built in are {known}; another is given as a TOML file")]
    Unknown {
        /// Asked for.
        name: String,
        /// The built-in ones.
        known: String,
        /// Why there is no file.
        #[source]
        error: std::io::Error,
    },
    /// The file is none.
    #[error("the dialect is not as it should be: {error}")]
    Toml {
        /// Where, and what was expected.
        #[source]
        error: Box<toml::de::Error>,
    },
    /// Two places touch.
    #[error("the dialect's text '{pattern}' has two places without anything between them")]
    Adjacent {
        /// Which.
        pattern: String,
    },
    /// A text that should be JSON is none.
    #[error("the dialect says json = true, and '{pattern}' is no JSON: {error}")]
    Json {
        /// Which.
        pattern: String,
        /// Why.
        #[source]
        error: serde_json::Error,
    },
    /// A stream without lengths.
    #[error(
        "the dialect says stream = true: its delivery needs {{bytes}}, the length of {{data}}, before it"
    )]
    NoBytes,
    /// Something is missing for this scenario.
    #[error("the dialect {name} says nothing of how to {what}: this scenario needs it")]
    Cannot {
        /// Of the dialect.
        name: String,
        /// Its table.
        what: &'static str,
    },
}
