//! The capacity: the highest open-loop rate at which an objective is met.
//!
//! In      its arguments; a flag that an interrupt sets
//! Out     a `Report` of a last run at the rate found, with the curve on the way, or why there is none
//! Bounds  40 rates, each tried at most twice: --step and --patience each
//! Source  latency counts from when each publish was due: an overloaded server cannot hide it

use std::sync::atomic::AtomicBool;

use super::{
    ending::{Ending, Scene},
    ground::{Ground, Room, RunError},
    stage::{Act, Stage},
};
use crate::{
    args::capacity::Capacity,
    client::audience::Audience,
    dialect::Needs,
    load::{
        popularity::Popularity,
        search::Search,
        stream::{Pace, Stream},
    },
    report::{
        Report, figures,
        require::Requirement,
        table::Table,
        unit::Unit,
        values::{LASTS, LATENCIES, PER_FRAME, Values},
    },
};

/// Runs it.
///
/// # Errors
/// Nothing was published: no server, no connections, not enough descriptors.
pub fn run(args: &Capacity, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    let parse = |text: &String| Requirement::parse(text, figures::FANOUT);
    let objectives = args.objective.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let ground = Ground::prepare(
        &args.common.target,
        &args.common.output,
        Room { receivers: args.subscribers.get(), others: 1 },
        Needs::Publish,
    )?;
    let ran = Looking { args, ground: &ground, objectives, is_interrupted, stage: None }.measure();
    ground.end(ran)
}

struct Looking<'r> {
    args: &'r Capacity,
    ground: &'r Ground,
    objectives: Vec<Requirement>,
    is_interrupted: &'r AtomicBool,
    /// Connections that are as they were opened.
    stage: Option<Stage<'r>>,
}

impl<'r> Looking<'r> {
    fn measure(mut self) -> Result<Report, RunError> {
        let (args, is_interrupted) =
            (self.args, || self.is_interrupted.load(std::sync::atomic::Ordering::SeqCst));
        let mut search = Search::new(args.rate_first, args.rate_max, f64::from(args.precision) / 100.0);
        let mut table = Table::new("step", &COLUMNS);
        let mut found = Found::default();
        while !found.is_confirmed && !is_interrupted() {
            // What passed by luck does not pass for twice the time.
            let (rate, times) = match (search.next(), search.to_confirm()) {
                (Some(rate), _) => (rate, 1),
                (None, Some(rate)) => (rate, 2),
                (None, None) => break,
            };
            let (mut is_passed, mut client_cpu) = (false, None);
            // A pause of the machine is no limit of the server's.
            for _ in 0..TRIES {
                let (act, values, is_met) = self.step(rate, times)?;
                if times == 2 || is_interrupted() {
                    found.last = Some((act, rate));
                }
                if is_interrupted() {
                    break;
                }
                table.rows.push(row(&values, rate, is_met));
                (is_passed, client_cpu) = (is_met, values.get("client_cpu"));
                if is_met {
                    break;
                }
            }
            if is_interrupted() {
                break;
            }
            found.note(rate, is_passed, client_cpu);
            if times == 1 {
                search.tried(is_passed);
            } else if is_passed {
                found.is_confirmed = true;
            } else {
                search.refuted();
            }
        }
        let stage = match self.stage.take() {
            Some(stage) => stage,
            // The last rate has closed connections, and was found too high.
            None => self.open()?,
        };
        let ending = stage.end();
        Ok(self.report(ending, &found, search.steps()).with_table(table))
    }

    /// Publishes at a rate; whether all objectives are met.
    fn step(&mut self, rate: f64, times: u32) -> Result<(Act, Values, bool), RunError> {
        let mut stage = match self.stage.take() {
            Some(stage) => stage,
            None => self.open()?,
        };
        let time = self.args.step * times;
        let stream = Stream {
            pace: Pace::per_second(rate),
            burst: self.args.burst.get() as u64,
            payload_bytes: self.args.payload_bytes,
            publishes_max: u64::MAX,
            patience: self.args.common.patience,
            // A rate that takes twice its time is too high.
            overtime: self.args.common.patience.min(time),
        };
        stage.warm_up(&stream, Some(time / 10));
        let act = stage.act(&stream, time)?;
        let values = self.values(&act);
        let is_well =
            act.is_whole && act.unsent == 0 && stage.progress.left() == 0 && !act.heard.latency_ns.is_empty();
        let is_met = |objective: &Requirement| objective.judge(values.get(objective.name())).is_met;
        let is_passed = is_well && self.objectives.iter().all(is_met);
        // Where the server has closed connections, the next step begins with new ones.
        if is_well {
            self.stage = Some(stage);
        } else {
            drop(stage.end());
        }
        Ok((act, values, is_passed))
    }

