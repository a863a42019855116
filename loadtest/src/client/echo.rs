//! Echo threads: connections that send, and check what comes back.
//!
//! In      an opener, a share of the connection numbers, phases of sending
//! Out     what was heard when it is asked for; an `Outcome` of all phases
//! Bounds  a phase ends with its counts, its time, or --patience; 16 MiB wait for a server that does not read
//! Source  epoll(7), level-triggered

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    fd::OwnedFd,
    io::Errno,
};

use super::{
    connection::Opener,
    error::{Ended, OpenError},
    judge::Heard,
    progress::{LOOK_AGAIN, Progress},
    speaker::{Speaker, encode},
    worker::Outcome,
};
use crate::{
    dialect::{Dialect, Filling, Incoming, Role},
    load::{plan::Plan, schedule::Schedule, stream::Pace},
    truth::{
        sequence::{Sequence, Verdict},
        stamp::Stamp,
    },
};

/// What one thread is to send from now on.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// When each message leaves; of an open loop the rate is this thread's part.
    pub pace: Pace,
    /// Length of each message's data.
    pub payload_bytes: usize,
    /// Messages of each connection.
    pub messages_each: u64,
    /// After so long nothing is sent any more, done or not, but for what an open loop has due by then.
    pub time: Duration,
    /// How long that may be sent; `None`: it is forgotten.
    pub overtime: Option<Duration>,
    /// Time without anything coming back after which what is missing counts as lost.
    pub patience: Duration,
}

/// Connections of one thread.
pub struct EchoWorker {
    talkers: Vec<Talker>,
    poller: OwnedFd,
    dialect: Arc<Dialect>,
    progress: Arc<Progress>,
    outcome: Outcome,
    heard: Heard,
    /// Who wants to know what was heard since the last time.
    asks: Receiver<Sender<Heard>>,
    /// Messages that have not come back, of connections that are open.
    in_flight: u64,
    /// Messages that were due and were not sent.
    unsent: u64,
    /// When something came back last, or nothing was on its way.
    heard_at: Instant,
    buffer: Vec<u8>,
}

