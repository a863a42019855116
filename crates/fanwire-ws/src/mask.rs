//! Masking: the XOR with a 4-byte key that every payload of a client bears.
//!
//! In      the key, how far into the frame's payload the bytes begin, the bytes
//! Out     the bytes, masked or unmasked in place (both are the same operation)
//! Bounds  memory speed: 32 bytes per step, which the compiler turns into vector instructions
//! Source  RFC 6455 section 5.3

/// Masks or unmasks `payload`, which begins `offset` bytes into its frame's payload, in place.
///
/// ```
/// let mut payload = *b"\x7f\x9f\x4d\x51\x58";
/// fanwire_ws::mask::apply([0x37, 0xfa, 0x21, 0x3d], 0, &mut payload);
/// assert_eq!(&payload, b"Hello");
/// ```
pub fn apply(mask: [u8; 4], offset: usize, payload: &mut [u8]) {
    let turned = u32::from_le_bytes(mask).rotate_right(BITS_BEFORE[offset % 4]);
    let word = u64::from(turned) << 32 | u64::from(turned);
    let (blocks, tail) = payload.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        apply_words(word, block);
    }
    let tail = apply_words(word, tail);
    for (byte, key) in tail.iter_mut().zip(word.to_le_bytes()) {
        *byte ^= key;
    }
}

/// Masks whole words; returns the bytes behind them.
fn apply_words(word: u64, bytes: &mut [u8]) -> &mut [u8] {
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_le_bytes(*bytes) ^ word).to_le_bytes();
    }
    tail
}

/// What `apply` does, one byte at a time as the RFC words it: the oracle of the fast one.
#[doc(hidden)]
pub fn apply_scalar(mask: [u8; 4], offset: usize, payload: &mut [u8]) {
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[(offset % 4 + index) % 4];
    }
}

const BLOCK_BYTES: usize = 32;

/// How many bits of the key, read in little-endian order, are behind a payload that begins so far into it.
const BITS_BEFORE: [u32; 4] = [0, 8, 16, 24];

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    #[test]
    fn fast_and_scalar_agree_at_all_lengths_alignments_and_offsets() {
        let source: Vec<u8> = (0..192u8).collect();
        for length in (0..=64).chain([95, 96, 97, 127, 128]) {
            for align in 0..64 {
                for offset in [0, 1, 2, 3, 4, 5, 125, usize::MAX] {
                    let (mut fast, mut scalar) = (source.clone(), source.clone());
                    apply(MASK, offset, &mut fast[align..align + length]);
                    apply_scalar(MASK, offset, &mut scalar[align..align + length]);
                    assert_eq!(fast, scalar, "length {length}, align {align}, offset {offset}");
                }
            }
        }
    }

    #[test]
    fn masking_in_pieces_equals_masking_at_once() {
        let mut whole: Vec<u8> = (0..100).collect();
        apply(MASK, 0, &mut whole);
        for cut in 0..=100 {
            let mut pieces: Vec<u8> = (0..100).collect();
            let (front, back) = pieces.split_at_mut(cut);
            apply(MASK, 0, front);
            apply(MASK, cut, back);
            assert_eq!(pieces, whole);
        }
    }
}
