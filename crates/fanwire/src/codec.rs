//! Codecs: how topics and payloads lie in WebSocket messages.
//!
//! In      a topic and a payload, or a received message
//! Out     the message to send, or topic and data of the received one
//! Bounds  decoding borrows; encoding appends to a buffer of the caller
//! Source  the `{"topic","data"}` envelope of the package whose behaviour Fanwire follows

use std::borrow::Cow;

use fanwire_ws::Kind;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{error::PublishError, frame::Payload};

/// Arranges topic and payload in a message, and finds them again. Users may bring their own.
pub trait Codec: Send + Sync + 'static {
    /// Appends the message for `payload` on `topic` to `out` and says whether it is text.
    ///
    /// # Errors
    /// [`PublishError::NotUtf8`] if it would be text and is not; text that is no UTF-8 makes every receiver
    /// fail the connection (RFC 6455 section 8.1).
    fn encode(&self, topic: &str, payload: &Payload<'_>, out: &mut Vec<u8>) -> Result<Kind, PublishError>;

    /// Topic and data of a received message; `None` if it is not of this codec's form. Such a message is
    /// counted and skipped, the session stays.
    fn decode<'a>(&self, kind: Kind, payload: &'a [u8]) -> Option<Message<'a>>;
}

/// A received message, as [`Handler::on_message`](crate::Handler::on_message) sees it.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    topic: Cow<'a, str>,
    data: &'a [u8],
    kind: Kind,
}

impl<'a> Message<'a> {
    /// A message of these parts; for codecs.
    pub fn new(topic: impl Into<Cow<'a, str>>, data: &'a [u8], kind: Kind) -> Self {
        Self { topic: topic.into(), data, kind }
    }

    /// The topic; empty with [`Raw`].
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The data: with [`Json`] the bytes of the `data` member as they came (empty if it is missing), with
    /// [`Raw`] the whole payload.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The data as text, if it is UTF-8. Always so for text messages.
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.data).ok()
    }

    /// Whether it came as text or binary.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// `{"topic":T,"data":D}`, D any JSON value whose bytes are passed on untouched. The default.
///
/// Received: an object whose `topic` is a string; `data` may be missing, other members are ignored, binary is
/// handled like text. Sent: text; an empty payload leaves `data` out. Payloads are checked to be UTF-8, not to
/// be JSON: use [`Payload::json`] for values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Codec for Json {
    fn encode(&self, topic: &str, payload: &Payload<'_>, out: &mut Vec<u8>) -> Result<Kind, PublishError> {
        out.extend_from_slice(b"{\"topic\":");
        write_json_string(topic, out);
        let data = utf8(payload)?;
        if !data.is_empty() {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(data.as_bytes());
        }
        out.push(b'}');
        Ok(Kind::Text)
    }

    fn decode<'a>(&self, kind: Kind, payload: &'a [u8]) -> Option<Message<'a>> {
        // serde would take an array for a struct as well.
        if payload.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return None;
        }
        let envelope: Envelope<'a> = serde_json::from_slice(payload).ok()?;
        let data = envelope.data.map_or(&[][..], |data| data.get().as_bytes());
        Some(Message { topic: envelope.topic, data, kind })
    }
}

/// The payload is the message, text or binary; topics live on the server only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec for Raw {
    fn encode(&self, _topic: &str, payload: &Payload<'_>, out: &mut Vec<u8>) -> Result<Kind, PublishError> {
        let kind = payload.kind().unwrap_or(Kind::Binary);
        if kind == Kind::Text {
            utf8(payload)?;
        }
        out.extend_from_slice(payload.as_bytes());
        Ok(kind)
    }

    fn decode<'a>(&self, kind: Kind, payload: &'a [u8]) -> Option<Message<'a>> {
        Some(Message { topic: Cow::Borrowed(""), data: payload, kind })
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// `"data":null` is data, not its absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn utf8<'a>(payload: &'a Payload<'_>) -> Result<&'a str, PublishError> {
    std::str::from_utf8(payload.as_bytes()).map_err(|_| PublishError::NotUtf8)
}

fn write_json_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing a string to a vector cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Option<(String, String)> {
        let message = Json.decode(Kind::Text, text.as_bytes())?;
        Some((message.topic().to_owned(), message.text().unwrap().to_owned()))
    }

    #[test]
    fn data_keeps_its_bytes() {
        let found = json(r#" {"x":[1,2],"data": {"a" : 1.0e+2,"a":2} ,"topic":"t"}"#).unwrap();
        assert_eq!(found, ("t".into(), r#"{"a" : 1.0e+2,"a":2}"#.into()));
    }

    #[test]
    fn missing_data_is_empty_and_null_is_null() {
        assert_eq!(json(r#"{"topic":"t"}"#).unwrap().1, "");
        assert_eq!(json(r#"{"topic":"t","data":null}"#).unwrap().1, "null");
    }

    #[test]
    fn escaped_topics_are_unescaped_and_escaped_again() {
        assert_eq!(json(r#"{"topic":"a\"\u00e4","data":1}"#).unwrap().0, "a\"ä");
        let mut out = Vec::new();
        Json.encode("a\"ä\n", &Payload::from("1"), &mut out).unwrap();
        assert_eq!(out, "{\"topic\":\"a\\\"ä\\n\",\"data\":1}".as_bytes());
    }

    #[test]
    fn what_is_no_envelope_is_not_taken_for_one() {
        for text in
            ["", " ", "1", "null", "[]", r#"["t",1]"#, "{}", r#"{"topic":1}"#, r#"{"topic":"t"} x"#, "{"]
        {
            assert_eq!(json(text), None, "{text}");
        }
        assert!(Json.decode(Kind::Binary, b"{\"topic\":\"\xff\"}").is_none());
    }

    #[test]
    fn empty_payloads_leave_data_out() {
        let mut out = Vec::new();
        Json.encode("t", &Payload::from(""), &mut out).unwrap();
        assert_eq!(out, br#"{"topic":"t"}"#);
    }

    #[test]
    fn text_that_is_no_utf8_is_refused_before_it_reaches_anybody() {
        let mut out = Vec::new();
        assert_eq!(Json.encode("t", &Payload::from(b"\"\xff\""), &mut out), Err(PublishError::NotUtf8));
        assert_eq!(Raw.encode("t", &Payload::from(b"\xff"), &mut out), Ok(Kind::Binary));
    }
}
