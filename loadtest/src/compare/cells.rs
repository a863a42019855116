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
    /// Rounds, where the main figure needs more than others, or can do with fewer.
    pub rounds: Option<usize>,
    /// Arguments of a run before it on the same server that is not measured: what a server must do some
    /// thousand times until it is compiled, and the scenario itself does only once.
    pub first: Option<Vec<String>>,
    /// Whether its rate is 70 % of the least that the cell with `sets_rate` before it has found.
    pub is_at_rate: bool,
    /// Whether what it finds is the rate of cells with `is_at_rate`.
    pub sets_rate: bool,
    /// Whether the servers gather messages for a millisecond.
    pub is_batched: bool,
}

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// All of the record; about two hours with a dozen servers
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
    /// Whether its main figure is CPU, which says something also where the client is the bottleneck.
    #[must_use]
    pub fn is_cost(&self) -> bool {
        self.main.starts_with("server_cpu")
    }

    /// To how many a message goes, if the cell says so.
    #[must_use]
    pub fn subscribers(&self) -> Option<f64> {
        let mut words = self.arguments.iter().skip_while(|word| *word != "--subscribers");
        words.nth(1)?.parse().ok()
    }

    fn new(name: &str, arguments: &str, main: &'static str, others: &'static [&'static str]) -> Self {
        Self {
            name: name.to_owned(),
            arguments: words(arguments),
            main,
            others,
            is_more_better: false,
            rounds: None,
            first: None,
            is_at_rate: false,
            sets_rate: false,
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
        Cell {
            first: Some(words("connect --connections 3000 --publish-rate 10 --duration 5")),
            ..Cell::new(
                "connect 10000",
                "connect --connections 10000 --publish-rate 10",
                "server_cpu_per_connect",
                &["handshake_p50", "handshake_p99", "opened_per_s", "refused"],
            )
        },
        // 2 MB for each of those who do not read: some five times what its socket's two ends take, so that it is
        // the server that holds the rest.
        Cell {
            rounds: Some(9),
            ..Cell::new(
                "slow 1 % of 200",
                "slow --subscribers 200 --payload-bytes 2048 --rate 300 --duration 3.5 --warm-up 0.5",
                "p99",
                &[
                    "p99_before",
                    "p99_ratio",
                    "measured",
                    "server_cpu_per_frame",
                    "slow_closed",
                    "slow_missing",
                    "lost",
                ],
            )
        },
        Cell::new(
            "echo 1000",
            "echo --connections 1000 --messages 200000 --duration 5 --warm-up 1",
            CPU,
            &["p50", "p99", "delivered_per_s"],
        ),
        // One message to all of them takes server and client some 10 ms, so 10 ms of p99 decide nothing.
        capacity("capacity 1000 x 128 B", 1000, 800, "p99<25ms"),
        Cell {
            is_batched: true,
            ..capacity("capacity 1000 x 128 B, gathered for 1 ms", 1000, 800, "p99<25ms")
        },
        // One message after the other: at rates at which messages wait and leave together nobody is the slowest.
        Cell {
            sets_rate: true,
            is_more_better: true,
            ..Cell::new(
                "saturation 200 x 128 B, one by one",
                "fanout --subscribers 200 --burst 1 --messages 200000 --duration 2.5 --warm-up 0.5",
                "delivered_per_s",
                &[CPU, "client_cpu"],
            )
        },
        // A fifth of the subscribers, so that a thousand publishes and more pass in some seconds.
        Cell {
            rounds: Some(9),
            is_at_rate: true,
            ..Cell::new(
                "latency 200 x 128 B",
                "fanout --subscribers 200 --warm-up 0.5 --duration 6 --messages 1000000",
                "last_p99",
                &["p50", "p99", "p99.9", "last_p50", CPU, "measured"],
            )
        },
    ]);
    cells
}

fn capacity(name: &str, subscribers: u32, rate_first: u32, objective: &str) -> Cell {
    let arguments = format!(
        "capacity --subscribers {subscribers} --rate-first {rate_first} --step 1 --precision 12 \
         --objective {objective}"
    );
    Cell {
        is_more_better: true,
        ..Cell::new(name, &arguments, "capacity", &["p99", CPU, "server_cpus", "client_cpu"])
    }
}

fn fanout(subscribers: u64, payload_bytes: usize, burst: usize, deliveries: u64) -> Cell {
    let name = format!("fanout {subscribers} x {payload_bytes} B, burst {burst}");
    // Whole bursts.
    let unit = subscribers * burst as u64;
    let messages = deliveries.div_ceil(unit) * unit;
    let arguments = format!(
        "fanout --subscribers {subscribers} --payload-bytes {payload_bytes} --burst {burst} \
         --messages {messages} --duration 2.5 --warm-up 0.5"
    );
    Cell::new(
        &name,
        &arguments,
        CPU,
        &["machine_cpu_per_frame", "segments_per_frame", "p50", "p99", "last_p99"],
    )
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
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
            let parse = |arguments: &[String]| {
                let line = std::iter::once("loadtest").chain(arguments.iter().map(String::as_str));
                Cli::try_parse_from(line).unwrap().scenario()
            };
            let scenario = parse(&cell.arguments);
            cell.first.as_deref().map(parse);
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
        assert_eq!((names.len(), cells.len()), (22, 22));
        let place = |is: fn(&Cell) -> bool| cells.iter().position(is).unwrap();
        let (source, user) = (place(|cell| cell.sets_rate), place(|cell| cell.is_at_rate));
        assert!(source < user && cells[source].is_more_better);
        assert_eq!((cells[source].subscribers(), cells[user].subscribers()), (Some(200.0), Some(200.0)));
    }
}
