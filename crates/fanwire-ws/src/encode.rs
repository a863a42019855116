//! Frames to send.
//!
//! In      what a frame is to say
//! Out     its bytes, appended to a buffer
//! Bounds  at most one growth of the buffer; the payload is copied once
//! Source  RFC 6455 sections 5.2, 5.3 and 5.5.1

use crate::close::REASON_BYTES_MAX;
use crate::header::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header};
use crate::{CloseCode, Opcode, mask};

/// Appends one frame: header, then `payload`, masked if there is a mask.
///
/// Servers give no mask; clients give a fresh, unpredictable one for every frame. A server that wants header and
/// payload in one allocation of its own uses [`Header::encode`] and [`Header::bytes`].
/// ```
/// use fanwire_ws::{Opcode, encode_frame};
///
/// let mut out = Vec::new();
/// encode_frame(&mut out, true, Opcode::Text, None, b"Hello");
/// assert_eq!(out, b"\x81\x05Hello");
/// ```
///
/// # Panics
/// If the opcode is a control frame's and `fin` is false or `payload` longer than 125 bytes.
pub fn encode_frame(out: &mut Vec<u8>, fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) {
    let mut head = [0; HEADER_BYTES_MAX];
    let head_bytes = Header { fin, opcode, mask, payload_bytes: payload.len() as u64 }.encode(&mut head);
    out.reserve(head_bytes + payload.len());
    out.extend_from_slice(&head[..head_bytes]);
    let payload_start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        mask::apply(mask, 0, &mut out[payload_start..]);
    }
}

/// Appends a close frame with `code` and as much of `reason` as fits: at most 123 bytes, cut between characters.
///
/// A close frame without a code is `encode_frame(out, true, Opcode::Close, mask, &[])`.
///
/// # Panics
/// If `code` must not stand on the wire (`CloseCode::is_valid_on_wire`).
pub fn encode_close(out: &mut Vec<u8>, mask: Option<[u8; 4]>, code: CloseCode, reason: &str) {
    assert!(code.is_valid_on_wire(), "close code {code} must not be sent");
    let reason = cut(reason, REASON_BYTES_MAX);
    let mut payload = [0; CONTROL_BYTES_MAX];
    let payload_bytes = 2 + reason.len();
    payload[..2].copy_from_slice(&code.value().to_be_bytes());
    payload[2..payload_bytes].copy_from_slice(reason.as_bytes());
    encode_frame(out, true, Opcode::Close, mask, &payload[..payload_bytes]);
}

/// As many whole characters from the front of `text` as fit into `bytes_max`.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc_encode() {
        // RFC 6455 s5.7
        let mut out = Vec::new();
        encode_frame(&mut out, true, Opcode::Text, Some([0x37, 0xFA, 0x21, 0x3D]), b"Hello");
        assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        out.clear();
        encode_frame(&mut out, false, Opcode::Text, None, b"Hel");
        encode_frame(&mut out, true, Opcode::Continuation, None, b"lo");
        assert_eq!(out, b"\x01\x03Hel\x80\x02lo");
        out.clear();
        encode_frame(&mut out, true, Opcode::Binary, None, &[7; 256]);
        assert_eq!((&out[..4], out.len()), (&b"\x82\x7E\x01\x00"[..], 260));
        out.clear();
        encode_frame(&mut out, true, Opcode::Binary, None, &[7; 65536]);
        assert_eq!((&out[..10], out.len()), (&b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00"[..], 65546));
    }

    #[test]
    fn the_buffer_grows_once_and_by_what_is_needed() {
        let mut out = Vec::new();
        encode_frame(&mut out, true, Opcode::Binary, Some([1, 2, 3, 4]), &[7; 1000]);
        assert_eq!((out.len(), out.capacity()), (1008, 1008));
    }

    #[test]
    fn close_frames_bear_code_and_reason() {
        let mut out = Vec::new();
        encode_close(&mut out, None, CloseCode::NORMAL, "bye");
        assert_eq!(out, b"\x88\x05\x03\xE8bye");
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        for (reason, kept) in [("x".repeat(124), 123), ("é".repeat(62), 122), ("x".repeat(123), 123)] {
            let mut out = Vec::new();
            encode_close(&mut out, None, CloseCode::POLICY, &reason);
            assert_eq!(out.len(), 4 + kept);
            assert_eq!(&out[4..], &reason.as_bytes()[..kept]);
        }
    }

    #[test]
    #[should_panic(expected = "1005")]
    fn codes_that_must_not_be_sent_are_not() {
        encode_close(&mut Vec::new(), None, CloseCode::NO_STATUS, "");
    }
}
