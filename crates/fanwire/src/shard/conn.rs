//! Connections: from accept to the last completion.
//!
//! In      what happened on a socket, what a hook or a limit demands
//! Out     the connection's next state; sessions that ended, for `on_close`
//! Bounds  each state but `Open` has a deadline; early bytes 16 KiB; discarded bytes 1 MiB
//! Source  RFC 6455 section 7; docs/architecture.md, docs/protocol.md

use std::{collections::VecDeque, net::SocketAddr};

use fanwire_ws::{CloseCode, Decoder, encode_close};

use super::{Core, hold::Chunk, ops::subscription_bytes};
use crate::{
    close::{CloseKind, CloseReason},
    driver::{Driver, GENERATION_MAX, Key},
    session::SessionId,
};

/// One socket's protocol state. What a fan-out touches is not here but in its `Queue`.
pub(crate) struct Conn {
    pub(crate) key: Key,
    pub(crate) state: State,
    /// Reading is paused: for its budget, for its queue, or until its ticket is answered.
    pub(crate) is_paused: bool,
    /// `on_close` has not yet run.
    pub(crate) awaits_hook: bool,
    /// The driver has nothing of it any more.
    pub(crate) is_closed: bool,
    pub(crate) decoder: Decoder,
    pub(crate) id: SessionId,
    pub(crate) peer: SocketAddr,
    /// When something was last heard from the peer.
    pub(crate) heard_ns: u64,
    /// The live entry of the timer wheel; others are stale.
    pub(crate) timer_stamp: u32,
    /// Bytes read in the tick `read_tick`; discarded ones while lingering.
    pub(crate) read_bytes: u32,
    pub(crate) read_tick: u32,
    pub(crate) early: Option<Box<Early>>,
}

/// What a connection holds before it is a session, or while its reading is paused.
#[derive(Default)]
pub(crate) struct Early {
    /// An incomplete PROXY header or head, or what came behind a head whose ticket is out.
    pub(crate) bytes: Vec<u8>,
    /// Frames of a session whose reading is paused, as they came.
    pub(crate) held: VecDeque<Chunk>,
    /// Of a parked request.
    pub(crate) websocket_key: Vec<u8>,
    /// Those offered, in one string: a head may hold thousands of short ones.
    pub(crate) protocols: String,
    pub(crate) take_over: Option<crate::handler::TakeOver>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The PROXY header in front of the request is incomplete.
    Proxied,
    /// The request head is incomplete.
    Head,
    /// `on_auth` has said `later`.
    Parked,
    Open,
    /// Our close frame is on its way; the peer's is awaited.
    Closing,
    /// The peer has ended its side; the connection ends when our last bytes have left.
    Echoing,
    /// A response or a close frame is on its way after which nothing is worth reading.
    Finishing,
    /// Our direction is shut; what comes is discarded until the peer ends, too.
    Lingering,
    /// The socket goes to `Http::take_over`.
    Leaving,
    /// The driver is closing it.
    Gone,
}

/// A session that ended, on its way to `on_close`.
pub(crate) struct Ended {
    pub(crate) slot: u32,
    pub(crate) reason: CloseReason,
    pub(crate) topics: Vec<Box<str>>,
}

impl<D: Driver> Core<D> {
    /// Takes a socket in.
    pub(crate) fn add_conn(&mut self, socket: D::Socket, peer: SocketAddr, state: State) -> Key {
        let entry = self.conns.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("slots are u32");
        let generation = self.generations.next(slot);
        let key = Key { slot, generation };
        entry.insert(Conn {
            key,
            state,
            is_paused: false,
            awaits_hook: false,
            is_closed: false,
            decoder: Decoder::new(),
            id: SessionId::Random([0; 16]),
            peer,
            heard_ns: self.now_ns,
            timer_stamp: 0,
            read_bytes: 0,
            read_tick: 0,
            early: None,
        });
        self.out().add(key);
        self.driver.register(key, socket);
        self.handshakes += 1;
        key
    }

    /// The connection of a key, if it is still the one that the key was given to.
    pub(crate) fn conn_of(&mut self, key: Key) -> Option<&mut Conn> {
        self.conns.get_mut(key.slot as usize).filter(|conn| conn.key == key)
    }

    pub(crate) fn state(&self, slot: u32) -> State {
        self.conns[slot as usize].state
    }

    /// Moves on to `state`; keeps the count of handshakes.
    pub(crate) fn enter(&mut self, slot: u32, state: State) {
        let conn = &mut self.conns[slot as usize];
        let before = std::mem::replace(&mut conn.state, state);
        if before == State::Parked {
            self.parked -= 1;
            if state != State::Head {
                // The ticket was not answered, and the place that waited for it is free again.
                self.shared.give_session_place_back();
            }
        }
        if state == State::Parked {
            self.parked += 1;
        }
        let is_handshake = |state| matches!(state, State::Proxied | State::Head | State::Parked);
        if is_handshake(before) && !is_handshake(state) {
            self.handshakes -= 1;
        }
    }

    // --- the ways to end ---

