//! A shard: one thread and everything it owns.
//!
//! In      the driver's events, commands from other shards and threads, the time
//! Out     hook calls, requests to the driver
//! Bounds  every step of a tick has one: see the constants at the foot
//! Source  docs/architecture.md

#[cfg(feature = "sim")]
#[macro_use]
pub(crate) mod audit;
mod assembly;
mod batch;
#[cfg(test)]
mod collisions;
mod conn;
mod control;
mod drain;
mod fanout;
mod flush;
pub(crate) mod frames;
pub(crate) mod handles;
mod handshake;
mod hold;
pub(crate) mod inbox;
mod intake;
pub(crate) mod interest;
pub(crate) mod mesh;
mod ops;
mod outbox;
mod overflow;
pub(crate) mod parking;
pub(crate) mod queue;
pub(crate) mod timer;
pub(crate) mod topic_counts;
pub(crate) mod topics;

pub(crate) use self::drain::ShardReport;
#[cfg(feature = "bench")]
pub(crate) use self::fanout::FanOut;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use fanwire_ws::{Budget, CloseCode, Event as WsEvent, Role, Rules};
use slab::Slab;

use self::{
    conn::{Conn, DISCARD_BYTES_MAX, EARLY_BYTES_MAX, Ended, Generations, State},
    drain::Drain,
    interest::InterestOwner,
    mesh::MeshEnd,
    outbox::{Outbox, Outcome},
    timer::Wheel,
    topics::TopicTable,
};
use crate::{
    close::CloseKind,
    driver::{Driver, Event},
    handler::Handler,
    options::Options,
    session::Session,
    shared::{Command, ShardSide, Shared},
    stats::Counters,
};

/// One thread's world. `tick` is one turn of its loop; the loop itself is outside.
///
/// It has no clock, no randomness and no thread of its own: all that comes from the driver, so that a simulated
/// driver runs exactly this code.
pub(crate) struct Shard<D: Driver, H: Handler> {
    core: Core<D>,
    handler: H,
    /// By slot.
    values: Vec<Option<H::Value>>,
    #[cfg(feature = "sim")]
    observer: Option<crate::sim::Observer>,
}

/// A shard without the user's handler and values, so that a hook can borrow it beside them.
pub(crate) struct Core<D: Driver> {
    driver: D,
    shared: Arc<Shared>,
    index: usize,
    options: Arc<Options>,
    conns: Slab<Conn>,
    generations: Generations,
    out: Outbox,
    topics: TopicTable,
    interest: InterestOwner,
    mesh: MeshEnd<Command>,
    /// Where a turn's commands lie while they are handled.
    intake: VecDeque<Command>,
    wheel: Wheel,
    rules: Rules,
    assembly: Budget,
    ended: VecDeque<Ended>,
    /// Sessions whose reading waits for a later tick.
    paused: Vec<u32>,
    /// Bytes that wait until those sessions are read again.
    held_bytes: usize,
    fired: Vec<(u32, u32)>,
    scratch: Vec<u8>,
    /// Where the next fan-out starts, so that the same sessions are not always last.
    fanout_start: usize,
    sessions: u64,
    /// Memory of all subscriptions and topics.
    topic_bytes: u64,
    handshakes: usize,
    parked: usize,
    now_ns: u64,
    tick_number: u32,
    /// Frames queued by commands in this tick.
    intake_deliveries: u64,
    flush_due_ns: Option<u64>,
    /// When the sends that the kernel had no memory for are tried again.
    retry_ns: Option<u64>,
    accept_again_ns: u64,
    /// There was no descriptor left for another connection.
    is_full: bool,
    /// A client has spoken TLS, and it has been said.
    has_met_tls: bool,
    clock_jump_ns: u64,
    drain: Option<Drain>,
    queue_size: u32,
    queue_bytes: u32,
    read_budget: u32,
    ping_ns: u64,
    idle_ns: u64,
    close_ns: u64,
    handshake_ns: u64,
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Next,
    /// Everything is closed and gone.
    Done,
}

