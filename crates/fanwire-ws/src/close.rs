//! Close frames: why an end closes, as a code and a reason.
//!
//! In      the payload of a close frame, whole and unmasked
//! Out     nothing, or a code that may stand on the wire and a reason in UTF-8
//! Source  RFC 6455 sections 5.5.1 and 7.4; registry of section 11.7

use crate::Violation;
use crate::header::CONTROL_BYTES_MAX;

/// What a close frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why the sender closes.
    pub code: CloseCode,
    /// The same in words, for people; often empty.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads the payload of a close frame, unmasked; `None` if it is empty.
    ///
    /// # Errors
    /// `ClosePayloadTruncated` for one byte, `CloseCodeInvalid`, `ReasonNotUtf8`.
    pub fn parse(payload: &'a [u8]) -> Result<Option<CloseFrame<'a>>, Violation> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() { Ok(None) } else { Err(Violation::ClosePayloadTruncated) };
        };
        let code = CloseCode::new(u16::from_be_bytes(*code));
        if !code.is_valid_on_wire() {
            return Err(Violation::CloseCodeInvalid);
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::ReasonNotUtf8)?;
        Ok(Some(CloseFrame { code, reason }))
    }
}

/// Why an end closes: a number of RFC 6455 section 7.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the server stops, or the page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// 1003: a kind of message that this end does not take.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// 1005: stands for a close frame without a code; never on the wire.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// 1006: stands for an end without a close frame; never on the wire.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// 1007: payload that does not fit its kind, as text that is not UTF-8.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// 1008: against a policy, where no other code fits.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// 1009: a message longer than this end takes.
    pub const MESSAGE_TOO_BIG: CloseCode = CloseCode(1009);
    /// 1010: the client misses an extension it needs.
    pub const EXTENSION_MISSING: CloseCode = CloseCode(1010);
    /// 1011: an error on this end keeps it from going on.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// 1013: overloaded; come back later.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// 1014: a gateway got a bad answer from the server behind it.
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);

    /// The code with this number, whether it may be sent or not.
    pub const fn new(code: u16) -> CloseCode {
        CloseCode(code)
    }

    /// The code's number.
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Whether a close frame may bear this code: one of RFC 6455 or its registry, or 3000 to 4999, which are for
    /// frameworks and applications. 1004, 1005, 1006 and 1015 are reserved, all else is undefined.
    pub const fn is_valid_on_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> u16 {
        code.0
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> CloseCode {
        CloseCode(code)
    }
}

impl std::fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Length of the longest reason: what a control frame leaves beside the code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_valid_on_the_wire_are_those_of_the_registry() {
        let reserved = |code| matches!(code, 1004 | 1005 | 1006 | 1015);
        for code in 0..=u16::MAX {
            let expected = (1000..=1014).contains(&code) && !reserved(code) || (3000..5000).contains(&code);
            assert_eq!(CloseCode::new(code).is_valid_on_wire(), expected, "{code}");
        }
    }

    #[test]
    fn payloads_parse_or_name_the_violation() {
        let frame = |code, reason| Ok(Some(CloseFrame { code, reason }));
        assert_eq!(CloseFrame::parse(b""), Ok(None));
        assert_eq!(CloseFrame::parse(b"\x03\xE8"), frame(CloseCode::NORMAL, ""));
        assert_eq!(CloseFrame::parse(b"\x0F\xA0bye"), frame(CloseCode::new(4000), "bye"));
        assert_eq!(CloseFrame::parse(b"\x03"), Err(Violation::ClosePayloadTruncated));
        assert_eq!(CloseFrame::parse(b"\x03\xED"), Err(Violation::CloseCodeInvalid));
        assert_eq!(CloseFrame::parse(b"\x03\xE8\xC0"), Err(Violation::ReasonNotUtf8));
        assert_eq!(CloseFrame::parse(b"\x03\xE8\xE2\x82"), Err(Violation::ReasonNotUtf8));
    }
}
