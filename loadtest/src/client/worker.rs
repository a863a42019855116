//! Workers: threads that hold subscribers, receive for them, and check what they get.
//!
//! In      an opener, a share of the connection numbers, the run's `Progress`, orders
//! Out     what was heard when it is asked for, and an `Outcome` at the end
//! Bounds  one epoll set and one receive buffer per worker; nothing is kept per message
//! Source  epoll(7), level-triggered

use std::{
    ops::Range,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError},
    },
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    fd::OwnedFd,
    io::{Errno, ioctl_fionread},
};
use serde::{Deserialize, Serialize};

use super::{
    audience::Audience,
    connection::Opener,
    error::{Ended, OpenError},
    judge::{Heard, Judge},
    progress::{LOOK_AGAIN, Progress},
    slow::Slow,
    speaker::Speaker,
    talk::{Talk, Talking},
};
use crate::{
    dialect::Role,
    truth::{closes::Closes, completions::Completions, sequence::Tally, sequences::Sequences},
};

/// Subscribers of one thread.
pub struct Worker {
    subscribers: Vec<Subscriber>,
    poller: OwnedFd,
    judge: Judge,
    outcome: Outcome,
    slow: Slow,
    talking: Option<Talking>,
    buffer: Vec<u8>,
}

/// What a worker is told to do. It looks every `LOOK_AGAIN`, or sooner.
#[derive(Debug)]
pub enum Order {
    /// Only messages that are meant to leave from now on are in the figures: for other processes, whose
    /// `Progress` is not the run's.
    MeasureFrom(u64),
    /// Whether the next message waits for the last one, so that each has to be told of at once; for other
    /// processes, too.
    Closed(bool),
    /// Hand over what was heard since the last time.
    Tell(Sender<Heard>),
    /// The first so many subscribers read so many bytes a second from now on; 0: nothing.
    Slow {
        /// How many of this worker's.
        subscribers: usize,
        /// Of each.
        bytes_per_s: u64,
    },
    /// Every subscriber sends in turn.
    Talk(Talk),
    /// Nothing becomes due from then on, and if it is to be forgotten, nothing is sent; say how much was.
    Quiet {
        /// On the run's clock.
        over_ns: u64,
        /// What was due before is not sent either.
        forgets: bool,
        /// Where to say it.
        answer: Sender<Spoken>,
    },
    /// End: so much was published, by stream.
    Finish(Arc<[u64]>),
}

/// What those who talk have sent.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Spoken {
    /// Messages so far, by the number of the connection.
    pub sent: Vec<(u32, u64)>,
    /// Messages that are due and were not sent.
    pub unsent: u64,
}

/// What a worker saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Sums over its subscribers, but for those that were made slow.
    pub tally: Tally,
    /// Those of them that the server closed.
    pub closes: Closes,
    /// Pings of the server that were answered.
    pub pings: u64,
    /// Sums over those that were made slow.
    pub slow_tally: Tally,
    /// Those of them that the server closed.
    pub slow_closes: Closes,
    /// Messages that had no last receipt, because not all had them for too long.
    pub given_up: u64,
}

