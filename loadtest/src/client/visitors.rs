//! Visitors: subscribers that come on schedule, stay for a while, and go.
//!
//! In      an opener, a topic, how many come and how long each stays
//! Out     how long it took to come in, and what each got while it was there
//! Bounds  one thread; 10 s per step of coming in; who leaves waits `patience` for what was published before, and 10 s
//!         for the end of its connection
//! Source  epoll(7), level-triggered; RFC 6455 section 7.1.2: who leaves sends a close frame and reads on

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use fanwire_ws::{CloseCode, encode_close};
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
    connection::{Opener, random},
    error::{Ended, OpenError, STEP_WAIT},
    progress::{LOOK_AGAIN, Progress},
    speaker::Speaker,
    storm::Refusals,
};
use crate::{
    dialect::{Incoming, Role, topic::Topic},
    load::schedule::Schedule,
    measure::latency::latency_histogram,
    truth::{
        closes::Closes,
        sequence::{Sequence, Tally, Verdict},
        stamp::Stamp,
    },
};

/// How visitors come and go.
#[derive(Clone, Debug)]
pub struct Visits {
    /// Number of the first connection.
    pub first: usize,
    /// Joins per second.
    pub per_s: f64,
    /// How long each stays.
    pub stay: Duration,
    /// Whether they keep their connection and only unsubscribe.
    pub keeps_connection: bool,
    /// What they subscribe to.
    pub topic: Topic,
    /// How long one whose time is over waits for what was published before.
    pub patience: Duration,
}

/// What visits have shown.
#[derive(Debug)]
pub struct VisitOutcome {
    /// Nanoseconds from when a visit was due to the subscription in force.
    pub latency_ns: Histogram<u64>,
    /// Visits that were refused, by why.
    pub refusals: Refusals,
    /// Visits that came in.
    pub joins: u64,
    /// Visits that were due by the end and had not come within `CATCH_UP_MAX` of it.
    pub late: u64,
    /// Most that were there at once.
    pub present_max: usize,
    /// What visitors got, and did not.
    pub tally: Tally,
    /// Visitors that the server closed.
    pub closes: Closes,
}

/// Those who come and go.
pub struct Visitors<'r> {
    opener: &'r Opener,
    visits: Visits,
    progress: &'r Progress,
    poller: OwnedFd,
    guests: Vec<Option<Guest>>,
    free: Vec<usize>,
    /// In the order in which they leave: all stay equally long.
    leaving: VecDeque<(Instant, usize)>,
    /// Whose time is over, and who are to get what was published until then; until when that is waited for.
    owed: VecDeque<(Instant, usize)>,
    /// Connected and not subscribed.
    waiting: Vec<usize>,
    present: usize,
    outcome: VisitOutcome,
    buffer: Vec<u8>,
}

