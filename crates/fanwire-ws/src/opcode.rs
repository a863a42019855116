//! Opcodes: what a frame is, and what kind of message it begins.
//!
//! Source  RFC 6455 section 5.2, registry of section 11.8

/// What a frame is. The discriminant is the opcode on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of the message that is under way.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The sender will send nothing after this.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or a sign of life nobody asked for.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode with this value (the low four bits of a frame's first byte), if RFC 6455 defines it.
    pub const fn new(value: u8) -> Option<Opcode> {
        match value {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xA => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// Whether this is a control frame: at most 125 bytes, never fragmented, allowed between fragments.
    pub const fn is_control(self) -> bool {
        // RFC 6455 s5.5: control frames are those with the top bit of the opcode set.
        self as u8 & 0x8 != 0
    }

    /// The kind of message that a frame with this opcode begins; `None` for continuations and control frames.
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Opcode::Text => Some(Kind::Text),
            Opcode::Binary => Some(Kind::Binary),
            _ => None,
        }
    }
}

/// What a message's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text: the payload is valid UTF-8.
    Text,
    /// Binary: any bytes.
    Binary,
}

impl Kind {
    /// The opcode of this kind's first frame.
    pub const fn opcode(self) -> Opcode {
        match self {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_are_their_own_value_on_the_wire() {
        for value in 0..=u8::MAX {
            if let Some(opcode) = Opcode::new(value) {
                assert_eq!(opcode as u8, value);
            }
        }
        let known: Vec<u8> = (0..=u8::MAX).filter(|value| Opcode::new(*value).is_some()).collect();
        assert_eq!(known, [0, 1, 2, 8, 9, 10]);
    }

    #[test]
    fn only_text_and_binary_begin_a_message() {
        assert_eq!(Opcode::Text.kind().map(Kind::opcode), Some(Opcode::Text));
        assert_eq!(Opcode::Binary.kind().map(Kind::opcode), Some(Opcode::Binary));
        for opcode in [Opcode::Continuation, Opcode::Close, Opcode::Ping, Opcode::Pong] {
            assert_eq!(opcode.kind(), None);
        }
    }
}
