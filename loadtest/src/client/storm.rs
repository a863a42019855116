//! Storms: many connections opened at a rate, or as fast as they are answered.
//!
//! In      an opener, how many connects and when
//! Out     how long each handshake took, what was refused, and the open connections
//! Bounds  `at_once` connects on their way, 10 s for each
//! Source  epoll(7), level-triggered; connect(2): EINPROGRESS

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
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
    connection::{Connection, Opener},
    error::{Ended, OpenError, STEP_WAIT},
    handshake::Handshake,
    progress::{LOOK_AGAIN, Progress},
    speaker::Speaker,
};
use crate::{
    dialect::Role,
    load::{schedule::Schedule, stream::Pace},
    measure::latency::latency_histogram,
    truth::closes::Closes,
};

/// What a storm is to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Number of the first connection.
    pub first: usize,
    /// How many there are.
    pub connects: usize,
    /// When each is due; closed: when one of those before it is answered.
    pub pace: Pace,
    /// How many may be on their way at once.
    pub at_once: usize,
}

/// What a storm has shown.
pub struct StormOutcome {
    /// Nanoseconds from when a connect was due to the accepted handshake.
    pub latency_ns: Histogram<u64>,
    /// Connects that were answered otherwise, or not at all.
    pub refusals: Refusals,
    /// Handshakes that were accepted.
    pub opened: u64,
    /// Connects that were due by the end and had no answer yet.
    pub late: u64,
    /// Those of them that the server closed.
    pub closes: Closes,
    /// From the first connect to the last answer.
    pub elapsed_ns: u64,
    connections: Vec<Option<Speaker>>,
}

impl StormOutcome {
    /// How many connections are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.connections.iter().flatten().count()
    }
}

/// Connects without success, by why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(BTreeMap<String, u64>);

impl Refusals {
    /// All of them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// In words, such as `3 with status 503`; `None` if there are none.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let by_reason: Vec<_> = self.0.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        (!by_reason.is_empty()).then(|| by_reason.join(", "))
    }

    /// Counts one.
    pub fn add(&mut self, error: &OpenError) {
        let reason = match error {
            OpenError::Status { status, .. } => format!("with status {status}"),
            OpenError::Refused { .. } => "because nothing listens there".to_owned(),
            OpenError::Silent => format!("without an answer in {} s", STEP_WAIT.as_secs()),
            OpenError::Ended(_) => "ended before an answer".to_owned(),
            // Without the connection's number: what is the same is counted together.
            OpenError::Connect { error, .. } => format!("because of: {error}"),
            other => format!("because of: {other}"),
        };
        *self.0.entry(reason).or_default() += 1;
    }
}

/// Connects on their way, and the connections they have become.
pub struct Storm<'r> {
    opener: &'r Opener,
    plan: Plan,
    progress: &'r Progress,
    poller: OwnedFd,
    /// By place; `None` where none is on its way.
    attempts: Vec<Option<Attempt>>,
    outcome: StormOutcome,
}

impl<'r> Storm<'r> {
    /// Of this plan.
    ///
    /// # Errors
    /// The system has no poller.
    pub fn new(opener: &'r Opener, plan: Plan, progress: &'r Progress) -> Result<Self, OpenError> {
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(|error| OpenError::Socket(error.into()))?;
        let mut attempts = Vec::new();
        attempts.resize_with(plan.at_once.min(plan.connects), || None);
        let outcome = StormOutcome {
            latency_ns: latency_histogram(),
            refusals: Refusals::default(),
            opened: 0,
            late: 0,
            closes: Closes::default(),
            elapsed_ns: 0,
            connections: Vec::with_capacity(plan.connects),
        };
        Ok(Self { opener, plan, progress, poller, attempts, outcome })
    }

