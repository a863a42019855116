//! Completions: when the last receiver has a message.
//!
//! In      each delivery of messages that all receivers are to get
//! Out     the time of a message's last delivery, once all have it
//! Bounds  `OPEN_MAX` messages per stream that not all have; the oldest is given up and counted
//! Source  none

use std::collections::VecDeque;

/// Messages that some have and some have not.
#[derive(Clone, Debug)]
pub struct Completions {
    receivers: u32,
    streams: Vec<Open>,
    given_up: u64,
}

/// Of one stream.
#[derive(Clone, Debug, Default)]
struct Open {
    /// Sequence number of the first.
    first: u64,
    messages: VecDeque<Heard>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    count: u32,
    last_ns: u64,
}

impl Open {
    fn forget_complete(&mut self, receivers: u32) {
        while self.messages.front().is_some_and(|heard| heard.count >= receivers) {
            self.messages.pop_front();
            self.first += 1;
        }
    }
}

impl Completions {
    /// For so many receivers and streams.
    #[must_use]
    pub fn new(receivers: usize, streams: usize) -> Self {
        let receivers = u32::try_from(receivers).unwrap_or(u32::MAX);
        Self { receivers, streams: vec![Open::default(); streams], given_up: 0 }
    }

    /// One receiver is not waited for any more. What it had got is told by stream: all below this number.
    pub fn leave(&mut self, next_of: impl Fn(u32) -> u64) {
        let before = self.receivers;
        self.receivers = before.saturating_sub(1);
        for (stream, open) in (0..).zip(&mut self.streams) {
            let next = next_of(stream);
            for (sequence, heard) in (open.first..).zip(&mut open.messages) {
                let was_complete = heard.count >= before;
                heard.count -= u32::from(sequence < next && heard.count > 0);
                // All others have it: when the last of them got it is not known here any more.
                let is_complete = heard.count == self.receivers && heard.count > 0;
                self.given_up += u64::from(is_complete && !was_complete);
            }
            open.forget_complete(self.receivers);
        }
    }

    /// A receiver has got this message; if it was the last one, when the last came.
    pub fn observe(&mut self, stream: u32, sequence: u64, now_ns: u64) -> Option<u64> {
        let open = self.streams.get_mut(stream as usize)?;
        if open.messages.is_empty() {
            // What came before, such as a warm-up, is nobody's to wait for.
            open.first = open.first.max(sequence);
        }
        let mut index = usize::try_from(sequence.checked_sub(open.first)?).ok()?;
        if index >= open.messages.len() {
            // A gap this wide is a fault that the sequences tell of.
            if index >= open.messages.len() + OPEN_MAX {
                return None;
            }
            open.messages.resize(index + 1, Heard::default());
            while open.messages.len() > OPEN_MAX {
                open.messages.pop_front();
                open.first += 1;
                index -= 1;
                self.given_up += 1;
            }
        }
        let heard = &mut open.messages[index];
        heard.count += 1;
        heard.last_ns = heard.last_ns.max(now_ns);
        let complete = (heard.count == self.receivers).then_some(heard.last_ns);
        open.forget_complete(self.receivers);
        complete
    }

    /// Messages that were given up because not all had them for too long, or because the last that had not got them
    /// has left.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up
    }
}

/// Ten bursts of the largest that is common.
const OPEN_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_when_the_last_has_it_and_not_again() {
        let mut completions = Completions::new(3, 2);
        assert_eq!([(0, 5), (1, 9)].map(|(sequence, ns)| completions.observe(1, sequence, ns)), [None; 2]);
        assert_eq!([(0, 7), (1, 8)].map(|(sequence, ns)| completions.observe(1, sequence, ns)), [None; 2]);
        assert_eq!(completions.observe(1, 1, 10), Some(10));
        assert_eq!(completions.observe(1, 0, 6), Some(7));
        assert_eq!(completions.observe(1, 0, 11), None);
        assert_eq!(completions.observe(2, 0, 1), None);
        completions.leave(|_| 2);
        assert_eq!([1, 2].map(|ns| completions.observe(1, 2, ns)), [None, Some(2)]);
        assert_eq!(completions.given_up(), 0);
    }

    #[test]
    fn who_leaves_is_waited_for_no_more_and_what_only_it_had_not_got_is_counted() {
        let mut completions = Completions::new(3, 1);
        // It has got the first of them, as one other has; the second has come to both others, the third to one.
        for (sequence, receipts) in [(0, 2), (1, 2), (2, 1)] {
            (0..receipts).for_each(|_| assert_eq!(completions.observe(0, sequence, 5), None));
        }
        completions.leave(|_| 1);
        assert_eq!(completions.given_up(), 1);
        assert_eq!(completions.observe(0, 0, 7), Some(7));
        assert_eq!(completions.observe(0, 2, 9), Some(9));
        // What was complete before is not given up, though an earlier one is still open.
        let mut completions = Completions::new(2, 1);
        assert_eq!([(0, 1), (1, 2)].map(|(sequence, ns)| completions.observe(0, sequence, ns)), [None; 2]);
        assert_eq!(completions.observe(0, 1, 3), Some(3));
        completions.leave(|_| 2);
        assert_eq!((completions.given_up(), completions.observe(0, 0, 4)), (0, Some(4)));
    }

    #[test]
    fn what_never_completes_is_given_up_and_counted() {
        let mut completions = Completions::new(2, 1);
        let wide = OPEN_MAX as u64;
        for sequence in 0..2 * wide {
            assert_eq!(completions.observe(0, sequence, 1), None);
        }
        assert_eq!(completions.given_up(), wide);
        assert_eq!(completions.observe(0, wide - 1, 2), None);
        assert_eq!(completions.observe(0, wide, 2), Some(2));
        assert_eq!(completions.observe(0, 9 * wide, 2), None);
    }
}
