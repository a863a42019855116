//! Hostile clients: how long the others wait meanwhile.
//!
//! In      `cargo bench --bench hostile -- [--quick] [--rounds N] [FILTER]...`
//! Out     per case and driver: p99 of a background stream's delivery before, during and after the attack, from when
//!         each message was due; the peak of the server's memory beside the sum that it prints
//! Bounds  about eight minutes; `--quick` below one; without `--bench` one small case, as `cargo test` wants
//! Source  the cases of crates/fanwire/tests/hostile, which judge every delivery here as well. The stream waits for
//!         nobody here: a healthy client whose queue of the default length overflows fails the case

#[path = "../crates/fanwire/tests/hostile/cases/mod.rs"]
mod cases;
#[path = "../crates/fanwire/tests/hostile/kit/mod.rs"]
mod kit;

use std::{env, process::ExitCode, time::Duration};

use cases::ALL;
use kit::{Arena, Case, Setup};
use loadtest::measure::{descriptors::raise_limit, machine::Machine};

fn main() -> ExitCode {
    if kit::serve_if_asked() {
        return ExitCode::SUCCESS;
    }
    match Options::parse(env::args().skip(1))
        .and_then(|options| options.map_or(Ok(()), |options| run(&options)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

type Ended = Result<(), Box<dyn std::error::Error>>;

struct Options {
    rounds: usize,
    cases: Vec<Case>,
}

impl Options {
    /// `None` if nothing is to be run. Flags of other benchmark harnesses are skipped.
    fn parse(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let (mut is_bench, mut is_quick, mut rounds) = (false, false, None);
        let mut filters = Vec::new();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => is_bench = true,
                "--quick" => is_quick = true,
                "--test" => is_bench = false,
                "--list" => return Ok(None),
                "--rounds" => rounds = Some(arguments.next().ok_or("--rounds needs a value")?.parse()?),
                flag if flag.starts_with('-') => eprintln!("hostile: {flag} means nothing here"),
                filter => filters.push(filter.to_owned()),
            }
        }
        let chosen = match (is_bench, is_quick) {
            (false, _) => SMOKE,
            (true, true) => QUICK,
            (true, false) => &[],
        };
        let is_chosen = |case: &Case| {
            let name = format!("hostile {}", case.name);
            (filters.is_empty() && chosen.is_empty())
                || (filters.is_empty() && chosen.contains(&case.name))
                || filters.iter().any(|filter| name.contains(filter.as_str()))
        };
        let cases = ALL.iter().copied().filter(is_chosen).collect();
        let rounds = rounds.unwrap_or(if is_bench && !is_quick { ROUNDS } else { 1 });
        Ok(Some(Self { rounds, cases }))
    }
}

fn run(options: &Options) -> Ended {
    if options.cases.is_empty() {
        return Ok(());
    }
    raise_limit(0)?;
    let before = Machine::read()?;
    println!("delivery of a stream to healthy subscribers, p99 in ms (median of {} rounds)", options.rounds);
    println!("  case                     driver  before  attack   after   peak KiB  bound KiB");
    for case in &options.cases {
        for driver in ["uring", "epoll"] {
            println!("{}", measure(*case, driver, options.rounds));
        }
    }
    let after = Machine::read()?;
    println!(
        "load {:.2} before, {:.2} after; stolen {:.2} s",
        before.load,
        after.load,
        after.steal.saturating_sub(before.steal).as_secs_f64()
    );
    Ok(())
}

/// One line of the table. Each round has a server of its own.
fn measure(case: Case, driver: &'static str, rounds: usize) -> String {
    // What 50 sessions are sent in a second stays below 60 MB.
    let feed_every = FEED_EVERY.max(Duration::from_nanos(case.feed_bytes as u64 * 800));
    let setup = Setup { driver, shards: 1, arguments: &[], feed_every, is_open_loop: true };
    let mut p99s: [Vec<u64>; 3] = Default::default();
    let (mut peak_bytes, mut bound_bytes) = (0, 0);
    for _ in 0..rounds {
        let mut arena = Arena::open(case, setup);
        arena.await_feed(WARM_MESSAGES);
        arena.crowd.record();
        arena.await_feed(QUIET_MESSAGES);
        p99s[0].push(p99(arena.crowd.record()));
        (case.attack)(&mut arena);
        p99s[1].push(p99(arena.crowd.record()));
        arena.await_feed(QUIET_MESSAGES);
        p99s[2].push(p99(arena.crowd.record()));
        let report = arena.close();
        peak_bytes = peak_bytes.max(report.peak_bytes);
        bound_bytes = report.bound_bytes;
    }
    let [before, attack, after] = p99s.map(median_ms);
    format!(
        "  {:<24} {driver:<6} {before:>7.2} {attack:>7.2} {after:>7.2} {:>10} {:>10}",
        case.name,
        peak_bytes >> 10,
        bound_bytes >> 10
    )
}

fn p99(mut latencies_ns: Vec<u64>) -> u64 {
    latencies_ns.sort_unstable();
    latencies_ns.get(latencies_ns.len() * 99 / 100).copied().unwrap_or(0)
}

fn median_ms(mut values_ns: Vec<u64>) -> f64 {
    values_ns.sort_unstable();
    values_ns.get(values_ns.len() / 2).map_or(0.0, |value| *value as f64 / 1e6)
}

const SMOKE: &[&str] = &["tls_hello"];

const QUICK: &[&str] = &["half_open", "never_read_close", "firehose", "reset_storm"];

const ROUNDS: usize = 3;

const FEED_EVERY: Duration = Duration::from_millis(2);

const WARM_MESSAGES: u64 = 100;

const QUIET_MESSAGES: u64 = 400;
