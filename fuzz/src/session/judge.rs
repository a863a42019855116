//! What a client got, judged by what the hooks have noted.
//!
//! In      all bytes that came over one connection, and the log
//! Out     a panic at the first byte that should not be there
//! Bounds  the bytes once or twice
//! Source  RFC 6455; docs/architecture.md on order

use std::collections::HashMap;

use fanwire_ws::{Kind, Role};
use serde_json::Value;

use super::hooks::{EVERYBODY, Log};
use crate::{
    head_twin::{Head, Start, read_response},
    rfc6455::{self, End, Said},
};

/// All that one client got.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    has_head: bool,
}

impl Received {
    /// Of a connection that begins with a handshake.
    pub(super) fn from_head() -> Received {
        Received { bytes: Vec::new(), has_head: true }
    }

    /// Of a connection that was adopted: frames from the start.
    pub(super) fn from_frames() -> Received {
        Received { bytes: Vec::new(), has_head: false }
    }

    pub(super) fn judge(&self, log: &Log, is_json: bool) {
        let frames = if self.has_head { judge_response(&self.bytes) } else { &self.bytes };
        let reading = rfc6455::read(frames, Role::Client, u64::MAX);
        assert!(!matches!(reading.end, End::Failed { .. }), "{:?} in {:x?}", reading.end, self.bytes);
        if matches!(reading.end, End::Closed) {
            assert!(reading.at_boundary, "nothing comes after a close frame");
        }
        let messages: Vec<_> = reading.events.iter().filter_map(|event| mark(&event.1, is_json)).collect();
        judge_messages(&messages, log);
    }
}

/// A message's mark, as it came.
struct Mark {
    lane: u64,
    number: u64,
    topic: String,
    to: Option<u64>,
    except: Option<u64>,
}

/// The response at the front of `bytes`; returns the frames behind it.
fn judge_response(bytes: &[u8]) -> &[u8] {
    match read_response(bytes) {
        // The connection broke.
        Head::Partial => &[],
        Head::Whole { start: Start::Status { status: 101, .. }, bytes: head_bytes, .. } => {
            &bytes[head_bytes..]
        }
        Head::Whole { fields, bytes: head_bytes, .. } => {
            let length =
                fields.iter().find(|field| field.0 == "Content-Length").expect("a body has a length");
            let length = std::str::from_utf8(&length.1).expect("a number").parse().expect("a number");
            assert!(bytes.len() - head_bytes <= length, "nothing comes after a refusal");
            &[]
        }
        Head::Bad => panic!("no response: {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// The mark of a message; `None` for control frames.
fn mark(said: &Said, is_json: bool) -> Option<Mark> {
    let Said::Message(kind, payload) = said else { return None };
    assert_eq!(*kind, Kind::Text, "the hooks send text");
    let value: Value = serde_json::from_slice(payload).expect("the hooks send JSON");
    let fields = if is_json { &value["data"] } else { &value };
    let topic = fields[2].as_str().expect("marks have a topic").to_owned();
    assert!(!is_json || value["topic"] == topic, "the envelope bears the topic");
    let [lane, number] = [&fields[0], &fields[1]].map(|field| field.as_u64().expect("marks have numbers"));
    Some(Mark { lane, number, topic, to: fields[3].as_u64(), except: fields[4].as_u64() })
}

/// Each in order per sender and topic, none twice, none for somebody else, none that was published after its receiver had left.
fn judge_messages(messages: &[Mark], log: &Log) {
    let mut last_numbers = HashMap::new();
    // Every session is greeted by name first, but a full queue may have dropped it.
    let who = messages.iter().find_map(|message| message.to);
    for message in messages {
        let last = last_numbers.insert((message.lane, &message.topic), message.number);
        assert!(last < Some(message.number), "number {} comes after {last:?}", message.number);
        let Some(who) = who else { continue };
        assert!(message.to.is_none_or(|to| to == who), "a message for {:?} came to {who}", message.to);
        assert_ne!(message.except, Some(who), "a message came to the one it should spare");
        let is_public = message.to.is_none() && message.topic != EVERYBODY;
        let serial = usize::try_from(who).expect("serials are small");
        assert!(
            !is_public || log.may_get(serial, &message.topic, message.number),
            "number {} of {} without subscription",
            message.number,
            message.topic
        );
    }
}
