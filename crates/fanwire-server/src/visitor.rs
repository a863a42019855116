//! Visitors: what the server keeps with a session.
//!
//! In      a pass, if one was needed
//! Out     whose session it is, and which topics are open to it
//! Bounds  a word without a pass, else what its token says: `auth::TOKEN_BYTES_MAX`
//! Source  docs/configuration.md

use std::time::Instant;

use crate::{
    auth::{Pass, Watched},
    rules::Rules,
    topics::{Claims, Patterns},
};

/// A session's value.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    pub(crate) admission: Option<Box<Admission>>,
}

/// What came with a token.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) pass: Pass,
    /// `None` until the session is open.
    pub(crate) watched: Option<Watched>,
    /// Since when its last token in band is refused.
    pub(crate) refused_at: Option<Instant>,
}

impl Visitor {
    pub(crate) fn of(pass: Pass) -> Self {
        Self { admission: Some(Box::new(Admission { pass, watched: None, refused_at: None })) }
    }

    pub(crate) fn may_subscribe(&self, rules: &Rules, topic: &str) -> bool {
        self.may(&rules.subscribe, |pass| pass.subscribe.as_ref(), topic)
    }

    pub(crate) fn may_publish(&self, rules: &Rules, topic: &str) -> bool {
        self.may(&rules.publish, |pass| pass.publish.as_ref(), topic)
    }

    /// The settings allow it, and so does the token if it says anything of topics.
    fn may(&self, set: &Patterns, of_token: fn(&Pass) -> Option<&Patterns>, topic: &str) -> bool {
        let nobody = Claims::default();
        let pass = self.admission.as_ref().map(|admission| &admission.pass);
        let claims = pass.map_or(&nobody, |pass| &pass.claims);
        let narrowed = pass.and_then(of_token).is_none_or(|patterns| patterns.match_one(topic, claims));
        narrowed && set.allow(topic, claims)
    }
}
