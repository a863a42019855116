//! Talk: subscribers that send, in turn and on schedule.
//!
//! In      a rate, an end; the clock
//! Out     who sends next, and what
//! Bounds  one message is encoded at a time
//! Source  an open loop counts latency from the intended time, so a late send hides nothing

use std::{io, time::Duration};

use super::{progress::LOOK_AGAIN, speaker::encode};
use crate::{
    dialect::{Dialect, topic::Topic},
    load::schedule::Schedule,
    truth::stamp::Stamp,
};

/// What the subscribers of one worker are to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Talk {
    /// Messages per second, of all of them together.
    pub per_s: f64,
    /// Length of each message's data.
    pub payload_bytes: usize,
    /// After so long nothing becomes due any more.
    pub time_ns: u64,
}

/// Talk that has begun.
#[derive(Debug)]
pub(super) struct Talking {
    talk: Talk,
    schedule: Schedule,
    /// Nothing is due from then on.
    over_ns: u64,
    turn: usize,
    data: Vec<u8>,
    message: Vec<u8>,
    frame: Vec<u8>,
}

impl Talking {
    pub(super) fn new(talk: Talk, now_ns: u64) -> Self {
        let schedule = Schedule::new(now_ns, talk.per_s);
        Self {
            talk,
            schedule,
            over_ns: now_ns.saturating_add(talk.time_ns),
            turn: 0,
            data: Vec::new(),
            message: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// Whose turn it is, of `count`, and since when; `None` if nothing is due.
    pub(super) fn next(&mut self, now_ns: u64, count: usize) -> Option<(usize, u64)> {
        let due_ns = self.schedule.due_ns();
        if due_ns > now_ns || due_ns >= self.over_ns || count == 0 {
            return None;
        }
        self.schedule.advance();
        let turn = self.turn;
        self.turn = (turn + 1) % count;
        Some((turn, due_ns))
    }

    /// Nothing becomes due from `ns` on; how much is still to be sent of what did before.
    pub(super) fn end(&mut self, ns: u64) -> u64 {
        self.over_ns = self.over_ns.min(ns);
        self.schedule.due_before(self.over_ns)
    }

    /// How long until the next is due.
    pub(super) fn wait(&self, now_ns: u64) -> Duration {
        if self.schedule.due_ns() >= self.over_ns {
            return LOOK_AGAIN;
        }
        Duration::from_nanos(self.schedule.due_ns().saturating_sub(now_ns)).min(LOOK_AGAIN)
    }

    /// The frame that publishes a message.
    ///
    /// # Errors
    /// The dialect cannot publish, or the system has no randomness.
    pub(super) fn encode(
        &mut self,
        dialect: &Dialect,
        topic: &Topic,
        stream: u32,
        sequence: u64,
        intended_ns: u64,
    ) -> io::Result<&[u8]> {
        [&mut self.data, &mut self.message, &mut self.frame].into_iter().for_each(Vec::clear);
        Stamp { stream, sequence, intended_ns }.encode(self.talk.payload_bytes, &mut self.data);
        dialect.publish(&topic.filling(&self.data), &mut self.message).map_err(io::Error::other)?;
        encode(dialect, &self.message, &mut self.frame)?;
        Ok(&self.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_and_nobody_before_it_is_due() {
        let mut talking = Talking::new(Talk { per_s: 1000.0, payload_bytes: 64, time_ns: 9_000_000_000 }, 5);
        let turns: Vec<_> = (0..4).map_while(|_| talking.next(2_000_005, 2)).collect();
        assert_eq!(turns, [(0, 5), (1, 1_000_005), (0, 2_000_005)]);
        assert_eq!(talking.wait(2_500_005), Duration::from_micros(500));
        assert_eq!(talking.next(u64::MAX, 0), None);
        assert_eq!((talking.end(5_000_005), talking.next(9_000_005, 2)), (2, Some((1, 3_000_005))));
        assert_eq!((talking.end(4_000_005), talking.next(9_000_005, 2)), (0, None));
        assert_eq!(talking.wait(9_000_005), LOOK_AGAIN);
    }
}