    /// Opens all; `is_over`, an interrupt or the end of the time given, leaves those that are on their way.
    #[must_use]
    pub fn run(mut self, is_over: &dyn Fn() -> bool) -> StormOutcome {
        let started_ns = self.progress.now_ns();
        let mut schedule = match self.plan.pace {
            Pace::Open { per_s } => Some(Schedule::new(started_ns, per_s)),
            Pace::Closed => None,
        };
        let mut free: Vec<usize> = (0..self.attempts.len()).collect();
        let (mut next, mut events) = (0, Vec::with_capacity(EVENTS_MAX));
        while !is_over() && !self.progress.is_failed() {
            let mut wait = LOOK_AGAIN;
            while next < self.plan.connects && !free.is_empty() {
                let now_ns = self.progress.now_ns();
                let due_ns = schedule.as_ref().map_or(now_ns, Schedule::due_ns);
                if due_ns > now_ns {
                    wait = wait.min(Duration::from_nanos(due_ns - now_ns));
                    break;
                }
                if let Some(place) = free.pop() {
                    self.begin(place, self.plan.first + next, due_ns, &mut free);
                }
                next += 1;
                if let Some(schedule) = &mut schedule {
                    schedule.advance();
                }
            }
            if next == self.plan.connects && free.len() == self.attempts.len() {
                break;
            }
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
            match epoll::wait(&self.poller, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => self.progress.fail(format!("epoll_wait: {error}")),
            }
            for event in events.drain(..) {
                match Key::of(event.data) {
                    Key::Attempt(place) => self.advance(place, &mut free),
                    Key::Open(index) => self.hear(index),
                }
            }
            self.give_up(&mut free);
            self.outcome.elapsed_ns = self.progress.now_ns() - started_ns;
        }
        let left = (self.plan.connects - next) as u64;
        let due = schedule.map_or(0, |schedule| schedule.due_before(self.progress.now_ns()));
        self.outcome.late = due.min(left) + (self.attempts.len() - free.len()) as u64;
        self.outcome
    }

    fn begin(&mut self, place: usize, number: usize, due_ns: u64, free: &mut Vec<usize>) {
        let begun = Attempt::begin(self.opener, number, due_ns).and_then(|attempt| {
            let events = EventFlags::IN | EventFlags::OUT;
            epoll::add(&self.poller, &attempt.stream, Key::Attempt(place).data(), events)
                .map_err(|error| OpenError::Socket(error.into()))?;
            Ok(attempt)
        });
        match begun {
            Ok(attempt) => self.attempts[place] = Some(attempt),
            Err(error @ OpenError::Refused { .. }) => {
                self.outcome.refusals.add(&error);
                free.push(place);
            }
            // Of our own system: no descriptor, no port. The storm cannot be what was asked for.
            Err(error) => self.progress.fail(error.to_string()),
        }
    }

    fn advance(&mut self, place: usize, free: &mut Vec<usize>) {
        let Some(attempt) = self.attempts.get_mut(place).and_then(Option::as_mut) else { return };
        let early = match attempt.advance(self.opener) {
            Ok(Some(early)) => early,
            Ok(None) => {
                if attempt.is_sent() {
                    let data = Key::Attempt(place).data();
                    if let Err(error) = epoll::modify(&self.poller, &attempt.stream, data, EventFlags::IN) {
                        self.progress.fail(format!("epoll_ctl: {error}"));
                    }
                }
                return;
            }
            Err(error) => {
                self.outcome.refusals.add(&error);
                self.attempts[place] = None;
                free.push(place);
                return;
            }
        };
        let Some(attempt) = self.attempts[place].take() else { return };
        free.push(place);
        self.outcome.latency_ns.saturating_record(self.progress.now_ns().saturating_sub(attempt.due_ns));
        self.outcome.opened += 1;
        let index = self.outcome.connections.len();
        let key = Key::Open(index);
        let kept = epoll::modify(&self.poller, &attempt.stream, key.data(), EventFlags::IN)
            .map_err(io::Error::from)
            .and_then(|()| attempt.stream.set_nonblocking(false))
            .map_err(OpenError::Socket);
        let greet = |()| {
            let connection = Connection::new(attempt.stream, early);
            Speaker::greet(connection, self.opener.dialect(), Role::Idle)
        };
        match kept.and_then(greet) {
            Ok(speaker) => {
                self.progress.add_opened();
                self.outcome.connections.push(Some(speaker));
                self.hear(index);
            }
            Err(error) => {
                self.progress.fail(error.to_string());
                self.outcome.connections.push(None);
            }
        }
    }

