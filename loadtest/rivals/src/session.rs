//! The protocol of a connection, for rivals that bring only a way to the kernel.
//!
//! In      bytes as they were read
//! Out     the frames to broadcast, and those that go back to the peer
//! Bounds  `MESSAGE_BYTES_MAX` per message, `HEAD_BYTES_MAX` for the request
//! Source  README.md for the paths, RFC 6455 through fanwire-ws for the rest

use fanwire_ws::{
    Budget, Decoder, Event, HeadLimits, Opcode, Refusal, RequestHead, Role, Rules, encode_close,
    encode_frame, write_accept,
};

use crate::MESSAGE_BYTES_MAX;

/// What a connection is for: the path of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// `/sub`: gets every message published.
    Sub,
    /// `/pub`: its messages are broadcast.
    Pub,
    /// `/echo`: gets its own messages back.
    Echo,
}

impl Path {
    /// The one of this name, as `/sub`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        match path {
            "/sub" => Some(Self::Sub),
            "/pub" => Some(Self::Pub),
            "/echo" => Some(Self::Echo),
            _ => None,
        }
    }
}

/// What the request's bytes are.
#[derive(Debug)]
pub enum Shaken {
    /// Not whole yet.
    Partial,
    /// To be answered so, and then a session; what follows these bytes of the request is frames.
    Accepted {
        /// The response.
        answer: Vec<u8>,
        /// What comes then.
        session: Session,
        /// Length of the request.
        head_bytes: usize,
    },
    /// To be answered so, and then closed.
    Refused(Vec<u8>),
}

/// Reads the request at the start of a connection.
#[must_use]
pub fn shake_hands(received: &[u8]) -> Shaken {
    let limits = HeadLimits { bytes_max: HEAD_BYTES_MAX };
    let refuse = |refusal: Refusal| {
        let mut answer = Vec::new();
        refusal.write(&mut answer, false);
        Shaken::Refused(answer)
    };
    let (head, head_bytes) = match RequestHead::parse(received, &limits) {
        Ok(Some(whole)) => whole,
        Ok(None) => return Shaken::Partial,
        Err(error) => return refuse(error.refusal()),
    };
    let Some(path) = Path::parse(head.path()) else {
        return refuse(Refusal::new(404, "there are /sub, /pub and /echo\n"));
    };
    match head.upgrade() {
        Ok(upgrade) => {
            let mut answer = Vec::new();
            write_accept(&mut answer, upgrade.key(), None, &[]);
            Shaken::Accepted { answer, session: Session::new(path), head_bytes }
        }
        Err(refusal) => refuse(refusal),
    }
}

/// An open connection's protocol.
#[derive(Debug)]
pub struct Session {
    path: Path,
    decoder: Decoder,
    budget: Budget,
}

/// Frames that received bytes gave rise to.
#[derive(Debug, Default)]
pub struct Frames {
    /// For all subscribers.
    pub published: Vec<u8>,
    /// For the peer.
    pub answers: Vec<u8>,
}

impl Session {
    fn new(path: Path) -> Self {
        // Assembly grows by doubling.
        Self { path, decoder: Decoder::new(), budget: Budget::new(2 * MESSAGE_BYTES_MAX as u64) }
    }

    /// What it is for.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }

    /// Takes received bytes and appends to `frames`; false if the connection ends once the answers have been
    /// sent.
    pub fn receive(&mut self, mut received: &mut [u8], frames: &mut Frames) -> bool {
        loop {
            let (consumed, event) = self.decoder.decode(&RULES, &mut self.budget, received);
            let out = match self.path {
                Path::Echo => Some(&mut frames.answers),
                Path::Pub => Some(&mut frames.published),
                Path::Sub => None,
            };
            match (event, out) {
                (Ok(Event::Partial), _) => return true,
                (Ok(Event::Message { kind, payload }), Some(out)) => {
                    encode_frame(out, true, kind.opcode(), None, payload);
                }
                (Ok(Event::Message { .. } | Event::Pong(_)), _) => {}
                (Ok(Event::Ping(payload)), _) => {
                    encode_frame(&mut frames.answers, true, Opcode::Pong, None, payload);
                }
                (Ok(Event::Close(close)), _) => {
                    match close {
                        Some(close) => encode_close(&mut frames.answers, None, close.code, ""),
                        None => encode_frame(&mut frames.answers, true, Opcode::Close, None, &[]),
                    }
                    return false;
                }
                (Err(error), _) => {
                    encode_close(&mut frames.answers, None, error.close_code(), &error.to_string());
                    return false;
                }
            }
            received = &mut received[consumed..];
        }
    }
}

const RULES: Rules = Rules { role: Role::Server, message_bytes_max: MESSAGE_BYTES_MAX as u64 };

const HEAD_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use fanwire_ws::ClientRequest;

    use super::*;

    fn request(target: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let request =
            ClientRequest { host: "a", target, key: [7; 16], origin: None, protocols: &[], headers: &[] };
        request.write(&mut out);
        out
    }

    fn open(path: &str) -> Session {
        let request = request(path);
        assert!(matches!(shake_hands(&request[..request.len() - 1]), Shaken::Partial));
        let Shaken::Accepted { answer, session, head_bytes } = shake_hands(&request) else {
            panic!("{path} is refused")
        };
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        assert_eq!(head_bytes, request.len());
        session
    }

    fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_frame(&mut out, true, opcode, Some([1, 2, 3, 4]), payload);
        out
    }

    #[test]
    fn messages_go_where_the_path_says() {
        for (path, published, answered) in [("/pub", 1, 0), ("/echo", 0, 1), ("/sub", 0, 0)] {
            let (mut session, mut frames) = (open(path), Frames::default());
            let mut bytes = masked(Opcode::Text, b"Hello");
            bytes.extend(masked(Opcode::Ping, b"?"));
            let (first, second) = bytes.split_at_mut(4);
            assert!(session.receive(first, &mut frames));
            assert!(session.receive(second, &mut frames));
            assert_eq!(frames.published, b"\x81\x05Hello".repeat(published));
            assert_eq!(frames.answers, [b"\x81\x05Hello".repeat(answered), b"\x8a\x01?".to_vec()].concat());
        }
    }

    #[test]
    fn a_close_is_answered_and_ends_the_connection() {
        let (mut session, mut frames) = (open("/sub"), Frames::default());
        assert!(!session.receive(&mut masked(Opcode::Close, &[3, 232]), &mut frames));
        assert_eq!(frames.answers, [0x88, 2, 3, 232]);
        assert!(!open("/pub").receive(&mut [0x82, 0x01, 0], &mut frames), "a frame without a mask");
    }

    #[test]
    fn other_paths_are_refused() {
        let Shaken::Refused(answer) = shake_hands(&request("/")) else { panic!("accepted") };
        assert!(answer.starts_with(b"HTTP/1.1 404 "));
    }
}
