//! Problems: what a client's message can be refused for.
//!
//! In      what was wrong, or what the engine refused
//! Out     a stable code for programs and a sentence for people: the data of an `error` message
//! Bounds  what is quoted of the client's own text is cut at `QUOTED_CHARACTERS_MAX`
//! Source  docs/protocol.md

use fanwire::{PublishError, SendError, SubscribeError};
use thiserror::Error;

use crate::auth::Refusal;

/// Why a message was refused. Codes never change their meaning; texts may.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Problem {
    #[error("{request} needs data of the form {form}")]
    BadRequest { request: &'static str, form: &'static str },
    #[error("{0:?} is no request: send subscribe, unsubscribe, publish, ping or auth")]
    UnknownTopic(String),
    #[error("clients may not publish on this server: start it with --client-publish true to let them")]
    PublishDisabled,
    #[error("this session has {max} topics, the most it may have: unsubscribe from some")]
    TooManyTopics { max: u32 },
    #[error("a topic's name has at most {max} bytes in UTF-8: shorten it")]
    TopicTooLong { max: u32 },
    #[error("this session may not {verb} {topic:?}")]
    Forbidden { verb: &'static str, topic: String },
    #[error("{0}")]
    Unauthorized(Refusal),
    /// In the webhook's words.
    #[error("{0}")]
    Refused(String),
    #[error("the token is of another user than this session's: connect anew with it")]
    OtherUser,
    #[error("whether the token is good cannot be found out at present: send it again later")]
    AuthUnavailable,
    #[error("a token of this session was looked at just now, or still is: wait a second")]
    TooSoon,
    #[error("this server asks for no token")]
    AuthDisabled,
    #[error("{0:?} is a name of the server's own messages: choose another topic")]
    ReservedTopic(&'static str),
    #[error("the payload is too large for any client's queue: split it")]
    PayloadTooLarge,
    #[error("the server has more to deliver than it can take: publish again later")]
    Busy,
    #[error("the server is stopping: connect again later")]
    Stopping,
}

impl Problem {
    /// An unknown request, quoted no longer than a person would read.
    pub(crate) fn unknown_topic(topic: &str) -> Self {
        Self::UnknownTopic(quoted(topic))
    }

    /// A topic that the rules do not open to this session.
    pub(crate) fn forbidden(verb: &'static str, topic: &str) -> Self {
        Self::Forbidden { verb, topic: quoted(topic) }
    }

    /// What a program decides by.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "bad_request",
            Self::UnknownTopic(_) => "unknown_topic",
            Self::PublishDisabled => "publish_disabled",
            Self::Forbidden { .. } => "forbidden",
            Self::Unauthorized(_) | Self::Refused(_) | Self::OtherUser => "unauthorized",
            Self::AuthUnavailable => "auth_unavailable",
            Self::TooSoon => "too_soon",
            Self::AuthDisabled => "auth_disabled",
            Self::TooManyTopics { .. } => "too_many_topics",
            Self::TopicTooLong { .. } => "topic_too_long",
            Self::ReservedTopic(_) => "reserved_topic",
            Self::PayloadTooLarge => "payload_too_large",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
        }
    }

    /// All codes.
    pub(crate) const CODES: [&'static str; 14] = [
        "bad_request",
        "unknown_topic",
        "publish_disabled",
        "forbidden",
        "unauthorized",
        "auth_unavailable",
        "too_soon",
        "auth_disabled",
        "too_many_topics",
        "topic_too_long",
        "reserved_topic",
        "payload_too_large",
        "busy",
        "stopping",
    ];

    /// What the engine refused to subscribe to.
    pub(crate) fn of_subscribe(error: SubscribeError, limits: Limits) -> Self {
        match error {
            SubscribeError::TooManyTopics => Self::TooManyTopics { max: limits.topics_per_session_max },
            SubscribeError::TopicTooLong => Self::TopicTooLong { max: limits.topic_bytes_max },
            SubscribeError::Closed => Self::Stopping,
            _ => Self::Busy,
        }
    }

    /// What the engine refused to publish.
    pub(crate) fn of_publish(error: PublishError, limits: Limits) -> Self {
        match error {
            PublishError::TopicTooLong => Self::TopicTooLong { max: limits.topic_bytes_max },
            PublishError::PayloadTooLarge => Self::PayloadTooLarge,
            PublishError::Stopped => Self::Stopping,
            _ => Self::Busy,
        }
    }

    /// What the engine refused to answer; `None` if the session has ended by it, so that nobody is left to tell.
    pub(crate) fn of_answer(error: SendError) -> Option<Self> {
        (error == SendError::PayloadTooLarge).then_some(Self::PayloadTooLarge)
    }
}

fn quoted(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTED_CHARACTERS_MAX).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    quoted
}

/// The limits that problems name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) topics_per_session_max: u32,
    pub(crate) topic_bytes_max: u32,
}

const QUOTED_CHARACTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { topics_per_session_max: 3, topic_bytes_max: 9 };

    #[test]
    fn long_requests_are_quoted_in_part() {
        let quoted = Problem::unknown_topic(&"ä".repeat(65)).to_string();
        assert!(quoted.starts_with(&format!("\"{}…\" is no request", "ä".repeat(64))), "{quoted}");
        assert!(
            Problem::unknown_topic(&"ä".repeat(64))
                .to_string()
                .starts_with(&format!("\"{}\"", "ä".repeat(64)))
        );
    }

    #[test]
    fn refusals_of_the_engine_keep_their_meaning_and_name_the_limit() {
        let code = |error| Problem::of_publish(error, LIMITS).code();
        assert_eq!(code(PublishError::Full), "busy");
        assert_eq!(code(PublishError::Stopped), "stopping");
        assert_eq!(code(PublishError::PayloadTooLarge), "payload_too_large");
        assert_eq!(Problem::of_publish(PublishError::TopicTooLong, LIMITS), Problem::TopicTooLong { max: 9 });
        let problem = Problem::of_subscribe(SubscribeError::TooManyTopics, LIMITS);
        assert_eq!(problem, Problem::TooManyTopics { max: 3 });
        assert_eq!(Problem::of_answer(SendError::QueueFull), None);
    }
}
