//! The fan-out: one topic, many subscribers, and publishes to them.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report`, also of a run that failed half-way, or why there was nothing to measure
//! Bounds  opening: 10 s per step; publishing: --duration; the rest: --patience
//! Source  CPU and memory are differences around what is measured

use std::sync::atomic::AtomicBool;

use super::{
    ending::{Scene, processes_note, warm_up_note},
    ground::{Ground, Room, RunError},
    stage::Stage,
};
use crate::{
    args::fanout::Fanout,
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
pub fn run(args: &Fanout, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let ground = Ground::prepare(
        &args.common.target,
        &args.common.output,
        Room { receivers: args.subscribers.get(), others: args.publishers.into() },
        Needs::Publish,
    )?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Fanout, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let subscribers = args.subscribers.get();
    let threads = ground.threads(args.common.threads(), subscribers);
    let audience = Audience::of_one(&args.topic, subscribers, threads, args.publishers.into());
    let mut stage =
        Stage::open(ground, audience, args.publishers.into(), Popularity::of_one(), is_interrupted)?;
    let warm_up = stage.warm_up(&stream(args), args.common.warm_up);
    let act = stage.act(&stream(args), args.duration)?;

    let ending = stage.end();
    let values = ending.values(&act, ground);
    let short = ending.short(act.publishes, args.publishes(), "publishes");
    let scene = Scene {
        scenario: "fanout",
        settings: settings(args),
        sections: figures::FANOUT,
        is_measured: !act.heard.latency_ns.is_empty(),
    };
    let notes = warm_up_note(warm_up, "publishes").into_iter().chain(short);
    Ok(ending.report(scene, values, notes.chain(processes_note(ground.processes, args.rate))))
}

fn stream(args: &Fanout) -> Stream {
    Stream {
        pace: Pace::per_second(args.rate),
        burst: args.burst.get() as u64,
        payload_bytes: args.payload_bytes,
        publishes_max: args.publishes(),
        patience: args.common.patience,
        overtime: args.common.patience,
    }
}

fn settings(args: &Fanout) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.common.target.dialect.clone().into()),
        ("subscribers", args.subscribers.get().into()),
        ("publishers", args.publishers.into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("burst", args.burst.get().into()),
        ("rate", args.rate.into()),
        ("publishes_planned", args.publishes().into()),
        ("warm_up_s", args.common.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
