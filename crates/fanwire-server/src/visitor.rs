//! Visitors: what the server keeps with a session.
//!
//! In      a pass, if one was needed
//! Out     whose session it is, and which topics are open to it
//! Bounds  a word without a pass, else what its token says (`auth::TOKEN_BYTES_MAX`), or the webhook's answer
//! Source  docs/configuration.md

use std::time::Instant;

use crate::{
    auth::{Pass, Renewal, Watched},
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
    /// Since when no token in band is looked at.
    pub(crate) paused_at: Option<Instant>,
    /// While the webhook is asked about a new token.
    pub(crate) renewal: Option<Renewal>,
}

impl Admission {
    /// Takes what has come of a renewal.
    pub(crate) fn settle(&mut self) {
        if let Some(settled) = self.renewal.as_ref().and_then(Renewal::take) {
            self.renewal = None;
            self.watched = settled.watched;
            self.paused_at = Some(settled.at);
            if let Some(pass) = settled.pass {
                self.pass = pass;
            }
        }
    }
}

impl Visitor {
    pub(crate) fn of(pass: Pass) -> Self {
        Self { admission: Some(Box::new(Admission { pass, watched: None, paused_at: None, renewal: None })) }
    }

    /// Whose session it is, if its token says.
    pub(crate) fn user(&self) -> Option<&str> {
        self.admission.as_ref().and_then(|admission| admission.pass.user())
    }

    pub(crate) fn may_subscribe(&self, rules: &Rules, topic: &str) -> bool {
        may_subscribe(rules, self.pass(), topic)
    }

    /// As [`Visitor::may_subscribe`], for a session that is about to: a renewal on its way hears of it.
    pub(crate) fn may_subscribe_now(&mut self, rules: &Rules, topic: &str) -> bool {
        let Some(admission) = &mut self.admission else { return may_subscribe(rules, None, topic) };
        admission.settle();
        if !may_subscribe(rules, Some(&admission.pass), topic) {
            return false;
        }
        if admission.renewal.as_ref().is_none_or(|renewal| renewal.note(topic)) {
            return true;
        }
        // It has been settled just now.
        admission.settle();
        may_subscribe(rules, Some(&admission.pass), topic)
    }

    /// It is not subscribed, after all or any more.
    pub(crate) fn has_left(&self, topic: &str) {
        let renewal = self.admission.as_ref().and_then(|admission| admission.renewal.as_ref());
        renewal.into_iter().for_each(|renewal| renewal.forget(topic));
    }

    pub(crate) fn may_publish(&mut self, rules: &Rules, topic: &str) -> bool {
        self.admission.iter_mut().for_each(|admission| admission.settle());
        may(&rules.publish, |pass| pass.publish.as_ref(), self.pass(), topic)
    }

    fn pass(&self) -> Option<&Pass> {
        self.admission.as_ref().map(|admission| &admission.pass)
    }
}

/// Whether whoever has this pass may subscribe to a topic.
pub(crate) fn may_subscribe(rules: &Rules, pass: Option<&Pass>, topic: &str) -> bool {
    may(&rules.subscribe, |pass| pass.subscribe.as_ref(), pass, topic)
}

/// The settings allow it, and so does the pass if it says anything of topics.
fn may(set: &Patterns, of_pass: fn(&Pass) -> Option<&Patterns>, pass: Option<&Pass>, topic: &str) -> bool {
    let nobody = Claims::default();
    let claims = pass.map_or(&nobody, |pass| &pass.claims);
    let narrowed = pass.and_then(of_pass).is_none_or(|patterns| patterns.match_one(topic, claims));
    narrowed && set.allow(topic, claims)
}
