//! Reports: medians, spreads and ratios of interleaved rounds, as a table and as JSON.
//!
//! In      samples per cell, peer and round
//! Out     per cell one line per peer; the better floor is what ratios are taken to
//! Bounds  a ratio is the median of the rounds' own ratios: neighbours in time are compared
//! Source  a burst-1 line counts only with 0.98 data segments per frame or more; below, somebody coalesced

use std::fmt;

use serde::Serialize;

use crate::{cell::Cell, peer::Peer, sample::Sample};

/// The rounds of one cell.
#[derive(Clone, Debug)]
pub struct CellRounds {
    /// Which cell.
    pub cell: Cell,
    /// Bursts per sample.
    pub bursts: u64,
    /// Samples of each peer, one per round.
    pub peers: Vec<(Peer, Vec<Sample>)>,
}

impl CellRounds {
    /// One line per peer.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let floor = self.floor();
        self.peers
            .iter()
            .map(|(peer, samples)| Line {
                subscribers: self.cell.subscribers,
                payload_bytes: self.cell.burst.payload_bytes,
                burst: self.cell.burst.messages,
                bursts: self.bursts,
                peer: peer.name(),
                server_us: Spread::of(samples.iter().map(|sample| sample.server_us)),
                ratio: floor.map(|floor| {
                    Spread::of(
                        samples.iter().zip(floor).map(|(sample, floor)| sample.server_us / floor.server_us),
                    )
                }),
                machine_us: Spread::of(samples.iter().map(|sample| sample.machine_us)),
                data_segments: Spread::of(samples.iter().map(|sample| sample.data_segments)),
                steal_us: Spread::of(samples.iter().map(|sample| sample.steal_us)),
                elapsed_us: Spread::of(samples.iter().map(|sample| sample.elapsed_us)),
                samples: samples.clone(),
            })
            .collect()
    }

    fn floor(&self) -> Option<&[Sample]> {
        let floors = self.peers.iter().filter(|(peer, _)| peer.is_floor());
        floors
            .map(|(_, samples)| samples.as_slice())
            .min_by(|one, two| median_server_us(one).total_cmp(&median_server_us(two)))
    }
}

/// One peer in one cell.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Of the cell.
    pub subscribers: usize,
    /// Of the cell.
    pub payload_bytes: usize,
    /// Messages published at once.
    pub burst: usize,
    /// Bursts per sample.
    pub bursts: u64,
    /// Name of the server.
    pub peer: &'static str,
    /// Server CPU per frame.
    pub server_us: Spread,
    /// The same, as a ratio to the better floor of the same round.
    pub ratio: Option<Spread>,
    /// CPU of the whole machine per frame.
    pub machine_us: Spread,
    /// TCP segments with data per frame.
    pub data_segments: Spread,
    /// Stolen CPU per frame.
    pub steal_us: Spread,
    /// Wall time per frame.
    pub elapsed_us: Spread,
    /// All rounds.
    pub samples: Vec<Sample>,
}

impl Line {
    /// Whether this server sent several messages in one segment though they were published alone.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.burst == 1 && self.data_segments.median < DATA_SEGMENTS_PER_FRAME_MIN
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server_us, machine_us, data_segments, .. } = self;
        write!(
            formatter,
            "  {:<18} {:>7.3} [{:.3}..{:.3}]",
            self.peer, server_us.median, server_us.min, server_us.max
        )?;
        if let Some(ratio) = self.ratio {
            write!(formatter, "  {:>5.2}x [{:.2}..{:.2}]", ratio.median, ratio.min, ratio.max)?;
        }
        write!(formatter, "  {:>7.3}  {:>5.2}", machine_us.median, data_segments.median)?;
        if self.is_void() { write!(formatter, "  void: coalesced") } else { Ok(()) }
    }
}

/// What the columns of a `Line` are.
pub const COLUMNS: &str =
    "  server             us CPU per frame [min..max]  ratio to floor  machine us  data segments per frame";

/// The middle of some values and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half lie below.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

impl Spread {
    /// Of at least one value; all 0 of none.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Self { median: 0.0, min: 0.0, max: 0.0 };
        };
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        Self { median: f64::midpoint(values[lower], values[upper]), min, max }
    }
}

fn median_server_us(samples: &[Sample]) -> f64 {
    Spread::of(samples.iter().map(|sample| sample.server_us)).median
}

const DATA_SEGMENTS_PER_FRAME_MIN: f64 = 0.98;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Burst;

    fn samples(server_us: &[f64]) -> Vec<Sample> {
        let sample = |server_us| Sample {
            server_us,
            machine_us: 0.0,
            data_segments: 1.0,
            steal_us: 0.0,
            elapsed_us: 1.0,
        };
        server_us.iter().copied().map(sample).collect()
    }

    #[test]
    fn spreads_have_the_usual_medians() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(spread(&[]).median, 0.0);
    }

    #[test]
    fn ratios_compare_neighbours_in_time_to_the_better_floor() {
        let rounds = CellRounds {
            cell: Cell { subscribers: 1, burst: Burst { messages: 1, payload_bytes: 1 } },
            bursts: 1,
            peers: vec![
                (Peer::FloorLoop, samples(&[1.0, 10.0, 1.0])),
                (Peer::FloorEpoll, samples(&[2.0, 2.0, 2.0])),
                (Peer::Tungstenite, samples(&[3.0, 30.0, 6.0])),
            ],
        };
        let lines = rounds.lines();
        assert_eq!(lines[2].ratio, Some(Spread { median: 3.0, min: 3.0, max: 6.0 }));
        assert_eq!(lines[0].ratio.map(|ratio| ratio.median), Some(1.0));
        assert!(!lines[0].is_void());
        let mut coalesced = lines[0].clone();
        coalesced.data_segments.median = 0.9;
        assert!(coalesced.is_void());
    }
}
