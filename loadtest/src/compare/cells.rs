//! Cells: what is measured of each server, and how often.
//!
//! In      how much time there is
//! Out     scenarios with their arguments, and which of their figures count
//! Bounds  a cell's run publishes for at most some seconds
//! Source  the table in which the project's targets are stated

use clap::ValueEnum;
use serde::Serialize;

/// One row of the record for each server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// As the record calls it.
    pub name: String,
    /// Arguments of `loadtest`.
    pub arguments: Vec<String>,
    /// The figure that the ratios are of.
    pub main: &'static str,
    /// Others that stand beside it.
    pub others: &'static [&'static str],
    /// Whether more of the main figure is better.
    pub is_more_better: bool,
    /// Rounds at least, where the main figure needs more than others.
    pub rounds_min: usize,
    /// Whether its rate is 70 % of the least capacity that was measured before.
    pub is_at_rate: bool,
    /// Whether the servers gather messages for a millisecond.
    pub is_batched: bool,
}

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// All of the record; about an hour and a half with a dozen servers
    Full,
    /// A corner of it, some seconds a server
    Quick,
}

impl Scale {
    /// Its cells.
    #[must_use]
    pub fn cells(self) -> Vec<Cell> {
        match self {
            Self::Full => full(),
            Self::Quick => vec![
                fanout(200, 128, 1, 10_000),
                fanout(200, 128, 16, 100_000),
                Cell::new(
                    "idle 500",
                    "idle --connections 500 --duration 0.5",
                    MEMORY,
                    &["pss_per_connection"],
                ),
            ],
        }
    }

    /// Rounds of each.
    #[must_use]
    pub fn rounds(self) -> usize {
        match self {
            Self::Full => 5,
            Self::Quick => 2,
        }
    }
}

impl Cell {
    fn new(name: &str, arguments: &str, main: &'static str, others: &'static [&'static str]) -> Self {
        Self {
            name: name.to_owned(),
            arguments: arguments.split(' ').map(str::to_owned).collect(),
            main,
            others,
            is_more_better: false,
            rounds_min: 1,
            is_at_rate: false,
            is_batched: false,
        }
    }
}

fn full() -> Vec<Cell> {
    let mut cells = Vec::new();
    for subscribers in [1000, 10_000] {
        for payload_bytes in [128, 1024] {
            // About a second of the floor's time: what a burst costs it is in docs/benchmarks.md.
            for (burst, deliveries) in [(1, 160_000), (16, 1_600_000), (256, 2_560_000)] {
                cells.push(fanout(subscribers, payload_bytes, burst, deliveries));
            }
        }
    }
    cells.push(fanout(1000, 16_384, 1, 60_000));
    cells.push(fanout(1000, 65_536, 1, 20_000));
    cells.extend([
        Cell::new("idle 10000", "idle --connections 10000 --duration 1", MEMORY, &["pss_per_connection"]),
        Cell::new(
            "connect 10000",
            "connect --connections 10000 --publish-rate 10",
            "server_cpu_per_connect",
            &["handshake_p50", "handshake_p99", "opened_per_s", "refused"],
        ),
        Cell::new(
            "slow 1 % of 1000",
            "slow --subscribers 1000 --rate 50 --duration 3",
            "p99",
            &["p99_before", "p99_ratio", "server_cpu_per_frame", "slow_closed", "lost"],
        ),
        Cell::new(
            "echo 1000",
            "echo --connections 1000 --messages 200000 --duration 5",
            CPU,
            &["p50", "p99", "delivered_per_s"],
        ),
        capacity("capacity 1000 x 128 B"),
        Cell { is_batched: true, ..capacity("capacity 1000 x 128 B, gathered for 1 ms") },
        Cell {
            rounds_min: 9,
            is_at_rate: true,
            ..Cell::new(
                "latency 1000 x 128 B",
                "fanout --subscribers 1000 --warm-up 0.5 --duration 2 --messages 100000000",
                "last_p99",
                &["p50", "p99", "p99.9", "last_p50", CPU],
            )
        },
    ]);
    cells
}

fn capacity(name: &str) -> Cell {
    Cell {
        is_more_better: true,
        ..Cell::new(
            name,
            "capacity --subscribers 1000 --rate-first 50 --step 1 --precision 8",
            "capacity",
            &["p99", CPU, "server_cpus", "client_cpu"],
        )
    }
}

fn fanout(subscribers: u64, payload_bytes: usize, burst: usize, deliveries: u64) -> Cell {
    let name = format!("fanout {subscribers} x {payload_bytes} B, burst {burst}");
    // Whole bursts.
    let unit = subscribers * burst as u64;
    let messages = deliveries.div_ceil(unit) * unit;
    let arguments = format!(
        "fanout --subscribers {subscribers} --payload-bytes {payload_bytes} --burst {burst} --messages {messages} \
         --duration 4 --warm-up 0.1"
    );
    Cell::new(
        &name,
        &arguments,
        CPU,
        &["machine_cpu_per_frame", "segments_per_frame", "p50", "p99", "last_p99"],
    )
}

const CPU: &str = "server_cpu_per_frame";

const MEMORY: &str = "anonymous_per_connection";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{args::Cli, report::require::Requirement};

    #[test]
    fn each_cell_is_a_scenario_that_has_its_figures() {
        for cell in [Scale::Full, Scale::Quick].into_iter().flat_map(Scale::cells) {
            let line = std::iter::once("loadtest").chain(cell.arguments.iter().map(String::as_str));
            let scenario = Cli::try_parse_from(line).unwrap().scenario();
            for name in cell.others.iter().chain([&cell.main]) {
                let has =
                    scenario.sections().iter().flat_map(|section| section.figures).any(|f| f.name == *name);
                assert!(has, "{} has no {name}", cell.name);
            }
            assert!(Requirement::parse("steal<1%", scenario.sections()).is_ok());
        }
    }

    #[test]
    fn names_stand_once_and_the_rate_is_known_before_it_is_used() {
        let cells = Scale::Full.cells();
        let mut names: Vec<_> = cells.iter().map(|cell| &cell.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), cells.len()), (21, 21));
        let capacity = cells.iter().position(|cell| cell.main == "capacity");
        assert!(cells.iter().position(|cell| cell.is_at_rate) > capacity && capacity.is_some());
    }
}
