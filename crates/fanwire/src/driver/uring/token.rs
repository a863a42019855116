//! Which request a completion belongs to.
//!
//! In      a request's kind, and the key or index that it is for
//! Out     the 64 bits that the kernel hands back with each completion (`user_data`), and the way back
//! Bounds  generations have 24 bits, slots and indices 32
//! Source  io_uring(7) "user_data"
#![forbid(unsafe_code)]

use crate::driver::Key;

/// What a request is, and whose: its `user_data`. Bits 63 to 56 are the operation, 55 to 32 the generation,
/// 31 to 0 the slot (or index). The highest bit says that it is the cancelling of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    Receive(Key),
    Writable(Key),
    Close(Key),
    Accept(u16),
    Send(u32),
    Wake,
}

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        let word = |operation: u64, generation: u32, slot: u32| {
            operation << 56 | u64::from(generation) << 32 | u64::from(slot)
        };
        match token {
            Token::Receive(key) => word(1, key.generation, key.slot),
            Token::Writable(key) => word(2, key.generation, key.slot),
            Token::Close(key) => word(3, key.generation, key.slot),
            Token::Accept(index) => word(4, 0, index.into()),
            Token::Send(index) => word(5, 0, index),
            Token::Wake => word(6, 0, 0),
        }
    }
}

impl TryFrom<u64> for Token {
    type Error = ();

    fn try_from(word: u64) -> Result<Self, ()> {
        let [operation, g2, g1, g0, slot @ ..] = word.to_be_bytes();
        let slot = u32::from_be_bytes(slot);
        let key = Key { slot, generation: u32::from_be_bytes([0, g2, g1, g0]) };
        Ok(match operation {
            1 => Self::Receive(key),
            2 => Self::Writable(key),
            3 => Self::Close(key),
            4 => Self::Accept(u16::try_from(slot).map_err(|_| ())?),
            5 => Self::Send(slot),
            6 => Self::Wake,
            _ => return Err(()),
        })
    }
}

/// Set in the `user_data` of the cancelling of a request, beside the request's own.
pub(super) const CANCEL_BIT: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::GENERATION_MAX;

    #[test]
    fn every_token_comes_back_from_its_word() {
        let mut words = Vec::new();
        for slot in [0, 1, u32::MAX] {
            for generation in [1, 2, GENERATION_MAX] {
                let key = Key { slot, generation };
                for token in [Token::Receive(key), Token::Writable(key), Token::Close(key)] {
                    let word = u64::from(token);
                    assert_eq!(Token::try_from(word), Ok(token));
                    assert_eq!(word & CANCEL_BIT, 0);
                    assert_eq!(Token::try_from(word | CANCEL_BIT), Err(()));
                    words.push(word);
                }
            }
        }
        for token in
            [Token::Accept(0), Token::Accept(u16::MAX), Token::Send(0), Token::Send(255), Token::Wake]
        {
            assert_eq!(Token::try_from(u64::from(token)), Ok(token));
            words.push(token.into());
        }
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count, "no two tokens share a word");
    }

    #[test]
    fn words_of_no_token_are_refused() {
        for word in [0, 7 << 56, u64::MAX, 4 << 56 | 0x1_0000] {
            assert_eq!(Token::try_from(word), Err(()));
        }
    }
}
