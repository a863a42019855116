//! The streaming UTF-8 check against `std::str::from_utf8`, in every split.
//!
//! In      a text
//! Out     `Utf8` and `std` agree: sound, unfinished, or bad, and bad from the same byte on
//! Bounds  all 2^(n-1) splits of texts up to 9 bytes; all splits in two of up to 512 bytes, and even pieces of all
//! Source  RFC 3629

use fanwire_ws::Utf8;

use crate::input::pieces;

/// Checks one text.
pub fn check(text: &[u8]) {
    let expected = verdict(text);
    // Bytewise, the first byte after which nothing can help must be the one that is refused.
    let mut utf8 = Utf8::new();
    for (index, byte) in text.iter().enumerate() {
        let expected = verdict(&text[..=index]);
        let found = utf8.push(&[*byte]).map(|()| utf8.is_complete()).ok();
        assert_eq!(found, expected, "bytewise, at byte {index} of {text:x?}");
        if found.is_none() {
            break;
        }
    }
    for piece_bytes in [0, 1, 2, 3, 5, 7, 16, 33] {
        assert_eq!(pushed(&pieces(text, &[piece_bytes])), expected, "pieces of {piece_bytes} of {text:x?}");
    }
    if text.len() <= EVERY_SPLIT_BYTES_MAX {
        for cuts in 0..1_u32 << text.len().saturating_sub(1) {
            assert_eq!(pushed(&split(text, cuts)), expected, "cut at {cuts:b} of {text:x?}");
        }
    }
    if text.len() <= TWO_PIECES_BYTES_MAX {
        for cut in 0..=text.len() {
            assert_eq!(pushed(&[&text[..cut], &text[cut..]]), expected, "cut at {cut} of {text:x?}");
        }
    }
}

/// `None`: no continuation makes it UTF-8. Else whether it ends with a whole character.
fn verdict(text: &[u8]) -> Option<bool> {
    match std::str::from_utf8(text) {
        Ok(_) => Some(true),
        Err(error) if error.error_len().is_none() => Some(false),
        Err(_) => None,
    }
}

fn pushed(pieces: &[&[u8]]) -> Option<bool> {
    let mut utf8 = Utf8::new();
    pieces.iter().try_for_each(|piece| utf8.push(piece)).ok()?;
    Some(utf8.is_complete())
}

/// `text` cut after each byte whose bit is set.
fn split(text: &[u8], cuts: u32) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in (1..=text.len()).filter(|end| *end == text.len() || cuts >> (end - 1) & 1 == 1) {
        pieces.push(&text[start..end]);
        start = end;
    }
    pieces
}

const EVERY_SPLIT_BYTES_MAX: usize = 9;
const TWO_PIECES_BYTES_MAX: usize = 512;
