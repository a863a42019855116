//! Events: what the driver tells, each to the state that its connection is in.
//!
//! In      the driver's events
//! Out     decoded messages, to the handler; everything else, to the connection
//! Bounds  `EVENTS_PER_TICK_MAX` events and about `EVENT_BYTES_PER_TICK_MAX` received bytes per tick
//! Source  RFC 6455 section 5; docs/architecture.md

use fanwire_ws::Event as WsEvent;

use super::{Shard, conn::State, hooks::guarded};
use crate::{
    close::CloseKind,
    driver::{Driver, Event},
    handler::Handler,
};

impl<D: Driver, H: Handler> Shard<D, H> {
    pub(super) fn dispatch(&mut self) {
        let mut bytes = 0;
        for _ in 0..self.core.bounds.events {
            if bytes > self.core.bounds.event_bytes {
                break;
            }
            let Some(event) = self.core.driver.next_event() else { break };
            // A socket that takes bytes again does so before what waits is queued: no policy is to act on it then.
            if !matches!(event, Event::Received { .. } | Event::Writable { .. }) {
                self.core.queue_publishes();
            }
            match event {
                Event::Accepted { socket, peer, listener } => self.core.accepted(socket, peer, listener),
                Event::AcceptFailed { error } => self.core.accept_failed(error),
                Event::Received { key, mut buffer } => {
                    bytes += buffer.len();
                    self.received(key.slot, &mut buffer);
                    self.core.driver.recycle(buffer);
                }
                Event::Eof { key } => {
                    self.release_held(key.slot);
                    self.core.half_closed(key.slot);
                }
                Event::Failed { key, error } => {
                    tracing::debug!(shard = self.core.index, %error, "a connection failed");
                    self.release_held(key.slot);
                    self.core.ended_by_peer(key.slot, CloseKind::Reset);
                }
                Event::Writable { key } => self.core.publishes.writable(key.slot),
                Event::Closed { key } => self.core.closed(key.slot),
                Event::Taken { key, descriptor } => self.core.taken(key.slot, descriptor),
            }
            self.core.settle();
        }
        self.core.queue_publishes();
    }

    /// Bytes came in, for whatever state the connection is in.
    fn received(&mut self, slot: u32, input: &mut [u8]) {
        self.core.catch_up(slot);
        self.core.account_read(slot, input.len());
        let state = self.core.state(slot);
        if !matches!(state, State::Open | State::Closing) {
            self.core.queue_publishes();
        }
        match state {
            State::Proxied => self.received_proxy_header(slot, input),
            State::Head => self.received_head(slot, input),
            State::Parked => self.core.keep_early(slot, input),
            State::Open | State::Closing => self.received_open(slot, input),
            State::Finishing | State::Lingering => self.core.discard(slot),
            State::Leaving => self.core.keep_leaving(slot, input),
            State::Echoing | State::Gone => {}
        }
    }

    /// Decodes what is there, and says how much of it; with `may_stop` it stops where the session's own queue is
    /// half full and its socket takes nothing. The decoder is out of its connection meanwhile, so that hooks can
    /// borrow the shard beside its events.
    pub(super) fn received_frames(&mut self, slot: u32, input: &mut [u8], may_stop: bool) -> usize {
        let mut decoder = std::mem::take(&mut self.core.conns[slot as usize].decoder);
        let mut at = 0;
        loop {
            let (consumed, event) =
                decoder.decode(&self.core.rules, &mut self.core.assembly, &mut input[at..]);
            at += consumed;
            let go_on = match event {
                Ok(WsEvent::Partial) => false,
                Ok(event) => self.received_event(slot, event),
                Err(error) => {
                    self.core.queue_publishes();
                    self.core.count_refused_assembly(error);
                    self.core.close_violated(slot, error.close_code(), &error.to_string());
                    false
                }
            };
            self.core.catch_up(slot);
            if !go_on || (may_stop && self.core.is_half_full(slot)) {
                break;
            }
        }
        let conn = &mut self.core.conns[slot as usize];
        conn.decoder = decoder;
        if !matches!(conn.state, State::Open | State::Closing) {
            conn.decoder.release(&mut self.core.assembly);
            at = input.len();
        }
        self.core.relieve_assembly();
        at
    }

    /// `false`: nothing more is to be decoded.
    fn received_event(&mut self, slot: u32, event: WsEvent<'_>) -> bool {
        let is_open = self.core.state(slot) == State::Open;
        match event {
            WsEvent::Partial => false,
            WsEvent::Message { kind, payload } if is_open => {
                let counters = self.core.counters();
                counters.messages_received.add(1);
                counters.message_bytes_received.add(payload.len() as u64);
                let shared = self.core.shared.clone();
                let Some(decoded) = guarded(|| shared.codec.decode(kind, payload)) else {
                    self.core.close_panicked(slot);
                    return true;
                };
                let Some(message) = decoded else {
                    counters.messages_ignored.add(1);
                    return true;
                };
                self.hook(slot, |handler, session| handler.on_message(session, message));
                true
            }
            WsEvent::Ping(payload) if is_open => {
                self.core.queue_publishes();
                let skipped = self.core.out().pong(slot, payload);
                self.core.counters().pings_skipped.add(skipped);
                true
            }
            WsEvent::Close(frame) => {
                self.core.queue_publishes();
                let (code, text) = frame.map_or((None, ""), |frame| (Some(frame.code), frame.reason));
                self.core.close_by_peer(slot, code, text);
                false
            }
            // After our close frame only the peer's is of interest.
            WsEvent::Message { .. } | WsEvent::Ping(_) | WsEvent::Pong(_) => true,
        }
    }
}
