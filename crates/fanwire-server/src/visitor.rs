//! Visitors: what the server keeps with a session.
//!
//! In      nothing yet
//! Out     nothing yet
//! Bounds  none
//! Source  none

/// A session's value.
#[derive(Debug, Default)]
pub(crate) struct Visitor;