impl<'r> Visitors<'r> {
    /// Of these visits; nobody is there yet.
    ///
    /// # Errors
    /// The system has no poller.
    pub fn new(opener: &'r Opener, visits: Visits, progress: &'r Progress) -> Result<Self, OpenError> {
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(|error| OpenError::Socket(error.into()))?;
        let outcome = VisitOutcome {
            latency_ns: latency_histogram(),
            refusals: Refusals::default(),
            joins: 0,
            late: 0,
            present_max: 0,
            tally: Tally::default(),
            closes: Closes::default(),
        };
        Ok(Self {
            opener,
            visits,
            progress,
            poller,
            guests: Vec::new(),
            free: Vec::new(),
            leaving: VecDeque::new(),
            owed: VecDeque::new(),
            waiting: Vec::new(),
            present: 0,
            outcome,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Lets them come and go until it is over; then all leave.
    #[must_use]
    pub fn run(mut self, is_over: &dyn Fn() -> bool) -> VisitOutcome {
        let mut schedule = Schedule::new(self.progress.now_ns(), self.visits.per_s);
        while !is_over() && !self.progress.is_failed() {
            let now_ns = self.progress.now_ns();
            let mut wait = LOOK_AGAIN;
            if schedule.due_ns() <= now_ns {
                self.come(schedule.due_ns());
                schedule.advance();
                wait = Duration::ZERO;
            } else {
                wait = wait.min(Duration::from_nanos(schedule.due_ns() - now_ns));
            }
            self.let_go(Instant::now());
            self.hear(wait);
        }
        self.catch_up(schedule);
        self.let_go(Instant::now() + self.visits.stay);
        let end = Instant::now() + self.visits.patience + STEP_WAIT;
        while self.is_anybody_leaving() && Instant::now() < end && !self.progress.is_failed() {
            self.hear(LOOK_AGAIN);
            self.part();
        }
        self.outcome
    }

    fn is_anybody_leaving(&self) -> bool {
        !self.owed.is_empty() || self.guests.iter().flatten().any(|guest| guest.is_leaving)
    }

    /// Who was due before the end still comes: a server that is behind would look fast without them.
    fn catch_up(&mut self, mut schedule: Schedule) {
        let over_ns = self.progress.now_ns();
        let end = Instant::now() + CATCH_UP_MAX;
        while schedule.due_ns() < over_ns && Instant::now() < end && !self.progress.is_failed() {
            self.come(schedule.due_ns());
            schedule.advance();
            self.let_go(Instant::now());
            self.hear(Duration::ZERO);
        }
        self.outcome.late = schedule.due_before(over_ns);
    }

    /// One visitor comes, with a connection of its own or that of one who has gone.
    fn come(&mut self, due_ns: u64) {
        let opened = match self.waiting.pop() {
            Some(index) => Ok(index),
            None => self.connect(),
        };
        let joined = opened.and_then(|index| self.join(index).map(|()| index));
        match joined {
            Ok(index) => {
                self.outcome.latency_ns.saturating_record(self.progress.now_ns().saturating_sub(due_ns));
                self.outcome.joins += 1;
                self.present += 1;
                self.outcome.present_max = self.outcome.present_max.max(self.present);
                self.leaving.push_back((Instant::now() + self.visits.stay, index));
            }
            // Of our own system: no descriptor, no port. The visits cannot be what was asked for.
            Err(error @ OpenError::Connect { .. }) => self.progress.fail(error.to_string()),
            Err(error) => self.outcome.refusals.add(&error),
        }
    }

    fn connect(&mut self) -> Result<usize, OpenError> {
        let index = self.free.pop().unwrap_or(self.guests.len());
        if index == self.guests.len() {
            self.guests.push(None);
        }
        let opened =
            Speaker::open(self.opener, self.visits.first + index, Role::Subscriber).and_then(|speaker| {
                epoll::add(&self.poller, &speaker, EventData::new_u64(index as u64), EventFlags::IN)
                    .map_err(|error| OpenError::Socket(error.into()))?;
                Ok(speaker)
            });
        match opened {
            Ok(speaker) => {
                self.progress.add_opened();
                self.guests[index] = Some(Guest { speaker, visit: None, is_leaving: false, left: None });
                Ok(index)
            }
            Err(error) => {
                self.free.push(index);
                Err(error)
            }
        }
    }

    fn join(&mut self, index: usize) -> Result<(), OpenError> {
        let Some(guest) = self.guests.get_mut(index).and_then(Option::as_mut) else {
            return Err(OpenError::Ended(Ended::Eof));
        };
        let mut visit = Visit { published_before: 0, owed: None, sequence: None };
        let tally = &mut self.outcome.tally;
        // Messages may come with the answer, and those before it are not promised.
        let joined = guest.speaker.subscribe([&self.visits.topic], |incoming| visit.judge(&incoming, tally));
        // All that is published from now on must come.
        visit.published_before = self.progress.published();
        match joined {
            Ok(()) => guest.visit = Some(visit),
            Err(_) => self.forget(index, false),
        }
        joined
    }

    /// Those whose time is over leave, as soon as they have what was published until then.
    fn let_go(&mut self, now: Instant) {
        while self.leaving.front().is_some_and(|(end, _)| *end <= now) {
            let Some((_, index)) = self.leaving.pop_front() else { return };
            let Some(guest) = self.guests.get_mut(index).and_then(Option::as_mut) else { continue };
            let Some(visit) = &mut guest.visit else { continue };
            visit.owed = Some(self.progress.published());
            self.owed.push_back((Instant::now() + self.visits.patience, index));
        }
        self.part();
    }

    /// Who has it all, or has waited long enough, goes.
    fn part(&mut self) {
        for _ in 0..self.owed.len() {
            let Some((until, index)) = self.owed.pop_front() else { return };
            let Some(guest) = self.guests.get_mut(index).and_then(Option::as_mut) else { continue };
            let Some(visit) = &guest.visit else { continue };
            if visit.has_all() || until <= Instant::now() {
                self.leave(index);
            } else {
                self.owed.push_back((until, index));
            }
        }
    }

    fn leave(&mut self, index: usize) {
        let Some(guest) = self.guests.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(mut visit) = guest.visit.take() else { return };
        self.present -= 1;
        let tally = &mut self.outcome.tally;
        let gone = if self.visits.keeps_connection {
            let judge = |incoming: Incoming<'_>| visit.judge(&incoming, tally);
            guest.speaker.unsubscribe(&self.visits.topic, judge).map(drop)
        } else {
            guest.is_leaving = true;
            close(&mut guest.speaker)
        };
        visit.end(tally);
        match gone {
            Ok(()) if self.visits.keeps_connection => self.waiting.push(index),
            Ok(()) => guest.left = Some(Instant::now()),
            Err(error) => {
                self.outcome.refusals.add(&error);
                self.forget(index, false);
            }
        }
    }

    fn hear(&mut self, wait: Duration) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        match epoll::wait(&self.poller, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => self.progress.fail(format!("epoll_wait: {error}")),
        }
        for event in &events {
            self.receive(usize::try_from(event.data.u64()).unwrap_or(usize::MAX));
        }
        for index in 0..self.guests.len() {
            let is_late = |left: Instant| left.elapsed() > STEP_WAIT;
            if self.guests[index].as_ref().and_then(|guest| guest.left).is_some_and(is_late) {
                self.outcome.refusals.add(&OpenError::Silent);
                self.forget(index, false);
            }
        }
    }

    fn receive(&mut self, index: usize) {
        let Some(guest) = self.guests.get_mut(index).and_then(Option::as_mut) else { return };
        let (tally, is_leaving) = (&mut self.outcome.tally, guest.is_leaving);
        let visit = &mut guest.visit;
        let received = guest.speaker.receive(&mut self.buffer, |incoming| match visit {
            Some(visit) => visit.judge(&incoming, tally),
            // On their way when the close frame left.
            None if is_leaving => {}
            None => tally.unexpected += 1,
        });
        let Err(ended) = received else { return };
        if !is_leaving {
            match ended.code() {
                Some(code) => self.outcome.closes.add(code),
                None => self.progress.fail(format!("visitor: {ended}")),
            }
            if let Some(visit) = guest.visit.take() {
                visit.end(tally);
                self.present -= 1;
            }
            self.waiting.retain(|&waiting| waiting != index);
            [&mut self.leaving, &mut self.owed]
                .into_iter()
                .for_each(|all| all.retain(|(_, one)| *one != index));
        }
        self.forget(index, !is_leaving);
    }

    fn forget(&mut self, index: usize, is_by_server: bool) {
        self.progress.count_gone(is_by_server);
        self.guests[index] = None;
        self.free.push(index);
    }
}

/// Somebody connected.
struct Guest {
    speaker: Speaker,
    /// While it is subscribed.
    visit: Option<Visit>,
    /// It has sent its close frame, since when.
    is_leaving: bool,
    left: Option<Instant>,
}

/// What one visitor is to get, and has got.
struct Visit {
    /// Messages published when its subscription was in force: it may have some of them.
    published_before: u64,
    /// How many were published when its time was over: all these it must have.
    owed: Option<u64>,
    /// From its first message on.
    sequence: Option<Sequence>,
}

impl Visit {
    fn judge(&mut self, incoming: &Incoming<'_>, tally: &mut Tally) {
        let Incoming::Delivery { data, .. } = incoming else { return tally.unexpected += 1 };
        let Ok(stamp) = Stamp::decode(data) else { return tally.corrupted += 1 };
        let sequence = self.sequence.get_or_insert_with(|| Sequence::starting_at(stamp.sequence));
        let verdict = sequence.observe(stamp.sequence);
        if verdict == Verdict::Duplicate && stamp.sequence < sequence.first() {
            // Before its first one: late, and not twice.
            return tally.reordered += 1;
        }
        tally.count(verdict);
    }

    /// Whether the last of what it is owed has come.
    fn has_all(&self) -> bool {
        self.owed.unwrap_or_default() <= self.next()
    }

    /// The number behind the last that it has; what was published before it came is not promised.
    fn next(&self) -> u64 {
        self.sequence.as_ref().map_or(0, Sequence::next).max(self.published_before)
    }

    /// Adds what it should have got and did not. Whom the server has closed is owed nothing behind its last message.
    fn end(self, tally: &mut Tally) {
        tally.missing += self.owed.unwrap_or_default().saturating_sub(self.next());
        if let Some(sequence) = self.sequence {
            tally.missing += sequence.skipped() + sequence.first().saturating_sub(self.published_before);
        }
    }
}

/// Says that it goes; the server answers and ends the connection.
fn close(speaker: &mut Speaker) -> Result<(), OpenError> {
    let mut frame = Vec::new();
    let mask = random().map_err(OpenError::Socket)?;
    encode_close(&mut frame, Some(mask), CloseCode::GOING_AWAY, "");
    speaker.connection_mut().send_soon(&frame).map_err(OpenError::Socket)
}

const CATCH_UP_MAX: Duration = Duration::from_secs(2);

const EVENTS_MAX: usize = 256;

const BUFFER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(published_before: u64, sequences: &[u64]) -> Tally {
        judged_to(published_before, None, sequences)
    }

    fn judged_to(published_before: u64, owed: Option<u64>, sequences: &[u64]) -> Tally {
        let (mut tally, mut visit) = (Tally::default(), Visit { published_before, owed, sequence: None });
        for &sequence in sequences {
            let mut data = Vec::new();
            Stamp { stream: 0, sequence, intended_ns: 0 }.encode(64, &mut data);
            visit.judge(&Incoming::Delivery { topic: b"".into(), data: data.into() }, &mut tally);
        }
        visit.end(&mut tally);
        tally
    }

    #[test]
    fn a_visitor_gets_all_from_its_subscription_on() {
        assert_eq!(judged(5, &[5, 6, 7]), Tally { delivered: 3, ..Tally::default() });
        assert_eq!(judged(5, &[3, 4, 5]), Tally { delivered: 3, ..Tally::default() });
        assert_eq!(judged(5, &[]), Tally::default());
    }

    #[test]
    fn it_is_owed_all_that_was_published_in_its_time() {
        let missing = |missing, delivered| Tally { delivered, missing, ..Tally::default() };
        assert_eq!(judged_to(5, Some(8), &[]), missing(3, 0));
        assert_eq!(judged_to(5, Some(8), &[5]), missing(2, 1));
        assert_eq!(judged_to(5, Some(8), &[6]), missing(2, 1));
        assert_eq!(judged_to(5, Some(8), &[5, 6, 7, 8]), missing(0, 4));
        assert_eq!(judged_to(5, Some(5), &[]), missing(0, 0));
        // It has gone before what was on its way when it came had all passed.
        assert_eq!(judged_to(5, Some(5), &[2, 3]), missing(0, 2));
        let visit = |owed, first: Option<u64>| Visit {
            published_before: 5,
            owed: Some(owed),
            sequence: first.map(|first| {
                let mut sequence = Sequence::starting_at(first);
                sequence.observe(first);
                sequence
            }),
        };
        assert!(visit(5, None).has_all() && visit(6, Some(5)).has_all() && visit(5, Some(3)).has_all());
        assert!(!visit(6, None).has_all() && !visit(7, Some(5)).has_all());
    }

    #[test]
    fn what_it_misses_gets_twice_or_late_is_told_apart() {
        assert_eq!(judged(5, &[7, 8]), Tally { delivered: 2, missing: 2, ..Tally::default() });
        assert_eq!(judged(5, &[5, 7]), Tally { delivered: 2, missing: 1, ..Tally::default() });
        assert_eq!(judged(5, &[5, 5]), Tally { delivered: 1, duplicated: 1, ..Tally::default() });
        assert_eq!(judged(5, &[5, 4]), Tally { delivered: 1, reordered: 1, ..Tally::default() });
    }
}
