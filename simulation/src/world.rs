//! Worlds: a plan carried out, with the oracle watching.
//!
//! In      a plan
//! Out     the first failure, if any; a trace, if asked for
//! Bounds  `SETTLE_MAX` and `END_MAX` of simulated time, `TURNS_MAX` turns
//! Source  none

mod handover;
mod operations;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use fanwire::{CloseKind, Publisher, sim::SimServer};
use fastrand::Rng;

use self::handover::Handover;
use crate::{
    actor::{Actor, SharedOracle, lock},
    oracle::{Failure, Oracle},
    peer::Peer,
    plan::Plan,
    settings::Settings,
};

/// A server, its peers, and what is known of them.
#[derive(Debug)]
pub struct World {
    server: SimServer<Actor>,
    oracle: SharedOracle,
    peers: Vec<Peer>,
    publisher: Publisher,
    /// Connections that another program has, for a while.
    handovers: Vec<Handover>,
    settings: Settings,
    rng: Rng,
    turns: u64,
}

/// What a whole run has come to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What went wrong first.
    pub failure: Option<Failure>,
    /// Turns taken.
    pub turns: u64,
    /// The engine's counters at the end.
    pub counts: Vec<(&'static str, u64)>,
    /// What happened, if it was to be written down.
    pub trace: Vec<String>,
}

impl World {
    /// Runs a plan to its end, or to its first failure.
    pub fn run(plan: &Plan, is_traced: bool) -> Outcome {
        let oracle = Arc::new(Mutex::new(Oracle::new(&plan.settings, is_traced)));
        let (mut turns, mut counts) = (0, Vec::new());
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut world = Self::new(plan, &oracle);
            world.carry_out(plan);
            turns = world.turns;
            counts = world.counts();
        }));
        let mut oracle = lock(&oracle);
        if let Err(panic) = ran {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown form");
            oracle.fail("the engine never panics", text.to_owned());
        }
        Outcome { failure: oracle.failure().cloned(), turns, counts, trace: oracle.take_trace() }
    }

    fn new(plan: &Plan, oracle: &SharedOracle) -> Self {
        let options = plan.settings.options();
        let make = |shard| Actor::new(shard, oracle.clone());
        let mut server = SimServer::new(plan.seed, options, plan.settings.faults, make)
            .expect("plans are made of options that fit together");
        server.set_bounds(plan.settings.bounds);
        let observer = oracle.clone();
        server.observe(move |taken| lock(&observer).taken(&taken));
        Self {
            publisher: server.publisher(),
            server,
            oracle: oracle.clone(),
            peers: Vec::new(),
            handovers: Vec::new(),
            settings: plan.settings.clone(),
            rng: Rng::with_seed(!plan.seed),
            turns: 0,
        }
    }

    fn carry_out(&mut self, plan: &Plan) {
        for (operation, turns) in &plan.operations {
            lock(&self.oracle).note(|| format!("--- {operation:?}"));
            self.operate(operation);
            self.turn_up_to((*turns).into());
            if self.has_failed() {
                return;
            }
        }
        self.settle();
        if !self.has_failed() {
            self.end();
        }
    }

    /// The engine's counters, and how sessions have ended.
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let total = self.server.stats().total;
        let ends = CloseKind::ALL.iter().map(|kind| (end_name(*kind), total.closed(*kind)));
        total.iter().chain(ends).collect()
    }

    fn has_failed(&self) -> bool {
        lock(&self.oracle).failure().is_some()
    }

    // --- turns ---

    /// Lets one shard have its turn, and peers theirs; `false` if nobody has anything to do before time passes.
    fn turn(&mut self) -> bool {
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "a world comes to its end");
        if self.rng.bool() && !self.peers.is_empty() {
            let chosen = self.rng.usize(..self.peers.len());
            self.pump(chosen);
        }
        if !self.server.has_work() && !self.pump_all() {
            return false;
        }
        if self.server.has_work() {
            let mut oracle = lock(&self.oracle);
            oracle.set_now(self.server.now());
            oracle.begin_step();
            drop(oracle);
            self.server.step();
            self.check_turn();
        }
        if self.rng.u8(..8) == 0 {
            self.hand_back();
        }
        true
    }

    fn turn_up_to(&mut self, turns: usize) {
        for _ in 0..turns {
            if !self.turn() || self.has_failed() {
                return;
            }
        }
    }

    fn check_turn(&mut self) {
        if let Some(violation) = self.server.violation() {
            lock(&self.oracle).fail("the engine's structures agree", violation.to_string());
        }
        let publisher = &self.publisher;
        let mut oracle = lock(&self.oracle);
        oracle.note_crowd(&self.server.stats());
        (0..self.settings.shards.into())
            .filter(|&shard| self.server.is_closing_due(shard))
            .for_each(|shard| oracle.note_closes_due(shard));
        oracle.end_step(publisher.session_count(), |topic| publisher.subscriber_count(topic));
        if self.turns.is_multiple_of(TURNS_PER_SNAPSHOT) {
            oracle.check_tables(&self.server.snapshot());
        }
        let taken_over = std::mem::take(&mut oracle.taken_over);
        drop(oracle);
        for (peer, stream, read) in taken_over {
            self.take(peer, stream, read);
        }
    }

    fn pump(&mut self, index: usize) -> bool {
        let mut oracle = lock(&self.oracle);
        oracle.set_now(self.server.now());
        self.peers[index].pump(&mut self.rng, &mut oracle)
    }

    fn pump_all(&mut self) -> bool {
        let mut has_moved = false;
        for index in 0..self.peers.len() {
            has_moved |= self.pump(index);
        }
        has_moved
    }

    /// Lets so much time pass, and everything happen that is due meanwhile.
    fn pass(&mut self, time: Duration) {
        let end = self.server.now() + time;
        while self.server.now() < end && !self.has_failed() {
            if !self.turn() {
                self.server.wait(end - self.server.now());
            }
        }
    }

    // --- the end ---

    /// Everybody reads again, and time passes until nothing is missing.
    fn settle(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.set_reading(true));
        while !self.handovers.is_empty() {
            self.hand_back();
        }
        let mut end = self.server.now() + SETTLE_MAX;
        let mut sent = 0;
        while !self.is_settled() && self.server.now() < end && !self.has_failed() {
            self.pass(Duration::from_millis(20));
            let now_sent = self.server.stats().total.frames_sent;
            if std::mem::replace(&mut sent, now_sent) != now_sent {
                end = self.server.now() + SETTLE_MAX;
            }
        }
        let mut oracle = lock(&self.oracle);
        if oracle.failure().is_none() && !oracle.is_draining() {
            oracle.check_settled();
            let frames = self.server.stats().total.frames_live;
            if frames > 0 && !oracle.has_deaf() {
                oracle.fail("frames are freed once they are sent", format!("{frames} are left"));
            }
            let sending = self.peers.iter().find(|peer| peer.is_there() && !peer.has_sent_all());
            if let Some(peer) = sending {
                oracle.fail("no session starves", peer.describe());
            }
            if let Some(peer) = self.unanswered(&oracle) {
                oracle.fail("the latest ping is answered", peer.describe());
            }
            if let Some(peer) = self.waiting(&oracle) {
                oracle.fail("every request gets an answer", peer.describe());
            }
        }
    }

    fn is_settled(&self) -> bool {
        let has_sent = |peer: &Peer| !peer.is_there() || peer.has_sent_all();
        let oracle = lock(&self.oracle);
        (oracle.has_deaf() || self.server.stats().total.frames_live == 0)
            && self.peers.iter().all(has_sent)
            && self.unanswered(&oracle).is_none()
            && (oracle.is_draining() || self.waiting(&oracle).is_none())
            && oracle.is_settled()
    }

    /// A peer of an open session whose latest ping was not answered.
    fn unanswered(&self, oracle: &Oracle) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.unanswered_ping().is_some() && oracle.is_open(peer.index()))
    }

    /// A peer that waits for the answer to its request, and not for its ticket.
    fn waiting(&self, oracle: &Oracle) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.awaits_answer() && !oracle.is_parked(peer.index()))
    }

    /// A drain, and nothing is left.
    fn end(&mut self) {
        let tickets = std::mem::take(&mut lock(&self.oracle).tickets);
        for (peer, ticket) in tickets {
            lock(&self.oracle).decided(peer, false, self.server.now());
            drop(ticket);
        }
        if !lock(&self.oracle).is_draining() {
            self.drain(Duration::from_secs(10));
        }
        let end = self.server.now() + END_MAX;
        while self.server.ended().is_none() && self.server.now() < end && !self.has_failed() {
            self.pass(Duration::from_millis(100));
        }
        if self.server.ended().is_none() {
            return lock(&self.oracle).fail("a drain comes to its end", "it has not");
        }
        self.pass(Duration::from_millis(200));
        let total = self.server.stats().total;
        let mut oracle = lock(&self.oracle);
        oracle.check_ended();
        oracle.check_frames(&total);
        oracle.check_cut_sending(total.discards_exceeded);
        for (gauge, count) in total.iter().filter(|(name, count)| GAUGES.contains(name) && *count > 0) {
            oracle.fail("after a drain nothing is left", format!("{gauge} is {count}"));
        }
        for (index, peer) in self.peers.iter().enumerate() {
            oracle.check_counted(index);
            if !peer.was_refused() {
                oracle.check_never_refused(index);
            }
        }
    }
}

