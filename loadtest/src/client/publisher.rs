//! Publishing: bursts in turn over some connections, on schedule or as fast as they are delivered.
//!
//! In      connections, streams to publish, the run's `Progress`
//! Out     how much each connection published, and how publishing ended
//! Bounds  one burst is encoded at a time
//! Source  an open loop counts latency from the intended time, so a late send hides nothing

use std::{thread, time::Duration};

use fanwire_ws::{Opcode, encode_frame};

use super::{
    connection::{Connection, random},
    envelope::{Envelope, Incoming},
    progress::{LOOK_AGAIN, Progress},
};
use crate::{
    load::{
        schedule::Schedule,
        stream::{Pace, Stream},
    },
    truth::stamp::Stamp,
};

/// The publishing connections of a run.
pub struct Publishers<'r> {
    connections: Vec<Connection>,
    published: Vec<u64>,
    subscribers: u64,
    envelope: &'r Envelope,
    progress: &'r Progress,
    frames: Vec<u8>,
    message: Vec<u8>,
}

impl<'r> Publishers<'r> {
    /// Takes open connections, at least one, that publish to this many subscribers.
    #[must_use]
    pub fn new(
        connections: Vec<Connection>,
        subscribers: usize,
        envelope: &'r Envelope,
        progress: &'r Progress,
    ) -> Self {
        let published = vec![0; connections.len()];
        let subscribers = subscribers as u64;
        Self {
            connections,
            published,
            subscribers,
            envelope,
            progress,
            frames: Vec::new(),
            message: Vec::new(),
        }
    }

    /// Publishes a stream, and waits until it has arrived. `is_over`, an interrupt or the end of the time
    /// given, ends publishing early; what was published is waited for all the same.
    pub fn run(&mut self, stream: &Stream, is_over: &dyn Fn() -> bool) {
        let mut left = stream.publishes_max;
        let mut schedule = match stream.pace {
            Pace::Open { per_s } => Some(Schedule::new(self.progress.now_ns(), per_s / stream.burst as f64)),
            Pace::Closed => None,
        };
        for turn in (0..self.connections.len()).cycle() {
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
        self.wait_delivered(stream.patience, &|| false);
    }

    /// Messages published so far, by connection.
    #[must_use]
    pub fn published(&self) -> &[u64] {
        &self.published
    }

    /// Waits until all that was published has arrived; now, or `None` if the run ended meanwhile.
    fn wait_delivered(&mut self, patience: Duration, is_over: &dyn Fn() -> bool) -> Option<u64> {
        let progress = self.progress;
        let (published, subscribers) = (self.published.iter().sum(), self.subscribers);
        let is_delivered =
            progress.wait_delivered(published, subscribers, patience, || is_over() || !self.hear_all());
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

    /// Sends a burst on connection `turn`; false if that failed.
    fn publish(&mut self, turn: usize, count: u64, intended_ns: u64, payload_bytes: usize) -> bool {
        let encoded = self.encode(turn, count, intended_ns, payload_bytes);
        match encoded.and_then(|()| self.connections[turn].send_encoded(&self.frames)) {
            Ok(()) => {
                self.published[turn] += count;
                true
            }
            Err(error) => {
                self.progress.fail(format!("publisher {turn}: {error}"));
                false
            }
        }
    }

    fn encode(
        &mut self,
        turn: usize,
        count: u64,
        intended_ns: u64,
        payload_bytes: usize,
    ) -> std::io::Result<()> {
        self.frames.clear();
        for sequence in self.published[turn]..self.published[turn] + count {
            let publisher = u16::try_from(turn).unwrap_or(u16::MAX);
            let stamp = Stamp { publisher, sequence, intended_ns };
            self.envelope.publish(&mut self.message, |out| stamp.encode(payload_bytes, out));
            encode_frame(&mut self.frames, true, Opcode::Text, Some(random()?), &self.message);
        }
        Ok(())
    }

    /// Whether nobody is left to publish to, which ends the run.
    fn is_alone(&self) -> bool {
        let is_alone = self.progress.closed() >= self.subscribers;
        if is_alone {
            self.progress.fail("no subscriber is left".to_owned());
        }
        is_alone
    }

    /// Whether all publishing connections are well, and somebody is left to publish to.
    fn hear_all(&mut self) -> bool {
        !self.is_alone() && (0..self.connections.len()).all(|turn| self.hear(turn))
    }

    /// Reads what the server answers to a publisher: pings, errors, the end.
    fn hear(&mut self, turn: usize) -> bool {
        let mut error = None;
        let heard = self.connections[turn].receive(&mut [0; 4096], |message| {
            if let Incoming::Error(text) = self.envelope.read(message) {
                error = Some(text.to_owned());
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
