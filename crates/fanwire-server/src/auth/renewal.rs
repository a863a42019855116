//! Renewals: a session sends a new token, and the webhook is asked while the session goes on.
//!
//! In      the webhook's answer, on the caller's thread; what the session does meanwhile, on its shard's
//! Out     a new pass in place of the old one, topics left that it does not open, and an answer to the client
//! Bounds  one at a time for a session, with the topics that it has
//! Source  docs/protocol.md

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fanwire::{SendError, SessionHandle};

use super::{Expiry, Pass, Watched, webhook::Decision};
use crate::{
    live::Live,
    problem::Problem,
    refused::Refused,
    reply::{Renewed, error_data, json},
    rules::Rules,
    visitor::may_subscribe,
};

/// A renewal on its way. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Renewal(Arc<Shared>);

/// What came of one.
#[derive(Debug)]
pub(crate) struct Settled {
    /// `None`: the session keeps the one that it has.
    pub(crate) pass: Option<Pass>,
    pub(crate) watched: Option<Watched>,
    /// When it was settled.
    pub(crate) at: Instant,
}

#[derive(Debug)]
struct Shared {
    session: SessionHandle,
    user: String,
    /// Those that are in force when it is settled decide.
    rules: Live<Rules>,
    expiry: Expiry,
    refused: Refused,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// INVARIANT: `topics` has every topic that the session is subscribed to.
    Waiting {
        topics: HashSet<String>,
        watched: Option<Watched>,
    },
    Settled(Settled),
    /// The session has taken what came of it, or has ended.
    Over,
}

impl Renewal {
    /// Begins one for a session of this user, with these topics, whose old pass is watched still.
    pub(crate) fn new(
        session: SessionHandle,
        user: String,
        rules: Live<Rules>,
        expiry: Expiry,
        refused: Refused,
        topics: HashSet<String>,
        watched: Option<Watched>,
    ) -> Self {
        let state = Mutex::new(State::Waiting { topics, watched });
        Self(Arc::new(Shared { session, user, rules, expiry, refused, state }))
    }

    /// Notes that the session is about to subscribe. `false`: it is settled, and the new pass decides.
    pub(crate) fn note(&self, topic: &str) -> bool {
        match &mut *self.lock() {
            State::Waiting { topics, .. } => {
                topics.insert(topic.to_owned());
                true
            }
            State::Settled(_) | State::Over => false,
        }
    }

    /// Notes that it is not subscribed, after all or any more.
    pub(crate) fn forget(&self, topic: &str) {
        if let State::Waiting { topics, .. } = &mut *self.lock() {
            topics.remove(topic);
        }
    }

    /// What came of it, once.
    pub(crate) fn take(&self) -> Option<Settled> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Settled(settled) => Some(settled),
            other => {
                *state = other;
                None
            }
        }
    }

    /// The session has ended: what watched over its pass.
    pub(crate) fn abandon(&self) -> Option<Watched> {
        match std::mem::replace(&mut *self.lock(), State::Over) {
            State::Waiting { watched, .. } | State::Settled(Settled { watched, .. }) => watched,
            State::Over => None,
        }
    }

    /// Takes the answer, or `None` if there is none, to the session.
    pub(super) async fn settle(self, decision: Option<Decision>) {
        let pass = match decision {
            Some(Decision::Admitted(pass)) if pass.user() == Some(&*self.0.user) => Ok(pass),
            Some(Decision::Admitted(_)) => Err(Problem::OtherUser),
            Some(Decision::Refused(refused)) => Err(Problem::Refused(refused.reason)),
            None => Err(Problem::AuthUnavailable),
        };
        let data = match pass {
            Err(problem) => {
                self.keep();
                self.0.refused.problem(&problem);
                ("error", error_data(&problem))
            }
            Ok(pass) => {
                let expires_in = pass.seconds_left();
                let Some(left) = self.replace(pass) else { return };
                for topic in &left {
                    if self.insist(|session| session.unsubscribe(topic)).await.is_err() {
                        return;
                    }
                }
                ("auth", json(&Renewed { state: "renewed", expires_in, unsubscribed: &left }))
            }
        };
        // Whoever has gone needs no answer; one whose queue is full has met its overflow policy, and is counted.
        let _ = self.insist(|session| session.send(data.0, data.1.clone())).await;
    }

    /// On the session's own shard, in a hook: nobody could be asked.
    pub(super) fn fail(self) {
        self.keep();
        self.0.refused.problem(&Problem::AuthUnavailable);
        let _ = self.0.session.send("error", error_data(&Problem::AuthUnavailable));
    }

    /// The session goes on with the pass that it has.
    fn keep(&self) {
        let mut state = self.lock();
        if let State::Waiting { watched, .. } = &mut *state {
            *state = State::Settled(Settled { pass: None, watched: watched.take(), at: Instant::now() });
        }
    }

    /// The session goes on with this pass: topics that it does not open. `None`: the session has ended.
    fn replace(&self, pass: Pass) -> Option<Vec<String>> {
        let mut state = self.lock();
        let State::Waiting { topics, watched } = &mut *state else { return None };
        let (rules, expiry) = (self.0.rules.load(), &self.0.expiry);
        let left = topics.drain().filter(|topic| !may_subscribe(&rules, Some(&pass), topic)).collect();
        watched.take().into_iter().for_each(|watched| expiry.forget(watched));
        let watched = expiry.watch(self.0.session.clone(), &pass);
        *state = State::Settled(Settled { pass: Some(pass), watched, at: Instant::now() });
        Some(left)
    }

    /// The way to the session's shard may be full for a moment.
    async fn insist(
        &self,
        mut call: impl FnMut(&SessionHandle) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        loop {
            match call(&self.0.session) {
                Err(SendError::Full) => tokio::time::sleep(RETRY).await,
                done => return done,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const RETRY: Duration = Duration::from_millis(20);
