//! Problems: why a request of the API was refused.
//!
//! In      what was wrong
//! Out     a status, and `{"error": …}` that says what to do
//! Bounds  what is quoted of a request is cut by whoever quotes
//! Source  RFC 9110 section 15; docs/http-api.md

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use fanwire::{PublishError, SendError};
use serde::Serialize;

use crate::problem::Limits;

/// A refusal.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(skip)]
    status: StatusCode,
    /// What to do, for people.
    error: String,
    /// The field that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    /// The line of a batch, from 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Messages of a batch that were published before.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<usize>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), field: None, line: None, accepted: None }
    }

    /// A body or a query that is not as it should be.
    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// One of its fields.
    pub(super) fn field(field: &'static str, error: impl AsRef<str>) -> Self {
        Self { field: Some(field), ..Self::bad(format!("{field}: {}", error.as_ref())) }
    }

    pub(super) fn draining() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping: ask another, or again later")
    }

    /// A queue is full.
    pub(super) fn full() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "the server has more to deliver than it can take: try again later",
        )
    }

    pub(super) fn no_answer() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "a shard does not answer: it is busy or ending; try again later",
        )
    }

    pub(super) fn of_publish(error: PublishError, limits: Limits) -> Self {
        match error {
            PublishError::Full => Self::full(),
            PublishError::Stopped => Self::draining(),
            PublishError::TopicTooLong => Self::field(
                "topic",
                format!("has at most {} bytes in UTF-8: shorten it", limits.topic_bytes_max),
            ),
            error => Self {
                field: Some("data"),
                ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("data: {error}"))
            },
        }
    }

    pub(super) fn of_visit(error: SendError) -> Self {
        match error {
            SendError::Full => Self::full(),
            _ => Self::draining(),
        }
    }

    /// In a batch.
    pub(super) fn at_line(self, line: usize) -> Self {
        Self { error: format!("line {line}: {}", self.error), line: Some(line), ..self }
    }

    pub(super) fn after(self, accepted: usize) -> Self {
        Self { accepted: Some(accepted), ..self }
    }

    pub(super) fn is_full(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self);
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"))
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            // The rest of the body is not read.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"))
            }
            _ => None,
        };
        response
    }
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("texts, numbers and lists can always be written as JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
