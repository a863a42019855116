//! Hostile clients: how long the others wait meanwhile.
//!
//! In      `cargo bench --bench hostile -- [--quick] [--rounds N] [FILTER]...`
//! Out     per case and driver: p99 of a background stream's delivery before, during and after the attack, from when
//!         each message was due; the peak of the server's memory beside the sum that it prints
//! Bounds  about 25 minutes, `--rounds 1` eight; `--quick` below one; without `--bench` one small case, as `cargo test` wants
//! Source  the cases of crates/fanwire/tests/hostile, which judge every delivery here as well. The stream waits for
//!         nobody here: a healthy client whose queue of the default length overflows fails the case

#[path = "../crates/fanwire/tests/hostile/cases/mod.rs"]
mod cases;
#[path = "../crates/fanwire/tests/hostile/kit/mod.rs"]
mod kit;

use std::{env, process::ExitCode, time::Duration};

use cases::ALL;
use fanwire_benches::arguments::{Arguments, Scale};
use kit::{Arena, Case, Setup};
use loadtest::measure::{descriptors::raise_limit, machine::Machine};

fn main() -> ExitCode {
    if kit::serve_if_asked() {
        return ExitCode::SUCCESS;
    }
    let ended = Arguments::parse("hostile", env::args().skip(1))
        .map_err(Into::into)
        .and_then(|arguments| arguments.map_or(Ok(()), |arguments| run(&arguments.into())));
    match ended {
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

impl From<Arguments> for Options {
    fn from(arguments: Arguments) -> Self {
        let chosen = match arguments.scale {
            Scale::Smoke => SMOKE,
            Scale::Quick => QUICK,
            Scale::Full => &[],
        };
        let is_chosen = |case: &Case| match arguments.filters.is_empty() {
            true => chosen.is_empty() || chosen.contains(&case.name),
            false => arguments.wants(&format!("hostile {}", case.name)),
        };
        let cases = ALL.iter().copied().filter(is_chosen).collect();
        let usual = if arguments.scale == Scale::Full { ROUNDS } else { 1 };
        Self { rounds: arguments.rounds.map_or(usual, usize::from), cases }
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