    /// Reads what comes on an open connection: pings, or the end.
    fn hear(&mut self, index: usize) {
        let Some(slot) = self.outcome.connections.get_mut(index) else { return };
        let Some(connection) = slot else { return };
        if let Err(ended) = connection.receive(&mut [0; 4096], |_| ()) {
            match ended.code() {
                Some(code) => {
                    self.outcome.closes.add(code);
                    self.progress.count_gone(true);
                }
                None => self.progress.fail(ended.to_string()),
            }
            *slot = None;
        }
    }

    /// Ends those that have no answer after `STEP_WAIT`.
    fn give_up(&mut self, free: &mut Vec<usize>) {
        for (place, slot) in self.attempts.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|attempt| attempt.begun.elapsed() > STEP_WAIT) {
                self.outcome.refusals.add(&OpenError::Silent);
                *slot = None;
                free.push(place);
            }
        }
    }
}

/// What an event is of.
enum Key {
    /// The place of an attempt.
    Attempt(usize),
    /// The index of an open connection.
    Open(usize),
}

impl Key {
    fn data(&self) -> EventData {
        EventData::new_u64(match self {
            Self::Attempt(place) => *place as u64,
            Self::Open(index) => *index as u64 | OPEN,
        })
    }

    fn of(data: EventData) -> Self {
        let index = usize::try_from(data.u64() & !OPEN).unwrap_or(usize::MAX);
        if data.u64() & OPEN == 0 { Self::Attempt(index) } else { Self::Open(index) }
    }
}

/// A connect on its way.
struct Attempt {
    number: usize,
    stream: TcpStream,
    handshake: Handshake,
    sent_bytes: usize,
    due_ns: u64,
    begun: Instant,
}

impl Attempt {
    fn begin(opener: &Opener, number: usize, due_ns: u64) -> Result<Self, OpenError> {
        let handshake = opener.handshake(number, Role::Idle)?;
        let failed = |error| opener.connect_error(number, error);
        let (socket, address) = opener.socket(number).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(failed(error));
            }
            _ => {}
        }
        Ok(Self { number, stream: socket.into(), handshake, sent_bytes: 0, due_ns, begun: Instant::now() })
    }

    fn is_sent(&self) -> bool {
        self.sent_bytes == self.handshake.request().len()
    }

    /// Does what can be done without waiting; what came behind the acceptance, if that has come.
    fn advance(&mut self, opener: &Opener) -> Result<Option<Vec<u8>>, OpenError> {
        let failed = |error| opener.connect_error(self.number, error);
        match self.stream.take_error().map_err(failed)? {
            Some(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ended(error)),
            Some(error) => return Err(failed(error)),
            None => {}
        }
        while !self.is_sent() {
            match self.stream.write(&self.handshake.request()[self.sent_bytes..]) {
                Ok(count) => self.sent_bytes += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(ended(error)),
            }
        }
        loop {
            let mut part = [0; 1024];
            match self.stream.read(&mut part) {
                Ok(0) => return Err(OpenError::Ended(Ended::Eof)),
                Ok(count) => {
                    if let Some(early) = self.handshake.take(&part[..count])? {
                        return Ok(Some(early));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(ended(error)),
            }
        }
    }
}

/// A server that resets a connection has ended it, too.
fn ended(error: io::Error) -> OpenError {
    OpenError::Ended(Ended::Socket(error))
}

const EVENTS_MAX: usize = 256;

/// In an event's key: the connection is open.
const OPEN: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_why() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.text(), None);
        for status in [503, 403, 503] {
            refusals.add(&OpenError::Status { status, said: "varies".repeat(status.into()) });
        }
        refusals.add(&OpenError::Ended(Ended::Eof));
        for number in 0..3 {
            let (address, error) = (([127, 0, 0, 1], 1).into(), io::ErrorKind::HostUnreachable.into());
            refusals.add(&OpenError::Connect { address, number, error });
        }
        assert_eq!(refusals.count(), 7);
        let text =
            "3 because of: host unreachable, 1 ended before an answer, 1 with status 403, 2 with status 503";
        assert_eq!(refusals.text().as_deref(), Some(text));
    }
}
