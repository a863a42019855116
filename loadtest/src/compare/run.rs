//! The comparison: each server on each cell, in rounds.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Comparison`, also of one that was interrupted
//! Bounds  one server at a time; each run has the bounds of its scenario
//! Source  A B C, then C B A: interleaved rounds, so that drift hits all alike

use std::{
    env,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Instant,
};

use clap::Parser;

use super::{
    cells::Cell,
    manifest::{Manifest, ManifestError, Rival},
    record::{Comparison, Host, Measured, Outcome, Participant},
};
use crate::{
    args::{Cli, compare::Compare},
    measure::{affinity::CpuList, machine::Machine},
    report::Report,
    scenario,
};

/// Runs it; each run is told on standard error.
///
/// # Errors
/// There is nobody or nothing to compare, or not enough CPUs.
pub fn run(args: &Compare, is_interrupted: &AtomicBool) -> Result<Comparison, CompareError> {
    let root = env::current_dir().map_err(CompareError::Machine)?;
    let manifest = Manifest::read(&args.manifest)?.only(&args.only)?;
    let cells: Vec<Cell> = args.scale.cells().into_iter().filter(|cell| is_wanted(args, cell)).collect();
    if cells.is_empty() {
        let names = args.scale.cells().into_iter().map(|cell| cell.name).collect::<Vec<_>>().join("; ");
        return Err(CompareError::NoCell { names });
    }
    let cores = Cores::choose(args)?;
    cores.client.pin_current_thread().map_err(CompareError::Machine)?;
    let participants: Vec<Participant> = manifest
        .rivals
        .into_iter()
        .map(|rival| match rival.missing(&root) {
            Some(why) => Participant { rival, version: None, missing: Some(why) },
            None => Participant { version: Some(rival.version(&root)), rival, missing: None },
        })
        .collect();
    let present: Vec<Rival> =
        participants.iter().filter(|one| one.missing.is_none()).map(|one| one.rival.clone()).collect();
    if present.is_empty() {
        return Err(CompareError::Nobody);
    }
    for one in &participants {
        if let Some(why) = &one.missing {
            eprintln!("missing: {}: {why}", one.rival.name);
        }
    }
    let before = Machine::read().map_err(CompareError::Machine)?;
    let round = Round { args, root, cores: &cores, is_interrupted, began: Instant::now() };
    let measured = round.all(&cells, &present);
    let after = Machine::read().map_err(CompareError::Machine)?;
    let host = Host::read(&cores.server, &cores.client, &before, &after, round.began.elapsed());
    Ok(Comparison { host, participants, measured, is_interrupted: is_interrupted.load(SeqCst) })
}

fn is_wanted(args: &Compare, cell: &Cell) -> bool {
    args.cell.is_empty() || args.cell.iter().any(|text| cell.name.contains(text.as_str()))
}

/// Which CPUs are whose.
struct Cores {
    server: CpuList,
    client: CpuList,
}

impl Cores {
    fn choose(args: &Compare) -> Result<Self, CompareError> {
        let current = CpuList::current().map_err(CompareError::Machine)?;
        let (first, rest) = current.cpus().split_first().ok_or(CompareError::OneCpu)?;
        let server = args.pin_server.clone().unwrap_or_else(|| CpuList::one(*first));
        let client = match &args.pin_client {
            Some(cpus) => cpus.clone(),
            None => CpuList::of(rest).ok_or(CompareError::OneCpu)?,
        };
        Ok(Self { server, client })
    }
}

/// What all runs have in common.
struct Round<'r> {
    args: &'r Compare,
    root: PathBuf,
    cores: &'r Cores,
    is_interrupted: &'r AtomicBool,
    began: Instant,
}

