//! Structured reading of a fuzzer's bytes, front to back, so that seeds can be written by hand.
//!
//! In      the bytes of one input
//! Out     numbers, choices and slices; zeros and empty slices once nothing is left
//! Bounds  what is given out adds up to the input's length

use arbitrary::Unstructured;

/// The bytes of one input that are not read yet.
pub(crate) struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(Unstructured::new(bytes))
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// The next two bytes, little end first.
    pub(crate) fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// One of `choices`, by the next byte.
    pub(crate) fn choice<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[usize::from(self.byte()) % N]
    }

    /// The next `count` bytes, or as many as are left.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let count = count.min(self.0.len());
        self.0.bytes(count).unwrap_or_default()
    }

    /// Bytes with their count (one byte) in front of them.
    pub(crate) fn short(&mut self) -> &'a [u8] {
        let count = self.byte();
        self.take(count.into())
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `bytes` cut into pieces: the lengths in `lengths` one after the other and round again (0 counts as 256), or one
/// piece if there are none. Of many bytes each piece is a multiple of that length, so that there are about a thousand.
pub(crate) fn pieces<'a>(bytes: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    let factor = if bytes.len() > PIECES_BYTES { bytes.len() / PIECES } else { 1 };
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            return pieces;
        }
        let length = if *length == 0 { 256 } else { usize::from(*length) };
        let (piece, after) = rest.split_at((length * factor).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// As many bytes are still cut byte by byte.
pub(crate) const PIECES_BYTES: usize = 8_192;

const PIECES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read_front_to_back_and_then_give_zeros() {
        let mut input = Input::new(b"\x01\x02\x03\x02abrest");
        assert_eq!((input.byte(), input.word(), input.short()), (1, 0x0302, &b"ab"[..]));
        assert_eq!(input.rest(), b"rest");
        assert!(input.is_empty());
        assert_eq!((input.byte(), input.choice([7, 8]), input.short()), (0, 7, &b""[..]));
    }

    #[test]
    fn pieces_are_the_bytes_in_order() {
        assert_eq!(pieces(b"abcdef", &[1, 2]), [&b"a"[..], b"bc", b"d", b"ef"]);
        assert_eq!(pieces(b"abc", &[]), [b"abc"]);
        assert_eq!(pieces(&[0; PIECES_BYTES], &[1]).len(), PIECES_BYTES);
        assert_eq!(pieces(&[0; PIECES_BYTES + 1], &[2]).len(), PIECES / 2 + 1);
        assert_eq!(pieces(&[0; 300], &[0]).iter().map(|piece| piece.len()).collect::<Vec<_>>(), [256, 44]);
    }
}
