//! Close frames: reading any payload, and building from any code and reason.
//!
//! In      two bytes of code, then a reason; the same bytes are also taken for a payload
//! Out     the parser agrees with a naive one; what is built can be read back; the reason is the longest that fits
//! Source  RFC 6455 sections 5.5.1 and 7.4; registry of section 11.7

use fanwire_ws::{
    Budget, CloseCode, CloseFrame, Decoder, Event, REASON_BYTES_MAX, Role, Rules, Violation, encode_close,
};

use crate::rfc6455::close_code_allowed;

/// Checks one payload.
pub fn check(payload: &[u8]) {
    check_parsed(payload);
    let mut whole = [0; 2];
    let code_bytes = payload.len().min(2);
    whole[..code_bytes].copy_from_slice(&payload[..code_bytes]);
    let code = CloseCode::new(u16::from_be_bytes(whole));
    let reason = String::from_utf8_lossy(&payload[code_bytes..]);
    for mask in [None, Some([0x37, 0xFA, 0x21, 0x3D])] {
        check_built(code, &reason, mask);
    }
}

/// `CloseFrame::parse` against the rules one by one.
fn check_parsed(payload: &[u8]) {
    let expected = match payload {
        [] => Ok(None),
        [_] => Err(Violation::ClosePayloadTruncated),
        [high, low, reason @ ..] => {
            let code = u16::from(*high) * 256 + u16::from(*low);
            if !close_code_allowed(code) {
                Err(Violation::CloseCodeInvalid)
            } else if let Ok(reason) = std::str::from_utf8(reason) {
                Ok(Some(CloseFrame { code: CloseCode::new(code), reason }))
            } else {
                Err(Violation::ReasonNotUtf8)
            }
        }
    };
    assert_eq!(CloseFrame::parse(payload), expected, "{payload:x?}");
}

/// A close frame that we build is the one a peer reads.
fn check_built(code: CloseCode, reason: &str, mask: Option<[u8; 4]>) {
    assert_eq!(code.is_valid_on_wire(), close_code_allowed(code.value()), "{code}");
    if !code.is_valid_on_wire() {
        return;
    }
    let mut out = b"before".to_vec();
    encode_close(&mut out, mask, code, reason);
    assert!(out.starts_with(b"before"), "what was in the buffer is kept");
    let frame = &mut out[6..];
    let role = if mask.is_some() { Role::Server } else { Role::Client };
    // Control frames are no messages: the limit of those does not count.
    let rules = Rules { role, message_bytes_max: 0 };
    let (mut decoder, mut budget) = (Decoder::new(), Budget::new(0));
    let frame_bytes = frame.len();
    let (consumed, event) = decoder.decode(&rules, &mut budget, frame);
    assert_eq!(consumed, frame_bytes);
    let Ok(Event::Close(Some(read))) = event else { panic!("a close frame of ours is read as {event:?}") };
    assert_eq!(read.code, code);
    assert!(reason.starts_with(read.reason));
    let longer = reason[read.reason.len()..].chars().next().map_or(0, char::len_utf8);
    let is_longest = longer == 0 || read.reason.len() + longer > REASON_BYTES_MAX;
    assert!(read.reason.len() <= REASON_BYTES_MAX && is_longest, "{} bytes kept", read.reason.len());
}
