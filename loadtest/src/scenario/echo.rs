//! The echo: messages that come back to the connection that sent them.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report`, also of a run that failed half-way, or why there was nothing to measure
//! Bounds  opening: 10 s per step; sending: --duration; the rest: --patience
//! Source  CPU and memory are differences around what is measured

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::Duration,
};

use super::{
    ending::{Ending, Scene, warm_up_note},
    ground::{Ground, Room, RunError},
    stage::Act,
};
use crate::{
    args::echo::Echo,
    client::{
        crew::{shares, wait_open},
        echo::{EchoWorker, Phase},
        error::OpenError,
        hearing::Hearing,
        judge::Heard,
        progress::{LOOK_AGAIN, Progress},
        worker::Outcome,
    },
    dialect::Needs,
    load::stream::Pace,
    report::{Report, figures},
    watch::{Goal, View},
};

/// Runs it.
///
/// # Errors
/// Nothing was sent: no server, no connections, not enough descriptors.
pub fn run(args: &Echo, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let ground = Ground::prepare(
        &args.common.target,
        &args.common.output,
        Room { receivers: 0, others: args.connections.get() },
        Needs::Echo,
    )?;
    let ran = thread::scope(|scope| measure(args, &ground, scope, is_interrupted));
    ground.end(ran)
}

fn measure<'s>(
    args: &'s Echo,
    ground: &'s Ground,
    scope: &'s Scope<'s, '_>,
    is_interrupted: &'s AtomicBool,
) -> Result<Report, RunError> {
    let progress = Arc::new(Progress::new());
    let held_before = ground.footprint()?;
    let connections = args.connections.get();
    let (mut threads, ears) = ground
        .watch
        .opening(&progress, connections, || Threads::open(args, ground, scope, &progress, is_interrupted))?;
    let held_connected = ground.footprint()?;

    if let Some(warm_up) = args.common.warm_up {
        progress.measure_from(u64::MAX);
        ground.watch.warming(&progress, warm_up, || threads.run(args, u64::MAX, warm_up, None));
    }
    let warm_up_sent = threads.sent;
    let before = ground.read()?;
    let started_ns = progress.now_ns();
    progress.measure_from(started_ns);
    let planned = args.messages_each() * connections as u64;
    let goal = Goal { time: Some(args.duration), messages: Some(planned), connections: None };
    let view = View { progress: &progress, hear: &|| ears.recent(), goal };
    let (after, watched) = ground.watch.measuring(view, || {
        threads.run(args, args.messages_each(), args.duration, Some(args.common.patience));
        ground.read()
    });
    let spent = before.until(&after?);
    let (rest, heard) = ears.end_phase();
    watched.end(&rest);
    // A server that has died in the run holds nothing any more; the report says that it died.
    let held_after = ground.footprint().ok().flatten();

    let (sent, unsent) = (threads.sent, threads.unsent);
    let outcomes = threads.join();
    let act = Act {
        publishes: sent - warm_up_sent,
        elapsed_ns: progress.delivered_last_ns().saturating_sub(started_ns),
        spent,
        heard,
        unsent,
        is_whole: !progress.is_failed(),
    };
    let ending = Ending {
        publishes: sent,
        unsent,
        outcome: outcomes.into_iter().fold(Outcome::default(), Outcome::with),
        connections,
        held: [held_before, held_connected, held_after],
        closed_first: progress.closed_first().map(str::to_owned),
        failure: progress.failure(),
        is_interrupted: is_interrupted.load(SeqCst),
    };
    let mut values = ending.values(&act, ground);
    values.set("sent", sent as f64);
    let short = ending.short(act.publishes, planned, "messages");
    let scene = Scene {
        scenario: "echo",
        settings: settings(args),
        sections: figures::ECHO,
        is_measured: !act.heard.latency_ns.is_empty(),
    };
    Ok(ending.report(scene, values, warm_up_note(warm_up_sent, "messages").into_iter().chain(short)))
}

/// The threads that hold the connections.
struct Threads<'s> {
    handles: Vec<ScopedJoinHandle<'s, Outcome>>,
    /// With the part of all connections that each holds.
    phases: Vec<(Sender<Phase>, f64)>,
    /// How much each has sent in all its phases, and not sent of what was due, after each phase.
    done: Receiver<(u64, u64)>,
    sent: u64,
    unsent: u64,
}

