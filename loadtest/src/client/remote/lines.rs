//! Lines: what a run and its worker processes say to each other, as JSON.
//!
//! In      orders, and what was heard
//! Out     one line each
//! Bounds  a histogram has as many pairs as values that occurred
//! Source  none

use std::{ops::Range, sync::Arc};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    client::{
        address::Address,
        audience::{Audience, Streams},
        judge::Heard,
        progress::Counts,
        together::Complete,
        worker::{Outcome, Spoken},
    },
    dialect::topic::Topics,
    measure::latency::latency_histogram,
};

/// The first line: what a worker process is to hold.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) address: Address,
    pub(super) share: Range<usize>,
    pub(super) threads: usize,
    pub(super) origin_ns: u64,
    connections: usize,
    topic: String,
    topics: usize,
    topics_each: usize,
    streams: Streams,
}

impl Setup {
    pub(super) fn new(
        address: &Address,
        share: Range<usize>,
        threads: usize,
        audience: &Audience,
        origin_ns: u64,
    ) -> Self {
        Self {
            address: address.clone(),
            share,
            threads,
            origin_ns,
            connections: audience.connections,
            topic: audience.topics.name().to_owned(),
            topics: audience.topics.count(),
            topics_each: audience.topics_each,
            streams: audience.streams,
        }
    }

    pub(super) fn audience(&self) -> Audience {
        Audience {
            connections: self.connections,
            processes: 1,
            threads: self.threads,
            topics: Arc::new(Topics::new(&self.topic, self.topics)),
            topics_each: self.topics_each,
            streams: self.streams,
        }
    }
}

/// What a worker process is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    MeasureFrom { ns: u64 },
    Closed { is_closed: bool },
    Tell,
    Quiet { over_ns: u64, forgets: bool },
    Slow { subscribers: usize, bytes_per_s: u64 },
    Talk { per_s: f64, payload_bytes: usize, time_ns: u64 },
    Finish { published: Vec<u64> },
}

/// What a worker process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    Opened {
        error: Option<String>,
    },
    /// All its totals so far.
    Counts(Counts),
    Complete(Vec<Complete>),
    Failed(String),
    Heard(Pairs),
    Spoken(Spoken),
    Outcome(Outcome),
}

/// What was heard, as values and how often each occurred.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pairs {
    latency_ns: Vec<(u64, u64)>,
    last_ns: Vec<(u64, u64)>,
    pings: u64,
}

impl From<&Heard> for Pairs {
    fn from(heard: &Heard) -> Self {
        Self { latency_ns: pairs(&heard.latency_ns), last_ns: pairs(&heard.last_ns), pings: heard.pings }
    }
}

impl From<Pairs> for Heard {
    fn from(said: Pairs) -> Self {
        Self { latency_ns: histogram(&said.latency_ns), last_ns: histogram(&said.last_ns), pings: said.pings }
    }
}

fn pairs(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

fn histogram(pairs: &[(u64, u64)]) -> Histogram<u64> {
    let mut histogram = latency_histogram();
    for &(value, count) in pairs {
        histogram.saturating_record_n(value, count);
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_the_same_on_the_other_side() {
        let mut heard = Heard::default();
        for ns in [1, 1, 5_000, 5_001, 123_456_789, u64::MAX] {
            heard.latency_ns.saturating_record(ns);
        }
        heard.last_ns.saturating_record(7);
        let line = serde_json::to_string(&Said::Heard(Pairs::from(&heard))).unwrap();
        let Said::Heard(pairs) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        let other = Heard::from(pairs);
        assert_eq!((other.latency_ns, other.last_ns), (heard.latency_ns, heard.last_ns));
    }

    #[test]
    fn an_audience_is_the_same_on_the_other_side() {
        let audience = Audience::of_one("load", 50, 2, 3);
        let address = Address::new("ws://h", "fanwire");
        let setup = Setup::new(&address, 10..20, 2, &audience, 5);
        let setup: Setup = serde_json::from_str(&serde_json::to_string(&setup).unwrap()).unwrap();
        let other = setup.audience();
        assert_eq!((other.connections, other.topics, other.streams), (50, audience.topics, audience.streams));
        assert_eq!((setup.share, setup.origin_ns, setup.address), (10..20, 5, address));
    }
}
