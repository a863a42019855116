//! The soak: hours of publishing while others come and go, read slowly, or attack.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report` with what drifts, also of a run that was ended early
//! Bounds  opening: 10 s per step; then --duration; the rest: --patience
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
    args::soak::Soak,
    client::{
        audience::Audience,
        hostile::{AT_ONCE_MAX, Hostiles},
        visitors::{Visitors, Visits},
    },
    dialect::Needs,
    load::{
        popularity::Popularity,
        stream::{Pace, Stream},
    },
    report::{Report, drift::per_hour, figures, series::Point},
    watch::Goal,
};

/// Runs it.
///
/// # Errors
/// Nothing was published: no server, no connections, not enough descriptors.
pub fn run(args: &Soak, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let room = Room {
        receivers: args.subscribers.get(),
        others: visits::present_max(args.joins, args.stay) + AT_ONCE_MAX + 1,
    };
    let ground = Ground::prepare(&args.common.target, &args.common.output, room, Needs::Publish)?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran).map(with_drift)
}

fn measure(args: &Soak, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
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

    stage.crew.make_slow(args.slow(), u64::from(args.read_kb_per_s) * 1000);
    let progress = Arc::clone(&stage.progress);
    let visits = Visits {
        first: subscribers + 1,
        per_s: args.joins,
        stay: args.stay,
        keeps_connection: false,
        topic: topic.clone(),
        patience: args.common.patience,
    };
    let visitors = Visitors::new(&ground.opener, visits, &progress)?;
    let first = subscribers + 1 + visits::present_max(args.joins, args.stay);
    let hostiles = Hostiles::new(&ground.opener, topic, args.hostile, first, &progress);
    let mut joined = None;
    let goal = Goal { time: Some(args.duration), ..Goal::default() };
    let act = stage.measure_to(goal, |_, publishers| {
        // From here on: what went before took its time.
        let deadline = Instant::now() + args.duration;
        let is_over = || is_interrupted.load(SeqCst) || Instant::now() >= deadline;
        thread::scope(|scope| {
            let visitors = scope.spawn(|| visitors.run(&is_over));
            let hostiles = scope.spawn(|| hostiles.run(&is_over));
            let is_whole = publishers.run(&stream, &over_after(args.duration, &progress, is_interrupted));
            joined = visitors.join().ok().zip(hostiles.join().ok());
            is_whole
        })
    })?;
    // The panic's own message stands above.
    let (visited, hostile) = joined.ok_or(RunError::Panic)?;

    let mut ending = stage.end();
    visits::add_to(&mut ending, &visited);
    let mut values = ending.values(&act, ground);
    visits::set(&mut values, &visited, &act);
    let (slow_closed, slow_wrong) = ending.set_slow(&mut values, args.slow());
    values.set("hostile", hostile.came as f64);
    values.set("hostile_ended", hostile.ended as f64);
    values.set("hostile_unended", hostile.unended as f64);
    values.set("hostile_left_out", hostile.left_out as f64);
    let cut = (ending.is_interrupted || ending.failure.is_some()).then(|| {
        let (lasted, planned) = (act.spent.elapsed.as_secs_f64(), args.duration.as_secs_f64());
        let how = if ending.is_interrupted { "interrupted" } else { "ended" };
        format!("{how} after {lasted:.0} of {planned:.0} s")
    });
    let scene = Scene {
        scenario: "soak",
        settings: settings(args),
        sections: figures::SOAK,
        is_measured: !act.heard.latency_ns.is_empty(),
    };
    let notes = warm_up_note(warm_up, "publishes").into_iter().chain(visits::refused(&visited));
    let report = ending.report(scene, values, notes.chain(slow_closed).chain(cut));
    Ok(match slow_wrong {
        Some(wrong) => report.with_failure(wrong),
        None => report,
    })
}

/// What grows in an hour, by the series that the ground has taken.
fn with_drift(mut report: Report) -> Report {
    type Value = fn(&Point) -> Option<f64>;
    let drifts: [(&str, Value); 4] = [
        ("anonymous_drift_per_h", |point| Some(point.anonymous_bytes? as f64)),
        ("kernel_drift_per_h", |point| Some(point.kernel_bytes? as f64)),
        ("descriptors_drift_per_h", |point| Some(point.descriptors? as f64)),
        ("p99_drift_per_h", |point| Some(point.latency_ns?[1] as f64)),
    ];
    for (name, value) in drifts {
        if let Some(drift) = per_hour(&report.series, value) {
            report.values.set(name, drift);
        }
    }
    report
}

fn settings(args: &Soak) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.common.target.dialect.clone().into()),
        ("subscribers", args.subscribers.get().into()),
        ("rate", args.rate.into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("joins", args.joins.into()),
        ("stay_s", args.stay.as_secs_f64().into()),
        ("slow", args.slow().into()),
        ("read_kb_per_s", args.read_kb_per_s.into()),
        ("hostile", args.hostile.into()),
        ("duration_s", args.duration.as_secs_f64().into()),
        ("warm_up_s", args.common.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
