//! The storm of connects: how long handshakes take, and what a group notices that was there before.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report`, also of a run that failed half-way, or why there was nothing to measure
//! Bounds  opening the group: 10 s per step; the storm: --duration; the rest: --patience
//! Source  CPU and memory are differences around what is measured

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use super::{
    ending::{Ending, Scene, warm_up_note},
    ground::{Ground, Room, RunError},
    stage::Stage,
};
use crate::{
    args::connect::Connect,
    client::{
        audience::Audience,
        storm::{Plan, Storm, StormOutcome},
    },
    dialect::Needs,
    load::{
        popularity::Popularity,
        stream::{Pace, Stream},
    },
    report::{
        Report, figures,
        values::{HANDSHAKES, PER_CONNECT, Values},
    },
    watch::Goal,
};

/// Runs it.
///
/// # Errors
/// Nothing was tried: no server, no group, not enough descriptors.
pub fn run(args: &Connect, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let ground = Ground::prepare(
        &args.target,
        &args.output,
        Room { receivers: args.subscribers.get(), others: args.connections.get() + 1 },
        Needs::Publish,
    )?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Connect, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let subscribers = args.subscribers.get();
    let audience = Audience::of_one(&args.topic, subscribers, 1, 1);
    let mut stage = Stage::open(ground, audience, 1, Popularity::of_one(), is_interrupted)?;
    let stream = Stream {
        pace: Pace::per_second(args.publish_rate),
        burst: 1,
        payload_bytes: args.payload_bytes,
        publishes_max: u64::MAX,
        patience: args.patience,
        overtime: args.patience,
    };
    let warm_up = stage.warm_up(&stream, args.warm_up);

    let plan = Plan {
        first: subscribers + 1,
        connects: args.connections.get(),
        pace: Pace::per_second(args.rate),
        at_once: args.at_once.get(),
    };
    let progress = Arc::clone(&stage.progress);
    let storm = Storm::new(&ground.opener, plan, &progress)?;
    let deadline = Instant::now() + args.duration;
    let is_over = || is_interrupted.load(SeqCst) || Instant::now() >= deadline;
    let mut joined = None;
    let over_ns = AtomicU64::new(u64::MAX);
    let before = ground.read()?;
    let goal = Goal { time: Some(args.duration), messages: None, connections: Some(plan.connects) };
    let act = stage.measure_to(goal, |_, publishers| {
        thread::scope(|scope| {
            // The storm's own thread reads the clocks: a thread that has ended has none any more.
            let storm = scope.spawn(|| {
                let outcome = storm.run(&is_over);
                over_ns.store(progress.now_ns(), SeqCst);
                (outcome, ground.read())
            });
            let is_whole = publishers.run(&stream, &|| match over_ns.load(SeqCst) {
                // Only a panic ends it like this.
                u64::MAX => storm.is_finished().then_some(0),
                ns => Some(ns),
            });
            joined = storm.join().ok();
            is_whole
        })
    })?;
    // The panic's own message stands above.
    let (storm, after) = joined.ok_or(RunError::Panic)?;
    let ending = stage.end();
    let mut values = ending.values(&act, ground);
    set_storm(&mut values, &storm);
    values.set_spent(&PER_CONNECT, &before.until(&after?), storm.opened as f64, ground.client_cpus);
    values.set_footprints(ending.held, storm.open() + subscribers + 1);
    let scene = Scene {
        scenario: "connect",
        settings: settings(args),
        sections: figures::CONNECT,
        is_measured: storm.opened > 0,
    };
    let notes = notes(args, &storm, &ending);
    let mut report =
        ending.report(scene, values, warm_up_note(warm_up, "publishes").into_iter().chain(notes));
    report.closes = [report.closes, storm.closes].into_iter().sum();
    report.values.set("closed", report.closes.count() as f64);
    Ok(report)
}

fn set_storm(values: &mut Values, storm: &StormOutcome) {
    let (opened, refused) = (storm.opened, storm.refusals.count());
    values.set("connects", (opened + refused) as f64);
    values.set("opened", opened as f64);
    values.set("late", storm.late as f64);
    values.set("refused", refused as f64);
    values.set("storm", storm.elapsed_ns as f64);
    values.set("opened_per_s", opened as f64 / (storm.elapsed_ns as f64 / 1e9));
    values.set_latency(&storm.latency_ns, &HANDSHAKES);
}

fn notes(args: &Connect, storm: &StormOutcome, ending: &Ending) -> Vec<String> {
    let refused = storm.refusals.text().map(|text| format!("refused: {text}"));
    let tried = storm.opened + storm.refusals.count();
    refused.into_iter().chain(ending.short(tried, args.connections.get() as u64, "connects")).collect()
}

fn settings(args: &Connect) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.target.dialect.clone().into()),
        ("connections", args.connections.get().into()),
        ("rate", args.rate.into()),
        ("at_once", args.at_once.get().into()),
        ("subscribers", args.subscribers.get().into()),
        ("publish_rate", args.publish_rate.into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("warm_up_s", args.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
