//! Audit: a shard between two turns, checked against its own rules.
//!
//! In      one shard of a simulated server
//! Out     the first rule that is broken, as a sentence; what an oracle compares
//! Bounds  O(sessions + queued frames + topics + timers) of the shard, without allocating once its lists have grown
//! Source  the invariants that the shard's files state

/// Ends an audit with a sentence unless something is so.
macro_rules! ensure {
    ($is_so:expr, $($text:tt)+) => {
        if !$is_so {
            return Err(format!($($text)+));
        }
    };
}

mod conns;
mod outbox;
mod server;
mod sleep;
mod tables;

pub(crate) use self::server::{audit_server, audit_server_end, memory_in_use};

use super::{Core, Shard, State, drain::Drain, sleep::Rest};
use crate::{
    driver::{Driver, Key},
    handler::Handler,
    session::Ops,
    sim::{SessionSnapshot, ShardSnapshot, TopicSnapshot},
};

/// What an audit asks of the simulated driver.
pub(crate) trait Probe: Driver {
    /// What is registered under a slot.
    fn probe(&self, slot: u32) -> Option<Probed>;

    /// Whether the last completion of a slot is still to come.
    fn is_ending(&self, slot: u32) -> bool;

    /// Receive buffers that were handed out and not recycled.
    fn buffers_outstanding(&self) -> usize;

    /// Memory of pages that were written and not given back.
    fn page_bytes(&self) -> u64;
}

/// A registered socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probed {
    pub(crate) key: Key,
    pub(crate) is_paused: bool,
    pub(crate) is_leaving: bool,
    /// Its end was found, and there is nothing of it left to fetch.
    pub(crate) has_ended: bool,
    /// `Writable` was asked for and has not been fetched.
    pub(crate) wants_writable: bool,
}

/// Where an audit notes what it has seen: kept from one to the next, so that none allocates.
#[derive(Default)]
pub(crate) struct Auditor {
    /// Which lists have a slot.
    marks: Vec<u8>,
    /// References to frames, by id.
    refs: Vec<u32>,
    /// Chains, and the slots that have them.
    chains: Vec<(u64, u32)>,
    /// The dirty list at the last audit, and how many had been taken from it by then.
    dirty: Vec<u32>,
    dirty_taken: u64,
    /// Places of the interest filter: at this audit, and at the one before.
    places: Vec<usize>,
    places_before: Vec<usize>,
}

impl Auditor {
    fn mark(&mut self, slot: u32, mark: u8) {
        if self.marks.len() <= slot as usize {
            self.marks.resize(slot as usize + 1, 0);
        }
        self.marks[slot as usize] |= mark;
    }

    fn has(&self, slot: u32, mark: u8) -> bool {
        self.marks.get(slot as usize).is_some_and(|marks| marks & mark != 0)
    }
}

impl<D: Probe, H: Handler> Shard<D, H> {
    /// Checks the shard after a turn.
    pub(crate) fn audit(&mut self, auditor: &mut Auditor) -> Result<(), String> {
        auditor.marks.clear();
        self.core.audit_rest()?;
        self.core.audit_outbox(auditor)?;
        self.core.audit_timers(auditor)?;
        self.core.audit_conns(auditor)?;
        self.audit_values()?;
        self.core.audit_topics(auditor)?;
        self.core.audit_gauges()?;
        self.core.audit_intake()
    }

    /// Checks that nothing is left of a shard that has ended.
    pub(crate) fn audit_end(&mut self, auditor: &mut Auditor) -> Result<(), String> {
        self.audit(auditor)?;
        let core = &self.core;
        ensure!(core.conns.is_empty(), "ended with {} connections", core.conns.len());
        ensure!(
            core.publishes.look().frames.live_frames() == 0,
            "ended with {} frames",
            core.publishes.look().frames.live_frames()
        );
        let page_bytes = core.publishes.look().frames.pages.live_bytes();
        ensure!(page_bytes == 0, "ended with {page_bytes} bytes of shared pages");
        ensure!(core.topics().topic_count() == 0, "ended with {} topics", core.topics().topic_count());
        ensure!(core.held_bytes == 0, "ended with {} bytes of held input", core.held_bytes);
        ensure!(
            core.assembly.used() == 0,
            "ended with {} bytes of unfinished messages",
            core.assembly.used()
        );
        ensure!(
            core.publishes.look().blocked_count == 0,
            "ended with {} blocked sessions",
            core.publishes.look().blocked_count
        );
        core.interest.audit_empty()
    }

