//! Forms of an echo: what is sent around the data, and where it is in the answer.
//!
//! In      data, a JSON string; received messages
//! Out     a message to send; the data of an answer
//! Bounds  the expected form of an answer is compared, not parsed
//! Source  docs/protocol.md, fanwire-server

use super::envelope::{Envelope, Incoming};

/// How a server echoes.
#[derive(Clone, Debug)]
pub enum Form {
    /// Every message comes back as it was.
    Raw,
    /// A request `ping` is answered with `pong` and the same data.
    Ping(Envelope),
}

impl Form {
    /// That of `fanwire-server`.
    #[must_use]
    pub fn ping() -> Self {
        Self::Ping(Envelope::new("pong"))
    }

    /// Makes `out` the message that sends what `data` appends.
    pub fn request(&self, out: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
        out.clear();
        match self {
            Self::Raw => data(out),
            Self::Ping(_) => {
                out.extend_from_slice(br#"{"topic":"ping","data":"#);
                data(out);
                out.push(b'}');
            }
        }
    }

    /// What a received message is.
    #[must_use]
    pub fn read<'m>(&self, message: &'m [u8]) -> Incoming<'m> {
        match self {
            Self::Raw => Incoming::Delivery(message),
            Self::Ping(envelope) => envelope.read(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_found_in_the_answer() {
        let mut message = b"left over".to_vec();
        Form::Raw.request(&mut message, |out| out.extend_from_slice(b"\"x\""));
        assert_eq!(message, b"\"x\"");
        assert_eq!(Form::Raw.read(&message), Incoming::Delivery(b"\"x\""));
        Form::ping().request(&mut message, |out| out.extend_from_slice(b"\"x\""));
        assert_eq!(message, br#"{"topic":"ping","data":"x"}"#);
        assert_eq!(Form::ping().read(br#"{"topic":"pong","data":"x"}"#), Incoming::Delivery(b"\"x\""));
        assert_eq!(Form::ping().read(br#"{"topic":"error","data":"no"}"#), Incoming::Error("\"no\""));
        assert_eq!(Form::ping().read(&message), Incoming::Other);
    }
}