impl EchoWorker {
    /// Connects connections `numbers`.
    ///
    /// # Errors
    /// The first connection that fails.
    pub fn open(
        opener: &Opener,
        numbers: Range<usize>,
        progress: Arc<Progress>,
        asks: Receiver<Sender<Heard>>,
    ) -> Result<Self, OpenError> {
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(socket)?;
        let mut talkers = Vec::with_capacity(numbers.len());
        for number in numbers {
            if progress.is_failed() {
                return Err(OpenError::Interrupted);
            }
            let speaker = Speaker::open(opener, number, Role::Echo)?;
            epoll::add(&poller, &speaker, key(talkers.len()), EventFlags::IN).map_err(socket)?;
            talkers.push(Talker::new(number, speaker));
            progress.add_opened();
        }
        Ok(Self {
            talkers,
            poller,
            dialect: Arc::clone(opener.dialect()),
            progress,
            outcome: Outcome::default(),
            heard: Heard::default(),
            asks,
            in_flight: 0,
            unsent: 0,
            heard_at: Instant::now(),
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Sends, and checks what comes back, until the phase is over; `is_over` ends sending early.
    pub fn run(&mut self, phase: &Phase, is_over: &dyn Fn() -> bool) {
        self.heard_at = Instant::now();
        for index in 0..self.talkers.len() {
            if self.talkers[index].speaker.connection().has_early() {
                self.receive(index);
            }
        }
        match phase.pace {
            Pace::Closed => {
                let end = Instant::now() + phase.time;
                self.run_closed(phase, &|| is_over() || Instant::now() >= end);
            }
            Pace::Open { per_s } => self.run_open(phase, per_s, is_over),
        }
    }

    /// What came back in all phases, and what did not.
    #[must_use]
    pub fn outcome(mut self) -> Outcome {
        self.outcome.tally.missing =
            self.talkers.iter().map(|talker| talker.sequence.missing(talker.sent)).sum();
        self.outcome.pings = self.talkers.iter().map(|talker| talker.speaker.connection().pings()).sum();
        self.outcome
    }

    /// Answers who has asked what was heard; also to be called between phases.
    pub fn answer(&mut self) {
        while let Ok(answer) = self.asks.try_recv() {
            // Who asks and does not wait has gone.
            drop(answer.send(std::mem::take(&mut self.heard)));
        }
    }

    /// Messages of open loops so far that were due and were not sent.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Messages sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.talkers.iter().map(|talker| talker.sent).sum()
    }

    fn run_closed(&mut self, phase: &Phase, is_over: &dyn Fn() -> bool) {
        let goals: Vec<u64> =
            self.talkers.iter().map(|talker| talker.sent.saturating_add(phase.messages_each)).collect();
        let mut ready: Vec<usize> = (0..self.talkers.len()).collect();
        loop {
            for index in ready.drain(..) {
                if self.talkers[index].may_send(goals[index]) && !is_over() {
                    self.send(index, self.progress.now_ns(), phase.payload_bytes);
                }
            }
            // Each connection waits for its message, so nothing on its way means that nothing is left.
            if self.in_flight == 0 || !self.hear(LOOK_AGAIN, phase.patience, &mut ready) {
                return;
            }
        }
    }

    fn run_open(&mut self, phase: &Phase, per_s: f64, is_over: &dyn Fn() -> bool) {
        let mut left = phase.messages_each.saturating_mul(self.talkers.len() as u64);
        let started_ns = self.progress.now_ns();
        let (mut schedule, mut plan) = (
            Schedule::new(started_ns, per_s),
            Plan::new(started_ns, phase.time, phase.overtime.unwrap_or_default()),
        );
        let (mut turns, mut ready) = ((0..self.talkers.len()).cycle(), Vec::new());
        loop {
            let mut wait = LOOK_AGAIN;
            let sends_until_ns = plan.sends_until_ns(self.progress.now_ns(), is_over());
            let is_over = left == 0
                || schedule.due_ns() >= sends_until_ns
                || !self.talkers.iter().any(|talker| talker.is_open);
            for _ in 0..SENDS_MAX.min(if is_over { 0 } else { left }) {
                let due_ns = schedule.due_ns();
                let now_ns = self.progress.now_ns();
                if due_ns >= sends_until_ns {
                    break;
                }
                if due_ns > now_ns {
                    wait = wait.min(Duration::from_nanos(due_ns - now_ns));
                    break;
                }
                let Some(index) = turns.by_ref().take(self.talkers.len()).find(|&i| self.talkers[i].is_open)
                else {
                    break;
                };
                self.send(index, due_ns, phase.payload_bytes);
                schedule.advance();
                left -= 1;
            }
            let is_late = !is_over && left > 0 && schedule.due_ns() <= self.progress.now_ns();
            if is_over && self.in_flight == 0
                || !self.hear(if is_late { Duration::ZERO } else { wait }, phase.patience, &mut ready)
            {
                break;
            }
            ready.clear();
        }
        if phase.overtime.is_some() {
            self.unsent += schedule.due_before(plan.over_ns(self.progress.now_ns())).min(left);
        }
    }

    fn send(&mut self, index: usize, intended_ns: u64, payload_bytes: usize) {
        let talker = &mut self.talkers[index];
        let sent = talker.send(&self.dialect, intended_ns, payload_bytes);
        self.progress.add_published(1);
        self.in_flight += 1;
        if let Err(error) = sent {
            self.end(index, &Ended::Socket(error));
            return;
        }
        if talker.speaker.connection().unsent_bytes() > UNSENT_BYTES_MAX {
            self.progress.fail(format!(
                "connection {}: the server does not read, {} MiB wait: lower --rate",
                talker.number,
                UNSENT_BYTES_MAX >> 20
            ));
        }
        self.watch(index);
    }

    /// Waits for what comes back, and adds to `ready` whose it was. False if the run has failed.
    fn hear(&mut self, wait: Duration, patience: Duration, ready: &mut Vec<usize>) -> bool {
        self.answer();
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        match epoll::wait(&self.poller, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => self.progress.fail(format!("epoll_wait: {error}")),
        }
        for event in &events {
            let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if self.receive(index) {
                ready.push(index);
            }
        }
        if self.in_flight == 0 || !ready.is_empty() {
            self.heard_at = Instant::now();
        } else if self.heard_at.elapsed() > patience {
            self.progress.fail(format!("nothing came back for {} s", patience.as_secs_f64()));
        }
        !self.progress.is_failed()
    }

    /// Reads once, and judges what came; whether anything came back.
    fn receive(&mut self, index: usize) -> bool {
        let Some(talker) = self.talkers.get_mut(index) else { return false };
        let (before, pings_before) = (talker.sequence.received(), talker.speaker.connection().pings());
        let (progress, outcome, heard) = (&self.progress, &mut self.outcome, &mut self.heard);
        let Talker { number, speaker, sequence, .. } = talker;
        let mut read_ns = None;
        let received = speaker.receive(&mut self.buffer, |incoming| {
            let now_ns = *read_ns.get_or_insert_with(|| progress.now_ns());
            let data = match incoming {
                Incoming::Echo(data) => data,
                Incoming::Error(text) => return progress.fail(format!("the server sent an error: {text}")),
                _ => return outcome.tally.unexpected += 1,
            };
            let Ok(stamp) = Stamp::decode(&data) else { return outcome.tally.corrupted += 1 };
            if stamp.stream != mark(*number) {
                return outcome.tally.unexpected += 1;
            }
            let verdict = sequence.observe(stamp.sequence);
            outcome.tally.count(verdict);
            if verdict != Verdict::Duplicate && stamp.intended_ns >= progress.measured_from_ns() {
                heard.latency_ns.saturating_record(now_ns.saturating_sub(stamp.intended_ns));
            }
        });
        heard.pings += talker.speaker.connection().pings() - pings_before;
        let echoed = talker.sequence.received() - before;
        self.in_flight = self.in_flight.saturating_sub(echoed);
        if let (1.., Some(now_ns)) = (echoed, read_ns) {
            progress.add_delivered(echoed, now_ns);
        }
        match received {
            Ok(()) => self.watch(index),
            Err(ended) => self.end(index, &ended),
        }
        echoed > 0
    }

    /// Lets the poller tell when the socket takes more, if something waits for that.
    fn watch(&mut self, index: usize) {
        let talker = &mut self.talkers[index];
        let is_waiting = talker.speaker.connection().unsent_bytes() > 0;
        if is_waiting != talker.is_watched {
            talker.is_watched = is_waiting;
            let events = if is_waiting { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            if let Err(error) = epoll::modify(&self.poller, &talker.speaker, key(index), events) {
                self.progress.fail(format!("epoll_ctl: {error}"));
            }
        }
    }

    fn end(&mut self, index: usize, ended: &Ended) {
        let talker = &mut self.talkers[index];
        if !talker.is_open {
            return;
        }
        talker.is_open = false;
        self.in_flight =
            self.in_flight.saturating_sub(talker.sent - talker.sequence.received().min(talker.sent));
        let how = format!("connection {}: {ended}", talker.number);
        match ended.code() {
            Some(code) => {
                self.outcome.closes.add(code);
                self.progress.add_closed(talker.sequence.received(), how);
            }
            None => self.progress.fail(how),
        }
        // A socket that has ended stays readable; leaving the set keeps the loop from spinning.
        let _ = epoll::delete(&self.poller, &talker.speaker);
    }
}

struct Talker {
    number: usize,
    speaker: Speaker,
    sent: u64,
    sequence: Sequence,
    is_open: bool,
    /// Whether the poller tells when the socket takes more.
    is_watched: bool,
}

impl Talker {
    fn new(number: usize, speaker: Speaker) -> Self {
        let sequence = Sequence::default();
        Self { number, speaker, sent: 0, sequence, is_open: true, is_watched: false }
    }

    /// Whether its last message is back, and others are left until `goal`.
    fn may_send(&self, goal: u64) -> bool {
        self.is_open && self.sent < goal && self.sequence.received() == self.sent
    }

    fn send(&mut self, dialect: &Dialect, intended_ns: u64, payload_bytes: usize) -> io::Result<()> {
        let stamp = Stamp { stream: mark(self.number), sequence: self.sent, intended_ns };
        let (mut data, mut message, mut frame) = (Vec::new(), Vec::new(), Vec::new());
        stamp.encode(payload_bytes, &mut data);
        // An echo has no topic.
        let filling = Filling { topic: "", quoted_topic: "\"\"", data: &data, subscription: 0 };
        dialect.echo(&filling, &mut message).map_err(io::Error::other)?;
        encode(dialect, &message, &mut frame)?;
        self.sent += 1;
        self.speaker.connection_mut().send_soon(&frame)
    }
}

/// What tells a connection's messages from those of others.
fn mark(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn key(index: usize) -> EventData {
    EventData::new_u64(index as u64)
}

fn socket(error: Errno) -> OpenError {
    OpenError::Socket(error.into())
}

const EVENTS_MAX: usize = 256;

/// Messages sent in a row by a loop that is late, before it looks at what has come back.
const SENDS_MAX: u64 = 64;

const BUFFER_BYTES: usize = 256 * 1024;

/// A server that takes less than it is sent must not fill this program's memory.
const UNSENT_BYTES_MAX: usize = 16 << 20;
