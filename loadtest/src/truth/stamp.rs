//! Payloads: what each published message carries, so that a receiver can judge it alone.
//!
//! In      stream, sequence number and intended send time (a `Stamp`), and a length
//! Out     a JSON string: 8 + 16 + 16 hex digits of stamp, 16 of checksum, then filler
//! Bounds  58 bytes (`PAYLOAD_BYTES_MIN`) or more; decoding never allocates
//! Source  none: the format is this file's

use std::ops::Range;

/// Who sent which message, and when it was meant to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Whose messages are in order among themselves: a publisher's, a topic's, a connection's.
    pub stream: u32,
    /// Counts this stream's messages from 0.
    pub sequence: u64,
    /// Nanoseconds on the run's clock. Later than this is the server's delay, or ours, never hidden.
    pub intended_ns: u64,
}

impl Stamp {
    /// Appends the payload for this stamp, `bytes` long.
    ///
    /// # Panics
    /// `bytes` is below `PAYLOAD_BYTES_MIN`.
    pub fn encode(&self, bytes: usize, out: &mut Vec<u8>) {
        assert!(bytes >= PAYLOAD_BYTES_MIN, "payload too short for its stamp");
        let start = out.len();
        out.resize(start + bytes, b'"');
        let payload = &mut out[start..];
        write_hex(&mut payload[STREAM], u64::from(self.stream));
        write_hex(&mut payload[SEQUENCE], self.sequence);
        write_hex(&mut payload[INTENDED], self.intended_ns);
        fill(&mut payload[FILLER_START..bytes - 1], self.sequence);
        let sum = checksum(payload);
        write_hex(&mut payload[CHECKSUM], sum);
    }

    /// Reads a payload back.
    ///
    /// # Errors
    /// It is not byte for byte what `encode` made.
    pub fn decode(payload: &[u8]) -> Result<Self, Corrupt> {
        if payload.len() < PAYLOAD_BYTES_MIN || read_hex(&payload[CHECKSUM]) != Some(checksum(payload)) {
            return Err(Corrupt);
        }
        let stream = read_hex(&payload[STREAM]).and_then(|value| u32::try_from(value).ok());
        match (stream, read_hex(&payload[SEQUENCE]), read_hex(&payload[INTENDED])) {
            (Some(stream), Some(sequence), Some(intended_ns)) => Ok(Self { stream, sequence, intended_ns }),
            _ => Err(Corrupt),
        }
    }
}

/// A payload that is not what was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Two quotes, the stamp and the checksum.
pub const PAYLOAD_BYTES_MIN: usize = FILLER_START + 1;

const STREAM: Range<usize> = 1..9;
const SEQUENCE: Range<usize> = 9..25;
const INTENDED: Range<usize> = 25..41;
const CHECKSUM: Range<usize> = 41..57;
const FILLER_START: usize = 57;

/// Filler differs from message to message, so that bytes of another message do not pass for this one's.
fn fill(filler: &mut [u8], sequence: u64) {
    let mut state = sequence.wrapping_mul(MIX) | 1;
    for chunk in filler.chunks_mut(16) {
        state = mix(state, 0);
        for (index, byte) in chunk.iter_mut().enumerate() {
            *byte = hex_digit(state, index);
        }
    }
}

/// Over everything but the checksum's own digits.
fn checksum(payload: &[u8]) -> u64 {
    let (before, rest) = payload.split_at(CHECKSUM.start);
    sum(sum(payload.len() as u64, before), &rest[CHECKSUM.len()..])
}

fn sum(start: u64, bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let state = words.iter().fold(start, |state, word| mix(state, u64::from_le_bytes(*word)));
    tail.iter().fold(state, |state, byte| mix(state, u64::from(*byte)))
}

/// One step that no single changed bit survives: multiplication by an odd number is a bijection.
fn mix(state: u64, word: u64) -> u64 {
    let mixed = (state ^ word).wrapping_mul(MIX);
    mixed ^ (mixed >> 29)
}

fn write_hex(out: &mut [u8], value: u64) {
    for (index, digit) in out.iter_mut().rev().enumerate() {
        *digit = hex_digit(value, index);
    }
}

/// The digit at this place, 0 the lowest.
fn hex_digit(value: u64, place: usize) -> u8 {
    HEX[usize::from((value >> (4 * place)).to_le_bytes()[0] & 0xf)]
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

const HEX: &[u8; 16] = b"0123456789abcdef";

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { stream: 70_000, sequence: 1 << 40, intended_ns: u64::MAX };

    fn encoded(bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        STAMP.encode(bytes, &mut out);
        out
    }

    #[test]
    fn what_is_encoded_is_decoded_and_is_a_json_string() {
        for bytes in PAYLOAD_BYTES_MIN..PAYLOAD_BYTES_MIN + 70 {
            let payload = encoded(bytes);
            assert_eq!(payload.len(), bytes);
            assert_eq!(Stamp::decode(&payload), Ok(STAMP));
            assert_eq!(serde_json::from_slice::<String>(&payload).unwrap().len(), bytes - 2);
        }
    }

    #[test]
    fn any_changed_bit_is_seen() {
        let payload = encoded(100);
        for index in 0..payload.len() {
            for bit in 0..8 {
                let mut changed = payload.clone();
                changed[index] ^= 1 << bit;
                assert_eq!(Stamp::decode(&changed), Err(Corrupt), "byte {index} bit {bit}");
            }
        }
    }

    #[test]
    fn any_shortened_payload_is_seen() {
        let payload = encoded(100);
        for bytes in 0..payload.len() {
            assert_eq!(Stamp::decode(&payload[..bytes]), Err(Corrupt), "{bytes}");
        }
    }

    #[test]
    fn messages_do_not_share_their_filler() {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        Stamp { sequence: 1, ..STAMP }.encode(100, &mut one);
        Stamp { sequence: 2, ..STAMP }.encode(100, &mut two);
        assert_ne!(one[FILLER_START..99], two[FILLER_START..99]);
    }
}
