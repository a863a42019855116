//! Envelopes: the server's JSON around each message, `{"topic":T,"data":D}`.
//!
//! In      one topic; received messages
//! Out     requests to send; what a received message is
//! Bounds  the expected form of a delivery is compared, not parsed, and allocates nothing
//! Source  docs/protocol.md; the same words in `fanwire-server` and in `rooms`

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Requests and answers for one topic.
#[derive(Clone, Debug)]
pub struct Envelope {
    topic: String,
    subscribe: String,
    publish_start: String,
    delivery_start: String,
}

impl Envelope {
    /// For this topic.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        let quoted = serde_json::Value::from(topic).to_string();
        Self {
            topic: topic.to_owned(),
            subscribe: format!(r#"{{"topic":"subscribe","data":{{"topic":{quoted}}}}}"#),
            publish_start: format!(r#"{{"topic":"publish","data":{{"topic":{quoted},"data":"#),
            delivery_start: format!(r#"{{"topic":{quoted},"data":"#),
        }
    }

    /// The message that subscribes.
    #[must_use]
    pub fn subscribe(&self) -> &[u8] {
        self.subscribe.as_bytes()
    }

    /// Makes `out` the message that publishes what `data` appends: JSON.
    pub fn publish(&self, out: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
        out.clear();
        out.extend_from_slice(self.publish_start.as_bytes());
        data(out);
        out.extend_from_slice(b"}}");
    }

    /// What a received message is.
    #[must_use]
    pub fn read<'m>(&self, message: &'m [u8]) -> Incoming<'m> {
        let expected = message.strip_prefix(self.delivery_start.as_bytes());
        match expected.and_then(|rest| rest.strip_suffix(b"}")) {
            Some(data) => Incoming::Delivery(data),
            None => self.parse(message),
        }
    }

    /// A server may write its JSON in another way and still be right.
    fn parse<'m>(&self, message: &'m [u8]) -> Incoming<'m> {
        let Ok(envelope) = serde_json::from_slice::<Received<'m>>(message) else { return Incoming::Other };
        let data = envelope.data.map_or("", RawValue::get);
        match &*envelope.topic {
            topic if topic == self.topic => Incoming::Delivery(data.as_bytes()),
            "subscribed" => Incoming::Subscribed,
            "error" => Incoming::Error(data),
            _ => Incoming::Other,
        }
    }
}

/// A received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'m> {
    /// Published on the topic; its data.
    Delivery(&'m [u8]),
    /// The subscription is in force.
    Subscribed,
    /// The server refused a request; what it said.
    Error(&'m str),
    /// Something that was not asked for.
    Other,
}

#[derive(Deserialize)]
struct Received<'m> {
    #[serde(borrow)]
    topic: Cow<'m, str>,
    #[serde(borrow)]
    data: Option<&'m RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_read_in_any_json_form() {
        let envelope = Envelope::new("a\"b");
        for message in
            [r#"{"topic":"a\"b","data":"x"}"#, r#" { "data" : "x" , "topic" : "a\u0022b", "more":1 } "#]
        {
            assert_eq!(envelope.read(message.as_bytes()), Incoming::Delivery(b"\"x\""), "{message}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let envelope = Envelope::new("load");
        assert_eq!(envelope.read(br#"{"topic":"subscribed","data":{"topic":"load"}}"#), Incoming::Subscribed);
        assert_eq!(envelope.read(br#"{"topic":"error","data":"no"}"#), Incoming::Error("\"no\""));
        for other in [&b"{"[..], br#"{"topic":"welcome"}"#, br#"{"topic":7}"#, b"\xff"] {
            assert_eq!(envelope.read(other), Incoming::Other);
        }
    }

    #[test]
    fn requests_are_json() {
        let envelope = Envelope::new("load");
        let subscribe: serde_json::Value = serde_json::from_slice(envelope.subscribe()).unwrap();
        assert_eq!(subscribe, serde_json::json!({"topic": "subscribe", "data": {"topic": "load"}}));
        let mut publish = b"left over".to_vec();
        envelope.publish(&mut publish, |out| out.extend_from_slice(b"[1]"));
        let publish: serde_json::Value = serde_json::from_slice(&publish).unwrap();
        assert_eq!(publish, serde_json::json!({"topic": "publish", "data": {"topic": "load", "data": [1]}}));
    }
}
