//! The accepts of one shard, shared out among its listeners.
//!
//! In      room for connections, accepts that have ended
//! Out     which accept to arm or to cancel next, and for which listener
//! Bounds  as many as places for their peers' addresses: `accepts_armed_max`, and one for each listener
//! Source  io_uring_prep_accept(3)
#![forbid(unsafe_code)]

use crate::driver::socket::Admission;

/// The accepts of this shard: at most as many in the kernel as there is room for connections.
pub(super) struct Accepts {
    states: Box<[Accept]>,
    idle: Vec<u16>,
    /// Armed and not cancelled.
    pub(super) armed: usize,
    /// Those of each listener.
    armed_on: Box<[usize]>,
    pub(super) room: usize,
    pub(super) admission: Admission,
}

impl Accepts {
    pub(super) fn new(count: u16, listeners: u8) -> Self {
        Self {
            states: (0..count).map(|_| Accept::Idle).collect(),
            idle: (0..count).rev().collect(),
            armed: 0,
            armed_on: (0..listeners).map(|_| 0).collect(),
            room: 0,
            admission: Admission::Open,
        }
    }

    pub(super) fn wanted(&self) -> usize {
        if self.admission == Admission::Open { self.room.min(self.states.len()) } else { 0 }
    }

    /// Armed or cancelled: each of them may still bring a connection.
    pub(super) fn in_kernel(&self) -> usize {
        self.states.len() - self.idle.len()
    }

    /// One more, for the listener that has the fewest.
    pub(super) fn begin(&mut self) -> Option<(u16, u8)> {
        let (listener, _) = (0..).zip(&self.armed_on).min_by_key(|(_, armed)| **armed)?;
        let index = self.idle.pop()?;
        self.states[usize::from(index)] = Accept::Armed(listener);
        self.count(listener, 1);
        Some((index, listener))
    }

    /// Whether a listener has none although there could be one for each: room has become less, and what is armed is
    /// all on others. Once the one that is cancelled then has ended, its place goes there.
    pub(super) fn leaves_one_out(&self) -> bool {
        let is_settled = self.in_kernel() == self.armed;
        is_settled && self.armed >= self.armed_on.len() && self.armed_on.contains(&0)
    }

    /// One less, of the listener that has the most.
    pub(super) fn cancel(&mut self) -> Option<u16> {
        let (listener, _) = (0..).zip(&self.armed_on).max_by_key(|(_, armed)| **armed)?;
        let index = self.states.iter().rposition(|state| *state == Accept::Armed(listener))?;
        self.states[index] = Accept::Cancelled(listener);
        self.count(listener, -1);
        u16::try_from(index).ok()
    }

    /// Says which listener it was for.
    pub(super) fn end(&mut self, index: u16) -> u8 {
        let state = std::mem::replace(&mut self.states[usize::from(index)], Accept::Idle);
        self.idle.push(index);
        match state {
            Accept::Idle => panic!("an accept completes once"),
            Accept::Cancelled(listener) => listener,
            Accept::Armed(listener) => {
                self.count(listener, -1);
                listener
            }
        }
    }

    fn count(&mut self, listener: u8, more: isize) {
        for armed in [&mut self.armed, &mut self.armed_on[usize::from(listener)]] {
            *armed = armed.checked_add_signed(more).expect("what is armed was counted");
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    Idle,
    Armed(u8),
    Cancelled(u8),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_room(count: u16, listeners: u8, room: usize) -> Accepts {
        Accepts { room, ..Accepts::new(count, listeners) }
    }

    /// What `arm_accepts` does, with a kernel that ends what is cancelled at once.
    fn settle(accepts: &mut Accepts) {
        loop {
            while accepts.in_kernel() < accepts.wanted() {
                accepts.begin().unwrap();
            }
            let mut cancelled = Vec::new();
            while accepts.armed > accepts.wanted() || accepts.leaves_one_out() {
                cancelled.push(accepts.cancel().unwrap());
            }
            if cancelled.is_empty() {
                return;
            }
            for index in cancelled {
                accepts.end(index);
            }
        }
    }

    #[test]
    fn they_are_spread_evenly_whatever_the_room() {
        let mut accepts = with_room(64, 3, 0);
        for room in [64, 3, 7, 30, 4, 3, 0, 5] {
            accepts.room = room;
            settle(&mut accepts);
            assert_eq!(accepts.armed, room);
            let (most, fewest) = (accepts.armed_on.iter().max(), accepts.armed_on.iter().min());
            assert!(most.unwrap() - fewest.unwrap() <= 1, "room {room}: {:?}", accepts.armed_on);
        }
    }

    /// Connections come by one listener only, and the room shrinks with each.
    #[test]
    fn a_listener_whose_accepts_have_ended_gets_one_of_the_others() {
        let mut accepts = with_room(8, 2, 4);
        settle(&mut accepts);
        for room in [3, 2] {
            let index = accepts.states.iter().position(|state| *state == Accept::Armed(1)).unwrap();
            assert_eq!(accepts.end(u16::try_from(index).unwrap()), 1);
            accepts.room = room;
            settle(&mut accepts);
            assert_eq!(accepts.armed, room);
            assert!(accepts.armed_on.iter().all(|armed| *armed > 0), "{:?}", accepts.armed_on);
        }
    }

    #[test]
    fn each_listener_has_a_place_and_a_failure_pauses_all() {
        let mut accepts = with_room(5, 5, 9);
        settle(&mut accepts);
        assert_eq!(&*accepts.armed_on, [1; 5]);
        accepts.admission = Admission::Failed;
        settle(&mut accepts);
        assert_eq!((accepts.armed, accepts.in_kernel()), (0, 0));
    }
}