/// How a shard is about to wait. Between its making and `Shard::wake_up` others may act; the simulator sees to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// When it began.
    before_ns: u64,
    /// `None`: until something happens.
    wait_ns: Option<u64>,
    /// Whoever brings work has to wake the shard.
    is_announced: bool,
}

impl<D: Driver, H: Handler> Shard<D, H> {
    pub(crate) fn new(
        mut driver: D,
        handler: H,
        options: Arc<Options>,
        shared: Arc<Shared>,
        mesh: MeshEnd<Command>,
        index: usize,
    ) -> Self {
        shared.shards[index].parking.set_waker(driver.waker());
        let seeds: [u64; 4] = std::array::from_fn(|_| random_u64(&mut driver));
        let core = Core {
            out: Outbox::new(&options, shared.clone(), index, seeds),
            topics: TopicTable::new(seeds, shared.topic_counts.clone()),
            interest: InterestOwner::new(shared.interest.clone(), index),
            wheel: Wheel::new(driver.now()),
            rules: Rules { role: Role::Server, message_bytes_max: options.read_limit.into() },
            assembly: Budget::new(options.assembly_bytes_max + assembly::ASSEMBLY_SLACK_BYTES),
            now_ns: driver.now(),
            queue_size: options.queue_size,
            queue_bytes: options.queue_bytes,
            read_budget: options.read_budget_bytes,
            ping_ns: nanoseconds(options.ping_interval),
            idle_ns: nanoseconds(options.idle_timeout),
            close_ns: nanoseconds(options.close_timeout),
            handshake_ns: nanoseconds(options.handshake_timeout),
            driver,
            shared,
            index,
            options,
            conns: Slab::new(),
            generations: Generations::default(),
            mesh,
            intake: VecDeque::new(),
            ended: VecDeque::new(),
            paused: Vec::new(),
            held_bytes: 0,
            fired: Vec::new(),
            scratch: Vec::new(),
            fanout_start: 0,
            sessions: 0,
            topic_bytes: 0,
            handshakes: 0,
            parked: 0,
            tick_number: 0,
            intake_deliveries: 0,
            flush_due_ns: None,
            retry_ns: None,
            accept_again_ns: 0,
            is_full: false,
            has_met_tls: false,
            clock_jump_ns: 0,
            drain: None,
        };
        Self {
            core,
            handler,
            values: Vec::new(),
            #[cfg(feature = "sim")]
            observer: None,
        }
    }

    /// From now on `observer` hears of every command that this shard takes in.
    #[cfg(feature = "sim")]
    pub(crate) fn observe(&mut self, observer: crate::sim::Observer) {
        self.observer = Some(observer);
    }

    pub(crate) fn report(&self) -> ShardReport {
        self.core.report()
    }

    /// One turn: poll, mesh, inbox, events, timers, flush, `on_close`.
    pub(crate) fn tick(&mut self) -> Turn {
        let mut rest = self.fall_asleep();
        self.look_again(&mut rest);
        self.wake_up(rest)
    }

    /// The first third of a turn: says how long nothing needs to be done, and announces the sleep.
    pub(crate) fn fall_asleep(&mut self) -> Rest {
        self.core.fall_asleep()
    }

    /// The second third: what came before the announcement has woken nobody, and is looked for here.
    pub(crate) fn look_again(&mut self, rest: &mut Rest) {
        if rest.is_announced && self.core.has_arrivals() {
            rest.wait_ns = Some(0);
        }
    }

    /// The last third: waits, and does what there is to do.
    pub(crate) fn wake_up(&mut self, rest: Rest) -> Turn {
        self.core.poll(rest);
        self.resume_paused();
        self.take_commands();
        self.dispatch();
        self.core.fire_timers();
        self.core.drain();
        self.core.flush();
        self.run_close_hooks();
        self.core.plan_retry();
        self.core.write_gauges();
        if self.core.is_done() { Turn::Done } else { Turn::Next }
    }

