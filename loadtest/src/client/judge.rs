//! The judge of what one thread receives: content, order, loss, duplicates, latency.
//!
//! In      incoming messages, by connection
//! Out     a tally, and what was heard since it was asked last
//! Bounds  nothing is kept per message that arrives in order
//! Source  none

use std::sync::Arc;

use hdrhistogram::Histogram;

use super::{audience::Audience, error::Ended, progress::Progress, speaker::Speaker, together::Complete};
use crate::{
    dialect::{Dialect, Incoming},
    measure::latency::latency_histogram,
    truth::{
        completions::Completions,
        sequence::{Tally, Verdict},
        sequences::Sequences,
        stamp::Stamp,
    },
};

/// Judges for one thread.
pub(super) struct Judge {
    pub(super) audience: Arc<Audience>,
    pub(super) dialect: Arc<Dialect>,
    pub(super) progress: Arc<Progress>,
    pub(super) heard: Heard,
    pub(super) tally: Tally,
    /// Where all connections are to get the same.
    pub(super) completions: Option<Completions>,
}

/// What was heard in some time.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Nanoseconds from intended send to receipt, of each delivery.
    pub latency_ns: Histogram<u64>,
    /// The same to the last receipt, of each message that all have got.
    pub last_ns: Histogram<u64>,
    /// Pings of the server that were answered.
    pub pings: u64,
}

impl Default for Heard {
    fn default() -> Self {
        Self { latency_ns: latency_histogram(), last_ns: latency_histogram(), pings: 0 }
    }
}

impl Heard {
    /// Adds what others heard.
    pub fn add(&mut self, other: &Self) {
        // Histograms of the same bounds always add up.
        self.latency_ns += &other.latency_ns;
        self.last_ns += &other.last_ns;
        self.pings += other.pings;
    }
}

impl Judge {
    /// Reads once, and judges each message that is now whole.
    pub(super) fn receive(
        &mut self,
        speaker: &mut Speaker,
        sequences: &mut Sequences,
        buffer: &mut [u8],
    ) -> Result<(), Ended> {
        let (delivered_before, pings_before) = (self.tally.delivered, speaker.connection().pings());
        let mut read_ns = None;
        let received = speaker.receive(buffer, |incoming| {
            let now_ns = *read_ns.get_or_insert_with(|| self.progress.now_ns());
            self.judge(sequences, &incoming, now_ns);
        });
        self.heard.pings += speaker.connection().pings() - pings_before;
        let delivered = self.tally.delivered - delivered_before;
        // Where each connection hears other messages, any delivery may be what is waited for.
        if delivered > 0 && self.completions.is_none() {
            self.progress.share().complete();
        }
        if let (1.., Some(now_ns)) = (delivered, read_ns) {
            self.progress.add_delivered(delivered, now_ns);
        }
        received
    }

    fn judge(&mut self, sequences: &mut Sequences, incoming: &Incoming<'_>, now_ns: u64) {
        let (topic, data) = match incoming {
            Incoming::Delivery { topic, data } => (topic, data),
            Incoming::Error(text) => return self.progress.fail(format!("the server sent an error: {text}")),
            _ => return self.tally.unexpected += 1,
        };
        let Ok(stamp) = Stamp::decode(data) else {
            // What cannot be read is a changed message if it came on a topic of this connection.
            let is_here = |stream| self.audience.topic_of(stream).is(&self.dialect, topic);
            let is_ours = sequences.streams().any(is_here);
            return if is_ours { self.tally.corrupted += 1 } else { self.tally.unexpected += 1 };
        };
        // A stream that this connection is not to hear: another run on the same topic, or another's topic.
        let Some(sequence) = sequences.get_mut(stamp.stream) else { return self.tally.unexpected += 1 };
        if !self.audience.topic_of(stamp.stream).is(&self.dialect, topic) {
            return self.tally.unexpected += 1;
        }
        let verdict = sequence.observe(stamp.sequence);
        self.tally.count(verdict);
        if verdict == Verdict::Duplicate || stamp.intended_ns < self.progress.measured_from_ns() {
            return;
        }
        self.heard.latency_ns.saturating_record(now_ns.saturating_sub(stamp.intended_ns));
        let complete = self.completions.as_mut();
        if let Some(here_ns) = complete.and_then(|open| open.observe(stamp.stream, stamp.sequence, now_ns))
            && let Some(last_ns) = self.progress.complete(&Complete {
                stream: stamp.stream,
                sequence: stamp.sequence,
                intended_ns: stamp.intended_ns,
                last_ns: here_ns,
            })
        {
            self.heard.last_ns.saturating_record(last_ns.saturating_sub(stamp.intended_ns));
        }
    }
}
