//! Publishing: bursts in turn over some connections, on schedule or as fast as they are delivered.
//!
//! In      connections, streams to publish, the run's `Progress`
//! Out     how much each stream published, and how publishing ended
//! Bounds  one burst is encoded at a time; what is due when it is over is sent for the stream's overtime
//! Source  an open loop counts latency from the intended time, so a late send hides nothing
//!
//! What ends an open loop is its schedule: a server that has kept the publisher waiting until then is still
//! sent all that was due, or else the worst latencies would be those that are never measured.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    audience::{Audience, Streams},
    connection::Opener,
    error::OpenError,
    progress::{LOOK_AGAIN, Progress},
    speaker::{Speaker, encode},
};
use crate::{
    dialect::{Incoming, Role},
    load::{
        popularity::Popularity,
        schedule::Schedule,
        stream::{Pace, Stream},
    },
    truth::stamp::Stamp,
};

/// The publishing connections of a run.
pub struct Publishers {
    speakers: Vec<Speaker>,
    /// Messages so far, by stream.
    published: Vec<u64>,
    /// Messages that were due and were not sent.
    unsent: u64,
    /// When all connections were heard last.
    heard_at: Instant,
    /// Deliveries that all of them cause, where each topic has its own subscribers.
    expected: u64,
    subscribers_by_topic: Vec<u64>,
    /// Which topic is next, where the streams are topics.
    popularity: Popularity,
    audience: Arc<Audience>,
    progress: Arc<Progress>,
    opener: Opener,
    data: Vec<u8>,
    message: Vec<u8>,
    frames: Vec<u8>,
}

/// Since when nothing becomes due any more, on the run's clock; `None`: it still does.
pub type Over<'o> = &'o dyn Fn() -> Option<u64>;

impl Publishers {
    /// Opens `count` connections, at least one, behind those of the audience.
    ///
    /// # Errors
    /// The first that fails.
    pub fn open(
        opener: &Opener,
        count: usize,
        audience: &Arc<Audience>,
        popularity: Popularity,
        progress: &Arc<Progress>,
    ) -> Result<Self, OpenError> {
        let numbers = audience.connections..audience.connections + count;
        let speakers = numbers.map(|number| Speaker::open(opener, number, Role::Publisher));
        let streams = match audience.streams {
            Streams::Topics => audience.topics.count(),
            Streams::Publishers(_) | Streams::Talkers { .. } => count,
        };
        Ok(Self {
            speakers: speakers.collect::<Result<_, _>>()?,
            published: vec![0; streams],
            unsent: 0,
            heard_at: Instant::now(),
            expected: 0,
            subscribers_by_topic: audience.subscribers_by_topic(),
            popularity,
            audience: Arc::clone(audience),
            progress: Arc::clone(progress),
            opener: opener.clone(),
            data: Vec::new(),
            message: Vec::new(),
            frames: Vec::new(),
        })
    }

    /// Publishes a stream until `over`, an interrupt or the end of the time given, and waits until it has
    /// arrived; false if it has not.
    pub fn run(&mut self, stream: &Stream, over: Over<'_>) -> bool {
        match stream.pace {
            Pace::Open { per_s } => self.run_open(stream, per_s / stream.burst as f64, over),
            Pace::Closed => self.run_closed(stream, over),
        }
        // After an interrupt too: what was published is still on its way.
        self.wait_delivered(stream.patience, &|| false).is_some()
    }

    /// Messages published so far, by stream.
    #[must_use]
    pub fn published(&self) -> &[u64] {
        &self.published
    }

