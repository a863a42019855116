//! Frame headers: the 2 to 14 bytes in front of every payload.
//!
//! In      bytes from a frame boundary, possibly too few
//! Out     a `Header` and its length, or that bytes are missing
//! Bounds  reads at most 14 bytes; never allocates
//! Source  RFC 6455 section 5.2

use crate::{Opcode, Violation};

/// The header of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key that the payload is masked with; clients mask, servers do not.
    pub mask: Option<[u8; 4]>,
    /// Length of the payload that follows the header.
    pub payload_bytes: u64,
}

impl Header {
    /// Reads a header from the front of `bytes`, which begin at a frame boundary.
    ///
    /// Cost: a few branches, no allocation. What was announced is not compared with any limit here.
    /// ```
    /// use fanwire_ws::{Header, Opcode, Parsed};
    ///
    /// let header = Header { fin: true, opcode: Opcode::Text, mask: None, payload_bytes: 5 };
    /// assert_eq!(Header::parse(b"\x81\x05Hello"), Ok(Parsed::Header(header, 2)));
    /// assert_eq!(Header::parse(b"\x81"), Ok(Parsed::Partial));
    /// ```
    ///
    /// # Errors
    /// The first rule broken in the order of the bytes, as soon as the byte that breaks it is there:
    /// `ReservedBits`, `UnknownOpcode`, `ControlFragmented`; `ControlTooLong`; `LengthTopBit`, `LengthNotMinimal`.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, Violation> {
        let [first, after @ ..] = bytes else { return Ok(Parsed::Partial) };
        let (fin, opcode) = parse_first(*first)?;
        let [second, after @ ..] = after else { return Ok(Parsed::Partial) };
        let masked = second & MASKED != 0;
        let short = second & !MASKED;
        // RFC 6455 s5.5: control payloads stop at 125 bytes.
        if opcode.is_control() && short > SHORT_MAX {
            return Err(Violation::ControlTooLong);
        }
        let (payload_bytes, after) = match short {
            LENGTH_16 => match parse_length_16(after)? {
                Some(parsed) => parsed,
                None => return Ok(Parsed::Partial),
            },
            LENGTH_64 => match parse_length_64(after)? {
                Some(parsed) => parsed,
                None => return Ok(Parsed::Partial),
            },
            short => (u64::from(short), after),
        };
        let (mask, after) = match (masked, after.split_first_chunk::<4>()) {
            (false, _) => (None, after),
            (true, Some((mask, after))) => (Some(*mask), after),
            (true, None) => return Ok(Parsed::Partial),
        };
        Ok(Parsed::Header(Header { fin, opcode, mask, payload_bytes }, bytes.len() - after.len()))
    }

    /// Writes the header to the front of `out` and returns its length, 2 to 14 bytes.
    ///
    /// # Panics
    /// If `payload_bytes` is 2^63 or more, or the header is one of a control frame that is fragmented or longer
    /// than 125 bytes: such frames must not be sent.
    pub fn encode(&self, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
        assert!(self.payload_bytes < 1 << 63, "a payload length has 63 bits");
        assert!(
            !self.opcode.is_control() || (self.fin && self.payload_bytes <= CONTROL_BYTES_MAX as u64),
            "control frames have at most 125 bytes and are never fragmented"
        );
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        out[0] = if self.fin { FIN } else { 0 } | self.opcode as u8;
        let length_end = if let Ok(short @ 0..=SHORT_MAX) = u8::try_from(self.payload_bytes) {
            out[1] = masked | short;
            2
        } else if let Ok(medium) = u16::try_from(self.payload_bytes) {
            out[1] = masked | LENGTH_16;
            out[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        } else {
            out[1] = masked | LENGTH_64;
            out[2..10].copy_from_slice(&self.payload_bytes.to_be_bytes());
            10
        };
        let Some(mask) = self.mask else { return length_end };
        out[length_end..length_end + 4].copy_from_slice(&mask);
        length_end + 4
    }

    /// Length of the header of a frame with `payload_bytes` of payload.
    pub const fn bytes(payload_bytes: u64, masked: bool) -> usize {
        let length_end = match payload_bytes {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        length_end + if masked { 4 } else { 0 }
    }
}

/// What the front of some bytes holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// Too few bytes for a whole header; nothing wrong with them so far.
    Partial,
    /// A header, and its length in bytes.
    Header(Header, usize),
}

