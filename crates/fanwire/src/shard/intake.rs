//! Intake: what other shards and threads ask of this one.
//!
//! In      commands from the mesh and from the inbox
//! Out     the same effects as a hook's calls
//! Bounds  `COMMANDS_PER_TICK_MAX` commands and `COMMAND_BYTES_PER_TICK_MAX` bytes of frames from each per tick;
//!         and `INTAKE_DELIVERIES_MAX` frames queued by them; what is over stays where it is, and its bound pushes back on the callers
//! Source  docs/architecture.md

use std::collections::VecDeque;

use fanwire_ws::CloseCode;

use super::{Conn, Core, Shard, State, bounds::Bounds, hooks::guarded, outbox::Delivery};
use crate::{
    close::CloseKind,
    driver::{Driver, Key},
    frame::Frame,
    handler::Handler,
    shared::{Command, SessionRef, ShardSide},
    visit::{VISIT_SLOTS_MAX, Visit},
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
        self.core.queue_publishes();
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
        let asked = self.observer.is_some().then(|| crate::sim::Asked::of(&command));
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
        if !matches!(command, Command::Publish { .. }) {
            core.queue_publishes();
        }
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
            Command::Adopt { descriptor, has_place, value, mut received } => {
                let Ok(value) = value.downcast::<H::Value>() else { return false };
                let Some(slot) = core.adopt(descriptor, has_place) else {
                    core.drop_guarded(value);
                    return false;
                };
                self.open(slot, *value);
                self.received_open(slot, &mut received);
            }
            Command::Visit { visit } => {
                let Ok(visit) = visit.downcast::<Visit<H::Value>>() else { return false };
                self.visit(*visit);
            }
        }
        true
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Shows somebody's closure the open sessions from a slot on.
    fn visit(&mut self, visit: Visit<H::Value>) {
        let Visit { from, mut each, done } = visit;
        let slots = self.core.out().slots();
        let end = from.saturating_add(VISIT_SLOTS_MAX).min(slots);
        let mut next = (end < slots).then_some(end);
        for slot in from..end {
            let is_open = |conn: &Conn| conn.state == State::Open;
            if !self.core.conns.get(slot as usize).is_some_and(is_open) {
                continue;
            }
            let mut is_over = false;
            self.hook(slot, |_, session| is_over = each(session).is_break());
            self.core.queue_publishes();
            if is_over {
                next = (slot + 1 < slots).then_some(slot + 1);
                break;
            }
        }
        // A turn that has looked at many sessions takes in less of the rest.
        self.core.intake_deliveries += u64::from(end.saturating_sub(from));
        if guarded(|| done(next)).is_none() {
            self.core.counters().hook_panics.add(1);
        }
        self.core.drop_guarded(each);
    }
}

impl<D: Driver> Core<D> {
    /// Gives a frame from elsewhere to this shard's subscribers; `false` if the shard's frames fill their cap.
    fn publish_here(&mut self, frame: Frame, except: Option<SessionRef>) -> bool {
        self.counters().publishes.add(1);
        let except = except.filter(|except| usize::from(except.shard) == self.index);
        let except = except.filter(|except| self.conn_of(except.key).is_some()).map(|except| except.key.slot);
        let Some(topic) = self.topics().find(frame.topic()) else { return true };
        let Some(id) = self.publishes.admit(&mut self.driver, frame) else {
            return false;
        };
        self.fan_out(topic, id, except);
        true
    }

    fn broadcast_here(&mut self, frame: Frame) -> bool {
        self.counters().publishes.add(1);
        let Some(id) = self.publishes.admit(&mut self.driver, frame) else {
            return false;
        };
        self.fan_out_to_all(id);
        true
    }

    fn send_here(&mut self, key: Key, frame: Frame) -> bool {
        let is_there = self.conn_of(key).is_some();
        let delivery = is_there
            .then(|| self.publishes.now(&mut self.driver).out.send(&mut self.driver, key.slot, frame));
        if matches!(delivery, None | Some(Some(Delivery::Closed))) {
            self.frames_late += 1;
            self.counters().frames_dropped_closed.add(1);
        }
        delivery != Some(None)
    }

    /// Drops what is the user's, whose `Drop` may panic.
    fn drop_guarded<T>(&self, value: T) {
        if guarded(|| drop(value)).is_none() {
            self.counters().hook_panics.add(1);
        }
    }

