//! Fan-out beside the floor and the rivals: the comparison of `loadtest compare`, for a few of its cells.
//!
//! In      `cargo bench --bench fanout -- [--quick] [--rounds N] [FILTER]...`, with parts of cells' names
//! Out     a table per cell, with ratios to Fanwire and to the floor; the same in target/fanout
//! Bounds  about ten minutes; `--quick` below one; without `--bench` nothing is measured
//! Source  docs/benchmarks.md. Servers that are not there are said to be missing, with what makes them

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::AtomicBool,
};

use fanwire_benches::{
    arguments::{Arguments, Scale},
    ours,
};
use loadtest::{args::compare::Compare, compare};

fn main() -> ExitCode {
    let ended = Arguments::parse("fanout", env::args().skip(1)).map_err(Into::into).and_then(|arguments| {
        match arguments.and_then(|arguments| comparison(&arguments)) {
            Some(comparison) => run(&comparison),
            None => Ok(()),
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

type Ended = Result<(), Box<dyn std::error::Error>>;

/// What is compared; `None`: nothing.
fn comparison(arguments: &Arguments) -> Option<Compare> {
    let (scale, usual) = match arguments.scale {
        Scale::Full => (compare::cells::Scale::Full, CELLS),
        Scale::Quick => (compare::cells::Scale::Quick, &["fanout"][..]),
        Scale::Smoke => return None,
    };
    let is_wanted = |name: &str| match arguments.filters.is_empty() {
        true => usual.iter().any(|part| name.contains(part)),
        false => name.starts_with("fanout") && arguments.wants(name),
    };
    let cell: Vec<String> =
        scale.cells().into_iter().map(|cell| cell.name).filter(|name| is_wanted(name)).collect();
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    (!cell.is_empty()).then(|| Compare {
        scale,
        rounds: arguments.rounds,
        only: SERVERS.map(str::to_owned).to_vec(),
        cell,
        manifest: MANIFEST.into(),
        out: Some(target.join("fanout")),
        pin_server: None,
        pin_client: None,
        lock: None,
        latency_rate: None,
    })
}

fn run(compare: &Compare) -> Ended {
    // Cargo starts a bench in its package; the list's paths are relative to the root.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("benches stand in the workspace")?;
    env::set_current_dir(root)?;
    ours::broadcast()?;
    let recorded = compare::run::run(compare, &AtomicBool::new(false))?;
    print!("{}", recorded.comparison);
    for file in recorded.files {
        println!("written to {}", file.display());
    }
    if recorded.comparison.has_failures() { Err("a run has failed, see the remarks".into()) } else { Ok(()) }
}

/// Whom users ask about. `loadtest compare` has all.
const SERVERS: [&str; 6] =
    ["fanwire io_uring", "fanwire epoll", "floor", "monoio", "tokio-uring", "tokio-tungstenite"];

/// Parts of the names of the cells that are measured unless others are asked for.
const CELLS: &[&str] = &["x 128 B, burst 1", "x 16384 B"];

const MANIFEST: &str = "loadtest/rivals/rivals.toml";
