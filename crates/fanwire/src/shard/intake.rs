//! Intake: what other shards and threads ask of this one.
//!
//! In      commands from the mesh and from the inbox
//! Out     the same effects as a hook's calls
//! Bounds  `COMMANDS_PER_TICK_MAX` commands and `COMMAND_BYTES_PER_TICK_MAX` bytes of frames from each per tick;
//!         and `INTAKE_DELIVERIES_MAX` frames queued by them; what is over stays where it is, and its bound pushes back on the callers
//! Source  docs/architecture.md

use std::collections::VecDeque;

use fanwire_ws::CloseCode;

use super::{Core, Shard, State, bounds::Bounds, outbox::Delivery};
use crate::{
    close::CloseKind,
    driver::{Driver, Key},
    frame::Frame,
    handler::Handler,
    shared::{Command, SessionRef, ShardSide},
};

impl<D: Driver, H: Handler> Shard<D, H> {
    pub(super) fn take_commands(&mut self) {
        self.core.intake_deliveries = 0;
        let shared = self.core.shared.clone();
        let side = &shared.shards[self.core.index];
        let mut batch = std::mem::take(&mut self.core.intake);
        let mut room = Room::of(&self.core.bounds);
        while self.has_room(&room) {
            let taken = self.core.mesh.drain(CHUNK, |_, command| {
                batch.push_back(command);
                true
            });
            if taken == 0 {
                break;
            }
            self.handle(&mut batch, &mut room, side);
        }
        let mut room = Room::of(&self.core.bounds);
        while self.has_room(&room) {
            let taken = side.inbox.take(&mut batch, CHUNK);
            if taken == 0 {
                break;
            }
            self.handle(&mut batch, &mut room, side);
            side.inbox.release(taken);
        }
        side.inbox.take_free(&mut batch, self.core.bounds.commands);
        self.handle(&mut batch, &mut room, side);
        self.core.intake = batch;
    }

    fn has_room(&self, room: &Room) -> bool {
        room.commands > 0 && room.bytes > 0 && self.core.intake_deliveries < self.core.bounds.deliveries
    }

    fn handle(&mut self, batch: &mut VecDeque<Command>, room: &mut Room, side: &ShardSide) {
        for command in batch.drain(..) {
            let bytes = command.frame_bytes();
            side.give_intake_back(bytes);
            room.bytes = room.bytes.saturating_sub(bytes);
            room.commands = room.commands.saturating_sub(1);
            self.take_command(command);
        }
    }

    fn take_command(&mut self, command: Command) {
        #[cfg(feature = "sim")]
        let asked = self.observer.is_some().then(|| crate::sim::Asked::of(&command)).flatten();
        let is_done = self.carry_out(command);
        #[cfg(feature = "sim")]
        if let (Some(observer), Some(request)) = (&self.observer, asked) {
            (observer.borrow_mut())(crate::sim::Taken { shard: self.core.index, request, is_done });
        }
        #[cfg(not(feature = "sim"))]
        let _ = is_done;
        self.core.settle();
    }

    /// `false`: there was no room for it, or nothing to take away.
    fn carry_out(&mut self, command: Command) -> bool {
        let core = &mut self.core;
        match command {
            Command::Publish { frame, except, .. } => return core.publish_here(frame, except),
            Command::Broadcast { frame } => return core.broadcast_here(frame),
            Command::Send { key, frame } => return core.send_here(key, frame),
            Command::Subscribe { key, topic, pending } => {
                let is_refused = core.conn_of(key).is_some() && core.add_topic(key.slot, &topic).is_err();
                core.counters().subscribes_refused.add(is_refused.into());
                // Only now may publishers rely on the filter again.
                drop(pending);
                return !is_refused;
            }
            Command::Unsubscribe { key, topic } => {
                return core.conn_of(key).is_some() && core.remove_topic(key.slot, &topic);
            }
            Command::Close { key, code, reason } => {
                if core.conn_of(key).is_some() {
                    core.close_session(key.slot, CloseKind::Server, sendable(code), &reason);
                }
            }
            Command::Answer { key, auth } => self.answer_ticket(key, auth),
            Command::Adopt { descriptor, value, mut received } => {
                let Ok(value) = value.downcast::<H::Value>() else { return false };
                let Some(slot) = core.adopt(descriptor) else { return false };
                self.open(slot, *value);
                self.received_open(slot, &mut received);
            }
        }
        true
    }
}

impl<D: Driver> Core<D> {
    /// Gives a frame from elsewhere to this shard's subscribers; `false` if the shard's frames fill their cap.
    fn publish_here(&mut self, frame: Frame, except: Option<SessionRef>) -> bool {
        self.counters().publishes.add(1);
        let except = except.filter(|except| usize::from(except.shard) == self.index);
        let except = except.filter(|except| self.conn_of(except.key).is_some()).map(|except| except.key.slot);
        let topic = frame.clone();
        if self.topics.subscriber_count(topic.topic()) == 0 {
            return true;
        }
        let Some(id) = self.out.admit(&mut self.driver, frame) else { return false };
        self.fan_out(topic.topic(), id, except);
        true
    }

    fn broadcast_here(&mut self, frame: Frame) -> bool {
        self.counters().publishes.add(1);
        let Some(id) = self.out.admit(&mut self.driver, frame) else { return false };
        self.fan_out_to_all(id);
        true
    }

    fn send_here(&mut self, key: Key, frame: Frame) -> bool {
        let is_there = self.conn_of(key).is_some();
        let delivery = is_there.then(|| self.out.send(&mut self.driver, key.slot, frame));
        if matches!(delivery, None | Some(Some(Delivery::Closed))) {
            self.counters().frames_dropped_closed.add(1);
        }
        delivery != Some(None)
    }

    /// Takes a socket whose handshake somebody else has done.
    fn adopt(&mut self, descriptor: std::os::fd::OwnedFd) -> Option<u32> {
        if self.drain.is_some() || !self.shared.take_session_place() {
            self.counters().refused_capacity.add(1);
            return None;
        }
        let (socket, peer) = match self.driver.adopt(descriptor) {
            Ok(adopted) => adopted,
            Err(error) => {
                tracing::warn!(shard = self.index, %error, "a socket could not be adopted: is it a connected TCP socket?");
                self.shared.give_session_place_back();
                self.counters().handshakes_abandoned.add(1);
                return None;
            }
        };
        self.counters().connections_adopted.add(1);
        self.shared.take_connection();
        Some(self.add_conn(socket, peer, State::Head).slot)
    }
}

/// What a tick may still take from one source.
struct Room {
    commands: usize,
    bytes: u64,
}

impl Room {
    fn of(bounds: &Bounds) -> Self {
        Self { commands: bounds.commands, bytes: bounds.command_bytes }
    }
}

/// The code, if it may go over the wire (RFC 6455 s7.4), else 1000.
pub(super) fn sendable(code: u16) -> CloseCode {
    let code = CloseCode::new(code);
    if code.is_valid_on_wire() { code } else { CloseCode::NORMAL }
}

/// Commands taken at a time, under one lock if it is the inbox.
const CHUNK: usize = 64;