    /// Takes a socket whose handshake somebody else has done.
    fn adopt(&mut self, descriptor: std::os::fd::OwnedFd, has_place: bool) -> Option<u32> {
        if !has_place && !self.shared.take_session_place() {
            self.counters().refused_capacity.add(1);
            return None;
        }
        if self.drain.is_some() {
            self.shared.give_session_place_back();
            self.counters().refused_capacity.add(1);
            return None;
        }
        let (socket, peer) = match self.driver.adopt(descriptor) {
            Ok(adopted) => adopted,
            Err(error) => {
                tracing::warn!(shard = self.index, %error, "a socket could not be adopted: is it a connected TCP or Unix stream?");
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

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;
    use crate::{
        Auth, Message, Options, Payload, Request, Session,
        session::Ops,
        sim::{Faults, SimClient, SimServer},
    };

    /// Subscribes everybody to `t`.
    struct Subscriber;

    impl Handler for Subscriber {
        type Value = ();

        fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
            Auth::accept(())
        }

        fn on_open(&mut self, session: &mut Session<'_, ()>) {
            session.subscribe("t").unwrap();
        }

        fn on_message(&mut self, _session: &mut Session<'_, ()>, _message: Message<'_>) {}
    }

    /// Two shards. The first has one subscriber, and is asked for publishes from one side.
    struct World {
        server: SimServer<Subscriber>,
        _client: SimClient,
    }

    impl World {
        fn new(is_from_mesh: bool) -> Self {
            let options = Options::default().shards(2).queue_size(1_024).mesh_size(256).inbox_size(256);
            let mut server = SimServer::new(1, options, Faults::none(), |_| Subscriber).unwrap();
            let mut client = server.connect_with(Some(0), 64 << 10);
            client.send(REQUEST.as_bytes());
            assert!(server.run_until(1_000, |server| server.stats().shards[0].sessions == 1));
            for _ in 0..PUBLISHES {
                if is_from_mesh {
                    server.shard(1).core.publish(None, "t", &Payload::json(&1).unwrap()).unwrap();
                } else {
                    server.publisher().publish("t", "1").unwrap();
                }
            }
            Self { server, _client: client }
        }

        fn frame_bytes(&mut self) -> u64 {
            self.server.shard(0).core.side().intake_bytes() / PUBLISHES
        }

        /// How many publishes each turn takes in under a bound, until none is left.
        fn taken_by_turns(mut self, bounds: Bounds) -> Vec<u64> {
            self.server.set_bounds(bounds);
            let mut turns = Vec::new();
            while self.server.shard(0).core.side().intake_bytes() > 0 {
                let before = self.server.stats().shards[0].publishes;
                self.server.shard(0).take_commands();
                turns.push(self.server.stats().shards[0].publishes - before);
                assert_ne!(turns.last(), Some(&0), "each turn goes on");
            }
            turns
        }
    }

    #[test]
    fn a_turn_takes_no_further_chunk_once_one_of_its_bounds_is_met() {
        for is_from_mesh in [true, false] {
            let frame_bytes = World::new(is_from_mesh).frame_bytes();
            let taken = |bounds| World::new(is_from_mesh).taken_by_turns(bounds);
            let (chunk, all) = (CHUNK as u64, Bounds::default());
            let rest = PUBLISHES - 2 * chunk;
            assert_eq!(taken(all), [PUBLISHES]);
            assert_eq!(taken(Bounds { commands: CHUNK, ..all }), [chunk, chunk, rest]);
            assert_eq!(taken(Bounds { commands: CHUNK + 1, ..all }), [2 * chunk, rest]);
            assert_eq!(taken(Bounds { command_bytes: chunk * frame_bytes, ..all }), [chunk, chunk, rest]);
            assert_eq!(taken(Bounds { command_bytes: chunk * frame_bytes + 1, ..all }), [2 * chunk, rest]);
            assert_eq!(taken(Bounds { deliveries: chunk, ..all }), [chunk, chunk, rest]);
            assert_eq!(taken(Bounds { deliveries: chunk + 1, ..all }), [2 * chunk, rest]);
        }
    }

    /// Two chunks and a half.
    const PUBLISHES: u64 = 160;

    const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
}
