//! JSON patterns: messages that a server may write in any way that is the same JSON.
//!
//! In      a dialect's text, a received message
//! Out     whether the message has the text's members, and what stands in its places
//! Bounds  a message is parsed whole; only those come here that do not have the expected bytes
//! Source  RFC 8259: the order of members and white space mean nothing

use serde_json::Value;

use super::DialectError;

/// Members that a message must have. It may have more.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    value: Value,
    /// The word at `topic`, as JSON, where the pattern has one and no place.
    topic: Option<String>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, DialectError> {
        let filled = text.replace("{quoted_topic}", TOPIC).replace("{data}", DATA);
        let value: Value = serde_json::from_str(&filled)
            .map_err(|error| DialectError::Json { pattern: text.to_owned(), error })?;
        let word = value.get("topic").filter(|word| word.as_str().is_some_and(|word| !is(word, TOPIC)));
        Ok(Self { topic: word.map(Value::to_string), value })
    }

    /// The word by which such a message is known, with quotes.
    pub(super) fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// Topic and data of a message, as JSON, if it has the pattern's members.
    pub(super) fn read(&self, message: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let message: Value = serde_json::from_slice(message).ok()?;
        let (mut topic, mut data) = (Vec::new(), Vec::new());
        compare(&self.value, &message, &mut topic, &mut data).then_some((topic, data))
    }
}

fn compare(pattern: &Value, message: &Value, topic: &mut Vec<u8>, data: &mut Vec<u8>) -> bool {
    match (pattern, message) {
        (Value::String(place), any) if is(place, TOPIC) => {
            *topic = any.to_string().into_bytes();
            true
        }
        (Value::String(place), any) if is(place, DATA) => {
            *data = any.to_string().into_bytes();
            true
        }
        (Value::Object(pattern), Value::Object(message)) => pattern.iter().all(|(name, pattern)| {
            // Data may be missing, as in an envelope without any.
            match message.get(name) {
                Some(value) => compare(pattern, value, topic, data),
                None => pattern.as_str().is_some_and(|place| is(place, DATA)),
            }
        }),
        (pattern, message) => pattern == message,
    }
}

/// Whether a pattern's string is this place, which is written with its quotes.
fn is(string: &str, place: &str) -> bool {
    place.strip_prefix('"').and_then(|place| place.strip_suffix('"')) == Some(string)
}

/// Strings that no message has: their first character is of the private use area.
const TOPIC: &str = "\"\u{e000}topic\"";
const DATA: &str = "\"\u{e000}data\"";
