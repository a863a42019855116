//! Publishing: bursts in turn over some connections, on schedule or as fast as they are delivered.
//!
//! In      connections, the arguments' pace, the run's `Progress`
//! Out     how much each connection published, and how publishing ended
//! Bounds  one burst is encoded at a time
//! Source  an open loop counts latency from the intended time, so a late send hides nothing

use std::{
    thread,
    time::{Duration, Instant},
};

use fanwire_ws::{Opcode, encode_frame};

use super::{
    connection::{Connection, random},
    envelope::{Envelope, Incoming},
    progress::{LOOK_AGAIN, Progress},
};
use crate::{args::Args, truth::stamp::Stamp};

/// The publishing connections of a run.
pub struct Publishers<'r> {
    connections: Vec<Connection>,
    published: Vec<u64>,
    envelope: &'r Envelope,
    progress: &'r Progress,
    /// An interrupt or the end of the time given.
    is_over: &'r dyn Fn() -> bool,
    frames: Vec<u8>,
    message: Vec<u8>,
}

impl<'r> Publishers<'r> {
    /// Takes open connections, at least one; `is_over` ends publishing early.
    #[must_use]
    pub fn new(
        connections: Vec<Connection>,
        envelope: &'r Envelope,
        progress: &'r Progress,
        is_over: &'r dyn Fn() -> bool,
    ) -> Self {
        let published = vec![0; connections.len()];
        Self { connections, published, envelope, progress, is_over, frames: Vec::new(), message: Vec::new() }
    }

    /// Publishes, waits for the deliveries, and returns how much each connection published.
    #[must_use]
    pub fn run(mut self, args: &Args) -> Vec<u64> {
        let subscribers = args.subscribers.get() as u64;
        let patience = Duration::from_secs(args.patience);
        let mut left = args.publishes();
        let mut intended_ns = self.progress.now_ns();
        for turn in (0..self.connections.len()).cycle() {
            let is_due = match args.burst_interval() {
                Some(_) => self.wait_until(self.progress.instant(intended_ns)),
                None => {
                    let is_due = self.wait_delivered(self.published_total() * subscribers, patience);
                    intended_ns = self.progress.now_ns();
                    is_due
                }
            };
            let count = left.min(args.burst.get() as u64);
            if !is_due || count == 0 || !self.publish(turn, count, intended_ns, args.payload_bytes) {
                break;
            }
            left -= count;
            if let Some(interval) = args.burst_interval() {
                intended_ns += nanoseconds(interval);
            }
        }
        // After an interrupt too: what was published is still on its way.
        let (progress, goal) = (self.progress, self.published_total() * subscribers);
        progress.wait_delivered(goal, patience, || !self.hear_all());
        self.published
    }

    fn published_total(&self) -> u64 {
        self.published.iter().sum()
    }

    fn wait_delivered(&mut self, goal: u64, patience: Duration) -> bool {
        let (progress, is_over) = (self.progress, self.is_over);
        progress.wait_delivered(goal, patience, || is_over() || !self.hear_all()) && !is_over()
    }

    /// Sleeps until `instant`; false if the run ended meanwhile.
    fn wait_until(&mut self, instant: Instant) -> bool {
        while !self.progress.is_failed() && !(self.is_over)() {
            let left = instant.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            if !self.hear_all() {
                return false;
            }
            thread::sleep(instant.saturating_duration_since(Instant::now()).min(LOOK_AGAIN));
        }
        false
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

    /// Whether all publishing connections are well.
    fn hear_all(&mut self) -> bool {
        (0..self.connections.len()).all(|turn| self.hear(turn))
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

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