impl Round<'_> {
    fn all(&self, cells: &[Cell], present: &[Rival]) -> Vec<Measured> {
        let mut measured: Vec<Measured> = Vec::new();
        for cell in cells {
            let rounds = self.args.rounds.map_or(self.args.scale.rounds(), usize::from);
            let rounds = if self.args.rounds.is_some() { rounds } else { rounds.max(cell.rounds_min) };
            let rate = cell.is_at_rate.then(|| self.rate(&measured)).flatten();
            let mut of_cell = Measured::new(cell.clone(), rate, present);
            for round in 0..rounds {
                let mut order: Vec<usize> = (0..present.len()).collect();
                if round % 2 == 1 {
                    order.reverse();
                }
                for index in order {
                    if self.is_interrupted.load(SeqCst) {
                        measured.push(of_cell);
                        return measured;
                    }
                    let outcome = self.one(&present[index], cell, rate);
                    self.tell(&present[index], cell, (round + 1, rounds), &outcome);
                    of_cell.rounds[index].push(outcome);
                }
            }
            measured.push(of_cell);
        }
        measured
    }

    /// The rate that all can bear: 70 % of what the weakest can.
    fn rate(&self, measured: &[Measured]) -> Option<f64> {
        let least =
            || measured.iter().find(|of| of.cell.main == "capacity" && !of.cell.is_batched)?.least_median();
        self.args.latency_rate.or_else(|| least().map(|least| least * 0.7))
    }

    fn one(&self, rival: &Rival, cell: &Cell, rate: Option<f64>) -> Outcome {
        if cell.is_at_rate && rate.is_none() {
            return Outcome::failed("no capacity was measured: give --latency-rate".to_owned());
        }
        match self.run(rival, cell, rate) {
            Ok(report) => Outcome::of(cell, &report),
            Err(why) => Outcome::failed(why),
        }
    }

    fn run(&self, rival: &Rival, cell: &Cell, rate: Option<f64>) -> Result<Report, String> {
        if cell.is_batched && rival.batched.is_empty() {
            return Err("it gathers no messages".to_owned());
        }
        let server = rival.start(&self.root, &self.cores.server, cell.is_batched);
        let server = server.map_err(|error| error.to_string())?;
        let mut line = vec!["loadtest".to_owned()];
        line.extend(cell.arguments.iter().cloned());
        let pid = server.process().id().to_string();
        let cpus = self.cores.server.to_string();
        let more =
            ["--url", server.url(), "--dialect", &rival.dialect, "--server-pid", &pid, "--pin-server", &cpus];
        line.extend(more.map(str::to_owned));
        let client = self.cores.client.to_string();
        line.extend(["--pin-client".to_owned(), client, "--quiet".to_owned()]);
        if let Some(rate) = rate {
            line.extend(["--rate".to_owned(), format!("{rate:.0}")]);
        }
        let scenario = Cli::try_parse_from(line).map_err(|error| error.to_string())?.scenario();
        scenario::run(&scenario, self.is_interrupted).map_err(|error| error.to_string())
    }

    fn tell(&self, rival: &Rival, cell: &Cell, (round, rounds): (usize, usize), outcome: &Outcome) {
        let what = match (outcome.figures.get(cell.main), &outcome.failure) {
            (_, Some(why)) => format!("FAILED: {why}"),
            (Some(value), None) => format!("{} {value:.1}", cell.main),
            (None, None) => format!("{} not measured", cell.main),
        };
        let seconds = self.began.elapsed().as_secs();
        eprintln!("{seconds:>5} s  {}, round {round} of {rounds}, {}: {what}", cell.name, rival.name);
    }
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// Of the list of servers.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// --cell fits none.
    #[error("no cell has such a name; there are {names}")]
    NoCell {
        /// The names.
        names: String,
    },
    /// None of the servers is there.
    #[error(
        "none of these servers is there: cargo build --release -p fanwire --example broadcast, and scripts/rivals"
    )]
    Nobody,
    /// Server and client would share one.
    #[error("two CPUs are needed: one for the server, one for this program")]
    OneCpu,
    /// The kernel does not say.
    #[error("cannot read this machine: {0}")]
    Machine(#[source] std::io::Error),
}
