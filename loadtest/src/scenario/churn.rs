//! The churn: a group that stays while visitors come and go.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report`, also of a run that failed half-way, or why there was nothing to measure
//! Bounds  opening: 10 s per step; churn: --duration; the rest: --patience
//! Source  none

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use super::{
    ending::{Scene, warm_up_note},
    ground::{Ground, Room, RunError},
    stage::{Stage, over_after},
    visits,
};
use crate::{
    args::churn::{Churn, Manner},
    client::{
        audience::Audience,
        visitors::{Visitors, Visits},
    },
    dialect::Needs,
    load::{
        popularity::Popularity,
        stream::{Pace, Stream},
    },
    report::{Report, figures},
    watch::Goal,
};

/// Runs it.
///
/// # Errors
/// Nothing was published: no server, no connections, not enough descriptors.
pub fn run(args: &Churn, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let needs = if args.by == Manner::Resubscribe { Needs::Unsubscribe } else { Needs::Publish };
    let ground = Ground::prepare(
        &args.common.target,
        &args.common.output,
        Room { receivers: args.subscribers.get(), others: visits::present_max(args.joins, args.stay) + 1 },
        needs,
    )?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Churn, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let subscribers = args.subscribers.get();
    let audience = Audience::of_one(&args.topic, subscribers, 1, 1);
    let topic = audience.topics.at(0).clone();
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

    let progress = Arc::clone(&stage.progress);
    let visits = Visits {
        first: subscribers + 1,
        per_s: args.joins,
        stay: args.stay,
        keeps_connection: args.by == Manner::Resubscribe,
        topic,
        patience: args.common.patience,
    };
    let visitors = Visitors::new(&ground.opener, visits, &progress)?;
    let mut joined = None;
    let goal = Goal { time: Some(args.duration), ..Goal::default() };
    let act = stage.measure_to(goal, |_, publishers| {
        // From here on: what went before took its time.
        let deadline = Instant::now() + args.duration;
        let is_over = || is_interrupted.load(SeqCst) || Instant::now() >= deadline;
        thread::scope(|scope| {
            let visitors = scope.spawn(|| visitors.run(&is_over));
            let is_whole = publishers.run(&stream, &over_after(args.duration, &progress, is_interrupted));
            joined = visitors.join().ok();
            is_whole
        })
    })?;
    // The panic's own message stands above.
    let visited = joined.ok_or(RunError::Panic)?;

    let mut ending = stage.end();
    visits::add_to(&mut ending, &visited);
    let mut values = ending.values(&act, ground);
    visits::set(&mut values, &visited, &act);
    let cut = ending.is_interrupted.then(|| "interrupted before its time was over".to_owned());
    let scene = Scene {
        scenario: "churn",
        settings: settings(args),
        sections: figures::CHURN,
        is_measured: visited.joins > 0 && !act.heard.latency_ns.is_empty(),
    };
    let notes = warm_up_note(warm_up, "publishes").into_iter().chain(visits::refused(&visited)).chain(cut);
    Ok(ending.report(scene, values, notes))
}

fn settings(args: &Churn) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.common.target.dialect.clone().into()),
        ("subscribers", args.subscribers.get().into()),
        ("joins", args.joins.into()),
        ("stay_s", args.stay.as_secs_f64().into()),
        ("by", if args.by == Manner::Resubscribe { "resubscribe" } else { "reconnect" }.into()),
        ("rate", args.rate.into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("duration_s", args.duration.as_secs_f64().into()),
        ("warm_up_s", args.common.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
