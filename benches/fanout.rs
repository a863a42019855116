//! Fan-out on real sockets: server CPU per delivered frame, beside the bare floor in the same run.
//!
//! In      `cargo bench --bench fanout -- [--quick] [--rounds N] [--peers A,B] [--json FILE] [FILTER]...`
//! Out     a table, and the same with all rounds as JSON (target/fanout.json)
//! Bounds  about five minutes; `--quick` below one; without `--bench` one small cell, as `cargo test` wants
//! Source  A B C, then C B A: interleaved rounds, so that drift hits all alike

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use fanwire_benches::{
    cell::{Cell, Scale},
    child, drain,
    peer::Peer,
    report::{COLUMNS, CellRounds, Line},
    sample::{Cores, DRAIN_ROLE, Rig},
};
use loadtest::measure::{affinity::CpuList, descriptors::raise_limit, machine::Machine};
use serde_json::json;

fn main() -> ExitCode {
    let ended = match child::role() {
        Some((role, argument)) => run_child(&role, &argument),
        None => Options::parse(env::args().skip(1))
            .and_then(|options| options.map_or(Ok(()), |options| run(&options))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

type Ended = Result<(), Box<dyn std::error::Error>>;

fn run_child(role: &str, argument: &str) -> Ended {
    if role == DRAIN_ROLE {
        return drain::run(argument);
    }
    raise_limit(0)?;
    let peer = Peer::named(role).ok_or("a role that this program does not have")?;
    Ok(peer.serve()?)
}

struct Options {
    scale: Scale,
    rounds: usize,
    peers: Vec<Peer>,
    /// Where the record goes; a smoke run leaves none unless asked.
    json: Option<PathBuf>,
    filters: Vec<String>,
}

impl Options {
    /// `None` if nothing is to be run. Flags of other benchmark harnesses are skipped, so that one command
    /// line serves all benches of `cargo bench`.
    fn parse(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let mut options = Self {
            scale: Scale::Smoke,
            rounds: 0,
            peers: Peer::ALL.to_vec(),
            json: None,
            filters: Vec::new(),
        };
        let (mut is_quick, mut is_test) = (false, false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => options.scale = Scale::Full,
                "--quick" => is_quick = true,
                "--test" => is_test = true,
                "--list" => return Ok(None),
                "--rounds" => options.rounds = value()?.parse()?,
                "--json" => options.json = Some(value()?.into()),
                "--peers" => options.peers = peers(&value()?)?,
                flag if flag.starts_with('-') => eprintln!("fanout: {flag} means nothing here"),
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options.scale = match options.scale {
            _ if is_test => Scale::Smoke,
            Scale::Full if is_quick => Scale::Quick,
            scale => scale,
        };
        if options.json.is_none() && options.scale != Scale::Smoke {
            options.json = Some(target_directory()?.join("fanout.json"));
        }
        if options.rounds == 0 {
            options.rounds = options.scale.rounds();
        }
        Ok(Some(options))
    }

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.scale.cells();
        cells.retain(|cell| {
            let name = format!("fanout {cell}");
            self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
        });
        cells
    }
}

fn peers(names: &str) -> Result<Vec<Peer>, String> {
    let known = || Peer::ALL.into_iter().chain(Peer::MORE).map(Peer::name).collect::<Vec<_>>().join(", ");
    names
        .split(',')
        .map(|name| Peer::named(name).ok_or_else(|| format!("no peer {name}: {}", known())))
        .collect()
}

fn run(options: &Options) -> Ended {
    let cells = options.cells();
    if cells.is_empty() {
        return Ok(());
    }
    let cores = Cores::choose()?;
    // What this program does between samples must not disturb the server's core.
    CpuList::one(cores.client).pin_current_thread()?;
    let before = Machine::read()?;
    println!("{}", host(cores));
    let mut lines = Vec::new();
    for cells in cells.chunk_by(|one, two| one.subscribers == two.subscribers) {
        let mut rigs = options
            .peers
            .iter()
            .map(|&peer| Rig::start(peer, cells[0].subscribers, cores))
            .collect::<io::Result<Vec<Rig>>>()?;
        for &cell in cells {
            lines.extend(measure(&mut rigs, cell, options)?);
        }
    }
    let after = Machine::read()?;
    println!(
        "load {:.2} before, {:.2} after; stolen {:.2} s",
        before.load,
        after.load,
        after.steal.saturating_sub(before.steal).as_secs_f64()
    );
    options.json.as_ref().map_or(Ok(()), |path| write_json(path, cores, before, after, &lines))
}

/// All rounds of one cell; prints its lines.
fn measure(rigs: &mut [Rig], cell: Cell, options: &Options) -> io::Result<Vec<Line>> {
    let bursts = calibrate(rigs, cell, Duration::from_millis(options.scale.sample_ms()))?;
    let mut rounds =
        CellRounds { cell, bursts, peers: rigs.iter().map(|rig| (rig.peer, Vec::new())).collect() };
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..rigs.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            rounds.peers[index].1.push(rigs[index].sample(cell, bursts)?);
        }
    }
    println!("{cell}, {} rounds of {bursts} bursts\n{COLUMNS}", options.rounds);
    let lines = rounds.lines();
    for line in &lines {
        println!("{line}");
    }
    Ok(lines)
}

/// How many bursts take about `time` at the first server; warms all of them.
fn calibrate(rigs: &mut [Rig], cell: Cell, time: Duration) -> io::Result<u64> {
    let mut bursts = 1;
    for (index, rig) in rigs.iter_mut().enumerate() {
        rig.sample(cell, WARM_BURSTS)?;
        if index == 0 {
            let sample = rig.sample(cell, WARM_BURSTS)?;
            let burst_us = (sample.elapsed_us * cell.frames() as f64).max(1.0);
            bursts = (1..=BURSTS_MAX)
                .find(|&bursts| bursts as f64 * burst_us >= time.as_secs_f64() * 1e6)
                .unwrap_or(BURSTS_MAX);
        }
    }
    Ok(bursts)
}

/// What the figures were measured on.
fn host(cores: Cores) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("", |(_, model)| model);
    format!(
        "Linux {}, {model}, server on CPU {}, client on CPU {}, congestion control {}",
        read("/proc/sys/kernel/osrelease"),
        cores.server,
        cores.client,
        read("/proc/sys/net/ipv4/tcp_congestion_control")
    )
}

fn write_json(path: &Path, cores: Cores, before: Machine, after: Machine, lines: &[Line]) -> Ended {
    let record = json!({
        "host": host(cores),
        "load_before": before.load,
        "load_after": after.load,
        "steal_s": after.steal.saturating_sub(before.steal).as_secs_f64(),
        "lines": lines,
    });
    fs::write(path, serde_json::to_vec_pretty(&record)?)?;
    println!("written to {}", path.display());
    Ok(())
}

/// Where cargo put this program: target/PROFILE/deps/fanout-HASH.
fn target_directory() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(3).unwrap_or(Path::new(".")).to_owned())
}

const WARM_BURSTS: u64 = 2;

const BURSTS_MAX: u64 = 2000;