/// Length of the longest header: two bytes, a 64-bit payload length, a mask.
pub const HEADER_BYTES_MAX: usize = 14;

/// Length of the longest payload of a control frame.
pub const CONTROL_BYTES_MAX: usize = 125;

/// The final bit and the opcode from a frame's first byte.
pub(crate) fn parse_first(byte: u8) -> Result<(bool, Opcode), Violation> {
    if byte & RESERVED != 0 {
        return Err(Violation::ReservedBits);
    }
    let fin = byte & FIN != 0;
    let opcode = Opcode::new(byte & 0x0F).ok_or(Violation::UnknownOpcode)?;
    // RFC 6455 s5.5: control frames must not be fragmented.
    if opcode.is_control() && !fin { Err(Violation::ControlFragmented) } else { Ok((fin, opcode)) }
}

/// Whether a frame is masked, from its second byte.
pub(crate) const fn is_masked(second: u8) -> bool {
    second & MASKED != 0
}

type LengthParsed<'a> = Result<Option<(u64, &'a [u8])>, Violation>;

fn parse_length_16(bytes: &[u8]) -> LengthParsed<'_> {
    let Some((length, after)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = u16::from_be_bytes(*length);
    // RFC 6455 s5.2: the minimal number of bytes must be used.
    if length <= u16::from(SHORT_MAX) {
        return Err(Violation::LengthNotMinimal);
    }
    Ok(Some((u64::from(length), after)))
}

fn parse_length_64(bytes: &[u8]) -> LengthParsed<'_> {
    // RFC 6455 s5.2: the most significant bit must be 0.
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return Err(Violation::LengthTopBit);
    }
    if bytes.first_chunk() == Some(&[0; 6]) {
        return Err(Violation::LengthNotMinimal);
    }
    Ok(bytes.split_first_chunk().map(|(length, after)| (u64::from_be_bytes(*length), after)))
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const SHORT_MAX: u8 = 125;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