    fn dispatch(&mut self) {
        let mut bytes = 0;
        for _ in 0..EVENTS_PER_TICK_MAX {
            if bytes > EVENT_BYTES_PER_TICK_MAX {
                break;
            }
            let Some(event) = self.core.driver.next_event() else { break };
            match event {
                Event::Accepted { socket, peer } => self.core.accepted(socket, peer),
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
                Event::Writable { key } => self.core.out.writable(key.slot),
                Event::Closed { key } => self.core.closed(key.slot),
                Event::Taken { key, descriptor } => self.core.taken(key.slot, descriptor),
            }
            self.core.settle();
        }
    }

    /// Bytes came in, for whatever state the connection is in.
    fn received(&mut self, slot: u32, input: &mut [u8]) {
        self.core.account_read(slot, input.len());
        match self.core.state(slot) {
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
    fn received_frames(&mut self, slot: u32, input: &mut [u8], may_stop: bool) -> usize {
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
                    self.core.count_refused_assembly(error);
                    self.core.close_violated(slot, error.close_code(), &error.to_string());
                    false
                }
            };
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
                let skipped = self.core.out.pong(slot, payload);
                self.core.counters().pings_skipped.add(skipped);
                true
            }
            WsEvent::Close(frame) => {
                let (code, text) = frame.map_or((None, ""), |frame| (Some(frame.code), frame.reason));
                self.core.close_by_peer(slot, code, text);
                false
            }
            // After our close frame only the peer's is of interest.
            WsEvent::Message { .. } | WsEvent::Ping(_) | WsEvent::Pong(_) => true,
        }
    }

    // --- hooks ---

    /// Opens the session of a connection whose handshake is answered, and tells the handler.
    pub(crate) fn open(&mut self, slot: u32, value: H::Value) {
        if self.values.len() <= slot as usize {
            self.values.resize_with(slot as usize + 1, || None);
        }
        self.values[slot as usize] = Some(value);
        self.core.open_session(slot);
        self.hook(slot, |handler, session| handler.on_open(session));
    }

    /// Runs a hook for an open session; if it panics, that session ends.
    fn hook(&mut self, slot: u32, hook: impl FnOnce(&mut H, &mut Session<'_, H::Value>)) {
        let Some(value) = &mut self.values[slot as usize] else { return };
        let mut session = Session::new(&mut self.core, slot, value);
        if guarded(|| hook(&mut self.handler, &mut session)).is_none() {
            self.core.close_panicked(slot);
        }
        self.core.settle();
    }

    /// Drops a session's value, which is the user's code as well.
    fn drop_value(&mut self, slot: u32) {
        let value = self.values[slot as usize].take();
        if guarded(|| drop(value)).is_none() {
            self.core.counters().hook_panics.add(1);
        }
    }

    fn run_close_hooks(&mut self) {
        for _ in 0..CLOSE_HOOKS_PER_TICK_MAX {
            // The entry stays in front while its hook runs: `topics()` reads it there.
            let Some(ended) = self.core.ended.front_mut() else { break };
            let slot = ended.slot;
            let reason = std::mem::replace(
                &mut ended.reason,
                crate::close::CloseReason::new(CloseKind::Server, CloseCode::NORMAL.value(), ""),
            );
            self.hook(slot, |handler, session| handler.on_close(session, &reason));
            self.core.ended.pop_front();
            self.drop_value(slot);
            self.core.conns[slot as usize].awaits_hook = false;
            self.core.free_if_done(slot);
        }
    }
}

impl<D: Driver> Core<D> {
    /// A hook, or the user's codec, has panicked.
    fn close_panicked(&mut self, slot: u32) {
        self.counters().hook_panics.add(1);
        self.close_session(slot, CloseKind::Panic, CloseCode::INTERNAL_ERROR, "internal error");
    }

    fn fall_asleep(&mut self) -> Rest {
        self.accept_room();
        let before_ns = self.driver.now();
        let wait_ns = self.wait_ns(before_ns);
        let is_announced = wait_ns != Some(0);
        if is_announced {
            self.side().parking.prepare_sleep();
        }
        Rest { before_ns, wait_ns, is_announced }
    }

    /// Whether another shard or thread has brought something.
    fn has_arrivals(&self) -> bool {
        self.mesh.has_entries() || self.side().inbox.has_items() || self.phase_is_new()
    }

