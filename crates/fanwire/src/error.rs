//! Errors: what can be refused, and what to do about it.
//!
//! In      nothing
//! Out     one type per kind of call; `Copy` where they hold no cause from outside
//! Bounds  none
//! Source  none

use std::io;

use thiserror::Error;

pub use crate::driver::listener::{ListenAddress, ListenError};

/// Why a server could not be bound or started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The address could not be parsed or resolved.
    #[error("cannot resolve the address ({0}): give HOST:PORT, such as 127.0.0.1:8080")]
    Address(#[source] io::Error),
    /// The address cannot be listened on, or not with these options.
    #[error(transparent)]
    Listen(ListenError),
    /// Options that do not fit together or are out of range.
    #[error("option {option}: {advice}")]
    Option {
        /// The option to change.
        option: &'static str,
        /// What to change it to.
        advice: String,
    },
    /// Too few file descriptors for even a small server.
    #[error(
        "the limit of open files is {limit}, at least {needed} are needed: raise it (`ulimit -n`, LimitNOFILE=)"
    )]
    Descriptors {
        /// The limit in force.
        limit: u64,
        /// What is needed at least.
        needed: u64,
    },
    /// The chosen driver cannot be used here.
    #[error("the {driver} driver cannot be used: {reason}")]
    Driver {
        /// Its name.
        driver: &'static str,
        /// Why, and how to get it.
        reason: String,
    },
    /// A shard's thread could not be started.
    #[error("cannot start a shard's thread: {0}")]
    Thread(#[source] io::Error),
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A bounded ring or inbox on the way to a shard is full, or this shard's frames fill `frame_bytes_max`. Nobody
    /// got the message; try again later, or slow down. (Another shard whose frames fill its own cap finds out only
    /// later, and counts it in `frames_refused_memory`.)
    #[error("the way to a shard is full: publish again later")]
    Full,
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
    /// The topic is longer than `topic_bytes_max`.
    #[error("the topic is too long: shorten it or raise topic_bytes_max")]
    TopicTooLong,
    /// The frame is larger than `queue_bytes` and could never be queued.
    #[error("the payload is too large for any queue: split it or raise queue_bytes")]
    PayloadTooLarge,
    /// The message would be text and is not UTF-8.
    #[error("the payload is not UTF-8: send it as binary with the Raw codec, or encode it")]
    NotUtf8,
}

/// Why a message was not sent to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is closed or closing.
    #[error("the session is closed")]
    Closed,
    /// The session's queue is full and its socket takes nothing. With `Overflow::Close` the session has been
    /// closed by this; with `Overflow::DropNewest` this message has been dropped.
    #[error("the session's queue is full")]
    QueueFull,
    /// The way to the session's shard is full, or its frames fill `frame_bytes_max`; the session is unharmed.
    #[error("the way to the session's shard is full: send again later")]
    Full,
    /// See [`PublishError::PayloadTooLarge`]; the topic counts as well.
    #[error("the payload is too large for the queue: split it or raise queue_bytes")]
    PayloadTooLarge,
    /// See [`PublishError::NotUtf8`].
    #[error("the payload is not UTF-8: send it as binary with the Raw codec, or encode it")]
    NotUtf8,
}

impl From<PublishError> for SendError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Full => Self::Full,
            PublishError::Stopped => Self::Closed,
            PublishError::TopicTooLong | PublishError::PayloadTooLarge => Self::PayloadTooLarge,
            PublishError::NotUtf8 => Self::NotUtf8,
        }
    }
}

/// Why a session was not subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The session is closed or closing.
    #[error("the session is closed")]
    Closed,
    /// The session has `topics_per_session_max` topics.
    #[error("the session has too many topics: unsubscribe from some or raise topics_per_session_max")]
    TooManyTopics,
    /// The topic is longer than `topic_bytes_max`.
    #[error("the topic is too long: shorten it or raise topic_bytes_max")]
    TopicTooLong,
    /// The shard's memory for topics (`topic_memory_max`) is full, or, with handles, its inbox: try again later.
    #[error("the shard has no room for another subscription: try again later or raise topic_memory_max")]
    Full,
}
