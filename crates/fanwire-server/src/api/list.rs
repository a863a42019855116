//! Lists: topics and sessions, page by page.
//!
//! In      queries
//! Out     a page, and where the next one begins
//! Bounds  `LIMIT_MAX` entries a page; a search ends after `SEARCH_TIME_MAX` with what it has found
//! Source  docs/http-api.md

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Query, State as Of, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use fanwire::{Place, Session, TopicOrder};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    State,
    problem::{Problem, json},
    sessions::step,
};
use crate::visitor::Visitor;

pub(super) async fn topics(
    state: Of<Arc<State>>,
    query: Result<Query<TopicQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(TopicQuery { prefix, after, order, limit }) = query.map_err(bad_query)?;
    let limit = limit_of(limit)?;
    let order = match order {
        Order::Name => TopicOrder::ByName { after: after.as_deref() },
        Order::Subscribers if after.is_some() => {
            return Err(Problem::field("after", "goes with order=name only: leave it out"));
        }
        Order::Subscribers => TopicOrder::LargestFirst,
    };
    // One more tells whether there is another page.
    let mut topics = state.publisher.topics(order, &prefix, limit + 1);
    let has_more = topics.len() > limit;
    topics.truncate(limit);
    let is_by_name = matches!(order, TopicOrder::ByName { .. });
    let next = topics.last().filter(|_| has_more && is_by_name).map(|(name, _)| name.clone());
    let rows: Vec<_> =
        topics.iter().map(|(topic, subscribers)| TopicRow { topic, subscribers: *subscribers }).collect();
    Ok(json(StatusCode::OK, &json!({ "topics": rows, "next": next })))
}

pub(super) async fn sessions(
    state: Of<Arc<State>>,
    query: Result<Query<SessionQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(bad_query)?;
    let limit = limit_of(query.limit)?;
    let from = match &query.after {
        None => Place::default(),
        Some(after) => u64::from_str_radix(after, 16)
            .map(Place::from)
            .map_err(|_| Problem::field("after", "give the `next` of the page before"))?,
    };
    let query = Arc::new(query);
    let (mut rows, mut next) = (Vec::new(), Some(from));
    let started = Instant::now();
    while let Some(place) = next.filter(|_| rows.len() < limit && started.elapsed() < SEARCH_TIME_MAX) {
        let asked = query.clone();
        let choose = move |session: &mut Session<'_, Visitor>| SessionRow::of(session, &asked, place.shard());
        let (more, behind) = step(&state, place, limit - rows.len(), choose).await?;
        rows.extend(more);
        // An id has only one session.
        next = behind.filter(|_| rows.is_empty() || query.session.is_none());
    }
    let next = next.map(|place| format!("{:x}", u64::from(place)));
    Ok(json(StatusCode::OK, &json!({ "sessions": rows, "next": next })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicQuery {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    #[serde(default)]
    order: Order,
    limit: Option<usize>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Name,
    Subscribers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionQuery {
    session: Option<String>,
    user: Option<String>,
    topic: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct TopicRow<'a> {
    topic: &'a str,
    subscribers: u64,
}

#[derive(Serialize)]
struct SessionRow {
    session: String,
    user: Option<String>,
    peer: String,
    shard: usize,
    topics: usize,
    queued: QueuedRow,
    /// Only of a session that was asked for by its id: others may have a thousand each.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_names: Option<Vec<String>>,
}

#[derive(Serialize)]
struct QueuedRow {
    messages: u32,
    bytes: u64,
    dropped: u32,
    blocked: bool,
}

impl SessionRow {
    /// None of a session that was not asked for.
    fn of(session: &Session<'_, Visitor>, query: &SessionQuery, shard: usize) -> Option<Self> {
        let user = session.value().user();
        if query.user.as_deref().is_some_and(|wanted| user != Some(wanted)) {
            return None;
        }
        if query.session.as_deref().is_some_and(|wanted| *session.id() != *wanted) {
            return None;
        }
        // Last, for it costs the most.
        if query.topic.as_deref().is_some_and(|wanted| !session.is_subscribed(wanted)) {
            return None;
        }
        let queued = session.queued();
        let names = || session.topics().into_iter().map(str::to_owned).collect();
        Some(Self {
            session: session.id().to_string(),
            user: user.map(str::to_owned),
            peer: session.peer().to_string(),
            shard,
            topics: session.topic_count(),
            queued: QueuedRow {
                messages: queued.messages,
                bytes: queued.bytes,
                dropped: queued.dropped,
                blocked: queued.blocked,
            },
            topic_names: query.session.as_ref().map(|_| names()),
        })
    }
}

fn limit_of(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(Problem::field("limit", format!("give 1 to {LIMIT_MAX}"))),
    }
}

fn bad_query(rejection: QueryRejection) -> Problem {
    let said = rejection.body_text();
    let what = said.strip_prefix("Failed to deserialize query string: ").unwrap_or(&said);
    Problem::bad(format!("give the documented parameters: {what}"))
}

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// A page may take so long to fill; what is found by then is an answer, with where to go on.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(2);
