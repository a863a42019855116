//! Messages that say what they are: a number that nothing else has, and a filler that follows from it.
//!
//! In      a number and a length
//! Out     the payload to send, and the exact bytes that a peer must get
//! Bounds  `HEAD_BYTES_MAX` bytes beside the filler
//! Source  the envelope of `fanwire::Json`

use std::fmt::Write as _;

/// One message of the workload.
#[derive(Clone, Debug)]
pub struct Message {
    /// Unlike every other.
    pub id: u32,
    /// Empty for what is sent to one session under Raw: topics live on the server only.
    pub topic: String,
    /// Length of the filler.
    pub bytes: usize,
}

impl Message {
    /// The data, a JSON string.
    pub fn data(&self) -> String {
        let mut data = String::with_capacity(self.bytes + HEAD_BYTES_MAX);
        write!(data, "\"{}:", self.id).expect("writing to memory does not fail");
        data.push_str(&filler(self.id).repeat(self.bytes));
        data.push('"');
        data
    }

    /// Length of the frame that carries it: its header, and what `is` compares with.
    pub fn frame_bytes(&self, is_raw: bool) -> usize {
        let data = DATA_BYTES + self.id.to_string().len() + self.bytes;
        let payload = if is_raw { data } else { ENVELOPE_BYTES + self.topic.len() + data };
        let header = match payload {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        header + payload
    }

    /// Whether `payload` is exactly this message.
    pub fn is(&self, payload: &[u8], is_raw: bool) -> bool {
        if is_raw {
            payload == self.data().as_bytes()
        } else {
            payload == format!("{{\"topic\":\"{}\",\"data\":{}}}", self.topic, self.data()).as_bytes()
        }
    }
}

/// The number of a message, from its data or from its envelope.
pub fn id_of(payload: &[u8]) -> Option<u32> {
    // The topic's name holds no colon, and no digits in front of one.
    let end = payload.windows(2).position(|pair| pair[0].is_ascii_digit() && pair[1] == b':')? + 1;
    let start = payload[..end].iter().rposition(|byte| !byte.is_ascii_digit())? + 1;
    std::str::from_utf8(&payload[start..end]).ok()?.parse().ok()
}

/// A letter that differs between neighbours.
fn filler(id: u32) -> &'static str {
    let index = (id % 26) as usize;
    &"abcdefghijklmnopqrstuvwxyz"[index..=index]
}

/// What Json puts around topic and data.
const ENVELOPE_BYTES: usize = r#"{"topic":"","data":}"#.len();

/// Quotes and colon of the data.
const DATA_BYTES: usize = 3;

/// Quotes, number and colon.
pub const HEAD_BYTES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_again_and_is_no_other() {
        let message = Message { id: 4_711, topic: "topic 3".into(), bytes: 5 };
        let envelope = format!("{{\"topic\":\"topic 3\",\"data\":{}}}", message.data());
        assert_eq!(message.data(), "\"4711:fffff\"");
        for (payload, is_raw) in [(message.data(), true), (envelope, false)] {
            assert_eq!(id_of(payload.as_bytes()), Some(4_711));
            assert!(message.is(payload.as_bytes(), is_raw));
            assert_eq!(message.frame_bytes(is_raw), 2 + payload.len());
            let mut other = payload.into_bytes();
            let last = other.len() - 3;
            other[last] ^= 1;
            assert!(!message.is(&other, is_raw));
        }
        assert_eq!(id_of(b"no number"), None);
    }
}
