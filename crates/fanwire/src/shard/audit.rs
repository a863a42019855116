//! Audit: a shard between two turns, checked against its own rules.
//!
//! In      one shard, or all of them, of a simulated server
//! Out     the first rule that is broken, as a sentence; what an oracle compares
//! Bounds  O(sessions + queued frames + topics + timers) of the shard, without allocating once its lists have grown
//! Source  the invariants that the shard's files state

use super::{Rest, Shard, State};
use crate::{
    driver::Driver,
    handler::Handler,
    session::Ops,
    sim::{SessionSnapshot, ShardSnapshot, TopicSnapshot},
};

impl Rest {
    /// When it ends if nothing comes.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.wait_ns.map(|wait_ns| self.before_ns.saturating_add(wait_ns))
    }

    /// Whether it is none at all.
    pub(crate) fn is_over(&self) -> bool {
        self.wait_ns == Some(0)
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    pub(crate) fn driver(&self) -> &D {
        &self.core.driver
    }

    /// Whether another shard or thread has brought something that is not yet taken in.
    pub(crate) fn has_arrivals(&self) -> bool {
        self.core.has_arrivals()
    }

    /// Whether something waits to be sent, or to be tried again, to a socket that has not refused it.
    pub(crate) fn has_unsent(&self) -> bool {
        self.core.out.has_dirty() || self.core.out.has_starved()
    }

    pub(crate) fn snapshot(&self) -> ShardSnapshot {
        let core = &self.core;
        let open = core.conns.iter().filter(|(_, conn)| conn.state == State::Open);
        let sessions = open.map(|(_, conn)| {
            let slot = conn.key.slot;
            let mut topics: Vec<_> = core.topics.topics_of(slot).map(str::to_owned).collect();
            topics.sort_unstable();
            SessionSnapshot {
                id: conn.id.clone(),
                queued: core.queued(slot),
                is_paused: conn.is_paused,
                topics,
            }
        });
        let topics = core.topics.names().map(|name| {
            let mut slots = core.topics.subscribers(name).to_vec();
            slots.sort_unstable();
            let subscribers = slots.iter().map(|&slot| core.conns[slot as usize].id.clone()).collect();
            TopicSnapshot { name: name.to_owned(), subscribers }
        });
        let mut topics: Vec<_> = topics.collect();
        topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        ShardSnapshot { sessions: sessions.collect(), topics }
    }
}
