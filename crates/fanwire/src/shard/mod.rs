//! A shard: one thread and everything it owns.
//!
//! In      the driver's events, commands from other shards and threads, the time
//! Out     hook calls, requests to the driver
//! Bounds  every step of a tick has one: see the constants at the foot
//! Source  docs/architecture.md

#[cfg(feature = "sim")]
#[macro_use]
pub(crate) mod audit;
mod accept;
mod assembly;
mod batch;
pub(crate) mod bounds;
#[cfg(test)]
mod collisions;
mod conn;
mod control;
mod deadlines;
mod drain;
mod events;
mod fanout;
mod flush;
pub(crate) mod frames;
pub(crate) mod greeting;
pub(crate) mod handles;
mod handshake;
mod hold;
pub(crate) mod hooks;
pub(crate) mod inbox;
mod intake;
pub(crate) mod interest;
pub(crate) mod mesh;
mod ops;
mod outbox;
mod overflow;
pub(crate) mod pace;
mod pages;
pub(crate) mod parking;
mod publishes;
pub(crate) mod queue;
pub(crate) mod refuse;
pub(crate) mod sleep;
pub(crate) mod timer;
pub(crate) mod topic_counts;
pub(crate) mod topics;

pub(crate) use self::drain::ShardReport;
#[cfg(feature = "bench")]
pub(crate) use self::fanout::FanOut;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use fanwire_ws::{Budget, Role, Rules};
use slab::Slab;

use self::{
    bounds::Bounds,
    conn::{Conn, EARLY_BYTES_MAX, Ended, Generations, State},
    drain::Drain,
    interest::InterestOwner,
    mesh::MeshEnd,
    outbox::{Outbox, Outcome},
    pace::Pace,
    publishes::Publishes,
    sleep::Rest,
    timer::Wheel,
    topics::TopicTable,
};
use crate::{
    close::CloseKind,
    driver::Driver,
    handler::Handler,
    options::Options,
    shared::{Command, ShardSide, Shared},
    stats::{Counter, Counters},
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
    bounds: Bounds,
    shared: Arc<Shared>,
    index: usize,
    options: Arc<Options>,
    conns: Slab<Conn>,
    generations: Generations,
    publishes: Publishes,
    pace: Pace,
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
    sessions: u64,
    /// Frames for single sessions that came after their end: counted as dropped, never as queued.
    frames_late: u64,
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
            publishes: Publishes::new(
                TopicTable::new(seeds, shared.topic_counts.clone()),
                Outbox::new(&options, shared.clone(), index, seeds),
            ),
            interest: InterestOwner::new(shared.interest.clone(), index),
            wheel: Wheel::new(driver.now()),
            rules: Rules { role: Role::Server, message_bytes_max: options.read_limit.into() },
            assembly: Budget::new(options.assembly_bytes_max + assembly::ASSEMBLY_SLACK_BYTES),
            pace: Pace::default(),
            now_ns: driver.now(),
            queue_size: options.queue_size,
            queue_bytes: options.queue_bytes,
            read_budget: options.read_budget_bytes,
            ping_ns: nanoseconds(options.ping_interval),
            idle_ns: nanoseconds(options.idle_timeout),
            close_ns: nanoseconds(options.close_timeout),
            handshake_ns: nanoseconds(options.handshake_timeout),
            driver,
            bounds: Bounds::default(),
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
            sessions: 0,
            frames_late: 0,
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

    /// From now on it does no more than this before the rest waits.
    #[cfg(feature = "sim")]
    pub(crate) fn set_bounds(&mut self, bounds: Bounds) {
        bounds.check();
        self.core.bounds = bounds;
        self.core.out().set_sends_max(bounds.sends);
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
        self.core.look_again(rest);
    }

    /// The last third: waits, and does what there is to do.
    pub(crate) fn wake_up(&mut self, rest: Rest) -> Turn {
        self.core.poll(rest);
        self.resume_paused();
        self.take_commands();
        self.dispatch();
        self.core.fire_timers();
        self.core.drain();
        self.core.mark_publishes();
        self.core.flush();
        self.run_close_hooks();
        self.core.plan_retry();
        self.core.publishes.now(&mut self.core.driver).out.free_pages(&mut self.core.driver);
        self.core.write_gauges();
        self.core.end_turn();
        if self.core.is_done() { Turn::Done } else { Turn::Next }
    }
}

