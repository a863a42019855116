//! The chat: connections that all talk to all.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report`, also of a run that failed half-way, or why there was nothing to measure
//! Bounds  opening: 10 s per step; talking: --duration; the rest: --patience
//! Source  each message of each of N members is delivered N times

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    ending::{Ending, Scene, warm_up_note},
    ground::{Ground, Room, RunError},
    stage::Stage,
};
use crate::{
    args::chat::Chat,
    client::{
        audience::{Audience, Streams},
        crew::Crew,
        progress::{LOOK_AGAIN, Progress},
        talk::Talk,
    },
    dialect::Needs,
    load::popularity::Popularity,
    report::{Report, figures},
    watch::Goal,
};

/// Runs it.
///
/// # Errors
/// Nobody talked: no server, no connections, not enough descriptors.
pub fn run(args: &Chat, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let ground = Ground::prepare(
        &args.common.target,
        &args.common.output,
        Room { receivers: args.members.get(), others: 0 },
        Needs::Chat,
    )?;
    let ran = measure(args, &ground, is_interrupted);
    ground.end(ran)
}

fn measure(args: &Chat, ground: &Ground, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let members = args.members.get();
    let hears_itself = ground.opener.dialect().hears_itself();
    let audience = Audience {
        streams: Streams::Talkers { hears_itself },
        ..Audience::of_one(&args.topic, members, ground.threads(args.common.threads(), members), 0)
    };
    let mut stage = Stage::open(ground, audience, 0, Popularity::of_one(), is_interrupted)?;
    let progress = Arc::clone(&stage.progress);
    let table = Table { args, hears_itself, progress: &progress, is_interrupted };
    let warm_up = args.common.warm_up.map_or_else(Vec::new, |time| {
        stage.measure_from(u64::MAX);
        // What is late at the end of a warm-up is in no figure, and not sent any more.
        ground.watch.warming(&progress, time, || table.talk(&stage.crew, time, Duration::ZERO).sent)
    });
    let mut said = Said::default();
    let goal = Goal { time: Some(args.duration), ..Goal::default() };
    let mut act = stage.measure_to(goal, |crew, _| {
        said = table.talk(crew, args.duration, args.common.patience);
        said.is_whole
    })?;
    let warm_up: u64 = warm_up.iter().sum();
    act.publishes = said.sent.iter().sum::<u64>() - warm_up;
    act.unsent = said.unsent;

    let ending = Ending { unsent: said.unsent, ..stage.end_of(said.sent) };
    let values = ending.values(&act, ground);
    let scene = Scene {
        scenario: "chat",
        settings: settings(args),
        sections: figures::TOPICS,
        is_measured: !act.heard.latency_ns.is_empty(),
    };
    let cut = ending.is_interrupted.then(|| "interrupted before its time was over".to_owned());
    Ok(ending.report(scene, values, warm_up_note(warm_up, "messages").into_iter().chain(cut)))
}

/// Where they talk.
struct Table<'r> {
    args: &'r Chat,
    hears_itself: bool,
    progress: &'r Progress,
    is_interrupted: &'r AtomicBool,
}

/// What was said.
#[derive(Default)]
struct Said {
    /// Messages so far, by member.
    sent: Vec<u64>,
    /// Messages that were due and were not sent.
    unsent: u64,
    /// Whether all was heard.
    is_whole: bool,
}

impl Table<'_> {
    /// Has all talk for some time, and waits until everybody has heard everything.
    fn talk(&self, crew: &Crew, time: Duration, overtime: Duration) -> Said {
        let members = self.args.members.get() as u64;
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        crew.talk(Talk { per_s: self.args.rate, payload_bytes: self.args.payload_bytes, time_ns });
        let end = Instant::now() + time;
        while Instant::now() < end && !self.is_over(members) {
            thread::park_timeout(LOOK_AGAIN.min(end.saturating_duration_since(Instant::now())));
        }
        // The schedule ends by itself, unless something ends it before.
        let over_ns = if Instant::now() < end { self.progress.now_ns() } else { u64::MAX };
        let (sent, unsent) = crew.quiet(over_ns, overtime);
        let hearers = if self.hears_itself { members } else { members - 1 };
        let said: u64 = sent.iter().sum();
        let is_over = || self.progress.left() >= members;
        let is_whole = self.progress.wait_delivered(
            |progress| if hearers == members { progress.goal(said, members) } else { said * hearers },
            self.args.common.patience,
            is_over,
        );
        Said { sent, unsent, is_whole }
    }

    fn is_over(&self, members: u64) -> bool {
        let is_alone = self.progress.left() >= members;
        if is_alone {
            self.progress.fail("no member is left".to_owned());
        }
        is_alone || self.progress.is_failed() || self.is_interrupted.load(SeqCst)
    }
}

fn settings(args: &Chat) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.common.target.dialect.clone().into()),
        ("members", args.members.get().into()),
        ("rate", args.rate.into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("duration_s", args.duration.as_secs_f64().into()),
        ("warm_up_s", args.common.warm_up.unwrap_or_default().as_secs_f64().into()),
    ]
}
