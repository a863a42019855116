//! What can be wrong with received frames, by whose doing, and the close code each calls for.
//!
//! Source  RFC 6455 sections 5, 7.4.1 and 8.1

use crate::CloseCode;

/// Why decoding ended. After it the stream is out of step: send the close code, then nothing is decoded any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The peer broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The peer kept to the protocol but passed a limit of ours.
    #[error(transparent)]
    Limit(#[from] Limit),
}

impl DecodeError {
    /// The code that the close frame to the peer bears.
    pub const fn close_code(self) -> CloseCode {
        match self {
            DecodeError::Violation(violation) => violation.close_code(),
            DecodeError::Limit(Limit::MessageBytes) => CloseCode::MESSAGE_TOO_BIG,
            DecodeError::Limit(Limit::AssemblyBytes) => CloseCode::TRY_AGAIN_LATER,
        }
    }
}

/// A rule of RFC 6455 that the peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit is set though no extension was agreed on (s5.2).
    #[error("reserved bit set without an extension")]
    ReservedBits,
    /// The opcode is none of RFC 6455 (s5.2).
    #[error("unknown opcode")]
    UnknownOpcode,
    /// A control frame without the final bit (s5.5).
    #[error("fragmented control frame")]
    ControlFragmented,
    /// A control frame that announces more than 125 bytes (s5.5).
    #[error("control frame longer than 125 bytes")]
    ControlTooLong,
    /// A payload length in more bytes than it needs (s5.2).
    #[error("payload length not in its shortest form")]
    LengthNotMinimal,
    /// The top bit of a 64-bit payload length is set (s5.2).
    #[error("payload length of 2^63 or more")]
    LengthTopBit,
    /// A client's frame without a mask (s5.1).
    #[error("client frame is not masked")]
    Unmasked,
    /// A server's frame with a mask (s5.1).
    #[error("server frame is masked")]
    Masked,
    /// A continuation frame with no message under way (s5.4).
    #[error("continuation frame without a message to continue")]
    ContinuationStray,
    /// A new message before the one under way has ended (s5.4).
    #[error("new message inside a fragmented message")]
    MessageInterleaved,
    /// A close frame with one byte of payload, which cannot hold a code (s5.5.1).
    #[error("close frame with one byte of payload")]
    ClosePayloadTruncated,
    /// A close code that must not be sent (s7.4).
    #[error("close code not allowed on the wire")]
    CloseCodeInvalid,
    /// A text message that is not UTF-8 (s8.1).
    #[error("text message is not UTF-8")]
    TextNotUtf8,
    /// A close reason that is not UTF-8 (s5.5.1).
    #[error("close reason is not UTF-8")]
    ReasonNotUtf8,
}

impl Violation {
    /// The code that the close frame to the peer bears: 1007 for what is not UTF-8, else 1002.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Violation::TextNotUtf8 | Violation::ReasonNotUtf8 => CloseCode::INVALID_PAYLOAD,
            _ => CloseCode::PROTOCOL,
        }
    }
}

/// A limit of ours that a message passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// The message, all its fragments together, is longer than `Rules::message_bytes_max`.
    #[error("message longer than the limit")]
    MessageBytes,
    /// No room in the `Budget` that all sessions share for messages that arrive in pieces.
    #[error("no room left to assemble messages")]
    AssemblyBytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_names_its_close_code() {
        let code = |error: DecodeError| u16::from(error.close_code());
        assert_eq!(code(Violation::ReservedBits.into()), 1002);
        assert_eq!(code(Violation::CloseCodeInvalid.into()), 1002);
        assert_eq!(code(Violation::TextNotUtf8.into()), 1007);
        assert_eq!(code(Violation::ReasonNotUtf8.into()), 1007);
        assert_eq!(code(Limit::MessageBytes.into()), 1009);
        assert_eq!(code(Limit::AssemblyBytes.into()), 1013);
    }

    #[test]
    fn errors_say_what_is_wrong_in_lower_case() {
        assert_eq!(DecodeError::from(Violation::Unmasked).to_string(), "client frame is not masked");
        assert_eq!(DecodeError::from(Limit::MessageBytes).to_string(), "message longer than the limit");
    }
}