    /// We close an open session: our frame goes out behind what is queued, the peer's is awaited.
    pub(crate) fn close_session(&mut self, slot: u32, kind: CloseKind, code: CloseCode, text: &str) {
        if self.state(slot) != State::Open {
            return;
        }
        self.out().stop_intake(slot);
        self.end_session(slot, CloseReason::new(kind, code.value(), text));
        let mut frame = Vec::new();
        encode_close(&mut frame, None, code, text);
        self.out().close(slot, frame);
        self.enter(slot, State::Closing);
        self.resume_reading(slot);
        self.set_timer(slot, self.close_ns);
    }

    /// The session's socket took nothing and its queue was full: what has not begun is dropped, 1013 follows if
    /// it can be written.
    pub(crate) fn close_overflowed(&mut self, slot: u32) {
        self.out().drop_unbegun(slot);
        self.close_session(slot, CloseKind::QueueFull, CloseCode::TRY_AGAIN_LATER, "too slow");
    }

    /// The peer's input cannot be understood from here on: what was queued before goes out, then our frame, and
    /// nothing is read any more.
    pub(crate) fn close_violated(&mut self, slot: u32, code: CloseCode, text: &str) {
        match self.state(slot) {
            State::Open => {
                self.out().stop_intake(slot);
                self.end_session(slot, CloseReason::new(CloseKind::Violation, code.value(), text));
                let mut frame = Vec::new();
                encode_close(&mut frame, None, code, text);
                self.out().close(slot, frame);
                self.finish(slot);
            }
            // Our close frame is out, and there will be no valid one from the peer.
            State::Closing => self.finish(slot),
            _ => {}
        }
    }

    /// The peer sent a valid close frame.
    pub(crate) fn close_by_peer(&mut self, slot: u32, code: Option<CloseCode>, text: &str) {
        match self.state(slot) {
            State::Open => {
                self.out().stop_intake(slot);
                let shown = code.unwrap_or(CloseCode::NO_STATUS);
                self.end_session(slot, CloseReason::new(CloseKind::Peer, shown.value(), text));
                let mut frame = Vec::new();
                match code {
                    // RFC 6455 s5.5.1: typically the status code that was received is echoed.
                    Some(code) => encode_close(&mut frame, None, code, ""),
                    None => frame.extend_from_slice(&EMPTY_CLOSE_FRAME),
                }
                self.out().close(slot, frame);
                self.enter(slot, State::Echoing);
                self.out().finish(slot);
                self.set_timer(slot, self.close_ns);
            }
            // Our frame may still be behind other bytes; the peer has said that it reads no more messages.
            State::Closing => {
                self.out().drop_unbegun(slot);
                self.enter(slot, State::Echoing);
                self.out().finish(slot);
            }
            _ => {}
        }
    }

    /// What is queued is the last that the connection sends; then it lingers.
    pub(crate) fn finish(&mut self, slot: u32) {
        self.enter(slot, State::Finishing);
        // Nobody will go on with it: it must not take the others' room until the socket is closed.
        self.drop_held(slot);
        self.conns[slot as usize].read_bytes = 0;
        self.resume_reading(slot);
        self.out().finish(slot);
        self.set_timer(slot, self.close_ns);
    }

    /// Everything that was to be sent has left.
    pub(crate) fn drained(&mut self, slot: u32) {
        match self.state(slot) {
            State::Finishing => {
                // RFC 6455 s7.1.1: closing with unread input would reset the connection, and the frame be lost.
                self.driver.shutdown_write(self.conns[slot as usize].key);
                self.enter(slot, State::Lingering);
            }
            State::Echoing => self.cut(slot),
            _ => {}
        }
    }

    /// The peer has ended its direction. What it still waits for is sent before the connection ends.
    pub(crate) fn half_closed(&mut self, slot: u32) {
        match self.state(slot) {
            // What is queued, our close frame with it, may still be read.
            State::Finishing | State::Closing => {
                self.enter(slot, State::Echoing);
                self.out().finish(slot);
            }
            State::Echoing => {}
            _ => self.ended_by_peer(slot, CloseKind::Eof),
        }
    }

    /// The stream ended.
    pub(crate) fn ended_by_peer(&mut self, slot: u32, kind: CloseKind) {
        match self.state(slot) {
            State::Open => {
                self.out().stop_intake(slot);
                self.end_session(slot, CloseReason::new(kind, CloseCode::ABNORMAL.value(), ""));
                self.enter(slot, State::Closing);
            }
            State::Proxied | State::Head | State::Parked => self.counters().handshakes_abandoned.add(1),
            _ => {}
        }
        self.cut(slot);
    }

    /// Ends the connection at once, whatever its state. An open session must have been ended before.
    pub(crate) fn cut(&mut self, slot: u32) {
        let state = self.state(slot);
        if matches!(state, State::Gone | State::Leaving) {
            return;
        }
        assert!(state != State::Open, "a session is ended before its socket is closed");
        self.enter(slot, State::Gone);
        self.out().kill(slot);
        self.drop_held(slot);
        let conn = &mut self.conns[slot as usize];
        conn.decoder.release(&mut self.assembly);
        conn.early = None;
        self.driver.close(conn.key);
    }

