//! Idle connections: what they cost the server while nothing but its pings happens.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report`, or why there was nothing to measure
//! Bounds  opening: 10 s per step; then --duration
//! Source  CPU and memory are differences around what is measured

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use super::{
    ending::{Ending, Scene},
    ground::{Ground, Room, RunError},
};
use crate::{
    args::idle::Idle,
    client::{
        audience::Audience,
        crew::Crew,
        progress::{LOOK_AGAIN, Progress},
    },
    dialect::Needs,
    report::{
        Report, figures,
        values::{PER_CONNECTION_S, Values},
    },
    watch::{Goal, View},
};

/// Runs it.
///
/// # Errors
/// Nothing was held: no server, no connections, not enough descriptors.
pub fn run(args: &Idle, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let ground = Ground::prepare(
        &args.target,
        &args.output,
        Room { receivers: args.connections.get(), others: 0 },
        Needs::Nothing,
    )?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Idle, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let connections = args.connections.get();
    let progress = Arc::new(Progress::new());
    let threads = ground.threads(args.threads.map(usize::from), connections);
    let mut audience = Audience::of_one(args.topic.as_deref().unwrap_or_default(), connections, threads, 0);
    audience.topics_each = usize::from(args.topic.is_some());
    audience.processes = ground.processes;
    let audience = Arc::new(audience);
    let held_before = ground.footprint()?;
    let crew = ground.watch.opening(&progress, connections, || {
        Crew::open(&ground.opener, &audience, &progress, is_interrupted)
    })?;
    ground.add_helpers(crew.processes());
    let held_connected = ground.footprint()?;

    let before = ground.read()?;
    let goal = Goal { time: Some(args.duration), ..Goal::default() };
    let view = View { progress: &progress, hear: &|| crew.recent(), goal };
    let (after, watched) = ground.watch.measuring(view, || {
        hold(args, &progress, is_interrupted);
        ground.read()
    });
    let spent = before.until(&after?);
    watched.end(&crew.recent());
    // A server that has died in the run holds nothing any more; the report says that it died.
    let held_after = ground.footprint().ok().flatten();
    let outcome = crew.finish(Vec::new());

    let mut values = Values::default();
    values.set("connections", connections as f64);
    values.set("closed", outcome.closes.count() as f64);
    values.set("pings", outcome.pings as f64);
    values.set("unexpected", outcome.tally.unexpected as f64);
    values.set("elapsed", spent.elapsed.as_secs_f64() * 1e9);
    let connection_seconds = connections as f64 * spent.elapsed.as_secs_f64();
    values.set_spent(&PER_CONNECTION_S, &spent, connection_seconds, ground.client_cpus);
    values.set_footprints([held_before, held_connected, held_after], connections);
    let ending = Ending {
        unsent: 0,
        publishes: 0,
        outcome,
        connections,
        held: [held_before, held_connected, held_after],
        closed_first: progress.closed_first().map(str::to_owned),
        failure: progress.failure(),
        is_interrupted: is_interrupted.load(SeqCst),
    };
    let short = (spent.elapsed < args.duration).then(|| {
        let how = if ending.is_interrupted { "interrupted" } else { "ended" };
        format!("{how} after {:.1} of {} s", spent.elapsed.as_secs_f64(), args.duration.as_secs_f64())
    });
    let scene =
        Scene { scenario: "idle", settings: settings(args), sections: figures::IDLE, is_measured: true };
    Ok(ending.report(scene, values, short))
}

/// Lets the time pass, unless something ends the run.
fn hold(args: &Idle, progress: &Progress, is_interrupted: &AtomicBool) {
    let end = Instant::now() + args.duration;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let is_alone = progress.left() >= args.connections.get() as u64;
        if is_alone {
            progress.fail("no connection is left".to_owned());
        }
        if left.is_zero() || is_alone || progress.is_failed() || is_interrupted.load(SeqCst) {
            return;
        }
        thread::park_timeout(left.min(LOOK_AGAIN));
    }
}

fn settings(args: &Idle) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("connections", args.connections.get().into()),
        ("topic", args.topic.clone().unwrap_or_else(|| "none".to_owned()).into()),
        ("duration_s", args.duration.as_secs_f64().into()),
    ]
}
