//! Worlds: a plan carried out, with the oracle watching.
//!
//! In      a plan
//! Out     the first failure, if any; a trace, if asked for
//! Bounds  `SETTLE_MAX` and `END_MAX` of simulated time, `TURNS_MAX` turns
//! Source  none

use std::{
    net::TcpStream,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use fanwire::{Auth, Publisher, sim::SimServer};
use fastrand::Rng;

use crate::{
    actor::{Actor, SharedOracle, Value, lock},
    message::Message,
    oracle::{Account, Failure, Lane, Oracle},
    peer::Peer,
    plan::{Act, Call, Decision, Deed, Door, Operation, Plan},
    settings::Settings,
};

/// A server, its peers, and what is known of them.
#[derive(Debug)]
pub struct World {
    server: SimServer<Actor>,
    oracle: SharedOracle,
    peers: Vec<Peer>,
    publisher: Publisher,
    settings: Settings,
    rng: Rng,
    turns: u64,
    is_draining: bool,
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
            counts = world.server.stats().total.iter().collect();
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
        let observer = oracle.clone();
        server.observe(move |taken| lock(&observer).taken(&taken));
        Self {
            publisher: server.publisher(),
            server,
            oracle: oracle.clone(),
            peers: Vec::new(),
            settings: plan.settings.clone(),
            rng: Rng::with_seed(!plan.seed),
            turns: 0,
            is_draining: false,
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
            lock(&self.oracle).begin_step();
            self.server.step();
            self.check_turn();
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
        oracle.end_step(publisher.session_count(), |topic| publisher.subscriber_count(topic));
        if self.turns.is_multiple_of(TURNS_PER_SNAPSHOT) {
            oracle.check_tables(&self.server.snapshot());
        }
        let taken_over = std::mem::take(&mut oracle.taken_over);
        drop(oracle);
        for (peer, stream, read) in taken_over {
            self.answer_taken(peer, stream, &read);
        }
    }

    /// Another program has a connection now: it answers and ends it.
    fn answer_taken(&mut self, peer: usize, stream: TcpStream, read: &[u8]) {
        let start = format!("GET /take?peer={peer} HTTP/1.1\r\n");
        let Some(mut stream) = self.server.redeem(stream) else {
            return lock(&self.oracle).fail("a take-over hands over the connection", format!("peer {peer}"));
        };
        if !read.starts_with(start.as_bytes()) {
            let text = String::from_utf8_lossy(read).into_owned();
            lock(&self.oracle).fail("a take-over hands over all that was read", text);
        }
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    fn pump(&mut self, index: usize) -> bool {
        let was_cut = self.server.stats().total.close_timeouts > 0 || self.is_draining;
        self.peers[index].pump(&mut self.rng, &mut lock(&self.oracle), was_cut)
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

    // --- operations ---

    fn operate(&mut self, operation: &Operation) {
        match operation {
            Operation::Connect { door, on_open, on_close } => self.connect(*door, on_open, on_close),
            Operation::Say { peer, acts, bytes, fragments } => self.say(*peer, acts, *bytes, *fragments),
            Operation::Peer(peer, deed) => self.deed(*peer, *deed),
            Operation::Outside(call) => self.call(*call),
            Operation::Decide(ticket, decision) => self.decide(*ticket, *decision),
            Operation::FailAccepts(count) => self.server.fail_accepts(*count),
            Operation::Pass(time) => self.pass(*time),
            Operation::Jump(time) => self.jump(*time),
            Operation::Drain(deadline) => self.drain(*deadline),
        }
    }

    fn connect(&mut self, door: Door, on_open: &[Act], on_close: &[Act]) {
        let mut account = Account::new(on_open.to_vec(), on_close.to_vec());
        account.conduct.is_rude = door == Door::ParkAndTalk;
        let index = lock(&self.oracle).add(account);
        let adopted = match door {
            Door::Adopt(shard) => {
                let value = Value::new(index, &self.oracle);
                self.server.adopt(shard % usize::from(self.settings.shards), value, Vec::new()).ok()
            }
            _ => None,
        };
        // One that finds the inbox full comes in as others do.
        let door = if adopted.is_none() && matches!(door, Door::Adopt(_)) { Door::Accept } else { door };
        let link = adopted.unwrap_or_else(|| self.server.connect_with(None, self.settings.peer_buffer_bytes));
        self.peers.push(Peer::new(index, link, door));
    }

    fn say(&mut self, peer: usize, acts: &[Act], bytes: usize, fragments: usize) {
        let Some(index) = self.some_peer(peer).filter(|&index| self.peers[index].may_talk()) else { return };
        let mut oracle = lock(&self.oracle);
        let id = oracle.account(index).say(acts.to_vec(), bytes);
        let data = Message { id, topic: String::new(), bytes }.data();
        let payload =
            if self.settings.is_raw { data } else { format!("{{\"topic\":\"do\",\"data\":{data}}}") };
        self.peers[index].say(payload.as_bytes(), fragments, &mut self.rng);
    }

    fn deed(&mut self, peer: usize, deed: Deed) {
        let Some(index) = self.some_peer(peer).filter(|&index| self.peers[index].is_there()) else { return };
        let peer = &mut self.peers[index];
        let mut oracle = lock(&self.oracle);
        let conduct = &mut oracle.account(index).conduct;
        match deed {
            Deed::Stall => {
                conduct.has_stalled = true;
                peer.set_reading(false);
            }
            Deed::Resume => peer.set_reading(true),
            Deed::Ping if peer.may_talk() => peer.ping(&mut self.rng),
            Deed::Close(code) if peer.may_talk() => {
                conduct.has_closed = true;
                peer.close(code);
            }
            Deed::HalfClose => {
                conduct.has_left = true;
                peer.half_close();
            }
            Deed::Reset => {
                conduct.has_left = true;
                peer.reset();
            }
            Deed::Vanish => {
                conduct.has_left = true;
                peer.vanish();
            }
            Deed::Garbage if peer.may_talk() => {
                conduct.is_rude = true;
                peer.misbehave();
            }
            Deed::PingFlood if peer.may_talk() => (0..PINGS).for_each(|_| peer.ping(&mut self.rng)),
            // With Raw everything is a message.
            Deed::Nonsense if peer.may_talk() && !self.settings.is_raw => peer.mumble(),
            Deed::Ping | Deed::PingFlood | Deed::Nonsense | Deed::Close(_) | Deed::Garbage => {}
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Publish { topic, bytes, count } => {
                for _ in 0..count {
                    let message = self.message(&topic.name(), bytes);
                    let result = self.publisher.publish(&topic.name(), message.data());
                    lock(&self.oracle).published(message.id, Some(topic), None, result);
                }
            }
            Call::PublishExcept { peer, topic, bytes } => {
                let Some((peer, handle)) = lock(&self.oracle).some_handle(peer) else { return };
                let message = self.message(&topic.name(), bytes);
                let result = self.publisher.publish_except(&handle, &topic.name(), message.data());
                lock(&self.oracle).published(message.id, Some(topic), Some(peer), result);
            }
            Call::Broadcast { bytes } => {
                let message = self.message("all", bytes);
                let result = self.publisher.broadcast("all", message.data());
                lock(&self.oracle).published(message.id, None, None, result);
            }
            Call::Send { peer, bytes } => {
                let Some((peer, handle)) = lock(&self.oracle).some_handle(peer) else { return };
                let message = self.message("direct", bytes);
                let result = handle.send("direct", message.data());
                lock(&self.oracle).sent(peer, message.id, result);
            }
            Call::Subscribe { peer, topic } => {
                let Some((peer, handle)) = lock(&self.oracle).some_handle(peer) else { return };
                let result = handle.subscribe(&topic.name());
                lock(&self.oracle).subscribed(peer, topic, result);
            }
            Call::SubscribeAndPublish { peer, topic, bytes } => {
                self.call(Call::Subscribe { peer, topic });
                self.call(Call::Publish { topic, bytes, count: 1 });
            }
            Call::Unsubscribe { peer, topic } => {
                let Some((peer, handle)) = lock(&self.oracle).some_handle(peer) else { return };
                let result = handle.unsubscribe(&topic.name());
                lock(&self.oracle).unsubscribed(peer, topic, result);
            }
            Call::Close { peer, code } => {
                let Some((peer, handle)) = lock(&self.oracle).some_handle(peer) else { return };
                let result = handle.close_with(code, "by a thread");
                lock(&self.oracle).close_asked(peer, code, result);
            }
        }
    }

    fn decide(&mut self, number: usize, decision: Decision) {
        let mut oracle = lock(&self.oracle);
        let Some(index) = number.checked_rem(oracle.tickets.len()) else { return };
        let (peer, ticket) = oracle.tickets.remove(index).expect("the index is below the length");
        drop(oracle);
        match decision {
            Decision::Accept => ticket.answer(Auth::accept(Value::new(peer, &self.oracle))),
            Decision::Reject => ticket.answer(Auth::reject(401, "not today\n")),
            Decision::Drop => drop(ticket),
        }
    }

    /// After a jump the peers have their say before anything else is due.
    fn jump(&mut self, time: Duration) {
        self.server.jump(time);
        self.pass(Duration::from_millis(100));
    }

    fn drain(&mut self, deadline: Duration) {
        self.is_draining = true;
        lock(&self.oracle).begin_drain();
        self.server.begin_drain(deadline);
    }

    fn message(&mut self, topic: &str, bytes: usize) -> Message {
        lock(&self.oracle).message(topic.to_owned(), bytes, Lane::Inbox)
    }

    fn some_peer(&self, number: usize) -> Option<usize> {
        number.checked_rem(self.peers.len())
    }

    // --- the end ---

    /// Everybody reads again, and time passes until nothing is missing.
    fn settle(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.set_reading(true));
        let end = self.server.now() + SETTLE_MAX;
        while !self.is_settled() && self.server.now() < end && !self.has_failed() {
            self.pass(Duration::from_millis(20));
        }
        if !self.has_failed() && !self.is_draining {
            let mut oracle = lock(&self.oracle);
            oracle.check_settled();
            let sending = self.peers.iter().find(|peer| peer.is_there() && !peer.has_sent_all());
            if let Some(peer) = sending {
                oracle.fail("no session starves", peer.describe());
            }
        }
    }

    fn is_settled(&self) -> bool {
        let has_sent = |peer: &Peer| !peer.is_there() || peer.has_sent_all();
        self.server.stats().total.frames_live == 0
            && self.peers.iter().all(has_sent)
            && lock(&self.oracle).is_settled()
    }

    /// A drain, and nothing is left.
    fn end(&mut self) {
        let tickets = std::mem::take(&mut lock(&self.oracle).tickets);
        drop(tickets);
        if !self.is_draining {
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

/// More than there is room for answers.
const PINGS: usize = 400;

/// What is so only at present, and must be over at the end.
pub const GAUGES: [&str; 10] = [
    "sessions",
    "sessions_blocked",
    "handshakes",
    "handshakes_parked",
    "topics",
    "topic_bytes",
    "frames_live",
    "frame_bytes_live",
    "assembly_bytes",
    "held_bytes",
];

/// Whatever a peer has queued must be with it after so long: longer than any delay, any pause and any retry.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// The longest deadline of a drain, and the closing time-out behind it.
const END_MAX: Duration = Duration::from_secs(40);

/// A snapshot costs more than a turn.
const TURNS_PER_SNAPSHOT: u64 = 16;

/// A plan takes some thousands.
const TURNS_MAX: u64 = 5_000_000;
