//! Workers: threads that hold subscribers, receive for them, and check what they get.
//!
//! In      an endpoint, a share of the connection numbers, the run's `Progress`
//! Out     an `Outcome` when the run is finished
//! Bounds  one epoll set and one receive buffer per worker; nothing is kept per message
//! Source  epoll(7), level-triggered

use std::{ops::Range, sync::Arc};

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
    crew::Audience,
    envelope::{Envelope, Incoming},
    error::{Ended, OpenError},
    progress::{LOOK_AGAIN, Progress},
};
use crate::{
    measure::latency::latency_histogram,
    truth::{
        closes::Closes,
        sequence::{Sequence, Tally, Verdict},
        stamp::Stamp,
    },
};

/// Subscribers of one thread.
pub struct Worker {
    subscribers: Vec<Subscriber>,
    poller: OwnedFd,
    judge: Judge,
    closes: Closes,
    buffer: Vec<u8>,
}

/// What a worker saw.
pub struct Outcome {
    /// Nanoseconds from intended send to receipt, of each delivery.
    pub latency_ns: Histogram<u64>,
    /// Sums over its subscribers.
    pub tally: Tally,
    /// Those of them that the server closed.
    pub closes: Closes,
    /// Pings of the server that were answered.
    pub pings: u64,
}

impl Default for Outcome {
    fn default() -> Self {
        Self { latency_ns: latency_histogram(), tally: Tally::default(), closes: Closes::default(), pings: 0 }
    }
}

impl Worker {
    /// Connects connections `numbers`, and subscribes them if the audience is.
    ///
    /// # Errors
    /// The first connection that fails.
    pub fn open(
        opener: &Opener,
        numbers: Range<usize>,
        audience: &Audience,
        progress: &Arc<Progress>,
    ) -> Result<Self, OpenError> {
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(socket)?;
        let mut subscribers = Vec::with_capacity(numbers.len());
        for number in numbers {
            if progress.is_failed() {
                return Err(OpenError::Interrupted);
            }
            let mut connection = opener.open(number)?;
            if audience.is_subscribed {
                connection.subscribe(&audience.envelope)?;
            }
            let index = EventData::new_u64(subscribers.len() as u64);
            epoll::add(&poller, &connection, index, EventFlags::IN).map_err(socket)?;
            subscribers.push(Subscriber {
                number,
                connection,
                sequences: vec![Sequence::default(); audience.publishers],
            });
        }
        let judge = Judge {
            envelope: audience.envelope.clone(),
            progress: Arc::clone(progress),
            latency_ns: latency_histogram(),
            tally: Tally::default(),
        };
        Ok(Self { subscribers, poller, judge, closes: Closes::default(), buffer: vec![0; BUFFER_BYTES] })
    }

    /// Receives until the run is finished.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_AGAIN.subsec_nanos()) };
        let progress = Arc::clone(&self.judge.progress);
        for index in 0..self.subscribers.len() {
            if self.subscribers[index].connection.has_early() {
                self.receive(index);
            }
        }
        let published = loop {
            if let Some(published) = progress.published() {
                break published;
            }
            if let Err(error) = epoll::wait(&self.poller, spare_capacity(&mut events), Some(&wait)) {
                if error != Errno::INTR {
                    progress.fail(format!("epoll_wait: {error}"));
                }
                continue;
            }
            for event in events.drain(..) {
                self.receive(usize::try_from(event.data.u64()).unwrap_or(usize::MAX));
            }
        };
        let mut tally = self.judge.tally;
        tally.missing = self.subscribers.iter().map(|subscriber| subscriber.missing(published)).sum();
        let pings = self.subscribers.iter().map(|subscriber| subscriber.connection.pings()).sum();
        Outcome { latency_ns: self.judge.latency_ns, tally, closes: self.closes, pings }
    }

    fn receive(&mut self, index: usize) {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        let Err(ended) = self.judge.receive(subscriber, &mut self.buffer) else { return };
        let how = format!("subscriber {}: {ended}", subscriber.number);
        match ended.code() {
            Some(code) => {
                self.closes.add(code);
                self.judge.progress.add_closed(subscriber.received(), how);
            }
            None => self.judge.progress.fail(how),
        }
        // A socket that has ended stays readable; leaving the set keeps the loop from spinning.
        let _ = epoll::delete(&self.poller, &subscriber.connection);
    }
}

struct Subscriber {
    number: usize,
    connection: Connection,
    /// By publisher.
    sequences: Vec<Sequence>,
}

impl Subscriber {
    fn received(&self) -> u64 {
        self.sequences.iter().map(Sequence::received).sum()
    }

    fn missing(&self, published: &[u64]) -> u64 {
        self.sequences.iter().zip(published).map(|(sequence, &count)| sequence.missing(count)).sum()
    }
}

struct Judge {
    envelope: Envelope,
    progress: Arc<Progress>,
    latency_ns: Histogram<u64>,
    tally: Tally,
}

impl Judge {
    /// Reads once, and judges each message that is now whole.
    fn receive(&mut self, subscriber: &mut Subscriber, buffer: &mut [u8]) -> Result<(), Ended> {
        let Subscriber { connection, sequences, .. } = subscriber;
        let delivered_before = self.tally.delivered;
        let mut read_ns = None;
        let received = connection.receive(buffer, |message| {
            let now_ns = *read_ns.get_or_insert_with(|| self.progress.now_ns());
            self.judge(sequences, message, now_ns);
        });
        let delivered = self.tally.delivered - delivered_before;
        if let (1.., Some(now_ns)) = (delivered, read_ns) {
            self.progress.add_delivered(delivered, now_ns);
        }
        received
    }

    fn judge(&mut self, sequences: &mut [Sequence], message: &[u8], now_ns: u64) {
        let data = match self.envelope.read(message) {
            Incoming::Delivery(data) => data,
            Incoming::Error(text) => return self.progress.fail(format!("the server sent an error: {text}")),
            Incoming::Subscribed | Incoming::Other => return self.tally.unexpected += 1,
        };
        let Ok(stamp) = Stamp::decode(data) else { return self.tally.corrupted += 1 };
        // A publisher that is none of ours: another run on the same topic.
        let Some(sequence) = sequences.get_mut(usize::from(stamp.publisher)) else {
            return self.tally.unexpected += 1;
        };
        let verdict = sequence.observe(stamp.sequence);
        self.tally.count(verdict);
        if verdict != Verdict::Duplicate && stamp.intended_ns >= self.progress.measured_from_ns() {
            self.latency_ns.saturating_record(now_ns.saturating_sub(stamp.intended_ns));
        }
    }
}

fn socket(error: Errno) -> OpenError {
    OpenError::Socket(error.into())
}

const EVENTS_MAX: usize = 256;

/// Some hundred messages of common length, and a piece of a long one.
const BUFFER_BYTES: usize = 256 * 1024;
