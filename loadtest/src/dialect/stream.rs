//! Streams: dialects whose messages are cut anywhere, put together again.
//!
//! In      payloads as they arrive on one connection
//! Out     each message that is now whole
//! Bounds  `STREAM_BYTES_MAX` of a message that is not whole; nothing is kept of one that is
//! Source  NATS sends its protocol as a stream inside WebSocket messages

use super::{Dialect, Incoming, Role, template::Match};

/// What has come of a message that is not whole; empty where the dialect's messages are never cut.
#[derive(Debug, Default)]
pub struct Stream(Vec<u8>);

impl Stream {
    /// Takes a payload, and hands over what is whole. False if more waits than any message has.
    pub fn take(
        &mut self,
        dialect: &Dialect,
        role: Role,
        payload: &[u8],
        mut on_incoming: impl FnMut(Incoming<'_>),
    ) -> bool {
        if !dialect.is_stream {
            on_incoming(dialect.read(role, payload));
            return true;
        }
        if self.0.is_empty() {
            let taken = take_whole(dialect, role, payload, &mut on_incoming);
            self.0.extend_from_slice(&payload[taken..]);
        } else {
            self.0.extend_from_slice(payload);
            let taken = take_whole(dialect, role, &self.0, &mut on_incoming);
            self.0.drain(..taken);
        }
        self.0.len() <= STREAM_BYTES_MAX
    }
}

/// How much of `bytes` was whole.
fn take_whole(
    dialect: &Dialect,
    role: Role,
    bytes: &[u8],
    on_incoming: &mut impl FnMut(Incoming<'_>),
) -> usize {
    let mut taken = 0;
    while taken < bytes.len() {
        let rest = &bytes[taken..];
        let delivery = dialect.delivery.as_ref().map_or(Match::None, |form| form.template.read_stream(rest));
        match delivery {
            Match::Whole(found) => {
                on_incoming(Incoming::Delivery { topic: found.topic.into(), data: found.data.into() });
                taken += found.bytes;
            }
            Match::Partial => break,
            // All else is a line.
            Match::None => match rest.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    // Lines that mean nothing here are part of such protocols.
                    match dialect.read_other(role, &rest[..=end]) {
                        Incoming::Other => {}
                        incoming => on_incoming(incoming),
                    }
                    taken += end + 1;
                }
                None => break,
            },
        }
    }
    taken
}

/// Room for the largest payload and its envelope.
const STREAM_BYTES_MAX: usize = 32 << 20;
