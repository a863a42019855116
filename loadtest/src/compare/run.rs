//! The comparison: each server on each cell, in rounds.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Comparison`, written after each cell, also of one that was interrupted
//! Bounds  one server at a time; each run has the bounds of its scenario; a turn at the machine is a round; a
//!         fifth of a cell's rounds are run again at most
//! Source  A B C, then C B A: interleaved rounds, so that drift hits all alike

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::{Duration, Instant},
};

use clap::Parser;

use super::{
    cells::Cell,
    host::Host,
    manifest::{Manifest, ManifestError, Rival},
    measured::{Measured, Outcome, Round},
    record::{Comparison, Participant, Settings},
    steal::CpuTimes,
    turn::Turn,
};
use crate::{
    args::{Cli, compare::Compare},
    measure::{affinity::CpuList, machine::Machine},
    report::Report,
    scenario::{self, server::Server},
};

/// What has been measured, and where it stands.
#[derive(Debug)]
pub struct Recorded {
    /// The record.
    pub comparison: Comparison,
    /// Its files.
    pub files: Vec<PathBuf>,
}

/// Runs it; each run is told on standard error, and the record is written whenever a cell is done.
///
/// # Errors
/// There is nobody or nothing to compare, or not enough CPUs; the record cannot be written.
pub fn run(args: &Compare, is_interrupted: &AtomicBool) -> Result<Recorded, CompareError> {
    let root = env::current_dir().map_err(CompareError::Machine)?;
    let manifest = Manifest::read(&args.manifest)?.only(&args.only)?;
    let cells: Vec<Cell> = args.scale.cells().into_iter().filter(|cell| is_wanted(args, cell)).collect();
    if cells.is_empty() {
        let names = args.scale.cells().into_iter().map(|cell| cell.name).collect::<Vec<_>>().join("; ");
        return Err(CompareError::NoCell { names });
    }
    let cores = Cores::choose(args)?;
    cores.client.pin_current_thread().map_err(CompareError::Machine)?;
    let participants: Vec<Participant> =
        manifest.rivals.into_iter().map(|rival| Participant::find(rival, &root)).collect();
    if participants.iter().all(|one| one.missing.is_some()) {
        return Err(CompareError::Nobody);
    }
    let missing = participants.iter().filter_map(|one| Some((&one.rival.name, one.missing.as_ref()?)));
    let missing: Vec<_> = missing.map(|(name, why)| format!("{name}: {why}")).collect();
    if !args.only.is_empty() && !missing.is_empty() {
        return Err(CompareError::Missing { missing: missing.join("; ") });
    }
    missing.iter().for_each(|one| eprintln!("missing: {one}"));
    let settings = Settings {
        scale: format!("{:?}", args.scale).to_lowercase(),
        cells: cells.iter().map(|cell| cell.name.clone()).collect(),
        lock: args.lock.as_ref().map(|file| file.display().to_string()),
        ..Settings::of_this_process(&root)
    };
    let mut host = Host::read(&cores.server, &cores.client);
    host.load_before = Machine::read().map_err(CompareError::Machine)?.load;
    let directory = args.out.clone().unwrap_or_else(|| unused(&Path::new(RECORDS).join(host.directory())));
    let comparison = Comparison { settings, host, participants, measured: Vec::new(), is_interrupted: false };
    let rounds = Rounds {
        args,
        root,
        cores: &cores,
        is_interrupted,
        began: Instant::now(),
        spent: Spent::default(),
        directory,
    };
    rounds.all(&cells, comparison)
}

/// A second record of a day does not take the first one's place.
fn unused(directory: &Path) -> PathBuf {
    let numbered = |number: u32| PathBuf::from(format!("{}-{number}", directory.display()));
    let mut candidates = std::iter::once(directory.to_owned()).chain((2..).map(numbered));
    candidates.find(|path| !path.exists()).expect("numbers do not end before directories do")
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

/// What the rounds took.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    /// On the clock, without the waiting for a turn.
    time: Duration,
    /// CPU time that a hypervisor took meanwhile.
    steal: Duration,
    /// Waiting for a turn.
    waited: Duration,
}

