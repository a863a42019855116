//! The forms of requests and answers, and how they are read and written.
//!
//! In      the data of a message, as its bytes came
//! Out     a request's fields, borrowed; an answer's JSON, its members in the order that is written here
//! Bounds  copies a string only if it has escapes; raw values keep their bytes

use std::borrow::Cow;

use fanwire::{Payload, PublishError, SendError, SubscribeError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `subscribe`, `unsubscribe`, and the answers to both.
#[derive(Deserialize, Serialize)]
pub(super) struct Topic<'a> {
    #[serde(borrow)]
    pub(super) topic: Cow<'a, str>,
}

/// `publish`.
#[derive(Deserialize)]
pub(super) struct Announced<'a> {
    #[serde(borrow)]
    pub(super) topic: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
}

/// `join_room` and `leave_room`.
#[derive(Deserialize)]
pub(super) struct Room<'a> {
    #[serde(borrow)]
    room: Cow<'a, str>,
}

impl Room<'_> {
    pub(super) fn topic(&self) -> String {
        room_topic(&self.room)
    }
}

/// `room_message`.
#[derive(Deserialize)]
pub(super) struct RoomMessage<'a> {
    #[serde(borrow)]
    pub(super) room: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) text: Cow<'a, str>,
}

/// `dm`, as it is asked for.
#[derive(Deserialize)]
pub(super) struct Direct<'a> {
    #[serde(borrow)]
    pub(super) to: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) text: Cow<'a, str>,
}

/// `close`.
#[derive(Deserialize)]
pub(super) struct Close<'a> {
    pub(super) code: u16,
    #[serde(borrow, default)]
    pub(super) reason: Cow<'a, str>,
}

/// `flood`.
#[derive(Deserialize)]
pub(super) struct Flood {
    pub(super) count: u32,
    pub(super) bytes: u32,
}

/// `welcome`.
#[derive(Serialize)]
pub(super) struct Welcome<'a> {
    pub(super) status: &'static str,
    pub(super) session: String,
    pub(super) user: &'a str,
}

/// What happens in rooms and to presence.
#[derive(Serialize)]
pub(super) struct Event<'a> {
    pub(super) r#type: &'static str,
    pub(super) user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
}

impl<'a> Event<'a> {
    pub(super) fn new(r#type: &'static str, user: &'a str) -> Self {
        Self { r#type, user, text: None, reason: None }
    }
}

/// What `chat` publishes.
#[derive(Serialize)]
pub(super) struct Chat<'a> {
    pub(super) user: &'a str,
    pub(super) data: &'a RawValue,
}

/// `dm`, as it arrives.
#[derive(Serialize)]
pub(super) struct Dm<'a> {
    pub(super) from: &'a str,
    pub(super) text: &'a str,
}

/// `count`.
#[derive(Serialize)]
pub(super) struct Count {
    pub(super) sessions: u64,
}

/// Why a request is not done: the text of `error`.
pub(super) struct Refusal(Cow<'static, str>);

impl Refusal {
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Refusal {
    fn from(text: &'static str) -> Self {
        Self(text.into())
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        Self(error.to_string().into())
    }
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        Self(error.to_string().into())
    }
}

impl From<SubscribeError> for Refusal {
    fn from(error: SubscribeError) -> Self {
        Self(error.to_string().into())
    }
}

/// Reads a request's object; `usage` says what it should have been.
pub(super) fn object<'a, T: Deserialize<'a>>(data: &'a [u8], usage: &'static str) -> Result<T, Refusal> {
    // serde would take an array for a struct as well.
    if data.first() != Some(&b'{') {
        return Err(usage.into());
    }
    value(data, usage)
}

/// Reads a request's data, whatever value it is.
pub(super) fn value<'a, T: Deserialize<'a>>(data: &'a [u8], usage: &'static str) -> Result<T, Refusal> {
    serde_json::from_slice(data).map_err(|_| usage.into())
}

/// Writes an answer.
pub(super) fn json<T: Serialize + ?Sized>(answer: &T) -> Payload<'static> {
    Payload::json(answer).expect("answers hold strings, numbers and raw values only")
}

pub(super) fn room_topic(room: &str) -> String {
    format!("room:{room}")
}
