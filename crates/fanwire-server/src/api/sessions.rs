//! Sessions from outside: a look at each, in steps, and what is done to those that are meant.
//!
//! In      which session or whose, and what to do
//! Out     how many it was done to
//! Bounds  one step at a time, each a visit to one shard; `VISIT_TIME_MAX` a step
//! Source  docs/http-api.md

use std::{
    borrow::Cow,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State as Of},
    http::StatusCode,
    response::Response,
};
use fanwire::{Payload, Place, Session};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::sync::oneshot;

use super::{
    State,
    body::{self, JSON},
    problem::{Problem, json},
    publish::{check_topic, has_waited},
};
use crate::visitor::Visitor;

pub(super) async fn disconnect(state: Of<Arc<State>>, request: Request) -> Result<Response, Problem> {
    let body = body::read(&state.room, request, JSON).await?;
    let Disconnect { session, user, code, reason } = body::object(&body)?;
    let who = Who::read(session, user)?;
    let code = body::number("code", code)?.map_or(Ok(NORMAL), code_of)?;
    let reason = body::text("reason", reason)?.unwrap_or_default().into_owned();
    if reason.len() > REASON_BYTES_MAX {
        let error = format!("has at most {REASON_BYTES_MAX} bytes in UTF-8: shorten it");
        return Err(Problem::field("reason", error));
    }
    let count = for_each(&state, who, move |session| {
        session.close_with(code, &reason);
        true
    });
    Ok(json(StatusCode::OK, &json!({ "disconnected": count.await? })))
}

pub(super) async fn unsubscribe(state: Of<Arc<State>>, request: Request) -> Result<Response, Problem> {
    let body = body::read(&state.room, request, JSON).await?;
    let Unsubscribe { session, user, topic } = body::object(&body)?;
    let who = Who::read(session, user)?;
    let topic =
        body::text("topic", topic)?.ok_or_else(|| Problem::field("topic", "is missing"))?.into_owned();
    check_topic(&topic, &state)?;
    let told = Payload::json(&json!({ "topic": topic })).expect("a text can always be written as JSON");
    let count = for_each(&state, who, move |session| {
        let was_subscribed = session.unsubscribe(&topic);
        if was_subscribed {
            // A session that cannot be told has met its overflow policy, and is counted.
            let _ = session.send("unsubscribed", told.as_bytes());
        }
        was_subscribed
    });
    Ok(json(StatusCode::OK, &json!({ "unsubscribed": count.await? })))
}

/// Does something to the sessions that are meant, and counts those to which it was done.
async fn for_each(
    state: &State,
    who: Who,
    act: impl Fn(&mut Session<'_, Visitor>) -> bool + Clone + Send + 'static,
) -> Result<usize, Problem> {
    let (mut found, mut done) = (false, 0);
    let mut next = Some(Place::default());
    while let Some(from) = next {
        let mut since = None;
        let (results, behind) = loop {
            let (who, act) = (who.clone(), act.clone());
            let choose = move |session: &mut Session<'_, Visitor>| who.is(session).then(|| act(session));
            match step(state, from, usize::MAX, choose).await {
                // Those before it are done already: better late than in part.
                Err(problem) if problem.is_full() && has_waited(&mut since).await => {}
                looked => break looked?,
            }
        };
        found |= !results.is_empty();
        done += results.into_iter().filter(|done| *done).count();
        let is_over = found && matches!(who, Who::Session(_));
        next = behind.filter(|_| !is_over);
    }
    match who {
        Who::Session(_) if !found => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "session: there is none of this id: it has ended, or GET /api/sessions has others",
        )),
        _ => Ok(done),
    }
}

/// Looks at sessions from a place on, until so many have been chosen or the shard's turn ends. What was chosen, and
/// where to go on.
pub(super) async fn step<T: Send + 'static>(
    state: &State,
    from: Place,
    count_max: usize,
    mut choose: impl FnMut(&mut Session<'_, Visitor>) -> Option<T> + Send + 'static,
) -> Result<(Vec<T>, Option<Place>), Problem> {
    let chosen = Arc::new(Mutex::new(Vec::new()));
    let (sender, answer) = oneshot::channel();
    let found = chosen.clone();
    let each = move |session: &mut Session<'_, Visitor>| {
        let Some(one) = choose(session) else { return ControlFlow::Continue(()) };
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.push(one);
        if found.len() < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let done = move |next| {
        // Whoever asked may have gone meanwhile.
        let _ = sender.send(next);
    };
    state.sessions.visit(from, each, done).map_err(Problem::of_visit)?;
    match tokio::time::timeout(VISIT_TIME_MAX, answer).await {
        Ok(Ok(next)) => {
            let mut chosen = chosen.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((std::mem::take(&mut *chosen), next))
        }
        Ok(Err(_)) => Err(Problem::draining()),
        Err(_) => Err(Problem::no_answer()),
    }
}

/// Which sessions are meant.
#[derive(Clone)]
enum Who {
    /// The one of this id.
    Session(String),
    /// All of this user.
    User(String),
}

impl Who {
    fn read(session: Option<&RawValue>, user: Option<&RawValue>) -> Result<Self, Problem> {
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).filter(|text| !text.is_empty());
        match (owned(body::text("session", session)?), owned(body::text("user", user)?)) {
            (Some(session), None) => Ok(Self::Session(session)),
            (None, Some(user)) => Ok(Self::User(user)),
            (None, None) => Err(Problem::field("session", "is missing: give the id of one, or a user")),
            (Some(_), Some(_)) => {
                Err(Problem::field("user", "and session exclude each other: give one of them"))
            }
        }
    }

    fn is(&self, session: &Session<'_, Visitor>) -> bool {
        match self {
            Self::Session(id) => *session.id() == **id,
            Self::User(user) => session.value().user() == Some(user),
        }
    }
}

/// A code that may go over the wire (RFC 6455 section 7.4).
fn code_of(number: u64) -> Result<u16, Problem> {
    let code = u16::try_from(number).unwrap_or_default();
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(code),
        _ => Err(Problem::field(
            "code",
            "give 1000 to 1003, 1007 to 1014, or 3000 to 4999 with a meaning of yours",
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect<'a> {
    #[serde(borrow, default)]
    session: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe<'a> {
    #[serde(borrow, default)]
    session: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user: Option<&'a RawValue>,
    #[serde(borrow, default)]
    topic: Option<&'a RawValue>,
}

const NORMAL: u16 = 1000;

/// RFC 6455 section 5.5: a control frame's payload of 125 bytes, less the code.
const REASON_BYTES_MAX: usize = 123;

/// How long a shard may take for one step.
const VISIT_TIME_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_must_not_go_over_the_wire_are_refused() {
        for good in [1000, 1001, 1008, 1011, 3000, 4001, 4999] {
            assert_eq!(u64::from(code_of(good).unwrap()), good);
        }
        for bad in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_536 + 1000, u64::MAX] {
            assert!(code_of(bad).is_err(), "{bad}");
        }
    }
}
