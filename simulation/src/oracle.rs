//! The oracle: what each peer may see, from plain collections.
//!
//! In      every call with its result, every hook, every command that a shard takes in, every payload that arrives
//! Out     the first thing that is wrong, and the rule it breaks
//! Bounds  as the workload
//! Source  docs/architecture.md, docs/protocol.md
//!
//! All shards run in one thread and every effect on a topic shows itself at once, so nothing is guessed: between
//! turns the oracle's sessions and topics are exactly the engine's, and each session's messages are known in order.

mod account;
mod answers;
mod commands;
mod drops;
mod hooks;
mod idle;
mod lanes;
mod outside;
mod peers;

pub use self::{
    account::{Account, Conduct},
    lanes::{Lane, Request},
};

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use fanwire::{SessionHandle, Ticket, sim::ShardSnapshot};

use self::{
    account::Phase,
    answers::Crowd,
    drops::{Late, Policy},
    lanes::Lanes,
};
use crate::{actor::Value, message::Message, plan::Topic, settings::Settings};

/// What is known of a world.
#[derive(Debug)]
pub struct Oracle {
    settings: Settings,
    policy: Policy,
    accounts: Vec<Account>,
    messages: Vec<Sent>,
    lanes: Lanes,
    crowd: Crowd,
    late: Late,
    /// Parked handshakes, by peer.
    pub(crate) tickets: VecDeque<(usize, Ticket<Value>)>,
    /// Connections that were taken over: whose, and what had been read.
    pub(crate) taken_over: Vec<(usize, TcpStream, Vec<u8>)>,
    step: u64,
    /// The world's time, as of the last turn or look of a peer.
    now: Duration,
    /// When a drain cuts what is left, at the earliest.
    drain_due: Option<Duration>,
    /// When the clock last jumped.
    jumped_at: Duration,
    /// The shard whose `on_close` hook runs.
    in_close_hook: bool,
    /// The shard whose hook runs.
    in_hook: Option<usize>,
    /// Peers whose silent end only the limit of what is thrown away can explain.
    cut_sending: usize,
    /// Sessions that must have ended when this turn is over.
    suspects: Vec<usize>,
    failure: Option<Failure>,
    trace: Option<Vec<String>>,
}

/// The first thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What must always hold.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

#[derive(Debug)]
struct Sent {
    message: Message,
    lane: Lane,
    frame_bytes: usize,
}

impl Oracle {
    /// Knows nothing yet.
    pub fn new(settings: &Settings, is_traced: bool) -> Self {
        Self {
            settings: settings.clone(),
            policy: Policy::new(settings),
            accounts: Vec::new(),
            messages: Vec::new(),
            lanes: Lanes::new(settings.shards.into()),
            crowd: Crowd::default(),
            late: Late::default(),
            tickets: VecDeque::new(),
            taken_over: Vec::new(),
            step: 0,
            now: Duration::ZERO,
            drain_due: None,
            jumped_at: Duration::ZERO,
            in_close_hook: false,
            in_hook: None,
            cut_sending: 0,
            suspects: Vec::new(),
            failure: None,
            trace: is_traced.then(Vec::new),
        }
    }