    /// Waits for work, as long as `rest` says.
    fn poll(&mut self, rest: Rest) {
        self.driver.poll(rest.wait_ns);
        if rest.is_announced {
            self.side().parking.awake();
        }
        self.now_ns = self.driver.now();
        self.tick_number = self.tick_number.wrapping_add(1);
        self.counters().ticks.add(1);
        self.note_clock_jump(rest.before_ns, rest.wait_ns);
    }

    /// How long nothing needs to be done; `None`: until something happens.
    fn wait_ns(&self, now: u64) -> Option<u64> {
        let has_work = !self.ended.is_empty()
            || self.paused.iter().any(|&slot| self.may_resume(slot))
            || (self.out.has_dirty() && self.flush_due_ns.is_none_or(|due| due <= now));
        if has_work {
            return Some(0);
        }
        let accept_again = (self.accept_again_ns > now).then_some(self.accept_again_ns);
        let drain = self.drain.as_ref().and_then(Drain::due_ns);
        [self.wheel.next_deadline(), self.flush_due_ns, self.retry_ns, accept_again, drain]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.saturating_sub(now))
    }

    /// After a jump (a suspended machine, say) peers had no chance to be heard: silence is counted anew.
    fn note_clock_jump(&mut self, before: u64, wait: Option<u64>) {
        let Some(wait) = wait else { return };
        let late = self.now_ns.saturating_sub(before.saturating_add(wait));
        if late > self.jump_ns() {
            self.clock_jump_ns = self.now_ns;
            self.counters().clock_jumps.add(1);
        }
    }

    /// How late a turn may be before silence is counted anew: a peer that answers every ping may be one interval
    /// behind already, and one that is not asked half of its time.
    fn jump_ns(&self) -> u64 {
        match (self.ping_ns, self.idle_ns) {
            (0, 0) => u64::MAX,
            (ping, 0) => ping,
            (0, idle) => idle / 2,
            (ping, idle) => ping.min(idle.saturating_sub(ping)),
        }
    }

    fn fire_timers(&mut self) {
        let fired = &mut self.fired;
        self.wheel.advance(self.now_ns, TIMERS_PER_TICK_MAX, |slot, stamp| fired.push((slot, stamp)));
        for (slot, stamp) in std::mem::take(&mut self.fired) {
            if self.is_timer_live(slot, stamp) {
                self.timer_fired(slot);
            }
        }
        self.settle();
    }

    fn timer_fired(&mut self, slot: u32) {
        match self.state(slot) {
            State::Head | State::Parked => self.refuse_late(slot),
            State::Open if self.idle_ns > 0 && self.silent_ns(slot) >= self.idle_ns => {
                self.close_session(slot, CloseKind::Idle, CloseCode::POLICY, "nothing heard from you");
            }
            State::Open => {
                if self.ping_ns > 0 {
                    self.out.ping(slot);
                    self.counters().pings_sent.add(1);
                }
                self.set_session_timer(slot);
            }
            State::Closing | State::Echoing | State::Finishing | State::Lingering => {
                self.counters().close_timeouts.add(1);
                self.cut(slot);
            }
            State::Leaving | State::Gone => {}
        }
    }

    /// Sends what is queued, unless it is still to wait for company.
    fn flush(&mut self) {
        if self.retry_ns.is_some_and(|due| due <= self.now_ns) {
            self.retry_ns = None;
            self.out.retry_starved();
        }
        if !self.out.has_dirty() {
            self.flush_due_ns = None;
            return;
        }
        if !self.options.flush_delay.is_zero() {
            let delay = nanoseconds(self.options.flush_delay);
            let due = *self.flush_due_ns.get_or_insert(self.now_ns + delay);
            if due > self.now_ns {
                return;
            }
        }
        self.out.flush(&mut self.driver);
        if !self.out.has_dirty() {
            self.flush_due_ns = None;
        }
        self.settle();
    }

    /// Sends that found no kernel memory are tried again, wherever in the tick they were made.
    fn plan_retry(&mut self) {
        if self.out.has_starved() {
            self.retry_ns.get_or_insert(self.now_ns + SEND_RETRY_NS);
        }
    }

    /// Acts on what sending has found out. Never called during a fan-out.
    pub(crate) fn settle(&mut self) {
        while let Some(event) = self.out.next_event() {
            match event {
                Outcome::Overflowed(slot) => self.close_overflowed(slot),
                Outcome::Failed(slot) => self.ended_by_peer(slot, CloseKind::Reset),
                Outcome::Drained(slot) => self.drained(slot),
            }
        }
    }

    // --- shorthands ---

    fn write_gauges(&mut self) {
        let counts = self.driver.take_counts();
        let counters = self.counters();
        counters.handshakes.set(self.handshakes as u64);
        counters.handshakes_parked.set(self.parked as u64);
        counters.topics.set(self.topics.topic_count() as u64);
        counters.assembly_bytes.set(self.assembly.used());
        counters.topic_bytes.set(self.topic_bytes);
        counters.held_bytes.set(self.held_bytes as u64);
        counters.receive_buffers_exhausted.add(counts.receive_buffers_exhausted);
        counters.completions_overflowed.add(counts.completions_overflowed);
        counters.accepts_aborted.add(counts.accepts_aborted);
        counters.system_calls.add(counts.system_calls);
        self.out.write_gauges();
    }

    fn side(&self) -> &ShardSide {
        &self.shared.shards[self.index]
    }

    fn counters(&self) -> &Counters {
        &self.side().counters
    }
}

