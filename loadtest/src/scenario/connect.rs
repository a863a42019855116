//! The storm of connects: how long handshakes take, and what a group notices that was there before.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report`, also of a run that failed half-way, or why there was nothing to measure
//! Bounds  opening the group: 10 s per step; the storm: --duration; the rest: --patience
//! Source  CPU and memory are differences around what is measured

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use super::ground::{Ground, RunError};
use crate::{
    args::connect::Connect,
    client::{
        crew::{Audience, Crew},
        envelope::Envelope,
        progress::Progress,
        publisher::Publishers,
        storm::{Plan, Storm, StormOutcome},
        worker::Outcome,
    },
    load::stream::{Pace, Stream},
    measure::{latency::latency_histogram, process::Memory, reading::Spent},
    report::{
        Report, figures,
        values::{HANDSHAKES, LATENCIES, PER_CONNECT, Values},
    },
};

/// Runs it.
///
/// # Errors
/// Nothing was tried: no server, no group, not enough descriptors.
pub fn run(args: &Connect, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let ground = Ground::prepare(&args.target, args.connections_total())?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Connect, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let envelope = Envelope::new(&args.topic);
    let progress = Arc::new(Progress::new());
    let subscribers = args.subscribers.get();
    let audience = Audience {
        connections: subscribers,
        threads: 1,
        envelope: envelope.clone(),
        is_subscribed: true,
        publishers: 1,
    };
    let memory_before = ground.memory()?;
    let crew = Crew::open(&ground.opener, &audience, &progress, is_interrupted)?;
    let publisher = ground.opener.open(subscribers)?;
    let mut publishers = Publishers::new(vec![publisher], subscribers, &envelope, &progress);
    let stream = Stream {
        pace: Pace::per_second(args.publish_rate),
        burst: 1,
        payload_bytes: args.payload_bytes,
        publishes_max: u64::MAX,
        patience: args.patience,
    };
    if let Some(warm_up) = args.warm_up {
        progress.measure_from(u64::MAX);
        let end = Instant::now() + warm_up;
        let is_warm = || Instant::now() >= end && progress.delivered() > 0;
        publishers.run(&stream, &|| is_interrupted.load(SeqCst) || is_warm());
    }

    let plan = Plan {
        first: subscribers + 1,
        connects: args.connections.get(),
        pace: Pace::per_second(args.rate),
        at_once: args.at_once.get(),
    };
    let storm = Storm::new(&ground.opener, plan, &progress)?;
    let deadline = Instant::now() + args.duration;
    let is_over = || is_interrupted.load(SeqCst) || Instant::now() >= deadline;
    let before = ground.read()?;
    progress.measure_from(progress.now_ns());
    let joined = thread::scope(|scope| {
        // The storm's own thread reads the clocks: a thread that has ended has none any more.
        let storm = scope.spawn(|| (storm.run(&is_over), ground.read()));
        publishers.run(&stream, &|| storm.is_finished());
        storm.join()
    });
    // The panic's own message stands above.
    let (storm, after) = joined.map_err(|_| RunError::Panic)?;
    let spent = before.until(&after?);
    // A server that has died in the run has no memory any more; the report says that it died.
    let memory_after = ground.memory().ok().flatten();
    progress.finish(publishers.published().to_vec());
    let taken = Taken {
        group: crew.join(),
        publishes: publishers.published().iter().sum(),
        storm,
        spent,
        closed_first: progress.closed_first().map(str::to_owned),
        memory: [memory_before, None, memory_after],
    };
    Ok(taken.report(args, ground, progress.failure(), is_interrupted.load(SeqCst)))
}

/// What a run has taken.
struct Taken {
    group: Vec<Outcome>,
    publishes: u64,
    storm: StormOutcome,
    spent: Spent,
    /// How the first subscriber of the group was closed that was.
    closed_first: Option<String>,
    /// Before anybody connected, and at the end.
    memory: [Option<Memory>; 3],
}

impl Taken {
    fn report(
        self,
        args: &Connect,
        ground: &Ground,
        failure: Option<String>,
        is_interrupted: bool,
    ) -> Report {
        let mut latency_ns = latency_histogram();
        for outcome in &self.group {
            // Histograms of the same bounds always add up.
            latency_ns += &outcome.latency_ns;
        }
        let tally = self.group.iter().map(|outcome| outcome.tally).sum();
        let of_storm = std::iter::once(self.storm.closes.clone());
        let closes = self.group.iter().map(|outcome| outcome.closes.clone()).chain(of_storm).sum();
        let (opened, refused) = (self.storm.opened, self.storm.refusals.count());
        let mut values = Values::default();
        values.set("connects", (opened + refused) as f64);
        values.set("opened", opened as f64);
        values.set("refused", refused as f64);
        values.set("storm", self.storm.elapsed_ns as f64);
        values.set("opened_per_s", opened as f64 / (self.storm.elapsed_ns as f64 / 1e9));
        values.set_latency(&self.storm.latency_ns, &HANDSHAKES);
        values.set("publishes", self.publishes as f64);
        values.set("measured", latency_ns.len() as f64);
        values.set_truth(&tally, &closes);
        values.set_latency(&latency_ns, &LATENCIES);
        values.set_spent(&PER_CONNECT, &self.spent, opened as f64, ground.client_cpus);
        values.set_memories(self.memory, self.storm.open() + args.subscribers.get() + 1);
        Report {
            scenario: "connect",
            settings: settings(args),
            sections: figures::CONNECT,
            values,
            tally,
            closes,
            notes: self.notes(args, is_interrupted),
            judgements: Vec::new(),
            is_measured: opened > 0,
            is_interrupted,
            failure,
        }
    }

    fn notes(&self, args: &Connect, is_interrupted: bool) -> Vec<String> {
        let mut notes: Vec<_> =
            self.closed_first.iter().map(|how| format!("the first close: {how}")).collect();
        notes.extend(self.storm.refusals.text().map(|text| format!("refused: {text}")));
        let (tried, planned) = (self.storm.opened + self.storm.refusals.count(), args.connections.get());
        if tried < planned as u64 {
            let how = if is_interrupted { "interrupted" } else { "ended" };
            notes.push(format!("{how} after {tried} of {planned} connects"));
        }
        notes
    }
}

fn settings(args: &Connect) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("connections", args.connections.get().into()),
        ("rate", args.rate.into()),
        ("at_once", args.at_once.get().into()),
        ("subscribers", args.subscribers.get().into()),
        ("publish_rate", args.publish_rate.into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("warm_up_s", args.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
