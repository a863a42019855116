//! Publishing: bursts in turn over some connections, on schedule or as fast as they are delivered.
//!
//! In      connections, streams to publish, the run's `Progress`
//! Out     how much each stream published, and how publishing ended
//! Bounds  one burst is encoded at a time
//! Source  an open loop counts latency from the intended time, so a late send hides nothing

use std::{io, sync::Arc, thread, time::Duration};

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

    /// Publishes a stream, and waits until it has arrived. `is_over`, an interrupt or the end of the time
    /// given, ends publishing early; what was published is waited for all the same. False if it has not.
    pub fn run(&mut self, stream: &Stream, is_over: &dyn Fn() -> bool) -> bool {
        let mut left = stream.publishes_max;
        let mut schedule = match stream.pace {
            Pace::Open { per_s } => Some(Schedule::new(self.progress.now_ns(), per_s / stream.burst as f64)),
            Pace::Closed => None,
        };
        for turn in (0..self.speakers.len()).cycle() {
            let due_ns = match &schedule {
                Some(schedule) => self.wait_until(schedule.due_ns(), is_over),
                None => self.wait_delivered(stream.patience, is_over),
            };
            let count = left.min(stream.burst);
            let Some(intended_ns) = due_ns.filter(|_| count > 0) else { break };
            if !self.publish(turn, count, intended_ns, stream.payload_bytes) {
                break;
            }
            left -= count;
            if let Some(schedule) = &mut schedule {
                schedule.advance();
            }
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

    /// Sleeps until `due_ns`, and answers it; `None` if the run ended meanwhile.
    fn wait_until(&mut self, due_ns: u64, is_over: &dyn Fn() -> bool) -> Option<u64> {
        while !self.progress.is_failed() && !is_over() {
            let left = Duration::from_nanos(due_ns.saturating_sub(self.progress.now_ns()));
            if left.is_zero() {
                return Some(due_ns);
            }
            if !self.hear_all() {
                return None;
            }
            thread::sleep(
                Duration::from_nanos(due_ns.saturating_sub(self.progress.now_ns())).min(LOOK_AGAIN),
            );
        }
        None
    }

    /// Sends a burst of connection `turn`; false if that failed.
    fn publish(&mut self, turn: usize, count: u64, intended_ns: u64, payload_bytes: usize) -> bool {
        let sent = match self.audience.streams {
            Streams::Topics => (0..count).try_for_each(|_| {
                let topic = self.popularity.draw();
                // The messages of a topic are in order among themselves: one connection publishes them all.
                let turn = topic % self.speakers.len();
                self.send(turn, topic, 1, intended_ns, payload_bytes)?;
                self.expected += self.subscribers_by_topic[topic];
                Ok(())
            }),
            Streams::Publishers(_) | Streams::Talkers { .. } => {
                self.send(turn, turn, count, intended_ns, payload_bytes)
            }
        };
        if let Err(error) = sent {
            self.progress.fail(format!("publisher {turn}: {error}"));
            return false;
        }
        true
    }

    /// Sends the next `count` messages of a stream in one write.
    fn send(
        &mut self,
        turn: usize,
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
        // First counted, then sent: who comes in meanwhile is not promised what it cannot get.
        self.progress.add_published(count);
        self.speakers[turn].connection_mut().send_encoded(&self.frames)?;
        self.published[stream] += count;
        Ok(())
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
