//! The fan-out: one topic, many subscribers, and publishes to them.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report`, also of a run that failed half-way, or why there was nothing to measure
//! Bounds  opening: 10 s per step; publishing: --duration; the rest: --patience
//! Source  CPU and memory are differences around what is measured

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Instant,
};

use super::ground::{Ground, RunError};
use crate::{
    args::fanout::Fanout,
    client::{
        connection::{Connection, Opener},
        crew::{Audience, Crew},
        envelope::Envelope,
        error::OpenError,
        progress::Progress,
        publisher::Publishers,
        worker::Outcome,
    },
    load::stream::{Pace, Stream},
    measure::{latency::latency_histogram, process::Memory, reading::Spent},
    report::{
        Report, figures,
        values::{LATENCIES, PER_FRAME, Values},
    },
};

/// Runs it.
///
/// # Errors
/// Nothing was published: no server, no connections, not enough descriptors.
pub fn run(args: &Fanout, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let ground = Ground::prepare(&args.target, args.connections())?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Fanout, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let envelope = Envelope::new(&args.topic);
    let progress = Arc::new(Progress::new());
    let subscribers = args.subscribers.get();

    let memory_before = ground.memory()?;
    let audience = Audience {
        connections: subscribers,
        threads: ground.threads(args.threads.map(usize::from), subscribers),
        envelope: envelope.clone(),
        is_subscribed: true,
        publishers: args.publishers.into(),
    };
    let crew = Crew::open(&ground.opener, &audience, &progress, is_interrupted)?;
    let memory_connected = ground.memory()?;
    let connections = open_publishers(args, &ground.opener)?;
    let mut publishers = Publishers::new(connections, subscribers, &envelope, &progress);

    if let Some(warm_up) = args.warm_up {
        progress.measure_from(u64::MAX);
        let end = Instant::now() + warm_up;
        let is_warm = || Instant::now() >= end && progress.delivered() > 0;
        let endless = Stream { publishes_max: u64::MAX, ..stream(args) };
        publishers.run(&endless, &|| is_interrupted.load(SeqCst) || is_warm());
    }
    let warm_up_publishes = publishers.published().iter().sum();

    let deadline = Instant::now() + args.duration;
    let is_over = || is_interrupted.load(SeqCst) || Instant::now() >= deadline;
    let before = ground.read()?;
    let started_ns = progress.now_ns();
    progress.measure_from(started_ns);
    publishers.run(&stream(args), &is_over);
    let spent = before.until(&ground.read()?);
    // A server that has died in the run has no memory any more; the report says that it died.
    let memory_after = ground.memory().ok().flatten();

    progress.finish(publishers.published().to_vec());
    let taken = Taken {
        outcomes: crew.join(),
        publishes: publishers.published().iter().sum(),
        warm_up_publishes,
        elapsed_ns: progress.delivered_last_ns().saturating_sub(started_ns),
        spent,
        closed_first: progress.closed_first().map(str::to_owned),
        memory: [memory_before, memory_connected, memory_after],
    };
    Ok(taken.report(args, ground, progress.failure(), is_interrupted.load(SeqCst)))
}

fn open_publishers(args: &Fanout, opener: &Opener) -> Result<Vec<Connection>, OpenError> {
    (args.subscribers.get()..args.connections()).map(|number| opener.open(number)).collect()
}

fn stream(args: &Fanout) -> Stream {
    Stream {
        pace: Pace::per_second(args.rate),
        burst: args.burst.get() as u64,
        payload_bytes: args.payload_bytes,
        publishes_max: args.publishes(),
        patience: args.patience,
    }
}

/// What a run has taken.
struct Taken {
    outcomes: Vec<Outcome>,
    publishes: u64,
    /// The first of them, which are not measured.
    warm_up_publishes: u64,
    /// From the first publish to the last delivery.
    elapsed_ns: u64,
    spent: Spent,
    /// How the first subscriber was closed that was.
    closed_first: Option<String>,
    /// Before anybody connected, with all subscribers, and after the last delivery.
    memory: [Option<Memory>; 3],
}

impl Taken {
    fn report(self, args: &Fanout, ground: &Ground, failure: Option<String>, is_interrupted: bool) -> Report {
        let mut latency_ns = latency_histogram();
        for outcome in &self.outcomes {
            // Histograms of the same bounds always add up.
            latency_ns += &outcome.latency_ns;
        }
        let tally = self.outcomes.iter().map(|outcome| outcome.tally).sum();
        let closes = self.outcomes.iter().map(|outcome| outcome.closes.clone()).sum();
        let mut values = Values::default();
        values.set("publishes", self.publishes as f64);
        values.set_truth(&tally, &closes);
        values.set_pace(latency_ns.len(), self.elapsed_ns);
        values.set_latency(&latency_ns, &LATENCIES);
        values.set_spent(&PER_FRAME, &self.spent, latency_ns.len() as f64, ground.client_cpus);
        values.set_memories(self.memory, args.subscribers.get());
        Report {
            scenario: "fanout",
            settings: settings(args),
            sections: figures::FANOUT,
            values,
            tally,
            closes,
            notes: self.notes(args, is_interrupted),
            judgements: Vec::new(),
            is_measured: !latency_ns.is_empty(),
            is_interrupted,
            failure,
        }
    }

    fn notes(&self, args: &Fanout, is_interrupted: bool) -> Vec<String> {
        let mut notes: Vec<_> =
            self.closed_first.iter().map(|how| format!("the first close: {how}")).collect();
        if args.warm_up.is_some() {
            notes.push(format!(
                "the first {} publishes, the warm-up, are checked and not measured",
                self.warm_up_publishes
            ));
        }
        let (publishes, planned) = (self.publishes - self.warm_up_publishes, args.publishes());
        if publishes < planned {
            let how = if is_interrupted { "interrupted" } else { "ended" };
            notes.push(format!("{how} after {publishes} of {planned} publishes"));
        }
        notes
    }
}

fn settings(args: &Fanout) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("subscribers", args.subscribers.get().into()),
        ("publishers", args.publishers.into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("burst", args.burst.get().into()),
        ("rate", args.rate.into()),
        ("publishes_planned", args.publishes().into()),
        ("warm_up_s", args.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
