//! Codecs: `Json` and `Raw` against a naive reading by `serde_json::Value`.
//!
//! In      a byte of flags, then a received message; or the count of a topic's bytes, the topic, and data to send
//! Out     an envelope is taken for one exactly if the twin finds a topic in it, and its data are the bytes that came;
//!         what is encoded is decoded again; nothing panics
//! Source  the documents of `Json` and `Raw`; RFC 8259
//!
//! The codec takes these, which a `Value` cannot hold, because it passes the bytes of `data` and of other members on or
//! over without reading them: numbers out of a double's range, nesting deeper than 128, escapes of lone surrogates, and
//! (in a binary message) members beside `topic` and `data` that are no UTF-8.
//! It refuses an object with two members `topic` or two `data`, of which a `Value` would keep the last.

use std::fmt;

use fanwire::{Codec, Json, Kind, Payload, PublishError, Raw};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::input::Input;

/// Checks one message.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    if flags & ENCODE == 0 {
        // Text has been checked to be UTF-8 before a codec sees it.
        let message = input.rest();
        let is_text = flags & BINARY == 0 && std::str::from_utf8(message).is_ok();
        check_received(if is_text { Kind::Text } else { Kind::Binary }, message);
    } else {
        let topic = String::from_utf8_lossy(input.short()).into_owned();
        check_sent(&topic, input.rest());
    }
}

fn check_received(kind: Kind, message: &[u8]) {
    let raw = Raw.decode(kind, message).expect("Raw takes everything");
    assert_eq!((raw.topic(), raw.data(), raw.kind()), ("", message, kind));

    let found = Json.decode(kind, message);
    if let Some(found) = &found {
        assert_eq!(found.kind(), kind);
        assert_data(message, found.data());
    }
    match serde_json::from_slice::<Members>(message) {
        Ok(members) => {
            let expected = members.envelope();
            let found = found.map(|found| (found.topic().to_owned(), found.data()));
            let found = found.map(|(topic, data)| (topic, value(data)));
            assert_eq!(found, expected);
        }
        Err(error) => {
            let known = UNREAD.iter().any(|reason| error.to_string().contains(reason))
                || std::str::from_utf8(message).is_err();
            assert!(found.is_none() || known, "taken for an envelope, but the twin says: {error}");
        }
    }
}

/// `data` lies in the message it came in, whole values only, nothing added and nothing left of the space around it.
fn assert_data(message: &[u8], data: &[u8]) {
    if data.is_empty() {
        return;
    }
    assert!(message.as_ptr_range().contains(&data.as_ptr()), "data are borrowed from the message");
    assert!(message.windows(data.len()).any(|window| std::ptr::eq(window, data)));
    assert!(std::str::from_utf8(data).is_ok() && data.trim_ascii() == data);
}

fn check_sent(topic: &str, data: &[u8]) {
    let data_text = std::str::from_utf8(data);
    let payloads =
        [Some(Payload::from(data)), Some(Payload::binary(data)), data_text.ok().map(Payload::text)];
    for payload in payloads.into_iter().flatten() {
        check_sent_json(topic, &payload);
        check_sent_raw(topic, &payload);
    }
}

fn check_sent_json(topic: &str, payload: &Payload<'_>) {
    let data = payload.as_bytes();
    let mut out = b"before".to_vec();
    let kind = Json.encode(topic, payload, &mut out);
    assert!(out.starts_with(b"before"), "what was in the buffer is kept");
    let message = &out[6..];
    if std::str::from_utf8(data).is_err() {
        assert_eq!(kind, Err(PublishError::NotUtf8));
        return;
    }
    assert_eq!(kind, Ok(Kind::Text));
    assert!(std::str::from_utf8(message).is_ok());
    // Payloads are not checked to be JSON; those that are must come out as they went in.
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(data).is_ok();
    if !data.is_empty() && !is_json {
        return;
    }
    let found = Json.decode(Kind::Text, message).expect("what we encode is an envelope");
    assert_eq!((found.topic(), found.data()), (topic, trim_json(data)));
    // Nothing but JSON's own space and the members' names stands around them.
    let name = serde_json::to_string(topic).expect("a string is JSON");
    let mut expected = format!("{{\"topic\":{name}").into_bytes();
    if !data.is_empty() {
        expected.extend(b",\"data\":");
        expected.extend(data);
    }
    expected.push(b'}');
    assert_eq!(message, expected);
}

fn check_sent_raw(topic: &str, payload: &Payload<'_>) {
    let mut out = b"before".to_vec();
    let kind = Raw.encode(topic, payload, &mut out).expect("text payloads are made of text");
    assert_eq!(kind, payload.kind().unwrap_or(Kind::Binary));
    assert_eq!(&out[..6], b"before");
    let found = Raw.decode(kind, &out[6..]).expect("Raw takes everything");
    assert_eq!(found.data(), payload.as_bytes());
}

/// RFC 8259 s2: the space that may stand around a value.
fn trim_json(mut data: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', after @ ..] = data {
        data = after;
    }
    while let [before @ .., b' ' | b'\t' | b'\n' | b'\r'] = data {
        data = before;
    }
    data
}

/// The value that `data` are; absent if they are empty.
fn value(data: &[u8]) -> Option<Value> {
    (!data.is_empty()).then(|| serde_json::from_slice(data).expect("the twin could read it in its place"))
}

/// An object, with all members in their order, so that none hides another.
struct Members(Vec<(String, Value)>);

impl Members {
    /// Topic and data, if this is an envelope.
    fn envelope(&self) -> Option<(String, Option<Value>)> {
        let all = |name| self.0.iter().filter(move |member| member.0 == name).map(|member| &member.1);
        let (topics, datas) = (all("topic").count(), all("data").count());
        match all("topic").next() {
            Some(Value::String(topic)) if topics == 1 && datas <= 1 => {
                Some((topic.clone(), all("data").next().cloned()))
            }
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// What serde_json says where it reads a value that the codec passes over.
const UNREAD: [&str; 5] = [
    "number out of range",
    "recursion limit exceeded",
    "lone leading surrogate in hex escape",
    "unexpected end of hex escape",
    "invalid unicode code point",
];

const BINARY: u8 = 0x01;
const ENCODE: u8 = 0x02;
