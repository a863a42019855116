//! Handshakes: from the first byte to an open session, or to a refusal that says why.
//!
//! In      the bytes of a request head, the handler's verdict, tickets' answers
//! Out     101 and an open session, a refusal (`refuse.rs`), or the socket for somebody else
//! Bounds  `handshakes_max` read at a time and as many parked, `head_bytes_max`, 16 KiB behind the head
//! Source  RFC 6455 section 4.2; docs/architecture.md; docs/protocol.md for the order of refusals

use std::{any::Any, net::TcpStream, os::fd::OwnedFd};

use fanwire_ws::{HeadLimits, Refusal, RequestHead, is_header_name, write_accept, write_response};

use super::{
    Core, EARLY_BYTES_MAX, Shard, State,
    conn::Early,
    hooks::guarded,
    refuse::{going_away, too_many_sessions},
};
use crate::{
    driver::{Driver, Key},
    handler::{Auth, Handler, Http, HttpAnswer, Request, TakeOver, Verdict},
    origin,
    session::SessionId,
};

/// What became of a request.
enum Answered {
    /// Open: what follows the head are frames.
    Opened,
    /// What follows waits for the ticket's answer.
    Parked(Box<Early>),
    /// A response is on its way; what follows is discarded.
    Refused,
    TakenOver(TakeOver),
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// More of a request head.
    pub(super) fn received_head(&mut self, slot: u32, input: &mut [u8]) {
        match self.core.conns[slot as usize].early.take() {
            None => self.read_head(slot, input),
            Some(mut early) => {
                early.bytes.extend_from_slice(input);
                // A head ends with a line: parsing again before one has ended would let a peer that sends byte
                // by byte cost the square of its bytes.
                let is_short = early.bytes.len() <= self.core.options.head_bytes_max as usize;
                if is_short && !input.contains(&b'\n') {
                    self.core.conns[slot as usize].early = Some(early);
                } else {
                    self.read_head(slot, &mut early.bytes);
                }
            }
        }
    }

    /// `bytes` is all that has come so far.
    fn read_head(&mut self, slot: u32, bytes: &mut [u8]) {
        let limits = HeadLimits { bytes_max: self.core.options.head_bytes_max as usize };
        let (answered, head_bytes) = match RequestHead::parse(bytes, &limits) {
            Ok(Some((head, head_bytes))) => (self.answer_request(slot, &head), head_bytes),
            Ok(None) => {
                let early = Early { bytes: bytes.to_vec(), ..Early::default() };
                self.core.conns[slot as usize].early = Some(Box::new(early));
                return;
            }
            Err(error) => return self.core.refuse_head(slot, error),
        };
        match answered {
            Answered::Opened => self.received_open(slot, &mut bytes[head_bytes..]),
            Answered::Parked(early) => {
                self.core.park(slot, early);
                self.core.keep_early(slot, &bytes[head_bytes..]);
            }
            Answered::Refused => {}
            Answered::TakenOver(take_over) => self.core.leave(slot, bytes, take_over),
        }
    }

    /// Decides in the order of docs/protocol.md: path, method, upgrade, version, key, origin, capacity, auth.
    fn answer_request(&mut self, slot: u32, head: &RequestHead<'_>) -> Answered {
        let core = &mut self.core;
        let shared = core.shared.clone();
        let shard = u16::try_from(core.index).expect("at most 64 shards");
        let conn = &core.conns[slot as usize];
        let request = Request::new(head, conn.peer, &shared, shard, conn.key);
        if head.path() != core.options.path {
            return self.answer_http(slot, &request);
        }
        let upgrade = match core.check_request(head, &request) {
            Ok(upgrade) => upgrade,
            Err(refusal) => {
                core.refuse_as(slot, refusal, head.method() == "HEAD");
                return Answered::Refused;
            }
        };
        let Some(auth) = guarded(|| self.handler.on_auth(&request)) else {
            core.counters().hook_panics.add(1);
            core.shared.give_session_place_back();
            core.refuse_with(slot, 500, "the server failed to decide about this request\n");
            return Answered::Refused;
        };
        let early = Early {
            websocket_key: upgrade.key().to_vec(),
            protocols: head.protocols().collect::<Vec<_>>().join(","),
            ..Early::default()
        };
        self.apply_verdict(slot, auth, early)
    }

    /// Carries a verdict out; a place for the session has been taken.
    fn apply_verdict(&mut self, slot: u32, auth: Auth<H::Value>, early: Early) -> Answered {
        match auth.verdict {
            Verdict::Accept { value, protocol } => {
                self.core.accept_request(slot, &early, protocol);
                self.open(slot, value);
                Answered::Opened
            }
            Verdict::Reject { status, text } => {
                self.core.counters().refused_auth.add(1);
                self.core.shared.give_session_place_back();
                self.core.refuse_with(slot, status, &text);
                Answered::Refused
            }
            Verdict::Later => Answered::Parked(Box::new(early)),
        }
    }

    /// A ticket is answered, perhaps for a connection that has gone.
    pub(super) fn answer_ticket(&mut self, key: Key, auth: Box<dyn Any + Send>) {
        let Ok(auth) = auth.downcast::<Auth<H::Value>>() else { return };
        let conn = self.core.conn_of(key).filter(|conn| conn.state == State::Parked);
        let Some(mut early) = conn.and_then(|conn| conn.early.take()) else {
            // Too late. The value in it is the user's, and so is its `Drop`.
            if guarded(|| drop(auth)).is_none() {
                self.core.counters().hook_panics.add(1);
            }
            return;
        };
        let mut bytes = std::mem::take(&mut early.bytes);
        self.core.unpark(key.slot);
        match self.apply_verdict(key.slot, *auth, *early) {
            Answered::Opened => self.received_open(key.slot, &mut bytes),
            Answered::Parked(mut early) => {
                early.bytes = bytes;
                self.core.park(key.slot, early);
            }
            Answered::Refused | Answered::TakenOver(_) => {}
        }
    }