impl<D: Driver> Core<D> {
    /// Sends what is queued, unless it is still to wait for company.
    fn flush(&mut self) {
        if self.retry_ns.is_some_and(|due| due <= self.now_ns) {
            self.retry_ns = None;
            self.out().retry_starved();
        }
        if !self.out().has_dirty() {
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
        self.publishes.now(&mut self.driver).out.flush(&mut self.driver);
        if !self.out().has_dirty() {
            self.flush_due_ns = None;
        }
        self.settle();
    }

    /// Sends that found no kernel memory are tried again, wherever in the tick they were made.
    fn plan_retry(&mut self) {
        if self.out().has_starved() {
            self.retry_ns.get_or_insert(self.now_ns + SEND_RETRY_NS);
        }
    }

    /// Queues what was published, and acts on what that has found out. Whatever is not a publish begins with it.
    fn queue_publishes(&mut self) {
        self.publishes.queue_waiting(&mut self.driver);
        self.settle();
    }

    /// Acts on what sending has found out. Never called during a fan-out.
    pub(crate) fn settle(&mut self) {
        while self.publishes.has_events() {
            self.publishes.queue_waiting(&mut self.driver);
            let Some(event) = self.publishes.next_event() else { break };
            match event {
                Outcome::Overflowed(slot) => self.close_overflowed(slot),
                Outcome::Failed(slot) => self.ended_by_peer(slot, CloseKind::Reset),
                Outcome::Drained(slot) => self.drained(slot),
            }
        }
    }

    // --- shorthands ---

    /// The queues. No publish waits.
    fn out(&mut self) -> &mut Outbox {
        self.publishes.now(&mut self.driver).out
    }

    fn topics(&self) -> &TopicTable {
        self.publishes.topics()
    }

    fn write_gauges(&mut self) {
        let counts = self.driver.take_counts();
        let counters = self.counters();
        let gone = [&counters.frames_sent, &counters.frames_dropped_oldest, &counters.frames_dropped_closed];
        let gone: u64 = gone.into_iter().map(Counter::read).sum();
        let queued = counters.frames_queued.read() + self.frames_late;
        counters.frames_waiting.set(queued.saturating_sub(gone));
        counters.handshakes.set(self.handshakes as u64);
        counters.handshakes_parked.set(self.parked as u64);
        counters.topics.set(self.topics().topic_count() as u64);
        counters.assembly_bytes.set(self.assembly.used());
        counters.topic_bytes.set(self.topic_bytes);
        counters.held_bytes.set(self.held_bytes as u64);
        counters.receive_buffers_exhausted.add(counts.receive_buffers_exhausted);
        counters.completions_overflowed.add(counts.completions_overflowed);
        counters.accepts_aborted.add(counts.accepts_aborted);
        counters.system_calls.add(counts.system_calls);
        self.publishes.look().write_gauges();
    }

    fn side(&self) -> &ShardSide {
        &self.shared.shards[self.index]
    }

    fn counters(&self) -> &Counters {
        &self.side().counters
    }
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
pub(crate) const HELD_BYTES: u64 = bounds::HELD_BYTES_MAX as u64;

/// What a shard's assembly may hold beyond its limit until the session that holds most has given way.
pub(crate) const ASSEMBLY_SLACK: u64 = assembly::ASSEMBLY_SLACK_BYTES;

/// Bytes of a session whose pongs do not leave.
pub(crate) const CONTROL_BYTES: u64 = control::CONTROL_BYTES_PER_SESSION;

/// Bytes kept behind a request head.
pub(crate) const EARLY_BYTES: u64 = EARLY_BYTES_MAX as u64;

/// A send for which the kernel had no memory is tried again after so long.
const SEND_RETRY_NS: u64 = 5_000_000;

#[cfg(test)]
mod tests;
