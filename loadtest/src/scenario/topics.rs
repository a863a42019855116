//! Many topics: few subscribers each, some topics more popular than others.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report`, also of a run that failed half-way, or why there was nothing to measure
//! Bounds  opening: 10 s per step; publishing: --duration; the rest: --patience
//! Source  Zipf's law of popularity

use std::sync::{Arc, atomic::AtomicBool};

use super::{
    ending::{Scene, processes_note, warm_up_note},
    ground::{Ground, Room, RunError},
    stage::Stage,
};
use crate::{
    args::topics::Topics,
    client::audience::{Audience, Streams},
    dialect::{Needs, topic},
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
pub fn run(args: &Topics, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let room = Room { receivers: args.subscribers.get(), others: args.publishers.into() };
    let ground = Ground::prepare(&args.common.target, &args.common.output, room, Needs::Topics)?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Topics, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let subscribers = args.subscribers.get();
    let audience = Audience {
        connections: subscribers,
        processes: 1,
        threads: ground.threads(args.common.threads(), subscribers),
        topics: Arc::new(topic::Topics::new(&args.topic, args.topics.get())),
        topics_each: args.topics_each.get(),
        streams: Streams::Topics,
    };
    let popularity = if args.in_turn {
        Popularity::in_turn(args.topics.get(), args.topics_each.get())
    } else {
        Popularity::new(args.topics.get(), args.skew, args.seed)
    };
    let mut stage = Stage::open(ground, audience, args.publishers.into(), popularity, is_interrupted)?;
    let stream = Stream {
        pace: Pace::per_second(args.rate),
        burst: args.burst.get() as u64,
        payload_bytes: args.payload_bytes,
        publishes_max: args.publishes,
        patience: args.common.patience,
        overtime: args.common.patience,
    };
    let warm_up = stage.warm_up(&stream, args.common.warm_up);
    let act = stage.act(&stream, args.duration)?;

    let ending = stage.end();
    let values = ending.values(&act, ground);
    let short = ending.short(act.publishes, args.publishes, "publishes");
    let scene = Scene {
        scenario: "topics",
        settings: settings(args),
        sections: figures::TOPICS,
        is_measured: !act.heard.latency_ns.is_empty(),
    };
    let notes = warm_up_note(warm_up, "publishes").into_iter().chain(short);
    Ok(ending.report(scene, values, notes.chain(processes_note(ground.processes, args.rate))))
}

fn settings(args: &Topics) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.common.target.dialect.clone().into()),
        ("topics", args.topics.get().into()),
        ("subscribers", args.subscribers.get().into()),
        ("topics_each", args.topics_each.get().into()),
        ("skew", args.skew.into()),
        ("seed", args.seed.into()),
        ("in_turn", args.in_turn.into()),
        ("publishers", args.publishers.into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("burst", args.burst.get().into()),
        ("rate", args.rate.into()),
        ("publishes_planned", args.publishes.into()),
        ("warm_up_s", args.common.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
