//! Cells: which combinations of subscribers, payload and burst the fan-out table has.
//!
//! In      how much time there is
//! Out     cells in order of subscribers, so that connections serve many cells
//! Bounds  at most 256 KiB per subscriber and burst, and what the kernel's TCP memory holds for all of them
//! Source  the table that the project's targets are stated in

use std::fmt;

use crate::command::Burst;

/// One column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Connections that get each message.
    pub subscribers: usize,
    /// What is published at once.
    pub burst: Burst,
}

impl Cell {
    /// Deliveries of one burst.
    #[must_use]
    pub fn frames(&self) -> u64 {
        (self.subscribers * self.burst.messages) as u64
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Burst { messages, payload_bytes } = self.burst;
        write!(formatter, "n={} bytes={payload_bytes} burst={messages}", self.subscribers)
    }
}

/// How much of the table is measured, and how well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// All of it; about five minutes.
    Full,
    /// A corner, below a minute: enough to see that something broke.
    Quick,
    /// One cell once: that it runs at all.
    Smoke,
}

impl Scale {
    /// The cells, those of one subscriber count together.
    #[must_use]
    pub fn cells(self) -> Vec<Cell> {
        let table: &[(usize, &[usize], &[usize])] = match self {
            Self::Full => &[
                (100, &[128, 1024, 16384], &[1, 16]),
                (1000, &[128, 1024, 16384], &[1, 16]),
                (1000, &[128], &[256]),
                (1000, &[4096, 65536], &[1]),
                (10_000, &[128, 1024], &[1, 16]),
                // 16 such messages to each would be 2.6 GB in socket buffers: more than tcp_mem allows here.
                (10_000, &[16384], &[1]),
            ],
            Self::Quick => &[(100, &[128], &[1, 16]), (1000, &[128, 16384], &[1, 16])],
            Self::Smoke => &[(10, &[128], &[16])],
        };
        let mut cells = Vec::new();
        for &(subscribers, payloads, bursts) in table {
            for &payload_bytes in payloads {
                for &messages in bursts {
                    cells.push(Cell { subscribers, burst: Burst { messages, payload_bytes } });
                }
            }
        }
        cells
    }

    /// Interleaved rounds per cell.
    #[must_use]
    pub fn rounds(self) -> usize {
        match self {
            Self::Full => 7,
            Self::Quick => 3,
            Self::Smoke => 1,
        }
    }

    /// How long one sample of the floor takes, about.
    #[must_use]
    pub fn sample_ms(self) -> u64 {
        match self {
            Self::Full => 200,
            Self::Quick => 50,
            Self::Smoke => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_one_subscriber_count_stand_together() {
        for scale in [Scale::Full, Scale::Quick, Scale::Smoke] {
            let mut counts: Vec<usize> = scale.cells().iter().map(|cell| cell.subscribers).collect();
            counts.dedup();
            assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
        }
        assert_eq!(Scale::Full.cells().len(), 20);
    }
}