    fn open(&self) -> Result<Stage<'r>, RunError> {
        let subscribers = self.args.subscribers.get();
        let threads = self.ground.threads(self.args.common.threads(), subscribers);
        let audience = Audience::of_one(&self.args.topic, subscribers, threads, 1);
        Stage::open(self.ground, audience, 1, Popularity::of_one(), self.is_interrupted)
    }

    fn values(&self, act: &Act) -> Values {
        let measured = act.heard.latency_ns.len();
        let mut values = Values::default();
        values.set("publishes", act.publishes as f64);
        values.set_pace(measured, act.elapsed_ns);
        values.set_latency(&act.heard.latency_ns, &LATENCIES);
        values.set_latency(&act.heard.last_ns, &LASTS);
        values.set_spent(&PER_FRAME, &act.spent, measured as f64, self.ground.client_cpus);
        values
    }

    fn report(&self, ending: Ending, found: &Found, steps: u32) -> Report {
        let args = self.args;
        let last = found.last.as_ref();
        let mut values = last.map(|(act, _)| ending.values(act, self.ground)).unwrap_or_default();
        values.set("steps", f64::from(steps));
        let confirmed = last.filter(|_| found.is_confirmed);
        if let Some((act, rate)) = confirmed {
            values.set("capacity", *rate);
            values
                .set("capacity_delivered", act.heard.latency_ns.len() as f64 / (act.elapsed_ns as f64 / 1e9));
        }
        if let Some((_, Some(share))) = found.failed {
            values.set("limit_client_cpu", share);
        }
        let unconfirmed = (confirmed.is_none() && !ending.is_interrupted).then(|| match found.passed {
            None => "no rate met the objective: start lower (--rate-first), or ask for less".to_owned(),
            Some(rate) => format!(
                "no rate met the objective for twice --step, which it must; the highest that met it once was \
                 {rate:.0}/s: ask for less, or for longer steps (--step)"
            ),
        });
        let cut = ending.is_interrupted.then(|| "interrupted before the rate was found".to_owned());
        let scene = Scene {
            scenario: "capacity",
            settings: settings(args),
            sections: figures::CAPACITY,
            is_measured: confirmed.is_some() || (ending.is_interrupted && last.is_some()),
        };
        let report = ending.report(scene, values, cut);
        match unconfirmed {
            Some(why) => report.with_failure(why),
            None => report,
        }
    }
}

/// What the search has met.
#[derive(Default)]
struct Found {
    /// The last run that is worth a report, and its rate.
    last: Option<(Act, f64)>,
    is_confirmed: bool,
    /// The highest rate that passed.
    passed: Option<f64>,
    /// The lowest that did not, and this program's CPU then.
    failed: Option<(f64, Option<f64>)>,
}

impl Found {
    fn note(&mut self, rate: f64, is_met: bool, client_cpu: Option<f64>) {
        if is_met {
            self.passed = Some(self.passed.map_or(rate, |passed| passed.max(rate)));
        } else if self.failed.is_none_or(|(failed, _)| rate <= failed) {
            self.failed = Some((rate, client_cpu));
        }
    }
}

fn row(values: &Values, rate: f64, is_passed: bool) -> Vec<Option<f64>> {
    let value = |name: &str| match name {
        "rate" => Some(rate),
        "met" => Some(f64::from(u8::from(is_passed))),
        _ => values.get(name),
    };
    COLUMNS.iter().map(|(name, _)| value(name)).collect()
}

fn settings(args: &Capacity) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("dialect", args.common.target.dialect.clone().into()),
        ("subscribers", args.subscribers.get().into()),
        ("objective", args.objective.join(" ").into()),
        ("payload_bytes", args.payload_bytes.into()),
        ("burst", args.burst.get().into()),
        ("step_s", args.step.as_secs_f64().into()),
        ("precision_percent", args.precision.into()),
    ]
}

const COLUMNS: [(&str, Unit); 9] = [
    ("rate", Unit::Rate),
    ("delivered_per_s", Unit::Rate),
    ("p50", Unit::Time),
    ("p99", Unit::Time),
    ("last_p99", Unit::Time),
    ("server_cpu_per_frame", Unit::Time),
    ("server_cpus", Unit::Number),
    ("client_cpu", Unit::Share),
    ("met", Unit::Count),
];

/// How often a rate is tried before it counts as too high.
const TRIES: usize = 2;