    /// What went wrong first.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What has happened, if it was to be written down.
    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    /// Writes down what happens.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>6}  {}", self.step, line()));
        }
    }

    /// Keeps the first failure.
    pub fn fail(&mut self, rule: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("FAILURE  {rule}: {what}"));
        self.failure.get_or_insert(Failure { rule, what });
    }

    /// A message that nothing else is, on its way from a hook or a thread.
    pub fn message(&mut self, topic: String, bytes: usize, lane: Lane) -> Message {
        let id = u32::try_from(self.messages.len()).expect("a plan has fewer messages");
        let message = Message { id, topic, bytes };
        let frame_bytes = message.frame_bytes(self.settings.is_raw);
        self.messages.push(Sent { message: message.clone(), lane, frame_bytes });
        message
    }

    // --- between turns ---

    /// A turn begins.
    pub fn begin_step(&mut self) {
        self.step += 1;
        self.lanes.begin_step(self.step);
    }

    /// Time has come so far.
    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// A turn is over, and its hooks have run: now the engine's figures must be the oracle's.
    pub fn end_step(&mut self, session_count: u64, subscriber_count: impl Fn(&str) -> u64) {
        for peer in std::mem::take(&mut self.suspects) {
            if self.accounts[peer].phase != Phase::Closed {
                let phase = self.accounts[peer].phase;
                self.fail("a session that refuses calls has ended", format!("peer {peer} is {phase:?}"));
            }
        }
        self.note_late();
        let open = self.accounts.iter().filter(|account| account.is_open()).count() as u64;
        let leaving =
            self.accounts.iter().position(|one| matches!(one.phase, Phase::Leaving(..) | Phase::Doomed));
        if let Some(peer) = leaving {
            self.fail("on_close runs in the turn of the end", format!("peer {peer}"));
        }
        if session_count != open {
            self.fail("the session count is exact", format!("{session_count} in place of {open}"));
        }
        // One topic a turn: all have their turn.
        let topic = Topic(u8::try_from(self.step % u64::from(crate::plan::TOPICS)).expect("few topics"));
        let subscribers = self.accounts.iter().filter(|one| one.is_open() && one.topics.contains(&topic));
        let (expected, found) = (subscribers.count() as u64, subscriber_count(&topic.name()));
        if expected != found {
            self.fail("subscriber counts are exact", format!("{topic:?}: {found} in place of {expected}"));
        }
        self.check_handle();
    }

    /// Whether a peer that reads nothing any more keeps what is queued for it.
    pub fn has_deaf(&self) -> bool {
        self.accounts.iter().any(|account| account.conduct.is_deaf && account.is_open())
    }

    /// Each shard's sessions and their topics, and each topic's subscribers, must be those that are known here.
    pub fn check_tables(&mut self, shards: &[ShardSnapshot]) {
        for (shard, found) in shards.iter().enumerate() {
            let sessions = found.sessions.iter().map(|session| (&session.id, sorted(session.topics.iter())));
            let known = self.accounts.iter().filter(|one| one.is_open() && one.shard == shard);
            let known = known.filter_map(|one| {
                let topics: Vec<_> = one.topics.iter().map(|topic| topic.name()).collect();
                Some((one.id.as_ref()?, topics))
            });
            let known: HashMap<_, _> = known.map(|(id, topics)| (id, sorted(topics.iter()))).collect();
            let found_sessions: HashMap<_, _> = sessions.collect();
            let subscribed: usize = found.topics.iter().map(|topic| topic.subscribers.len()).sum();
            let expected: usize = known.values().map(Vec::len).sum();
            if found_sessions != known || subscribed != expected {
                let what = format!("shard {shard}: {found_sessions:?} in place of {known:?}");
                return self.fail("sessions and topics are exact", what);
            }
            self.check_silent(shard, found);
        }
    }

    /// One handle a turn.
    fn check_handle(&mut self) {
        if self.accounts.is_empty() {
            return;
        }
        let peer = usize::try_from(self.step).unwrap_or(0) % self.accounts.len();
        let account = &self.accounts[peer];
        let Some(handle) = &account.handle else { return };
        let is_right = match account.ending {
            None => !handle.is_closed() && handle.close_error().is_none(),
            Some(ending) => handle.is_closed() && handle.close_error().is_none_or(|kind| kind == ending.kind),
        };
        if !is_right {
            let found = (handle.is_closed(), handle.close_error());
            self.fail("handles know their session's state", format!("peer {peer}: {found:?}"));
        }
    }

    /// Whether all that was asked for has arrived, as far as that is known without its policy's drops.
    pub fn is_settled(&self) -> bool {
        self.lanes.lost().is_none() && self.unsettled().is_none()
    }

    /// All has been quiet for long: nothing may be missing.
    pub fn check_settled(&mut self) {
        if let Some(request) = self.lanes.lost().copied() {
            self.fail("every accepted call arrives", format!("{request:?} did not"));
        }
        if let Some(what) = self.unsettled() {
            self.fail("no session starves", what);
        }
    }

    fn unsettled(&self) -> Option<String> {
        let has_gone = |one: &Account| one.is_open() && one.conduct.has_left && !one.conduct.is_deaf;
        if let Some(peer) = self.accounts.iter().position(has_gone) {
            return Some(format!("peer {peer} has left, and its session is open"));
        }
        let open = self.accounts.iter().enumerate().filter(|(_, account)| account.is_open());
        open.filter(|(_, account)| account.is_well()).find_map(|(peer, account)| {
            if account.heard < account.said.len() {
                let (heard, said) = (account.heard, account.said.len());
                return Some(format!("{heard} of {said} messages of peer {peer} were heard"));
            }
            let missing = account.missing(&self.policy)?;
            Some(format!("message {missing} has not reached peer {peer}"))
        })
    }

    /// The server has ended.
    pub fn check_ended(&mut self) {
        for peer in 0..self.accounts.len() {
            let account = &self.accounts[peer];
            let values = account.values.load(std::sync::atomic::Ordering::Relaxed);
            if account.phase != Phase::New && account.phase != Phase::Closed {
                let phase = account.phase;
                self.fail("after a drain nothing is left", format!("peer {peer} is {phase:?}"));
            } else if values != 0 {
                self.fail("values live and die with their session", format!("peer {peer} has {values} left"));
            }
        }
    }

    // --- shorthands ---

    /// A message was queued for a session, or dropped by its policy.
    fn expect(&mut self, peer: usize, id: u32) {
        let frame_bytes = self.messages[id as usize].frame_bytes;
        self.accounts[peer].expect(id, frame_bytes, self.step, self.in_close_hook);
    }

    /// A new peer; its number.
    pub fn add(&mut self, mut account: Account) -> usize {
        account.connected_at = self.now;
        self.accounts.push(account);
        self.accounts.len() - 1
    }

    /// A peer's account.
    pub fn account(&mut self, peer: usize) -> &mut Account {
        &mut self.accounts[peer]
    }

    /// Whether a peer's session is open.
    pub fn is_open(&self, peer: usize) -> bool {
        self.accounts[peer].is_open()
    }

    /// The handle of a peer's session, if it has had one.
    pub fn handle(&self, peer: usize) -> Option<SessionHandle> {
        self.accounts[peer].handle.clone()
    }

    /// Counts the values made for a peer.
    pub(crate) fn values(&self, peer: usize) -> Arc<std::sync::atomic::AtomicU32> {
        self.accounts[peer].values.clone()
    }

    /// From here on sessions may be closed without a request, and at the deadline be cut.
    pub fn begin_drain(&mut self, deadline: Duration) {
        self.lanes.begin_drain();
        let due = self.now + deadline;
        self.drain_due = Some(self.drain_due.map_or(due, |before| before.min(due)));
    }

    /// A turn is over, and a drain is to close sessions of this shard.
    pub(crate) fn note_closes_due(&mut self, shard: usize) {
        self.lanes.note_due(shard);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain_due.is_some()
    }

    /// Whether a drain's deadline may have come.
    fn is_drain_due(&self) -> bool {
        self.drain_due.is_some_and(|due| self.now >= due)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<_> = names.cloned().collect();
    names.sort_unstable();
    names
}