    /// The session leaves its topics, the count, and the handles' sight; `on_close` follows in this tick.
    pub(crate) fn end_session(&mut self, slot: u32, reason: CloseReason) {
        let mut topics = Vec::new();
        let (interest, shared, topic_bytes) = (&mut self.interest, &self.shared, &mut self.topic_bytes);
        self.publishes.now(&mut self.driver).topics.unsubscribe_all(slot, |name, last| {
            *topic_bytes -= subscription_bytes(name, last);
            if last {
                interest.remove(shared.hasher.hash(name));
            }
            topics.push(name.into());
        });
        let conn = &mut self.conns[slot as usize];
        conn.awaits_hook = true;
        self.side().handles.set(slot, self.conns[slot as usize].key.generation, reason.kind() as u32);
        self.counters().count_closed(reason.kind());
        self.sessions -= 1;
        self.counters().sessions.set(self.sessions);
        self.shared.give_session_place_back();
        self.ended.push_back(Ended { slot, reason, topics });
    }

    /// The driver has let go of the socket.
    pub(crate) fn closed(&mut self, slot: u32) {
        self.conns[slot as usize].is_closed = true;
        self.free_if_done(slot);
    }

    /// The slot is free once the driver and the hook are done with it.
    pub(crate) fn free_if_done(&mut self, slot: u32) {
        let conn = &self.conns[slot as usize];
        if conn.is_closed && !conn.awaits_hook {
            self.out().remove(slot);
            self.conns.remove(slot as usize);
            self.shared.give_connection_back();
            // Its descriptor is free for a connection that waits.
            self.accept_again_ns = 0;
        }
    }

    // --- reading ---

    /// Books what was read, and pauses a session that is ahead of its budget or of its own queue.
    pub(crate) fn account_read(&mut self, slot: u32, bytes: usize) {
        let conn = &mut self.conns[slot as usize];
        conn.heard_ns = self.now_ns;
        if conn.read_tick != self.tick_number && conn.state == State::Open {
            conn.read_tick = self.tick_number;
            conn.read_bytes = 0;
        }
        conn.read_bytes = conn.read_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if conn.state == State::Open && (conn.read_bytes > self.read_budget || self.is_half_full(slot)) {
            self.pause_for_later(slot);
        }
    }

    pub(crate) fn is_half_full(&self, slot: u32) -> bool {
        let out = self.publishes.look();
        let queue = out.queue(slot);
        out.is_blocked(slot) && self.is_over_half(queue.len(), queue.bytes())
    }

    /// Queues what waits if the session's queue may be above half with it: it may also find that its socket takes
    /// nothing.
    pub(crate) fn catch_up(&mut self, slot: u32) {
        let (bytes, messages) = self.publishes.waiting_for(slot);
        let queue = self.publishes.look().queue(slot);
        if messages > 0 && self.is_over_half(queue.len() + messages, queue.bytes() + u64::from(bytes)) {
            self.queue_publishes();
        }
    }

    fn is_over_half(&self, messages: u32, bytes: u64) -> bool {
        messages > self.queue_size / 2 || bytes > u64::from(self.queue_bytes) / 2
    }

    /// Pauses until a later tick finds the session's queue low again.
    pub(crate) fn pause_for_later(&mut self, slot: u32) {
        if !self.conns[slot as usize].is_paused {
            self.pause_reading(slot);
            self.counters().reads_paused.add(1);
            self.paused.push(slot);
        }
    }

    /// Whether a paused session's queue has gone down to a quarter, or is no obstacle.
    pub(crate) fn may_resume(&self, slot: u32) -> bool {
        let out = self.publishes.look();
        let queue = out.queue(slot);
        self.conns.get(slot as usize).is_none_or(|conn| conn.state != State::Open)
            || !out.is_blocked(slot)
            || (queue.len() <= self.queue_size / 4 && queue.bytes() <= u64::from(self.queue_bytes) / 4)
    }

    pub(crate) fn pause_reading(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        if !conn.is_paused {
            conn.is_paused = true;
            self.driver.pause(conn.key);
        }
    }

    /// Time paused by us does not count as silence.
    pub(crate) fn resume_reading(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        if conn.is_paused {
            conn.is_paused = false;
            conn.heard_ns = self.now_ns;
            self.driver.resume(conn.key);
        }
    }
}

/// The generations of all slots, also of those that are free.
#[derive(Default)]
pub(crate) struct Generations(Vec<u32>);

impl Generations {
    fn next(&mut self, slot: u32) -> u32 {
        if self.0.len() <= slot as usize {
            self.0.resize(slot as usize + 1, 0);
        }
        let generation = &mut self.0[slot as usize];
        *generation = if *generation == GENERATION_MAX { 1 } else { *generation + 1 };
        *generation
    }
}

/// FIN and close, no payload.
const EMPTY_CLOSE_FRAME: [u8; 2] = [0x88, 0];

/// Bytes kept of a peer that talks before it was let in (beyond its head).
pub(crate) const EARLY_BYTES_MAX: usize = 16 * 1024;