/// Runs a hook; `None` if it panicked.
fn guarded<R>(hook: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(hook)).ok()
}

fn random_u64<D: Driver>(driver: &mut D) -> u64 {
    let mut bytes = [0; 8];
    driver.fill_random(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Bytes of an idle session in a shard: queue, connection, topics, generation, handle state, timer entry, and a
/// place in one topic. Vectors that have just grown may hold as much again, untouched.
pub(crate) const SESSION_BYTES: u64 =
    (size_of::<queue::Queue>() + size_of::<Conn>() + size_of::<topics::SessionTopics>() + 4 + 8 + 16 + 8)
        as u64;

/// Bytes of one queued frame beyond those in the queue's own line: ids lie in blocks of 31 in 128 bytes.
pub(crate) const QUEUED_FRAME_BYTES: u64 = 5;

/// Bytes of a command in a ring or an inbox, without what it points to.
pub(crate) const COMMAND_BYTES: u64 = size_of::<Command>() as u64;

/// Received bytes that wait for paused sessions, over all sessions of a shard.
pub(crate) const HELD_BYTES: u64 = hold::HELD_BYTES_MAX as u64;

/// What a shard's assembly may hold beyond its limit until the session that holds most has given way.
pub(crate) const ASSEMBLY_SLACK: u64 = assembly::ASSEMBLY_SLACK_BYTES;

/// Bytes of a session whose pongs do not leave.
pub(crate) const CONTROL_BYTES: u64 = control::CONTROL_BYTES_PER_SESSION;

/// Bytes kept behind a request head.
pub(crate) const EARLY_BYTES: u64 = EARLY_BYTES_MAX as u64;

/// Events handled before the next flush.
const EVENTS_PER_TICK_MAX: usize = 1_024;

/// Received bytes handled before the next flush: about a millisecond of decoding.
const EVENT_BYTES_PER_TICK_MAX: usize = 4 << 20;

/// Commands taken from the mesh, and from the inbox, per tick.
const COMMANDS_PER_TICK_MAX: usize = 1_024;

/// Frames that a tick's commands may queue before the rest waits for the next tick: about 6 ms.
const INTAKE_DELIVERIES_MAX: u64 = 256 * 1024;

/// Timers fired per tick.
const TIMERS_PER_TICK_MAX: usize = 4_096;

/// `on_close` hooks run per tick.
const CLOSE_HOOKS_PER_TICK_MAX: usize = 1_024;

/// A send for which the kernel had no memory is tried again after so long.
const SEND_RETRY_NS: u64 = 5_000_000;

/// Accepting pauses for so long after it failed, unless a connection goes before.
const ACCEPT_PAUSE_NS: u64 = 100_000_000;
