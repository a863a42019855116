//! Publishing: one message, to everybody, or many at once.
//!
//! In      JSON objects with `topic` and `data`
//! Out     messages in the shards' inboxes, their data unchanged
//! Bounds  one inbox place per message and interested shard; a batch waits `FULL_TIME_MAX` for room
//! Source  docs/http-api.md

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State as Of},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::Instant;

use super::{
    State,
    body::{self, JSON},
    problem::{Problem, json},
};
use crate::app::reserved;

pub(super) async fn publish(state: Of<Arc<State>>, request: Request) -> Result<Response, Problem> {
    let body = body::read(&state.room, request, JSON).await?;
    let message = Message::read(&body, &state)?;
    message.publish(&state)?;
    let subscribers = state.publisher.subscriber_count(&message.topic);
    Ok(json(StatusCode::OK, &json!({ "subscribers": subscribers })))
}

pub(super) async fn broadcast(state: Of<Arc<State>>, request: Request) -> Result<Response, Problem> {
    let body = body::read(&state.room, request, JSON).await?;
    let Message { topic, data } = Message::read(&body, &state)?;
    let sent = state.publisher.broadcast(&topic, data);
    sent.map_err(|error| Problem::of_publish(error, state.limits))?;
    Ok(json(StatusCode::OK, &json!({ "sessions": state.publisher.session_count() })))
}

/// Publishes one message per line. All lines are checked before the first is published, and read again then: a list of
/// them could be longer than their text.
pub(super) async fn batch(state: Of<Arc<State>>, request: Request) -> Result<Response, Problem> {
    let ends_at = Instant::now() + BATCH_TIME_MAX;
    let body = body::read(&state.room, request, LINES).await?;
    for (number, line) in lines(&body) {
        Message::read(line, &state).map_err(|problem| problem.at_line(number))?;
        if number % LINES_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    let messages = lines(&body).map(|(number, line)| (number, Message::read(line, &state)));
    let accepted = publish_each(messages, ends_at, |message| message.publish(&state)).await?;
    Ok(json(StatusCode::OK, &json!({ "accepted": accepted })))
}

/// Publishes message after message; how many. What was published must be told, so it ends before the request is given
/// up.
async fn publish_each<T>(
    messages: impl Iterator<Item = (usize, Result<T, Problem>)>,
    ends_at: Instant,
    publish: impl Fn(&T) -> Result<(), Problem>,
) -> Result<usize, Problem> {
    let mut accepted = 0;
    for (number, message) in messages {
        let published = match message {
            Ok(_) if Instant::now() >= ends_at => Err(Problem::full()),
            Ok(message) => wait_and_publish(|| publish(&message)).await,
            Err(problem) => Err(problem),
        };
        published.map_err(|problem| problem.at_line(number).after(accepted))?;
        accepted += 1;
        if number % LINES_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(accepted)
}

/// The lines with something in them, each with its number from 1 on.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let numbered = (1..).zip(body.split(|byte| *byte == b'\n'));
    numbered.filter(|(_, line)| !line.trim_ascii().is_empty())
}

/// Publishes a message as soon as there is room for it.
async fn wait_and_publish(publish: impl Fn() -> Result<(), Problem>) -> Result<(), Problem> {
    let mut since = None;
    loop {
        match publish() {
            Err(problem) if problem.is_full() && has_waited(&mut since).await => {}
            done => return done,
        }
    }
}

/// Waits until there may be room, unless that has been tried for long enough.
pub(super) async fn has_waited(since: &mut Option<Instant>) -> bool {
    let is_time = since.get_or_insert_with(Instant::now).elapsed() <= FULL_TIME_MAX;
    if is_time {
        tokio::time::sleep(FULL_PAUSE).await;
    }
    is_time
}

/// What is to be published.
struct Message<'a> {
    topic: Cow<'a, str>,
    data: &'a str,
}

impl<'a> Message<'a> {
    fn read(text: &'a [u8], state: &State) -> Result<Self, Problem> {
        let Fields { topic, data } = body::object(text)?;
        let topic = body::text("topic", topic)?.ok_or_else(|| Problem::field("topic", "is missing"))?;
        check_topic(&topic, state)?;
        if let Some(reserved) = reserved(&topic) {
            let error = format!("{reserved:?} is a name of the server's own messages: choose another");
            return Err(Problem::field("topic", error));
        }
        Ok(Self { topic, data: data.map_or("", RawValue::get) })
    }

    fn publish(&self, state: &State) -> Result<(), Problem> {
        let published = state.publisher.publish(&self.topic, self.data);
        published.map_err(|error| Problem::of_publish(error, state.limits))
    }
}

/// Checks the form of a topic's name.
pub(super) fn check_topic(topic: &str, state: &State) -> Result<(), Problem> {
    let max = state.limits.topic_bytes_max;
    match topic.len() {
        0 => Err(Problem::field("topic", "is empty: name one")),
        bytes if bytes as u64 > u64::from(max) => {
            Err(Problem::field("topic", format!("has at most {max} bytes in UTF-8: shorten it")))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow, default)]
    topic: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "body::present")]
    data: Option<&'a RawValue>,
}

const LINES: &[&str] = &["application/x-ndjson", "application/jsonl", "application/json-lines"];

/// Other requests have their turn in between.
const LINES_PER_TURN: usize = 1_024;

/// How long a batch waits for room before it gives up, at each message; and what visits shards, at each of them.
const FULL_TIME_MAX: Duration = Duration::from_secs(1);

const FULL_PAUSE: Duration = Duration::from_millis(1);

/// For all of a batch but its last message's wait, within `ANSWER_TIME_MAX` of `routes`.
const BATCH_TIME_MAX: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_batch_that_takes_too_long_says_how_many_were_published() {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let of = |count| {
            runtime.block_on(async {
                let (ends_at, last) = (Instant::now() + BATCH_TIME_MAX, Cell::new(Instant::now()));
                // Each waits for room for 0.9 s.
                let publish = |(): &()| {
                    if last.get().elapsed() < Duration::from_millis(900) {
                        return Err(Problem::full());
                    }
                    last.set(Instant::now());
                    Ok(())
                };
                publish_each((1..=count).map(|number| (number, Ok(()))), ends_at, publish).await
            })
        };
        assert_eq!(of(50).unwrap(), 50);
        let problem = of(100).unwrap_err();
        assert!(problem.is_full());
        let said = serde_json::to_value(&problem).unwrap();
        assert_eq!((&said["accepted"], &said["line"]), (&json!(56), &json!(57)), "{said}");
    }
}
