//! Commands: what shards take in from each other and from threads, and whom it is for.
//!
//! In      each command a shard has carried out, and whether there was room
//! Out     what its sessions must get, and what they are subscribed to
//! Bounds  as the workload
//! Source  docs/architecture.md

use fanwire::{
    CloseKind,
    sim::{Asked, Taken},
};
use fanwire_ws::{Header, Parsed};

use super::{Account, Lane, Oracle, Request, account::Phase, idle::TURN};
use crate::{message::id_of, plan::Topic};

impl Oracle {
    /// A shard has taken a command in.
    pub fn taken(&mut self, taken: &Taken) {
        let shard = taken.shard;
        match self.request_of(taken) {
            Err(what) => self.fail("commands arrive once and in order", what),
            Ok(request) => {
                self.note(|| format!("shard {shard} takes {request:?}, done: {}", taken.is_done));
                self.carry_out(shard, request, taken.is_done);
            }
        }
    }

    fn request_of(&mut self, taken: &Taken) -> Result<Request, String> {
        let topic_of = |name: &str| Topic::of(name).ok_or_else(|| format!("nobody named the topic {name:?}"));
        let id_in = |frame: &fanwire::Frame| id_of_frame(frame.as_bytes()).ok_or("a frame without a number");
        match &taken.request {
            Asked::Publish(frame) => {
                let id = id_in(frame)?;
                let is_it = |one: &Request| matches!(one, Request::Publish { id: its, .. } if *its == id);
                self.lanes.take(taken.shard, self.lane_of(id)?, is_it)
            }
            Asked::Broadcast(frame) => {
                let id = id_in(frame)?;
                self.lanes.take(taken.shard, self.lane_of(id)?, |one| *one == Request::Broadcast { id })
            }
            Asked::Send(frame) => {
                let id = id_in(frame)?;
                let is_it = |one: &Request| matches!(one, Request::Send { id: its, .. } if *its == id);
                self.lanes.take(taken.shard, self.lane_of(id)?, is_it)
            }
            Asked::Subscribe(name) => {
                let topic = topic_of(name)?;
                let is_it =
                    |one: &Request| matches!(one, Request::Subscribe { topic: its, .. } if *its == topic);
                self.lanes.take(taken.shard, Lane::Inbox, is_it)
            }
            Asked::Unsubscribe(name) => {
                let topic = topic_of(name)?;
                let is_it =
                    |one: &Request| matches!(one, Request::Unsubscribe { topic: its, .. } if *its == topic);
                self.lanes.take(taken.shard, Lane::Inbox, is_it)
            }
            Asked::Close(code) => {
                let is_it = |one: &Request| matches!(one, Request::Close { code: its, .. } if its == code);
                self.lanes.take(taken.shard, Lane::Inbox, is_it)
            }
            Asked::Adopt => {
                self.lanes.take(taken.shard, Lane::Inbox, |one| matches!(one, Request::Adopt { .. }))
            }
            Asked::Answer => {
                self.lanes.take(taken.shard, Lane::Tickets, |one| matches!(one, Request::Answer { .. }))
            }
            other => Err(format!("{other:?} is new to the oracle")),
        }
    }

    fn lane_of(&self, id: u32) -> Result<Lane, String> {
        let sent = self.messages.get(id as usize);
        sent.map(|sent| sent.lane).ok_or_else(|| format!("nobody made message {id}"))
    }

    fn carry_out(&mut self, shard: usize, request: Request, is_done: bool) {
        match request {
            Request::Publish { .. } | Request::Broadcast { .. } | Request::Send { .. } if !is_done => {
                self.fail("room is made for every frame", format!("{request:?}"));
            }
            Request::Publish { id, except } => {
                let name = self.messages[id as usize].message.topic.clone();
                let topic = Topic::of(&name).expect("publishes are on topics of the plan");
                self.deliver(shard, id, except, |account| account.topics.contains(&topic));
            }
            Request::Broadcast { id } => self.deliver(shard, id, None, |_| true),
            Request::Send { id, peer } => self.remote_sent(peer, id),
            Request::Subscribe { peer, topic } => self.remote_subscribed(peer, topic, is_done),
            Request::Unsubscribe { peer, topic } => self.remote_unsubscribed(peer, topic, is_done),
            Request::Close { peer, code } => self.leave(peer, CloseKind::Server, code),
            Request::Adopt { peer } => {
                let is_explained = self.is_draining() || self.is_crowded();
                self.check_admitted(peer, is_explained);
            }
            Request::Answer { peer, is_accepted: true } => {
                let is_explained = self.may_be_unparked(peer);
                self.check_admitted(peer, is_explained);
            }
            Request::Answer { is_accepted: false, .. } => {}
        }
    }

    /// A peer was let in by its ticket or by another program: its session has opened, in this very command.
    fn check_admitted(&mut self, peer: usize, is_explained: bool) {
        if self.accounts[peer].phase == Phase::New && !is_explained {
            self.fail("who is let in has a session", format!("peer {peer} has none"));
        }
    }

    /// Whether a parked handshake may have ended without its ticket: its connection has, it took too long, or
    /// a drain has come before it.
    fn may_be_unparked(&self, peer: usize) -> bool {
        let account = &self.accounts[peer];
        let is_broken = account.conduct.has_left || account.conduct.is_rude || self.settings.may_reset();
        let is_late = self.now + TURN >= account.connected_at + self.settings.handshake_timeout;
        is_broken || is_late || self.is_draining()
    }

    fn remote_subscribed(&mut self, peer: usize, topic: Topic, is_done: bool) {
        let topics_max = self.settings.topics_per_session_max as usize;
        let account = &mut self.accounts[peer];
        if !account.is_open() {
            return;
        }
        let fits = account.topics.contains(&topic) || account.topics.len() < topics_max;
        match (fits, is_done) {
            (true, true) => {
                account.topics.insert(topic);
            }
            (false, false) => {}
            // Its session has ended in this turn, and nobody has heard of it yet.
            (true, false) | (false, true) => self.doom(peer),
        }
    }

    fn remote_unsubscribed(&mut self, peer: usize, topic: Topic, is_done: bool) {
        let account = &mut self.accounts[peer];
        let was_there = account.is_open() && account.topics.contains(&topic);
        match (was_there, is_done) {
            (true, true) => {
                account.topics.remove(&topic);
            }
            (false, false) => {}
            // Likewise.
            (true, false) => self.doom(peer),
            (false, true) => {
                self.fail("unsubscribing removes what is there", format!("peer {peer}, {topic:?}"))
            }
        }
    }

    /// A shard has put a message into the queues of these of its sessions.
    pub(super) fn deliver(
        &mut self,
        shard: usize,
        id: u32,
        except: Option<usize>,
        is_for: impl Fn(&Account) -> bool,
    ) {
        for peer in 0..self.accounts.len() {
            let account = &self.accounts[peer];
            if account.is_open() && account.shard == shard && except != Some(peer) && is_for(account) {
                self.expect(peer, id);
            }
        }
    }

    /// Somebody closes a session in order: what it has got until now is what it gets.
    pub(super) fn leave(&mut self, peer: usize, kind: CloseKind, code: u16) {
        let account = &mut self.accounts[peer];
        if account.is_open() {
            account.phase = Phase::Leaving(kind, code);
            account.freeze();
        }
    }
}

/// The number of the message in a whole frame.
fn id_of_frame(frame: &[u8]) -> Option<u32> {
    match Header::parse(frame) {
        Ok(Parsed::Header(_, at)) => id_of(&frame[at..]),
        _ => None,
    }
}