    /// All of them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.published.iter().sum()
    }

    /// Messages of open loops so far that were due and were not sent.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    fn run_open(&mut self, stream: &Stream, bursts_per_s: f64, over: Over<'_>) {
        let mut schedule = Schedule::new(self.progress.now_ns(), bursts_per_s);
        let mut left = stream.publishes_max;
        for turn in (0..self.speakers.len()).cycle() {
            let (count, due_ns) = (left.min(stream.burst), schedule.due_ns());
            if count == 0
                || !self.wait_until(due_ns, stream.overtime, over)
                || !self.publish(turn, count, due_ns, stream, over)
            {
                break;
            }
            left -= count;
            schedule.advance();
        }
        // A run that has failed is over now.
        let over_ns = over().unwrap_or_else(|| self.progress.now_ns());
        self.unsent += schedule.due_before(over_ns).saturating_mul(stream.burst).min(left);
    }

    fn run_closed(&mut self, stream: &Stream, over: Over<'_>) {
        let mut left = stream.publishes_max;
        for turn in (0..self.speakers.len()).cycle() {
            let count = left.min(stream.burst);
            let Some(now_ns) = self.wait_delivered(stream.patience, &|| count == 0 || over().is_some())
            else {
                break;
            };
            if !self.publish(turn, count, now_ns, stream, over) {
                break;
            }
            left -= count;
        }
    }

    /// Waits until all that was published has arrived; now, or `None` if the run ended meanwhile.
    fn wait_delivered(&mut self, patience: Duration, is_over: &dyn Fn() -> bool) -> Option<u64> {
        let progress = Arc::clone(&self.progress);
        let (published, expected) = (self.count(), self.expected);
        let (streams, subscribers) = (self.audience.streams, self.audience.connections as u64);
        let goal = |progress: &Progress| match streams {
            Streams::Topics => expected,
            _ => progress.goal(published, subscribers),
        };
        let is_delivered = progress.wait_delivered(goal, patience, || is_over() || !self.hear_all());
        (is_delivered && !is_over() && !self.is_alone()).then(|| progress.now_ns())
    }

    /// Sleeps until `due_ns`; false if that never becomes due, or is not sent any more.
    fn wait_until(&mut self, due_ns: u64, overtime: Duration, over: Over<'_>) -> bool {
        while !self.progress.is_failed() {
            // Read after the end is asked for: what is due after it is not taken for late.
            let (over_ns, now_ns) = (over(), self.progress.now_ns());
            if over_ns.is_some_and(|ns| due_ns >= ns || now_ns > end_ns(ns, overtime)) {
                return false;
            }
            // A publisher that is always late listens, too.
            let is_deaf = due_ns > now_ns || self.heard_at.elapsed() > LOOK_AGAIN;
            if is_deaf && !self.hear_all() {
                return false;
            }
            if due_ns <= now_ns {
                return true;
            }
            thread::sleep(
                Duration::from_nanos(due_ns.saturating_sub(self.progress.now_ns())).min(LOOK_AGAIN),
            );
        }
        false
    }

    /// Sends a burst of connection `turn`; false if that failed.
    fn publish(
        &mut self,
        turn: usize,
        count: u64,
        intended_ns: u64,
        stream: &Stream,
        over: Over<'_>,
    ) -> bool {
        let sent = match self.audience.streams {
            Streams::Topics => (0..count).try_for_each(|_| {
                let topic = self.popularity.draw();
                // The messages of a topic are in order among themselves: one connection publishes them all.
                let turn = topic % self.speakers.len();
                self.encode(topic, 1, intended_ns, stream.payload_bytes)?;
                self.send(turn, topic, 1, stream, over)?;
                self.expected += self.subscribers_by_topic[topic];
                Ok(())
            }),
            Streams::Publishers(_) | Streams::Talkers { .. } => {
                let encoded = self.encode(turn, count, intended_ns, stream.payload_bytes);
                encoded.and_then(|()| self.send(turn, turn, count, stream, over))
            }
        };
        if let Err(error) = sent {
            self.progress.fail(format!("publisher {turn}: {error}"));
            return false;
        }
        true
    }

    /// Encodes the next `count` messages of a stream.
    fn encode(
        &mut self,
        stream: usize,
        count: u64,
        intended_ns: u64,
        payload_bytes: usize,
    ) -> io::Result<()> {
        self.frames.clear();
        let index = u32::try_from(stream).unwrap_or(u32::MAX);
        let (topic, dialect) = (self.audience.topic_of(index), self.opener.dialect());
        for sequence in self.published[stream]..self.published[stream] + count {
            [&mut self.data, &mut self.message].into_iter().for_each(Vec::clear);
            Stamp { stream: index, sequence, intended_ns }.encode(payload_bytes, &mut self.data);
            dialect.publish(&topic.filling(&self.data), &mut self.message).map_err(io::Error::other)?;
            encode(dialect, &self.message, &mut self.frames)?;
        }
        Ok(())
    }

    /// Sends them in one write, as far as the socket takes that.
    fn send(
        &mut self,
        turn: usize,
        index: usize,
        count: u64,
        stream: &Stream,
        over: Over<'_>,
    ) -> io::Result<()> {
        // First counted, then sent: who comes in meanwhile is not promised what it cannot get.
        self.progress.add_published(count);
        self.speakers[turn].connection_mut().send_soon(&self.frames)?;
        self.push(turn, stream, over)?;
        self.published[index] += count;
        Ok(())
    }

    /// Waits until the socket has all that was sent, and listens meanwhile: a server may take nothing until
    /// its answers are read.
    fn push(&mut self, turn: usize, stream: &Stream, over: Over<'_>) -> io::Result<()> {
        let mut seen = (usize::MAX, Instant::now());
        loop {
            let unsent_bytes = self.speakers[turn].connection().unsent_bytes();
            if unsent_bytes == 0 {
                return Ok(());
            }
            if unsent_bytes != seen.0 {
                seen = (unsent_bytes, Instant::now());
            }
            let give_up = stream.overtime.saturating_add(stream.patience);
            let is_late = over().is_some_and(|ns| self.progress.now_ns() > end_ns(ns, give_up));
            if seen.1.elapsed() > stream.patience || is_late {
                return Err(io::Error::other(format!(
                    "the server took too little of what was sent within --patience: {unsent_bytes} B wait"
                )));
            }
            if self.progress.is_failed() || !self.hear_all() {
                return Err(io::Error::other("the run has failed"));
            }
            let speaker = &mut self.speakers[turn];
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_AGAIN.subsec_nanos()) };
            // A failed wait only means that the socket is tried now.
            let _ = poll(&mut [PollFd::new(&*speaker, PollFlags::OUT | PollFlags::IN)], Some(&wait));
            speaker.connection_mut().flush()?;
        }
    }

    /// Whether nobody is left to publish to, which ends the run.
    fn is_alone(&self) -> bool {
        let is_alone = self.progress.left() >= self.audience.connections as u64;
        if is_alone {
            self.progress.fail("no subscriber is left".to_owned());
        }
        is_alone
    }

    /// Whether all publishing connections are well, and somebody is left to publish to.
    fn hear_all(&mut self) -> bool {
        self.heard_at = Instant::now();
        !self.is_alone() && (0..self.speakers.len()).all(|turn| self.hear(turn))
    }

    /// Reads what the server answers to a publisher: pings, errors, the end.
    fn hear(&mut self, turn: usize) -> bool {
        let mut error = None;
        let heard = self.speakers[turn].receive(&mut [0; 4096], |incoming| {
            if let Incoming::Error(text) = incoming {
                error = Some(text);
            }
        });
        let failure = match (heard, error) {
            (Ok(()), None) => return true,
            (_, Some(text)) => format!("the server refused to publish: {text}"),
            (Err(ended), None) => format!("publisher {turn}: {ended}"),
        };
        self.progress.fail(failure);
        false
    }
}

fn end_ns(over_ns: u64, more: Duration) -> u64 {
    over_ns.saturating_add(u64::try_from(more.as_nanos()).unwrap_or(u64::MAX))
}
