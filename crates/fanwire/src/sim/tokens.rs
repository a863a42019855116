//! Descriptors that stand for simulated sockets where the engine's types ask for real ones.
//!
//! In      links on their way through `adopt`, `take` and the user's code
//! Out     a real descriptor each; the link again when the descriptor comes back; those whose descriptor was closed
//! Bounds  a socket pair per link under way; in the order of their making, so that one seed gives one run

use std::{
    io::Read,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

/// The links that are outside as descriptors.
#[derive(Default)]
pub(super) struct Tokens {
    out: Vec<Token>,
}

/// One of them.
struct Token {
    link: usize,
    number: RawFd,
    /// The other end of the pair: it tells when the one that was given out is closed.
    kept: UnixStream,
}

impl Tokens {
    pub(super) fn give(&mut self, link: usize) -> OwnedFd {
        let (given, kept) = UnixStream::pair().expect("the process has descriptors left");
        kept.set_nonblocking(true).expect("a socket can be made not to block");
        self.out.push(Token { link, number: given.as_raw_fd(), kept });
        given.into()
    }

    /// The link that a descriptor stands for. A number is used again once its descriptor is closed, so `reap` comes
    /// first.
    pub(super) fn redeem(&mut self, descriptor: &OwnedFd) -> Option<usize> {
        let index = self.out.iter().position(|token| token.number == descriptor.as_raw_fd())?;
        Some(self.out.remove(index).link)
    }

    /// The links whose descriptor was closed.
    pub(super) fn reap(&mut self, closed: &mut Vec<usize>) {
        self.out.retain_mut(|token| {
            let is_closed = matches!(token.kept.read(&mut [0]), Ok(0));
            if is_closed {
                closed.push(token.link);
            }
            !is_closed
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaped(tokens: &mut Tokens) -> Vec<usize> {
        let mut closed = Vec::new();
        tokens.reap(&mut closed);
        closed
    }

    #[test]
    fn a_descriptor_gives_its_link_once() {
        let mut tokens = Tokens::default();
        let (one, other) = (tokens.give(1), tokens.give(2));
        assert_eq!((tokens.redeem(&other), tokens.redeem(&other)), (Some(2), None));
        assert!(reaped(&mut tokens).is_empty());
        assert_eq!(tokens.redeem(&one), Some(1));
        assert!(tokens.is_empty());
    }

    #[test]
    fn closed_descriptors_are_found_in_the_order_of_their_making() {
        let mut tokens = Tokens::default();
        let given: Vec<_> = (0..20).map(|link| tokens.give(link)).collect();
        given.into_iter().enumerate().filter(|(link, _)| link % 2 == 0).for_each(drop);
        // The iterator has dropped the others too.
        assert_eq!(reaped(&mut tokens), (0..20).collect::<Vec<_>>());
    }
}
