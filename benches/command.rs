//! Commands: the one message that makes a server publish.
//!
//! In      the text `burst COUNT BYTES`, as a WebSocket message on the control connection
//! Out     how many payloads of which length to publish to all subscribers at once
//! Bounds  every server gets it the same way, from inside its event loop
//! Source  none

use std::{fmt, str::FromStr};

/// Publish `messages` payloads of `payload_bytes` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Messages published at once.
    pub messages: usize,
    /// Length of each payload.
    pub payload_bytes: usize,
}

impl fmt::Display for Burst {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "burst {} {}", self.messages, self.payload_bytes)
    }
}

impl FromStr for Burst {
    type Err = NotABurst;

    fn from_str(text: &str) -> Result<Self, NotABurst> {
        let mut words = text.split(' ');
        let (Some("burst"), Some(messages), Some(payload_bytes), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(NotABurst);
        };
        let number = |word: &str| word.parse().map_err(|_| NotABurst);
        Ok(Self { messages: number(messages)?, payload_bytes: number(payload_bytes)? })
    }
}

/// Some other text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotABurst;

/// The payload that every server publishes, as a binary message: nobody checks it for UTF-8.
#[must_use]
pub fn payload(payload_bytes: usize) -> Vec<u8> {
    let mut payload = FILLER.repeat(payload_bytes.div_ceil(FILLER.len()));
    payload.truncate(payload_bytes);
    payload
}

/// Whether a request's query is that of the control connection.
#[must_use]
pub fn is_control_query(query: Option<&str>) -> bool {
    query == Some("control")
}

/// A connection to this target gives commands and gets no messages.
pub const CONTROL_TARGET: &str = "/ws?control";

/// A connection to this target is a subscriber.
pub const SUBSCRIBER_TARGET: &str = "/ws";

const FILLER: &[u8] = b"fanwire ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_read_as_they_are_written() {
        let burst = Burst { messages: 16, payload_bytes: 1024 };
        assert_eq!(burst.to_string().parse(), Ok(burst));
        for wrong in ["", "burst", "burst 1", "burst 1 2 3", "burst -1 2", "quit 1 2"] {
            assert_eq!(wrong.parse::<Burst>(), Err(NotABurst), "{wrong}");
        }
        assert_eq!(payload(10), b"fanwire fa");
    }
}