/// The name of a kind of end among the counters.
fn end_name(kind: CloseKind) -> &'static str {
    match kind {
        CloseKind::Peer => "closed_peer",
        CloseKind::Server => "closed_server",
        CloseKind::QueueFull => "closed_queue_full",
        CloseKind::Eof => "closed_eof",
        CloseKind::Reset => "closed_reset",
        CloseKind::Violation => "closed_violation",
        CloseKind::Idle => "closed_idle",
        CloseKind::Panic => "closed_panic",
        CloseKind::Shutdown => "closed_shutdown",
        _ => "closed_otherwise",
    }
}

/// What is so only at present, and must be over at the end.
pub const GAUGES: [&str; 11] = [
    "sessions",
    "sessions_blocked",
    "handshakes",
    "handshakes_parked",
    "topics",
    "topic_bytes",
    "frames_live",
    "frame_bytes_live",
    "page_bytes_live",
    "assembly_bytes",
    "held_bytes",
];

/// Something must have been sent after so long, if anything is missing: longer than any delay, any pause, any retry,
/// and the longest message over the narrowest connection.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// The longest deadline of a drain, and the closing time-out behind it.
const END_MAX: Duration = Duration::from_secs(40);

/// A snapshot costs more than a turn.
const TURNS_PER_SNAPSHOT: u64 = 16;

/// A plan takes some thousands.
const TURNS_MAX: u64 = 5_000_000;
