//! UTF-8 that arrives in pieces, refused at its first bad byte.
//!
//! In      the bytes of a text in order, cut anywhere
//! Out     whether they can still become UTF-8, and whether they are whole characters now
//! Bounds  4 bytes of state; whole characters at the speed of `std::str::from_utf8`
//! Source  RFC 3629; Unicode table 3-7, Well-Formed UTF-8 Byte Sequences

/// Checks text that arrives in pieces. Four bytes of state; a new one stands at the start of a text.
///
/// ```
/// use fanwire_ws::Utf8;
///
/// let mut utf8 = Utf8::new();
/// assert!(utf8.push(b"gr\xC3").is_ok() && !utf8.is_complete());
/// assert!(utf8.push(b"\xBC\xC3\x9F").is_ok() && utf8.is_complete());
/// assert!(utf8.push(b"\xC0").is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Utf8 {
    /// INVARIANT: `begun[..begun_count]` is a proper prefix of some character, the rest is zero.
    begun: [u8; 3],
    begun_count: u8,
}

impl Utf8 {
    /// The start of a text.
    pub const fn new() -> Utf8 {
        Utf8 { begun: [0; 3], begun_count: 0 }
    }

    /// Takes the next bytes of the text.
    ///
    /// # Errors
    /// With the first byte after which no continuation can be UTF-8: overlong forms, surrogates and values above
    /// U+10FFFF fail at the byte that makes them so. The state is then of no further use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        let bytes = self.finish_begun(bytes)?;
        // Most text is ASCII throughout, and asking only that is twice as fast.
        if bytes.is_ascii() {
            return Ok(());
        }
        let Err(error) = std::str::from_utf8(bytes) else { return Ok(()) };
        match error.error_len() {
            Some(_) => Err(InvalidUtf8),
            None => {
                // The text ends inside a character, and so far that character is sound.
                let begun = &bytes[error.valid_up_to()..];
                begun.iter().for_each(|byte| self.append(*byte));
                Ok(())
            }
        }
    }

    /// Whether the text so far ends with a whole character.
    pub const fn is_complete(&self) -> bool {
        self.begun_count == 0
    }

    /// Takes from `bytes` what completes the character under way; returns the rest.
    fn finish_begun<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        let mut rest = bytes;
        while let (1.., [next, after @ ..]) = (self.begun_count, rest) {
            let lead = self.begun[0];
            if !continues(lead, self.begun_count, *next) {
                return Err(InvalidUtf8);
            }
            if self.begun_count + 1 == character_bytes(lead) {
                *self = Utf8::new();
            } else {
                self.append(*next);
            }
            rest = after;
        }
        Ok(rest)
    }

    fn append(&mut self, byte: u8) {
        self.begun[usize::from(self.begun_count)] = byte;
        self.begun_count += 1;
    }
}

/// Bytes that no continuation can make UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not UTF-8")]
pub struct InvalidUtf8;

/// Whether `next` may stand at place `at` (1 to 3) of a character that begins with `lead`.
const fn continues(lead: u8, at: u8, next: u8) -> bool {
    // Only the second byte of some characters is bound more tightly: no overlong forms, no surrogates,
    // nothing above U+10FFFF.
    let (low, high) = match (at, lead) {
        (1, 0xE0) => (0xA0, 0xBF),
        (1, 0xED) => (0x80, 0x9F),
        (1, 0xF0) => (0x90, 0xBF),
        (1, 0xF4) => (0x80, 0x8F),
        _ => (0x80, 0xBF),
    };
    low <= next && next <= high
}

/// Length of the character that begins with `lead`, a valid lead byte of more than one.
const fn character_bytes(lead: u8) -> u8 {
    match lead {
        0xF0.. => 4,
        0xE0.. => 3,
        _ => 2,
    }
}

const _: () = assert!(size_of::<Utf8>() == 4);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `std` says of a text that may go on: bad, or sound and ending with a whole character or not.
    fn oracle(bytes: &[u8]) -> Result<bool, InvalidUtf8> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(true),
            Err(error) if error.error_len().is_none() => Ok(false),
            Err(_) => Err(InvalidUtf8),
        }
    }

    fn pushed(pieces: &[&[u8]]) -> Result<bool, InvalidUtf8> {
        let mut utf8 = Utf8::new();
        pieces.iter().try_for_each(|piece| utf8.push(piece))?;
        Ok(utf8.is_complete())
    }

    /// One byte of every class that the table of well-formed sequences tells apart, both ends of each.
    const CLASSES: [u8; 30] = [
        0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
        0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFB, 0xFC, 0xFE, 0xFF,
    ];

    #[test]
    fn all_sequences_of_one_to_four_byte_classes_agree_with_std_at_every_cut() {
        for a in CLASSES {
            for b in CLASSES {
                for c in CLASSES {
                    for d in CLASSES {
                        let text = [a, b, c, d];
                        for length in 1..=4 {
                            let text = &text[..length];
                            let bytewise: Vec<&[u8]> = text.chunks(1).collect();
                            assert_eq!(pushed(&bytewise), oracle(text), "{text:x?}");
                        }
                        for cut in 0..=4 {
                            let (front, back) = text.split_at(cut);
                            assert_eq!(pushed(&[front, back]), oracle(&text), "{text:x?} cut at {cut}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn all_pairs_of_bytes_agree_with_std_bytewise() {
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                assert_eq!(pushed(&[&[a], &[b]]), oracle(&[a, b]));
            }
        }
    }

    #[test]
    fn every_character_passes_bytewise() {
        for character in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            let text = character.encode_utf8(&mut buffer).as_bytes();
            let mut utf8 = Utf8::new();
            for (index, byte) in text.iter().enumerate() {
                assert_eq!(utf8.push(&[*byte]), Ok(()));
                assert_eq!(utf8.is_complete(), index + 1 == text.len());
            }
        }
    }

    #[test]
    fn bad_bytes_fail_at_once() {
        for bad in
            [&b"\xC0"[..], b"\xE0\x9F", b"\xED\xA0", b"\xF0\x8F", b"\xF4\x90", b"\xF5", b"\xE2\x82\x41"]
        {
            assert_eq!(pushed(&[bad]), Err(InvalidUtf8), "{bad:x?}");
            let (front, last) = bad.split_at(bad.len() - 1);
            assert_eq!(pushed(&[front]), Ok(front.is_empty()), "{bad:x?}");
            assert_eq!(pushed(&[front, last]), Err(InvalidUtf8), "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_cut_anywhere_agrees_with_std(
            pieces in prop::collection::vec(prop_oneof![
                "\\PC{0,12}".prop_map(String::into_bytes),
                prop::collection::vec(prop::sample::select(CLASSES.to_vec()), 0..3),
            ], 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = pieces.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(pushed(&pieces), oracle(&text));
        }
    }
}