const _: () = assert!(Header::bytes(u64::MAX, true) == HEADER_BYTES_MAX);
const _: () = assert!(SHORT_MAX as usize == CONTROL_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload_bytes: u64) -> Header {
        Header { fin, opcode, mask, payload_bytes }
    }

    #[test]
    fn examples_of_the_rfc_parse() {
        // RFC 6455 s5.7
        let key = [0x37, 0xFA, 0x21, 0x3D];
        for (bytes, expected) in [
            (&b"\x81\x05Hello"[..], header(true, Opcode::Text, None, 5)),
            (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", header(true, Opcode::Text, Some(key), 5)),
            (b"\x01\x03Hel", header(false, Opcode::Text, None, 3)),
            (b"\x80\x02lo", header(true, Opcode::Continuation, None, 2)),
            (b"\x89\x05Hello", header(true, Opcode::Ping, None, 5)),
            (b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", header(true, Opcode::Pong, Some(key), 5)),
            (b"\x82\x7E\x01\x00", header(true, Opcode::Binary, None, 256)),
            (b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00", header(true, Opcode::Binary, None, 65536)),
        ] {
            let header_bytes = Header::bytes(expected.payload_bytes, expected.mask.is_some());
            assert_eq!(Header::parse(bytes), Ok(Parsed::Header(expected, header_bytes)));
        }
    }

    #[test]
    fn encoded_headers_parse_back_and_every_prefix_is_partial() {
        let opcodes = [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Ping];
        let lengths = [0, 1, 125, 126, 127, 128, 255, 256, 65535, 65536, 1 << 32, (1 << 63) - 1];
        for opcode in opcodes {
            for payload_bytes in lengths {
                for mask in [None, Some([0; 4]), Some([1, 2, 3, 0xFF])] {
                    for fin in [true, false] {
                        if opcode.is_control() && (payload_bytes > 125 || !fin) {
                            continue;
                        }
                        let header = header(fin, opcode, mask, payload_bytes);
                        let mut out = [0xEE; HEADER_BYTES_MAX];
                        let bytes = header.encode(&mut out);
                        assert_eq!(bytes, Header::bytes(payload_bytes, mask.is_some()));
                        assert_eq!(Header::parse(&out[..bytes]), Ok(Parsed::Header(header, bytes)));
                        assert_eq!(Header::parse(&out), Ok(Parsed::Header(header, bytes)));
                        for end in 0..bytes {
                            assert_eq!(Header::parse(&out[..end]), Ok(Parsed::Partial));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn each_violation_is_seen_at_its_byte_and_not_before() {
        for (bytes, violation) in [
            (&b"\xC1"[..], Violation::ReservedBits),
            (b"\xA1", Violation::ReservedBits),
            (b"\x91", Violation::ReservedBits),
            (b"\x83", Violation::UnknownOpcode),
            (b"\x87", Violation::UnknownOpcode),
            (b"\x8B", Violation::UnknownOpcode),
            (b"\x8F", Violation::UnknownOpcode),
            (b"\x08", Violation::ControlFragmented),
            (b"\x09", Violation::ControlFragmented),
            (b"\x0A", Violation::ControlFragmented),
            (b"\x88\x7E", Violation::ControlTooLong),
            (b"\x89\xFE", Violation::ControlTooLong),
            (b"\x8A\x7F", Violation::ControlTooLong),
            (b"\x81\x7E\x00\x00", Violation::LengthNotMinimal),
            (b"\x81\xFE\x00\x7D", Violation::LengthNotMinimal),
            (b"\x81\x7F\x80", Violation::LengthTopBit),
            (b"\x81\x7F\x00\x00\x00\x00\x00\x00", Violation::LengthNotMinimal),
        ] {
            assert_eq!(Header::parse(bytes), Err(violation), "{bytes:x?}");
            assert_eq!(Header::parse(&bytes[..bytes.len() - 1]), Ok(Parsed::Partial), "{bytes:x?}");
            let mut longer = bytes.to_vec();
            longer.resize(20, 0xFF);
            assert_eq!(Header::parse(&longer), Err(violation), "{longer:x?}");
        }
    }

    #[test]
    fn every_first_byte_is_judged_as_the_rfc_says() {
        for byte in 0..=u8::MAX {
            let control = byte & 0x08 != 0;
            let known = matches!(byte & 0x0F, 0 | 1 | 2 | 8 | 9 | 10);
            let valid = byte & 0x70 == 0 && known && (!control || byte & 0x80 != 0);
            assert_eq!(Header::parse(&[byte]).is_ok(), valid, "{byte:#x}");
        }
    }

    #[test]
    #[should_panic(expected = "63 bits")]
    fn lengths_of_64_bits_are_never_sent() {
        header(true, Opcode::Binary, None, 1 << 63).encode(&mut [0; HEADER_BYTES_MAX]);
    }

    #[test]
    #[should_panic(expected = "control frames")]
    fn fragmented_control_frames_are_never_sent() {
        header(false, Opcode::Ping, None, 0).encode(&mut [0; HEADER_BYTES_MAX]);
    }

    #[test]
    #[should_panic(expected = "control frames")]
    fn long_control_frames_are_never_sent() {
        header(true, Opcode::Ping, None, 126).encode(&mut [0; HEADER_BYTES_MAX]);
    }
}
