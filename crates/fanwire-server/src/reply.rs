//! Replies: the data of what the server itself says to a client.
//!
//! In      what is to be said
//! Out     JSON
//! Bounds  as what is quoted in it
//! Source  docs/protocol.md

use fanwire::Payload;
use serde::Serialize;

use crate::problem::Problem;

/// The data of `auth` after a new token.
#[derive(Serialize)]
pub(crate) struct Renewed<'a> {
    pub(crate) state: &'static str,
    /// Missing if the new pass has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in: Option<u64>,
    pub(crate) unsubscribed: &'a [String],
}

/// The data of `error`.
pub(crate) fn error_data(problem: &Problem) -> Payload<'static> {
    json(&ErrorData { code: problem.code(), message: &problem.to_string() })
}

pub(crate) fn json(value: &impl Serialize) -> Payload<'static> {
    Payload::json(value).expect("strings can always be written as JSON")
}

#[derive(Serialize)]
struct ErrorData<'a> {
    code: &'static str,
    message: &'a str,
}
