//! Frames and payloads: what is written once and sent to many.
//!
//! In      a topic and a payload, as the codec arranges them
//! Out     one immutable allocation: frame header, payload, and the topic's name behind them
//! Bounds  one allocation per frame, however many sessions, shards and threads share it
//! Source  RFC 6455 section 5.2

use std::{borrow::Cow, fmt, sync::Arc};

use fanwire_ws::{Header, Kind, Opcode};
use serde::Serialize;

use crate::{codec::Codec, error::PublishError};

/// One encoded WebSocket frame, ready to be sent to any number of sessions.
///
/// Cloning costs one atomic increment. Made by [`Publisher::frame`](crate::Publisher::frame).
// `Arc<[u8]>` and not `Bytes`: a `Bytes` made of a vector allocates a second time at its first clone.
#[derive(Clone)]
pub struct Frame {
    buffer: Arc<[u8]>,
    frame_bytes: u32,
}

impl Frame {
    /// The frame as it goes over the wire, header included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.frame_bytes as usize]
    }

    /// Length on the wire.
    #[expect(clippy::len_without_is_empty, reason = "a frame has at least its header")]
    pub fn len(&self) -> u32 {
        self.frame_bytes
    }

    /// What holding it costs: its one allocation, of which it may be the last owner.
    pub(crate) fn buffer_bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// Whether both are the same allocation.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    /// The topic it was made for; empty if it was made for one session.
    pub(crate) fn topic(&self) -> &str {
        std::str::from_utf8(&self.buffer[self.frame_bytes as usize..]).expect("the topic came from a str")
    }

    /// Encodes a message by `codec` into one allocation. `scratch` is only working space.
    pub(crate) fn encode(
        codec: &dyn Codec,
        topic: &str,
        payload: &Payload<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<Self, PublishError> {
        scratch.clear();
        scratch.resize(HEADER_ROOM, 0);
        let kind = codec.encode(topic, payload, scratch)?;
        Self::finish(kind.opcode(), topic, scratch)
    }

    /// Bytes that are no frame but travel like one: a handshake response.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        let frame_bytes = u32::try_from(bytes.len()).expect("responses are small");
        Self { buffer: Arc::from(bytes), frame_bytes }
    }

    #[cfg(test)]
    pub(crate) fn new(buffer: Arc<[u8]>) -> Self {
        let frame_bytes = u32::try_from(buffer.len()).unwrap();
        Self { buffer, frame_bytes }
    }

    /// Puts the header in the room in front of the payload and copies both, and the topic, once.
    fn finish(opcode: Opcode, topic: &str, scratch: &mut Vec<u8>) -> Result<Self, PublishError> {
        let payload_bytes = scratch.len() - HEADER_ROOM;
        let header = Header { fin: true, opcode, mask: None, payload_bytes: payload_bytes as u64 };
        let mut head = [0; fanwire_ws::HEADER_BYTES_MAX];
        let head_bytes = header.encode(&mut head);
        let start = HEADER_ROOM - head_bytes;
        scratch[start..HEADER_ROOM].copy_from_slice(&head[..head_bytes]);
        let frame_bytes =
            u32::try_from(payload_bytes + head_bytes).map_err(|_| PublishError::PayloadTooLarge)?;
        scratch.extend_from_slice(topic.as_bytes());
        let frame = Self { buffer: Arc::from(&scratch[start..]), frame_bytes };
        scratch.truncate(HEADER_ROOM);
        scratch.shrink_to(SCRATCH_BYTES_KEPT);
        Ok(frame)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("bytes", &self.frame_bytes).finish()
    }
}

/// What a message carries: bytes, and whether they are text. With [`Json`](crate::Json) they must be JSON, a
/// string in its quotes.
///
/// Made from `&str` and `String` (text), from `&[u8]` and `Vec<u8>` (whatever the codec prefers: text for
/// [`Json`](crate::Json), binary for [`Raw`](crate::Raw)), or by [`Payload::json`].
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    bytes: Cow<'a, [u8]>,
    kind: Option<Kind>,
}

impl<'a> Payload<'a> {
    /// Text. Costs nothing.
    pub fn text(text: &'a str) -> Self {
        Self { bytes: Cow::Borrowed(text.as_bytes()), kind: Some(Kind::Text) }
    }

    /// Opaque bytes. Costs nothing.
    pub fn binary(bytes: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), kind: Some(Kind::Binary) }
    }

    /// A value as JSON text.
    ///
    /// # Errors
    /// The value cannot be written as JSON (a map whose keys are no strings, say).
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Payload<'static>, serde_json::Error> {
        Ok(Payload { bytes: Cow::Owned(serde_json::to_vec(value)?), kind: Some(Kind::Text) })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Text or binary, if whoever made it said so.
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self::text(text)
    }
}

impl<'a> From<&'a String> for Payload<'a> {
    fn from(text: &'a String) -> Self {
        Self::text(text)
    }
}

impl From<String> for Payload<'_> {
    fn from(text: String) -> Self {
        Self { bytes: Cow::Owned(text.into_bytes()), kind: Some(Kind::Text) }
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), kind: None }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), kind: None }
    }
}

impl<'a> From<&'a Vec<u8>> for Payload<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self { bytes: Cow::Borrowed(bytes), kind: None }
    }
}

impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: Cow::Owned(bytes), kind: None }
    }
}

impl<'a> From<&'a bytes::Bytes> for Payload<'a> {
    fn from(bytes: &'a bytes::Bytes) -> Self {
        Self { bytes: Cow::Borrowed(bytes), kind: None }
    }
}

/// An unmasked header is at most this long; payloads are written behind such a gap.
const HEADER_ROOM: usize = 10;

/// A scratch buffer that a large message has grown is cut back to this.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Json, Raw};

    #[test]
    fn header_payload_and_topic_lie_in_one_allocation() {
        let mut scratch = Vec::new();
        let frame = Frame::encode(&Json, "news", &Payload::from("1"), &mut scratch).unwrap();
        let text = r#"{"topic":"news","data":1}"#;
        assert_eq!(frame.as_bytes()[..2], [0x81, u8::try_from(text.len()).unwrap()]);
        assert_eq!(&frame.as_bytes()[2..], text.as_bytes());
        assert_eq!(frame.topic(), "news");
    }

    #[test]
    fn every_length_form_parses_back() {
        let mut scratch = Vec::new();
        for bytes in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let payload = vec![b'x'; bytes];
            let frame = Frame::encode(&Raw, "t", &Payload::binary(&payload), &mut scratch).unwrap();
            let fanwire_ws::Parsed::Header(header, at) = Header::parse(frame.as_bytes()).unwrap() else {
                panic!("a whole header is there")
            };
            assert_eq!((header.opcode, header.payload_bytes), (Opcode::Binary, bytes as u64));
            assert_eq!(&frame.as_bytes()[at..], &payload[..]);
        }
    }
}