/// All of them, and what they have in common.
struct Rounds<'r> {
    args: &'r Compare,
    root: PathBuf,
    cores: &'r Cores,
    is_interrupted: &'r AtomicBool,
    began: Instant,
    spent: Spent,
    directory: PathBuf,
}

impl Rounds<'_> {
    fn all(mut self, cells: &[Cell], mut comparison: Comparison) -> Result<Recorded, CompareError> {
        for cell in cells {
            let of_cell = self.cell(cell, &comparison)?;
            comparison.measured.push(of_cell);
            comparison.is_interrupted = self.is_interrupted();
            self.write(&mut comparison)?;
            if comparison.is_interrupted {
                break;
            }
        }
        let files = self.write(&mut comparison)?;
        Ok(Recorded { comparison, files })
    }

    /// After each cell: what a kill leaves is what was measured until then.
    fn write(&self, comparison: &mut Comparison) -> Result<Vec<PathBuf>, CompareError> {
        let host = &mut comparison.host;
        host.load_after = Machine::read().map_err(CompareError::Machine)?.load;
        host.steal_s = self.spent.steal.as_secs_f64();
        host.elapsed_s = self.spent.time.as_secs_f64();
        host.waited_s = self.spent.waited.as_secs_f64();
        let failed = |error| CompareError::Write { directory: self.directory.clone(), error };
        comparison.write(&self.directory).map_err(failed)
    }

    fn cell(&mut self, cell: &Cell, before: &Comparison) -> Result<Measured, CompareError> {
        let takes_part = |one: &&Participant| one.missing.is_none() && one.rival.is_for(&cell.name);
        let rivals = before.participants.iter().filter(takes_part);
        let present: Vec<Rival> = rivals.map(|one| one.rival.clone()).collect();
        let usual = || cell.rounds.unwrap_or_else(|| self.args.scale.rounds());
        let rounds = self.args.rounds.map_or_else(usual, usize::from);
        let mut of_cell = Measured::new(cell.clone(), rounds, &present);
        if cell.is_at_rate
            && let Some((rate, from)) = self.rate(&before.measured)
        {
            (of_cell.rate, of_cell.rate_from) = (Some(rate), Some(from));
        }
        of_cell.load_before = Machine::read().map_err(CompareError::Machine)?.load;
        for round in 0..rounds {
            if self.is_interrupted() {
                break;
            }
            self.round((round, rounds), &present, &mut of_cell)?;
        }
        of_cell.load_after = Machine::read().map_err(CompareError::Machine)?.load;
        Ok(of_cell)
    }

    /// A round; one that is disturbed is run again, once, unless too many of this cell's were.
    fn round(
        &mut self,
        (round, rounds): (usize, usize),
        present: &[Rival],
        of_cell: &mut Measured,
    ) -> Result<(), CompareError> {
        let mut kept = self.once((round, rounds), present, of_cell)?;
        if kept.is_disturbed() && of_cell.may_repeat() && !self.is_interrupted() {
            let stolen = kept.steal_share * 100.0;
            eprintln!("{}, round {} of {rounds}: {stolen:.1} % stolen; again", of_cell.cell.name, round + 1);
            let again = self.once((round, rounds), present, of_cell)?;
            // Half a round is none.
            if !self.is_interrupted() {
                of_cell.rounds_repeated += 1;
                kept = kept.better(again);
            }
        }
        // One that an interrupt has ended before its first server is none, either.
        if kept.outcomes.iter().any(Option::is_some) {
            of_cell.add(kept);
        }
        Ok(())
    }

    /// One run of each server, there or back again.
    fn once(
        &mut self,
        (round, rounds): (usize, usize),
        present: &[Rival],
        of_cell: &Measured,
    ) -> Result<Round, CompareError> {
        let mut done = Round { outcomes: vec![None; present.len()], steal_share: 0.0 };
        let waiting = Instant::now();
        let _turn = match Turn::take(self.args.lock.as_deref(), self.is_interrupted) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(done),
            taken => taken.map_err(CompareError::Lock)?,
        };
        self.spent.waited += waiting.elapsed();
        let used: Vec<usize> = [&self.cores.server, &self.cores.client].map(CpuList::cpus).concat();
        let read = || Ok((Machine::read()?, CpuTimes::read(&used)?));
        let (began, (before, cpus_before)) = (Instant::now(), read().map_err(CompareError::Machine)?);
        let mut order: Vec<usize> = (0..present.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let outcome = self.one(&present[index], &of_cell.cell, of_cell.rate);
            // What an interrupt has cut short is no measurement.
            if self.is_interrupted() {
                break;
            }
            self.tell(&present[index], &of_cell.cell, (round + 1, rounds), &outcome);
            done.outcomes[index] = Some(outcome);
        }
        let (after, cpus_after) = read().map_err(CompareError::Machine)?;
        self.spent.time += began.elapsed();
        self.spent.steal += after.steal.saturating_sub(before.steal);
        done.steal_share = cpus_before.steal_share(cpus_after);
        Ok(done)
    }

    /// The rate that all can bear, and where it comes from.
    fn rate(&self, measured: &[Measured]) -> Option<(f64, String)> {
        let given = self.args.latency_rate.map(|rate| (rate, "--latency-rate".to_owned()));
        given.or_else(|| measured.iter().find(|of| of.cell.sets_rate)?.rate_for_all())
    }

    fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(SeqCst)
    }

    fn one(&self, rival: &Rival, cell: &Cell, rate: Option<f64>) -> Outcome {
        if cell.is_at_rate && rate.is_none() {
            return Outcome::failed("no saturation was measured before it: give --latency-rate".to_owned());
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
        if let Some(first) = &cell.first {
            self.load(rival, &server, first, None)?;
        }
        self.load(rival, &server, &cell.arguments, rate)
    }

    fn load(
        &self,
        rival: &Rival,
        server: &Server,
        arguments: &[String],
        rate: Option<f64>,
    ) -> Result<Report, String> {
        let mut line = vec!["loadtest".to_owned()];
        line.extend(arguments.iter().cloned());
        let pid = server.process().id().to_string();
        let cpus = self.cores.server.to_string();
        let more =
            ["--url", server.url(), "--dialect", &rival.dialect, "--server-pid", &pid, "--pin-server", &cpus];
        line.extend(more.map(str::to_owned));
        let client = self.cores.client.to_string();
        line.extend(["--pin-client".to_owned(), client, "--quiet".to_owned()]);
        if let Some(rate) = rate {
            line.extend(["--rate".to_owned(), rate.to_string()]);
        }
        let scenario = Cli::try_parse_from(line).map_err(|error| error.to_string())?.scenario();
        scenario::run(&scenario, self.is_interrupted).map_err(|error| error.to_string())
    }

    fn tell(&self, rival: &Rival, cell: &Cell, (round, rounds): (usize, usize), outcome: &Outcome) {
        let what = match (outcome.figures.get(cell.main), &outcome.failure) {
            (Some(value), Some(why)) => format!("{} {value:.1}, but {why}", cell.main),
            (None, Some(why)) => format!("FAILED: {why}"),
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
    /// --only asks for servers that are not there.
    #[error("--only asks for what is missing: {missing}")]
    Missing {
        /// Each, and what makes it.
        missing: String,
    },
    /// Server and client would share one.
    #[error("two CPUs are needed: one for the server, one for this program")]
    OneCpu,
    /// The kernel does not say.
    #[error("cannot read this machine: {0}")]
    Machine(#[source] io::Error),
    /// --out cannot be written.
    #[error("cannot write the record to {}: {error}; give --out", directory.display())]
    Write {
        /// Where it was to be.
        directory: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// --lock cannot be had.
    #[error("cannot lock the file of --lock: {0}; give one that may be written")]
    Lock(#[source] io::Error),
}

const RECORDS: &str = "benches/records";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_record_of_a_day_has_a_place_of_its_own() {
        let first = env::temp_dir().join(format!("loadtest-unused-{}", std::process::id()));
        let second = PathBuf::from(format!("{}-2", first.display()));
        assert_eq!(unused(&first), first);
        std::fs::create_dir(&first).unwrap();
        assert_eq!(unused(&first), second);
        std::fs::remove_dir(&first).unwrap();
    }
}
