//! Slow subscribers: what the others notice of those that do not read.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report` of the healthy while others are slow, beside that of the time before
//! Bounds  opening: 10 s per step; each of two phases: --duration; the rest: --patience
//! Source  none

use std::sync::atomic::AtomicBool;

use super::{
    ending::{Scene, warm_up_note},
    ground::{Ground, Room, RunError},
    stage::Stage,
};
use crate::{
    args::slow::Slow,
    client::audience::Audience,
    dialect::Needs,
    load::{
        popularity::Popularity,
        stream::{Pace, Stream},
    },
    report::{Report, figures},
};

/// Runs it.
///
/// # Errors
/// Nothing was published: no server, no connections, not enough descriptors.
pub fn run(args: &Slow, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let ground = Ground::prepare(
        &args.common.target,
        &args.common.output,
        Room { receivers: args.subscribers.get(), others: 1 },
        Needs::Publish,
    )?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Slow, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let subscribers = args.subscribers.get();
    let threads = ground.threads(args.common.threads(), subscribers);
    let audience = Audience::of_one(&args.topic, subscribers, threads, 1);
    let mut stage = Stage::open(ground, audience, 1, Popularity::of_one(), is_interrupted)?;
    let stream = Stream {
        pace: Pace::per_second(args.rate),
        burst: 1,
        payload_bytes: args.payload_bytes,
        publishes_max: u64::MAX,
        patience: args.common.patience,
        overtime: args.common.patience,
    };
    let warm_up = stage.warm_up(&stream, args.common.warm_up);
    let before = stage.act(&stream, args.duration)?;
    stage.crew.make_slow(args.slow(), u64::from(args.read_kb_per_s) * 1000);
    let act = stage.act(&stream, args.duration)?;

    let ending = stage.end();
    let mut values = ending.values(&act, ground);
    for (name, quantile) in [("p50_before", 0.5), ("p99_before", 0.99), ("max_before", 1.0)] {
        if !before.heard.latency_ns.is_empty() {
            values.set(name, before.heard.latency_ns.value_at_quantile(quantile) as f64);
        }
    }
    if let (Some(p99), Some(p99_before)) = (values.get("p99"), values.get("p99_before")) {
        values.set("p99_ratio", p99 / p99_before);
    }
    let (closed, wrong) = ending.set_slow(&mut values, args.slow());
    let scene = Scene {
        scenario: "slow",
        settings: settings(args),
        sections: figures::SLOW,
        is_measured: !act.heard.latency_ns.is_empty(),
    };
    let cut = ending.is_interrupted.then(|| "interrupted before its time was over".to_owned());
    let notes = warm_up_note(warm_up, "publishes").into_iter().chain(closed).chain(cut);
    let mut report = ending.report(scene, values, notes);
    if let Some(wrong) = wrong {
        report = report.with_failure(wrong);
    }
    Ok(report)
}

fn settings(args: &Slow) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.common.target.dialect.clone().into()),
        ("subscribers", args.subscribers.get().into()),
        ("percent", args.percent.into()),
        ("read_kb_per_s", args.read_kb_per_s.into()),
        ("rate", args.rate.into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("phase_s", args.duration.as_secs_f64().into()),
        ("warm_up_s", args.common.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
