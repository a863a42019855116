//! Large messages: the fan-out with one length after the other.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report` with a table of the lengths, or why there was nothing to measure
//! Bounds  opening: 10 s per step; each length: --duration; the rest: --patience
//! Source  none

use std::sync::atomic::AtomicBool;

use super::{
    ending::{Scene, processes_note, warm_up_note},
    ground::{Ground, Room, RunError},
    stage::{Act, Stage},
};
use crate::{
    args::large::Large,
    client::audience::Audience,
    dialect::Needs,
    load::{
        popularity::Popularity,
        stream::{Pace, Stream},
    },
    report::{
        Report, figures,
        table::Table,
        unit::Unit,
        values::{LASTS, LATENCIES, PER_FRAME, Values},
    },
};

/// Runs it.
///
/// # Errors
/// Nothing was published: no server, no connections, not enough descriptors.
pub fn run(args: &Large, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let ground = Ground::prepare(
        &args.common.target,
        &args.common.output,
        Room { receivers: args.subscribers.get(), others: 1 },
        Needs::Publish,
    )?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Large, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let subscribers = args.subscribers.get();
    let threads = ground.threads(args.common.threads(), subscribers);
    let audience = Audience::of_one(&args.topic, subscribers, threads, 1);
    let mut stage = Stage::open(ground, audience, 1, Popularity::of_one(), is_interrupted)?;
    let smallest = args.sizes.iter().min().copied().unwrap_or_default();
    let warm_up = stage.warm_up(&stream(args, smallest), args.common.warm_up);
    let mut table = Table::new("size", &COLUMNS);
    let mut all: Option<Act> = None;
    for &payload_bytes in &args.sizes {
        if stage.is_interrupted() || stage.progress.is_failed() {
            break;
        }
        let act = stage.act(&stream(args, payload_bytes), args.duration)?;
        table.rows.push(row(&act, payload_bytes, ground));
        all = Some(match all {
            Some(sum) => sum.with(act),
            None => act,
        });
    }

    let ending = stage.end();
    let planned = args.sizes.iter().map(|&bytes| args.publishes(bytes)).sum();
    let publishes = all.as_ref().map_or(0, |act| act.publishes);
    let short = ending.short(publishes, planned, "publishes");
    let values = all.as_ref().map(|act| ending.values(act, ground)).unwrap_or_default();
    let scene = Scene {
        scenario: "large",
        settings: settings(args),
        sections: figures::FANOUT,
        is_measured: all.is_some_and(|act| !act.heard.latency_ns.is_empty()),
    };
    let notes = warm_up_note(warm_up, "publishes").into_iter().chain(short);
    let notes = notes.chain(processes_note(ground.processes, args.rate));
    Ok(ending.report(scene, values, notes).with_table(table))
}

fn stream(args: &Large, payload_bytes: usize) -> Stream {
    Stream {
        pace: Pace::per_second(args.rate),
        burst: 1,
        payload_bytes,
        publishes_max: args.publishes(payload_bytes),
        patience: args.common.patience,
        overtime: args.common.patience,
    }
}

fn row(act: &Act, payload_bytes: usize, ground: &Ground) -> Vec<Option<f64>> {
    let measured = act.heard.latency_ns.len();
    let mut values = Values::default();
    values.set("size", payload_bytes as f64);
    values.set_pace(measured, act.elapsed_ns);
    values.set_latency(&act.heard.latency_ns, &LATENCIES);
    values.set_latency(&act.heard.last_ns, &LASTS);
    values.set_spent(&PER_FRAME, &act.spent, measured as f64, ground.client_cpus);
    let per_mib = |ns: f64| ns / (payload_bytes as f64 / 1_048_576.0);
    values.set("server_cpu_per_mib", values.get("server_cpu_per_frame").map_or(f64::NAN, per_mib));
    let bytes_per_s = values.get("delivered_per_s").map_or(f64::NAN, |rate| rate * payload_bytes as f64);
    values.set("bytes_per_s", bytes_per_s);
    COLUMNS.iter().map(|(name, _)| values.get(name)).collect()
}

fn settings(args: &Large) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.common.target.dialect.clone().into()),
        ("subscribers", args.subscribers.get().into()),
        ("mebibytes", args.mebibytes.into()),
        ("rate", args.rate.into()),
        ("warm_up_s", args.common.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}

const COLUMNS: [(&str, Unit); 8] = [
    ("size", Unit::Bytes),
    ("delivered_per_s", Unit::Rate),
    ("bytes_per_s", Unit::Bytes),
    ("p50", Unit::Time),
    ("p99", Unit::Time),
    ("last_p99", Unit::Time),
    ("server_cpu_per_frame", Unit::Time),
    ("server_cpu_per_mib", Unit::Time),
];
