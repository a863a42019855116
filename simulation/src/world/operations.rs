//! Operations: each line of a plan, carried out.
//!
//! In      an operation; its peer or ticket by any number, taken modulo their count
//! Out     what peers, threads and time do to the server; the oracle hears of every call
//! Bounds  as the plan
//! Source  none

use std::time::Duration;

use fanwire::Auth;

use super::World;
use crate::{
    actor::{Value, lock},
    message::Message,
    oracle::{Account, Lane},
    peer::Peer,
    plan::{Act, Call, Decision, Deed, Door, Operation},
};

impl World {
    pub(super) fn operate(&mut self, operation: &Operation) {
        match operation {
            Operation::Connect { door, on_open, on_close } => self.connect(*door, on_open, on_close),
            Operation::Say { peer, acts, bytes, fragments } => self.say(*peer, acts, *bytes, *fragments),
            Operation::Leave { peer, acts, count } => self.leave(*peer, acts, *count),
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
        let mut oracle = lock(&self.oracle);
        oracle.set_now(self.server.now());
        let index = oracle.add(account);
        drop(oracle);
        let adopted = match door {
            Door::Adopt(shard) => {
                let value = Value::new(index, &self.oracle);
                let shard = shard % usize::from(self.settings.shards);
                let result = self.server.adopt(shard, value, Vec::new());
                lock(&self.oracle).adopted(index, shard, result.as_ref().map(|_| ()).map_err(|error| *error));
                result.ok()
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

    fn leave(&mut self, peer: usize, acts: &[Act], count: u8) {
        (0..count).for_each(|_| self.say(peer, acts, 0, 1));
        if let Some(index) = self.some_peer(peer) {
            self.pump(index);
        }
        self.deed(peer, Deed::HalfClose);
    }

    fn deed(&mut self, peer: usize, deed: Deed) {
        let Some(index) = self.some_peer(peer).filter(|&index| self.peers[index].is_there()) else { return };
        if deed == Deed::HalfClose && self.rng.bool() {
            // Right behind what it has to say.
            self.pump(index);
        }
        let peer = &mut self.peers[index];
        let mut oracle = lock(&self.oracle);
        let conduct = &mut oracle.account(index).conduct;
        match deed {
            Deed::Stall => {
                conduct.has_stalled = true;
                peer.set_reading(false);
            }
            Deed::FallDeaf => {
                conduct.has_stalled = true;
                conduct.is_deaf = true;
                peer.set_deaf(true);
            }
            Deed::Resume => {
                conduct.is_deaf = false;
                peer.set_deaf(false);
                peer.set_reading(true);
            }
            Deed::Ping if peer.may_talk() => peer.ping(&mut self.rng),
            Deed::Close(code) if peer.may_talk() => {
                conduct.has_closed = true;
                conduct.close_code = code;
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
        oracle.account(peer).conduct.is_undecided |= decision == Decision::Drop;
        oracle.decided(peer, decision == Decision::Accept, self.server.now());
        drop(oracle);
        match decision {
            Decision::Accept => ticket.answer(Auth::accept(Value::new(peer, &self.oracle))),
            Decision::Reject => ticket.answer(Auth::reject(401, "not today\n")),
            Decision::Drop => drop(ticket),
        }
    }

    /// After a jump the peers have their say before anything else is due.
    fn jump(&mut self, time: Duration) {
        let from = self.server.now();
        self.server.jump(time);
        let mut oracle = lock(&self.oracle);
        oracle.note_jump(from, self.server.now());
        oracle.jumped(self.server.now());
        drop(oracle);
        self.pass(Duration::from_millis(100));
    }

    pub(super) fn drain(&mut self, deadline: Duration) {
        let mut oracle = lock(&self.oracle);
        oracle.set_now(self.server.now());
        oracle.begin_drain(deadline);
        drop(oracle);
        self.server.begin_drain(deadline);
    }

    fn message(&mut self, topic: &str, bytes: usize) -> Message {
        lock(&self.oracle).message(topic.to_owned(), bytes, Lane::Inbox)
    }

    fn some_peer(&self, number: usize) -> Option<usize> {
        number.checked_rem(self.peers.len())
    }
}

/// More than there is room for answers.
const PINGS: usize = 400;