impl Outcome {
    /// Adds that of another worker.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            tally: [self.tally, other.tally].into_iter().sum(),
            closes: [self.closes, other.closes].into_iter().sum(),
            pings: self.pings + other.pings,
            slow_tally: [self.slow_tally, other.slow_tally].into_iter().sum(),
            slow_closes: [self.slow_closes, other.slow_closes].into_iter().sum(),
            given_up: self.given_up + other.given_up,
        }
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
        audience: &Arc<Audience>,
        progress: &Arc<Progress>,
    ) -> Result<Self, OpenError> {
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(socket)?;
        let role = if audience.topics_each == 0 { Role::Idle } else { Role::Subscriber };
        let mut subscribers = Vec::with_capacity(numbers.len());
        for number in numbers {
            if progress.is_failed() {
                return Err(OpenError::Interrupted);
            }
            let mut speaker = Speaker::open(opener, number, role)?;
            // Nothing has been published yet: what comes with the answers is a greeting.
            let topics = audience.topics_of(number).map(|index| audience.topics.at(index));
            speaker.subscribe(topics, |_| ())?;
            let index = EventData::new_u64(subscribers.len() as u64);
            epoll::add(&poller, &speaker, index, EventFlags::IN).map_err(socket)?;
            let sequences = Sequences::of(audience.streams_of(number));
            subscribers.push(Subscriber {
                number,
                speaker,
                sequences,
                sent: 0,
                is_open: true,
                is_slow: false,
            });
            progress.add_opened();
        }
        let judge = Judge {
            audience: Arc::clone(audience),
            dialect: Arc::clone(opener.dialect()),
            progress: Arc::clone(progress),
            heard: Heard::default(),
            tally: Tally::default(),
            completions: audience.common_streams().map(|count| Completions::new(subscribers.len(), count)),
        };
        let (outcome, slow, buffer) = (Outcome::default(), Slow::default(), vec![0; BUFFER_BYTES]);
        Ok(Self { subscribers, poller, judge, outcome, slow, talking: None, buffer })
    }

    /// Receives until it is told to end, or nobody is left to tell it.
    #[must_use]
    pub fn run(mut self, orders: &Receiver<Order>) -> Outcome {
        for index in 0..self.subscribers.len() {
            if self.subscribers[index].speaker.connection().has_early() {
                self.receive(index);
            }
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            match orders.try_recv() {
                Ok(Order::Finish(published)) => return self.outcome(&published),
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return self.outcome(&[]),
            }
            let wait = self.talk().min(self.read_slowly());
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
            if let Err(error) = epoll::wait(&self.poller, spare_capacity(&mut events), Some(&wait)) {
                if error != Errno::INTR {
                    self.judge.progress.fail(format!("epoll_wait: {error}"));
                }
                continue;
            }
            for event in events.drain(..) {
                self.receive(usize::try_from(event.data.u64()).unwrap_or(usize::MAX));
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            // Who asks and does not wait has gone.
            Order::Tell(answer) => drop(answer.send(std::mem::take(&mut self.judge.heard))),
            Order::Slow { subscribers, bytes_per_s } => self.make_slow(subscribers, bytes_per_s),
            Order::Talk(talk) => self.talking = Some(Talking::new(talk, self.judge.progress.now_ns())),
            Order::Quiet { over_ns, forgets, answer } => {
                let unsent = self.talking.as_mut().map_or(0, |talking| talking.end(over_ns));
                if forgets {
                    self.talking = None;
                }
                // What the socket does not take now goes with the next read.
                self.subscribers.iter_mut().for_each(|s| drop(s.speaker.connection_mut().flush()));
                let stream = |subscriber: &Subscriber| u32::try_from(subscriber.number).unwrap_or(u32::MAX);
                let sent = self.subscribers.iter().map(|subscriber| (stream(subscriber), subscriber.sent));
                drop(answer.send(Spoken { sent: sent.collect(), unsent }));
            }
            Order::MeasureFrom(_) | Order::Closed(_) | Order::Finish(_) => {}
        }
    }

    /// From here on the first `count` subscribers read at their own pace, and are judged apart.
    fn make_slow(&mut self, count: usize, bytes_per_s: u64) {
        self.slow = Slow::new(count.min(self.subscribers.len()), bytes_per_s);
        for subscriber in self.subscribers.iter_mut().take(count).filter(|subscriber| subscriber.is_open) {
            subscriber.is_slow = true;
            self.judge.progress.leave(subscriber.sequences.received());
            if let Some(completions) = &mut self.judge.completions {
                completions.leave(|stream| subscriber.sequences.next_of(stream));
            }
            // What is not read stays readable: the poller would tell of nothing else.
            let _ = epoll::delete(&self.poller, &subscriber.speaker);
        }
    }

    /// Lets the slow ones read what they may by now; how long until there is more.
    fn read_slowly(&mut self) -> Duration {
        let Some(allowed_bytes) = self.slow.allowed(self.judge.progress.now_ns()) else { return LOOK_AGAIN };
        for index in 0..self.slow.count().min(self.subscribers.len()) {
            let subscriber = &mut self.subscribers[index];
            if !subscriber.is_open {
                continue;
            }
            let length = allowed_bytes.min(self.buffer.len());
            let Subscriber { speaker, sequences, .. } = subscriber;
            let heard = self.slow.judge(speaker, sequences, &mut self.buffer[..length]);
            if let Err(ended) = heard {
                self.end(index, &ended);
            }
        }
        LOOK_AGAIN
    }

    /// Sends what is due; how long until there is more.
    fn talk(&mut self) -> Duration {
        let Some(talking) = &mut self.talking else { return LOOK_AGAIN };
        let (progress, audience) = (&self.judge.progress, &self.judge.audience);
        let count = self.subscribers.len();
        for _ in 0..SENDS_MAX {
            let Some((index, due_ns)) = talking.next(progress.now_ns(), count) else {
                return talking.wait(progress.now_ns());
            };
            let subscriber = &mut self.subscribers[index];
            if !subscriber.is_open {
                continue;
            }
            let stream = u32::try_from(subscriber.number).unwrap_or(u32::MAX);
            let frame = talking.encode(
                &self.judge.dialect,
                audience.topic_of(stream),
                stream,
                subscriber.sent,
                due_ns,
            );
            let sent = frame.and_then(|frame| subscriber.speaker.connection_mut().send_soon(frame));
            subscriber.sent += 1;
            progress.add_published(1);
            match sent {
                Ok(()) if subscriber.speaker.connection().unsent_bytes() <= UNSENT_BYTES_MAX => {}
                Ok(()) => progress.fail(format!(
                    "connection {}: the server does not read, {} MiB wait: lower --rate",
                    subscriber.number,
                    UNSENT_BYTES_MAX >> 20
                )),
                Err(error) => {
                    self.end(index, &Ended::Socket(error));
                    return Duration::ZERO;
                }
            }
        }
        Duration::ZERO
    }

    fn receive(&mut self, index: usize) {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return };
        // An event that was there before it was made slow.
        if subscriber.is_slow {
            return;
        }
        let Subscriber { speaker, sequences, .. } = subscriber;
        if let Err(ended) = self.judge.receive(speaker, sequences, &mut self.buffer) {
            self.end(index, &ended);
        }
    }

    fn end(&mut self, index: usize, ended: &Ended) {
        let subscriber = &mut self.subscribers[index];
        if !std::mem::take(&mut subscriber.is_open) {
            return;
        }
        let how = format!("subscriber {}: {ended}", subscriber.number);
        match ended.code() {
            Some(code) if subscriber.is_slow => {
                self.outcome.slow_closes.add(code);
                self.judge.progress.count_gone(true);
            }
            Some(code) => {
                self.outcome.closes.add(code);
                self.judge.progress.add_closed(subscriber.sequences.received(), how);
                if let Some(completions) = &mut self.judge.completions {
                    completions.leave(|stream| subscriber.sequences.next_of(stream));
                }
            }
            None => self.judge.progress.fail(how),
        }
        // A socket that has ended stays readable; leaving the set keeps the loop from spinning.
        let _ = epoll::delete(&self.poller, &subscriber.speaker);
    }

    /// Reads all that waits for the slow ones: whether they were closed, they did not look until now.
    fn read_rest(&mut self) {
        for index in 0..self.slow.count().min(self.subscribers.len()) {
            for _ in 0..READS_MAX {
                let Subscriber { speaker, sequences, is_open, .. } = &mut self.subscribers[index];
                let is_more = ioctl_fionread(&*speaker).is_ok_and(|bytes| bytes > 0);
                if !*is_open {
                    break;
                }
                if let Err(ended) = self.slow.judge(speaker, sequences, &mut self.buffer) {
                    self.end(index, &ended);
                }
                if !is_more {
                    break;
                }
            }
        }
    }

    fn outcome(mut self, published: &[u64]) -> Outcome {
        self.read_rest();
        let missing = |is_slow| -> u64 {
            let those = self.subscribers.iter().filter(|subscriber| subscriber.is_slow == is_slow);
            those.map(|subscriber| subscriber.sequences.missing(published)).sum()
        };
        self.outcome.tally = Tally { missing: missing(false), ..self.judge.tally };
        self.outcome.slow_tally = Tally { missing: missing(true), ..self.slow.tally() };
        self.outcome.pings = self.subscribers.iter().map(|s| s.speaker.connection().pings()).sum();
        self.outcome.given_up = self.judge.completions.map_or(0, |completions| completions.given_up());
        self.outcome
    }
}

struct Subscriber {
    number: usize,
    speaker: Speaker,
    sequences: Sequences,
    /// Messages, where it talks.
    sent: u64,
    is_open: bool,
    is_slow: bool,
}

fn socket(error: Errno) -> OpenError {
    OpenError::Socket(error.into())
}

const EVENTS_MAX: usize = 256;

/// Messages sent in a row by a loop that is late, before it looks at what has come.
const SENDS_MAX: u64 = 64;

/// Reads of a slow subscriber at the end: more than its socket and the server's queue hold.
const READS_MAX: usize = 4096;

/// Some hundred messages of common length, and a piece of a long one.
const BUFFER_BYTES: usize = 256 * 1024;

/// A server that takes less than it is sent must not fill this program's memory.
const UNSENT_BYTES_MAX: usize = 16 << 20;