    /// A value lives from the opening of its session until `on_close` has run.
    fn audit_values(&self) -> Result<(), String> {
        let present = self.values.iter().enumerate().filter(|(_, value)| value.is_some());
        for (slot, _) in present.clone() {
            let conn = self.core.conns.get(slot);
            let is_wanted = conn.is_some_and(|conn| conn.state == State::Open || conn.awaits_hook);
            ensure!(is_wanted, "slot {slot} keeps a value without a session");
        }
        let conns = self.core.conns.iter().map(|(_, conn)| conn);
        let wanted = conns.filter(|conn| conn.state == State::Open || conn.awaits_hook).count();
        ensure!(
            present.count() == wanted,
            "{wanted} sessions are open or await their hook, not all have a value"
        );
        Ok(())
    }
}

impl<D: Probe> Core<D> {
    /// What is only working space holds nothing between two turns.
    fn audit_rest(&self) -> Result<(), String> {
        let outstanding = self.driver.buffers_outstanding();
        ensure!(outstanding == 0, "{outstanding} receive buffers were not recycled after the turn");
        ensure!(self.intake.is_empty(), "{} commands were taken and not handled", self.intake.len());
        ensure!(self.fired.is_empty(), "{} timers were fired and not handled", self.fired.len());
        let (round, done) = (self.publishes.look().round.len(), self.publishes.look().done.len());
        ensure!(round == 0 && done == 0, "a flush has left {round} sends and {done} frames behind");
        ensure!(
            self.publishes.look().events.is_empty(),
            "{} findings of sending were not settled",
            self.publishes.look().events.len()
        );
        Ok(())
    }
}

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

    /// Connections, in whatever state.
    pub(crate) fn conn_count(&self) -> usize {
        self.core.conns.len()
    }

    /// Whether its drain was to close sessions in its last turn, and still is.
    pub(crate) fn is_closing_due(&self) -> bool {
        let due = self.core.drain.as_ref().and_then(Drain::due_ns);
        due.is_some_and(|due| due <= self.core.now_ns)
    }

    /// Whether another shard or thread has brought something that is not yet taken in.
    pub(crate) fn has_arrivals(&self) -> bool {
        self.core.has_arrivals()
    }

    /// Whether something waits to be sent, or to be tried again, to a socket that has not refused it.
    pub(crate) fn has_unsent(&self) -> bool {
        self.core.publishes.look().has_dirty() || self.core.publishes.look().has_starved()
    }

    pub(crate) fn snapshot(&self) -> ShardSnapshot {
        let core = &self.core;
        let open = core.conns.iter().filter(|(_, conn)| conn.state == State::Open);
        let sessions = open.map(|(_, conn)| {
            let slot = conn.key.slot;
            let mut topics: Vec<_> = core.topics().topics_of(slot).map(str::to_owned).collect();
            topics.sort_unstable();
            SessionSnapshot {
                id: conn.id.clone(),
                queued: core.queued(slot),
                is_paused: conn.is_paused,
                topics,
            }
        });
        let topics = core.topics().names().map(|name| {
            let mut slots = core.topics().subscribers(name).to_vec();
            slots.sort_unstable();
            let subscribers = slots.iter().map(|&slot| core.conns[slot as usize].id.clone()).collect();
            TopicSnapshot { name: name.to_owned(), subscribers }
        });
        let mut topics: Vec<_> = topics.collect();
        topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        ShardSnapshot { sessions: sessions.collect(), topics }
    }
}

/// In `dirty`.
const IN_DIRTY: u8 = 1;
/// In `blocked`.
const IN_BLOCKED: u8 = 1 << 1;
/// In `starved`.
const IN_STARVED: u8 = 1 << 2;
/// In `paused`.
const IN_PAUSED: u8 = 1 << 3;
/// In `ended`.
const IN_ENDED: u8 = 1 << 4;
/// Has a live timer.
const HAS_TIMER: u8 = 1 << 5;

#[cfg(test)]
mod tests;