/// A way to ask the threads what they have heard.
struct Ears {
    asks: Vec<Sender<Sender<Heard>>>,
    hearing: Hearing,
}

impl Ears {
    fn recent(&self) -> Heard {
        self.hearing.recent(|answer| self.ask(answer))
    }

    fn end_phase(&self) -> (Heard, Heard) {
        self.hearing.end_phase(|answer| self.ask(answer))
    }

    fn ask(&self, answer: &Sender<Heard>) {
        for ask in &self.asks {
            // Only a panic ends a thread early; its message stands above.
            let _ = ask.send(answer.clone());
        }
    }
}

impl<'s> Threads<'s> {
    /// Starts them, and returns when all connections are open.
    fn open(
        args: &Echo,
        ground: &'s Ground,
        scope: &'s Scope<'s, '_>,
        progress: &Arc<Progress>,
        is_interrupted: &'s AtomicBool,
    ) -> Result<(Self, Ears), OpenError> {
        let connections = args.connections.get();
        let threads = ground.threads(args.common.threads(), connections);
        let ((opened, openings), (finished, done)) = (channel(), channel());
        let (mut handles, mut phases, mut asks) = (Vec::new(), Vec::new(), Vec::new());
        for share in shares(connections, threads) {
            let ((sender, todo), (ask, asked)) = (channel(), channel());
            asks.push(ask);
            let (progress, opened, finished) = (Arc::clone(progress), opened.clone(), finished.clone());
            phases.push((sender, share.len() as f64 / connections as f64));
            handles.push(scope.spawn(move || {
                let opening = EchoWorker::open(&ground.opener, share, progress, asked);
                work(opening, &opened, &todo, &finished, is_interrupted)
            }));
        }
        wait_open(&openings, threads, progress, is_interrupted)?;
        Ok((Self { handles, phases, done, sent: 0, unsent: 0 }, Ears { asks, hearing: Hearing::default() }))
    }

    /// Has them all send, and waits until they are done.
    fn run(&mut self, args: &Echo, messages_each: u64, time: Duration, overtime: Option<Duration>) {
        let phase = |part| Phase {
            // All threads are done at the same time: each sends at the rate of its connections.
            pace: Pace::per_second(args.rate * part),
            payload_bytes: args.payload_bytes,
            messages_each,
            time,
            overtime,
            patience: args.common.patience,
        };
        for (phases, part) in &self.phases {
            // A thread that has ended is noticed below.
            let _ = phases.send(phase(*part));
        }
        (self.sent, self.unsent) = (0, 0);
        let mut left = self.phases.len();
        while left > 0 {
            match self.done.recv_timeout(LOOK_AGAIN) {
                Ok((sent, unsent)) => {
                    self.sent += sent;
                    self.unsent += unsent;
                    left -= 1;
                }
                // Only a panic ends a thread here; its message stands above, and joining passes it on.
                Err(_) if self.handles.iter().any(ScopedJoinHandle::is_finished) => return,
                Err(_) => {}
            }
        }
    }

    fn join(self) -> Vec<Outcome> {
        drop(self.phases);
        self.handles.into_iter().filter_map(|handle| handle.join().ok()).collect()
    }
}

fn work(
    opening: Result<EchoWorker, OpenError>,
    opened: &Sender<Result<(), OpenError>>,
    phases: &Receiver<Phase>,
    finished: &Sender<(u64, u64)>,
    is_interrupted: &AtomicBool,
) -> Outcome {
    let mut worker = match opening {
        Ok(worker) => worker,
        Err(error) => {
            // The run ends before anything is sent; nobody asks for this outcome.
            drop(opened.send(Err(error)));
            return Outcome::default();
        }
    };
    drop(opened.send(Ok(())));
    loop {
        match phases.recv_timeout(LOOK_AGAIN) {
            Ok(phase) => {
                worker.run(&phase, &|| is_interrupted.load(SeqCst));
                // Nobody asks any more once the run has failed elsewhere.
                let _ = finished.send((worker.sent(), worker.unsent()));
            }
            Err(RecvTimeoutError::Timeout) => worker.answer(),
            Err(RecvTimeoutError::Disconnected) => return worker.outcome(),
        }
    }
}

fn settings(args: &Echo) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.common.target.dialect.clone().into()),
        ("connections", args.connections.get().into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("rate", args.rate.into()),
        ("messages_planned", (args.messages_each() * args.connections.get() as u64).into()),
        ("warm_up_s", args.common.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