    fn answer_http(&mut self, slot: u32, request: &Request<'_>) -> Answered {
        let answer = guarded(|| self.handler.on_http(request)).unwrap_or_else(|| {
            self.core.counters().hook_panics.add(1);
            Http::text(500, "the server failed to answer this request\n")
        });
        self.core.counters().http_answered.add(1);
        match answer.answer {
            HttpAnswer::TakeOver(take_over) => Answered::TakenOver(take_over),
            HttpAnswer::Response { status, content_type, headers, body } => {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let head_only = request.method() == "HEAD";
                let status = if (200..600).contains(&status) { status } else { 500 };
                self.core.scratch.clear();
                write_response(&mut self.core.scratch, status, &headers, content_type, &body, head_only);
                self.core.respond(slot);
                Answered::Refused
            }
        }
    }
}

impl<D: Driver> Core<D> {
    // --- deciding ---

    /// Everything that is decided before the handler is asked. Takes a place for the session.
    fn check_request<'a>(
        &mut self,
        head: &RequestHead<'a>,
        request: &Request<'_>,
    ) -> Result<fanwire_ws::Upgrade<'a>, Refusal> {
        let upgrade = origin::check_request(&self.options, head, request)?;
        if self.drain.is_some() {
            return Err(going_away());
        }
        if self.parked >= self.options.handshakes_max as usize {
            return Err(
                Refusal::new(503, "too many handshakes, try again later\n").with_header("Retry-After", "1")
            );
        }
        if !self.shared.take_session_place() {
            return Err(too_many_sessions());
        }
        Ok(upgrade)
    }

    /// Queues 101. A subprotocol that was not offered is left out.
    fn accept_request(&mut self, slot: u32, early: &Early, protocol: Option<String>) {
        let is_offered = |name: &String| early.protocols.split(',').any(|one| one == name);
        let protocol = protocol.filter(|name| is_header_name(name) && is_offered(name));
        self.scratch.clear();
        write_accept(&mut self.scratch, &early.websocket_key, protocol.as_deref(), &[]);
        self.publishes.now(&mut self.driver).out.send_raw(slot, &self.scratch);
    }

    /// From here on it is a session.
    pub(super) fn open_session(&mut self, slot: u32) {
        let id = self.new_id();
        self.enter(slot, State::Open);
        let conn = &mut self.conns[slot as usize];
        (conn.id, conn.heard_ns) = (id, self.now_ns);
        let generation = conn.key.generation;
        self.side().handles.set(slot, generation, 0);
        self.out().open(slot);
        self.sessions += 1;
        self.counters().sessions.set(self.sessions);
        self.counters().sessions_opened.add(1);
        self.start_session_timer(slot);
    }

    fn new_id(&mut self) -> SessionId {
        if let Some(generator) = &self.options.id_generator {
            let id = guarded(|| generator());
            if id.is_none() {
                self.counters().hook_panics.add(1);
            }
            return SessionId::Custom(id.unwrap_or_default().into());
        }
        let mut bits = [0; 16];
        self.driver.fill_random(&mut bits);
        SessionId::Random(bits)
    }

    // --- parking ---

    /// Waits for the ticket; reads no more meanwhile.
    fn park(&mut self, slot: u32, early: Box<Early>) {
        self.enter(slot, State::Parked);
        self.conns[slot as usize].early = Some(early);
        self.pause_reading(slot);
    }

    fn unpark(&mut self, slot: u32) {
        self.enter(slot, State::Head);
        self.resume_reading(slot);
    }

    /// Keeps what a parked peer sends ahead: some was under way when its reading was paused.
    pub(super) fn keep_early(&mut self, slot: u32, input: &[u8]) {
        let Some(early) = &mut self.conns[slot as usize].early else { return };
        if early.bytes.len() + input.len() <= EARLY_BYTES_MAX {
            early.bytes.extend_from_slice(input);
            return;
        }
        self.counters().refused_early_bytes.add(1);
        self.refuse_with(slot, 400, "too many bytes before the handshake was answered\n");
    }

    // --- take-over ---

    fn leave(&mut self, slot: u32, bytes: &[u8], take_over: TakeOver) {
        self.enter(slot, State::Leaving);
        let conn = &mut self.conns[slot as usize];
        let early = Early { bytes: bytes.to_vec(), take_over: Some(take_over), ..Early::default() };
        conn.early = Some(Box::new(early));
        self.driver.take(conn.key);
    }

    pub(super) fn keep_leaving(&mut self, slot: u32, input: &[u8]) {
        if let Some(early) = &mut self.conns[slot as usize].early {
            early.bytes.extend_from_slice(input);
        }
    }

    /// The socket is out of the driver: it goes to whoever asked for it.
    pub(super) fn taken(&mut self, slot: u32, descriptor: OwnedFd) {
        let conn = &mut self.conns[slot as usize];
        let peer = conn.peer;
        if let Some(Early { bytes, take_over: Some(take_over), .. }) = conn.early.take().map(|early| *early)
            && guarded(|| take_over(TcpStream::from(descriptor), bytes, peer)).is_none()
        {
            self.counters().hook_panics.add(1);
        }
        self.enter(slot, State::Gone);
        self.out().kill(slot);
        self.closed(slot);
    }
}
