//! Lanes: what has been asked of a shard and not yet been taken in, in order.
//!
//! In      calls that returned `Ok`; what shards report as taken
//! Out     the call that a taken command belongs to; a lost, doubled or overtaken one
//! Bounds  as the workload
//! Source  docs/architecture.md: per lane first in, first out

use std::collections::VecDeque;

use crate::plan::Topic;

/// All ways into all shards.
#[derive(Debug)]
pub(super) struct Lanes {
    shards: usize,
    /// By destination: the inbox, then the ring from each shard, then tickets' answers.
    lanes: Vec<VecDeque<Entry>>,
    /// The turn at present.
    step: u64,
    /// By shard; empty: there is no drain.
    batches: Vec<Batch>,
}

/// Sessions of a shard that a drain closes in one turn.
#[derive(Clone, Copy, Debug)]
struct Batch {
    /// The turn in which the next ones were due first, and were not closed.
    due: Option<u64>,
    /// The turn in which the latest ones were closed, or behind which the drain began.
    latest: u64,
    /// The turn in which those were due first: what was accepted before it comes before them.
    horizon: u64,
}

/// Which way a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A hook's call, from its shard.
    Mesh(usize),
    /// A thread's call.
    Inbox,
    /// A ticket's answer.
    Tickets,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the calls")]
pub enum Request {
    Publish { id: u32, except: Option<usize> },
    Broadcast { id: u32 },
    Send { id: u32, peer: usize },
    Subscribe { peer: usize, topic: Topic },
    Unsubscribe { peer: usize, topic: Topic },
    Close { peer: usize, code: u16 },
    Adopt { peer: usize },
    Answer { peer: usize, is_accepted: bool },
}

#[derive(Debug)]
struct Entry {
    request: Request,
    /// The shard must take it. Otherwise it may: the interest filter knows false positives.
    is_certain: bool,
    /// The turn in which it was accepted, or behind which.
    step: u64,
}

impl Lanes {
    pub(super) fn new(shards: usize) -> Self {
        let lanes = std::iter::repeat_with(VecDeque::new).take(shards * (shards + 2)).collect();
        Self { shards, lanes, step: 0, batches: Vec::new() }
    }

    /// A turn begins.
    pub(super) fn begin_step(&mut self, step: u64) {
        self.step = step;
    }

    pub(super) fn push(&mut self, to: usize, lane: Lane, request: Request, is_certain: bool) {
        let index = self.index(to, lane);
        self.lanes[index].push_back(Entry { request, is_certain, step: self.step });
    }

    /// Takes out the request that a command belongs to.
    pub(super) fn take(
        &mut self,
        to: usize,
        lane: Lane,
        is_it: impl Fn(&Request) -> bool,
    ) -> Result<Request, String> {
        let index = self.index(to, lane);
        while let Some(entry) = self.lanes[index].pop_front() {
            if is_it(&entry.request) {
                return Ok(entry.request);
            }
            if entry.is_certain {
                return Err(format!("{:?} to shard {to} was overtaken or lost", entry.request));
            }
        }
        Err(format!("shard {to} took in a command that nobody gave it, or took it twice"))
    }

    /// Entries on one way, those that may never come included.
    pub(super) fn len(&self, to: usize, lane: Lane) -> usize {
        self.lanes[self.index(to, lane)].len()
    }

    /// What the threads' way to a shard holds.
    pub(super) fn in_inbox(&self, to: usize) -> impl Iterator<Item = &Request> {
        self.lanes[self.index(to, Lane::Inbox)].iter().map(|entry| &entry.request)
    }

    /// A call that has not arrived although all is quiet.
    pub(super) fn lost(&self) -> Option<&Request> {
        self.lanes.iter().flatten().find(|entry| entry.is_certain).map(|entry| &entry.request)
    }

    /// A drain begins, unless one has begun.
    pub(super) fn begin_drain(&mut self) {
        if self.batches.is_empty() {
            self.batches = vec![Batch { due: None, latest: self.step, horizon: 0 }; self.shards];
        }
    }

    /// A turn is over, and a drain is to close sessions of this shard once it has taken in what there is.
    pub(super) fn note_due(&mut self, shard: usize) {
        if let Some(batch) = self.batches.get_mut(shard).filter(|batch| batch.latest != self.step) {
            batch.due.get_or_insert(self.step);
        }
    }

    /// A drain has closed a session of this shard in this turn: a call that it has overtaken, if any.
    pub(super) fn overtaken(&mut self, by: usize) -> Option<&Request> {
        let batch = self.batches.get_mut(by)?;
        if batch.latest != self.step {
            let horizon = batch.due.unwrap_or(self.step);
            *batch = Batch { due: None, latest: self.step, horizon };
        }
        let horizon = batch.horizon;
        // Whose tickets are out was refused when the drain began.
        let lanes = &self.lanes[self.index(by, Lane::Inbox)..self.index(by, Lane::Tickets)];
        let mut waiting = lanes.iter().flatten();
        waiting.find(|entry| entry.is_certain && entry.step < horizon).map(|entry| &entry.request)
    }

    fn index(&self, to: usize, lane: Lane) -> usize {
        to * (self.shards + 2)
            + match lane {
                Lane::Inbox => 0,
                Lane::Mesh(from) => from + 1,
                Lane::Tickets => self.shards + 1,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_certain_must_come_in_order_and_once() {
        let mut lanes = Lanes::new(2);
        let broadcast = |id| Request::Broadcast { id };
        for (id, is_certain) in [(1, true), (2, false), (3, true), (4, true)] {
            lanes.push(1, Lane::Mesh(0), broadcast(id), is_certain);
        }
        let mut take = |id| lanes.take(1, Lane::Mesh(0), |request| *request == broadcast(id));
        assert_eq!(take(1), Ok(broadcast(1)));
        assert_eq!(take(3), Ok(broadcast(3)));
        assert!(take(3).unwrap_err().contains("overtaken"));
        assert!(take(4).unwrap_err().contains("nobody"));
        assert_eq!(lanes.lost(), None);
        lanes.push(0, Lane::Inbox, broadcast(5), true);
        assert_eq!(lanes.lost(), Some(&broadcast(5)));
    }

    #[test]
    fn what_came_before_a_drain_was_to_close_sessions_comes_first() {
        let mut lanes = Lanes::new(2);
        let broadcast = |id| Request::Broadcast { id };
        lanes.push(1, Lane::Inbox, broadcast(0), false);
        lanes.push(1, Lane::Inbox, broadcast(1), true);
        assert_eq!(lanes.overtaken(1), None, "there is no drain");
        lanes.begin_drain();
        lanes.begin_step(1);
        lanes.push(1, Lane::Mesh(0), broadcast(2), true);
        assert_eq!(lanes.overtaken(0), None);
        assert_eq!(lanes.overtaken(1), Some(&broadcast(1)));
        lanes.take(1, Lane::Inbox, |request| *request == broadcast(1)).unwrap();
        assert_eq!(lanes.overtaken(1), None, "it came in this turn");
        lanes.begin_step(2);
        lanes.note_due(1);
        lanes.push(1, Lane::Inbox, broadcast(3), true);
        lanes.begin_step(3);
        assert_eq!(lanes.overtaken(1), Some(&broadcast(2)));
        lanes.take(1, Lane::Mesh(0), |request| *request == broadcast(2)).unwrap();
        assert_eq!(lanes.overtaken(1), None, "it came when they were due");
        lanes.begin_step(4);
        assert_eq!(lanes.overtaken(1), Some(&broadcast(3)));
    }
}
