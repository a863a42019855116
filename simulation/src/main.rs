//! Runs seeds, and explains those that fail.
//!
//! In      arguments
//! Out     seeds per second and failures; with `--seed`, the shortest plan found and its trace
//! Bounds  `--seeds` or `--seconds`
//! Source  none

use std::{
    num::NonZeroUsize,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use simulation::{campaign::Campaign, plan::Plan, run, shrink::shrink};

/// Runs the engine in simulated worlds, each from a seed, and compares it with an oracle.
///
/// Ends with 0 if every seed passed, with 1 if one failed, or if in a thousand seeds something did not happen that
/// has to (a close for silence, say; not with --fresh). A failing seed is explained by `simulate --seed N`.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Args {
    /// Run only this seed; if it fails, shorten its plan and print plan and trace
    #[arg(long, conflicts_with_all = ["from", "seeds", "seconds", "fresh"])]
    seed: Option<u64>,

    /// With --seed: do not shorten the plan
    #[arg(long, requires = "seed")]
    whole: bool,

    /// First seed
    #[arg(long, default_value_t = 0)]
    from: u64,

    /// First seed from the clock: seeds that nobody has run before
    #[arg(long, conflicts_with = "from")]
    fresh: bool,

    /// How many seeds [default: 1,000, or as many as --seconds allows]
    #[arg(long)]
    seeds: Option<u64>,

    /// Stop after so many seconds
    #[arg(long)]
    seconds: Option<u64>,

    /// Stop after so many failures
    #[arg(long, default_value_t = 10)]
    failures: usize,

    /// Threads [default: as many as there are CPUs]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    run::hush_panics();
    match args.seed {
        Some(seed) => explain(seed, args.whole),
        None => campaign(&args),
    }
}

fn campaign(args: &Args) -> ExitCode {
    let first = if args.fresh { fresh_seed() } else { args.from };
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok());
    let campaign = Campaign {
        first,
        count: args.seeds.unwrap_or(if args.seconds.is_some() { u64::MAX } else { SEEDS }),
        time: args.seconds.map(Duration::from_secs),
        jobs: jobs.unwrap_or(NonZeroUsize::MIN),
        failures_max: args.failures.max(1),
    };
    println!("from seed {first}");
    let report = campaign.run();
    println!("{report}");
    if let Some((seed, _)) = report.failures.first() {
        println!("simulate --seed {seed} explains the first");
        return ExitCode::FAILURE;
    }
    // Other seeds than the same ones every time may miss what is rare.
    let missing = if args.fresh { Vec::new() } else { report.missing() };
    if !missing.is_empty() {
        println!("has to happen in {} seeds, and did not: {}", report.seeds, missing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn explain(seed: u64, is_whole: bool) -> ExitCode {
    let plan = Plan::draw(seed);
    let outcome = run::plan(&plan, false);
    let Some(failure) = outcome.failure else {
        println!("seed {seed} passes, in {} turns", outcome.turns);
        return ExitCode::SUCCESS;
    };
    println!("seed {seed}: {failure}\n");
    let fails = |candidate: &Plan| {
        run::plan(candidate, false).failure.is_some_and(|found| found.rule == failure.rule)
    };
    let plan = if is_whole { plan } else { shrink(&plan, fails) };
    println!("{:#?}\n", plan.settings);
    for (operation, turns) in &plan.operations {
        println!("{operation:?}, then {turns} turns");
    }
    println!();
    for line in run::plan(&plan, true).trace {
        println!("{line}");
    }
    ExitCode::FAILURE
}

/// Different from run to run, and printed, so that it can be run again.
fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos() % u128::from(u64::MAX)).unwrap_or(0)
}

const SEEDS: u64 = 1_000;
