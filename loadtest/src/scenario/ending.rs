//! Endings: what a run has shown, made into a report in the same way for all scenarios.
//!
//! In      what arrived, memory, how the run ended; what was measured
//! Out     values under the names of the figures; a report
//! Bounds  none
//! Source  none

use serde_json::Value;

use super::{ground::Ground, stage::Act};
use crate::{
    client::worker::Outcome,
    measure::footprint::Footprint,
    report::{
        Report,
        figures::Section,
        series::Series,
        values::{LASTS, LATENCIES, PER_FRAME, Values},
    },
};

/// What is known when a run is over.
#[derive(Debug)]
pub struct Ending {
    /// Messages published, the warm-up's too.
    pub publishes: u64,
    /// Messages that were due and were not sent.
    pub unsent: u64,
    /// What arrived, and what did not.
    pub outcome: Outcome,
    /// Receiving connections.
    pub connections: usize,
    /// Before anybody connected, with all connected, and at the end.
    pub held: [Option<Footprint>; 3],
    /// How the first connection was closed that was.
    pub closed_first: Option<String>,
    /// What went wrong.
    pub failure: Option<String>,
    /// The user ended the run.
    pub is_interrupted: bool,
}

/// What a scenario adds to its ending.
pub struct Scene {
    /// Its name on the command line.
    pub scenario: &'static str,
    /// What was asked for.
    pub settings: Vec<(&'static str, Value)>,
    /// Which figures there are.
    pub sections: &'static [Section],
    /// Whether anything happened to be measured.
    pub is_measured: bool,
}

impl Ending {
    /// The values of a phase in which messages were published.
    #[must_use]
    pub fn values(&self, act: &Act, ground: &Ground) -> Values {
        let mut values = Values::default();
        let measured = act.heard.latency_ns.len();
        values.set("publishes", self.publishes as f64);
        values.set("due", (self.publishes + self.unsent) as f64);
        values.set("unsent", self.unsent as f64);
        values.set_truth(&self.outcome.tally, &self.outcome.closes);
        values.set_pace(measured, act.elapsed_ns);
        values.set_latency(&act.heard.latency_ns, &LATENCIES);
        values.set_latency(&act.heard.last_ns, &LASTS);
        values.set_spent(&PER_FRAME, &act.spent, measured as f64, ground.client_cpus);
        values.set_footprints(self.held, self.connections);
        values
    }

    /// Sets what became of so many slow subscribers: how the server closed some, and what was wrong.
    #[must_use]
    pub fn set_slow(&self, values: &mut Values, slow: usize) -> (Option<String>, Option<String>) {
        let (tally, closes) = (&self.outcome.slow_tally, &self.outcome.slow_closes);
        let wrong = tally.corrupted + tally.reordered + tally.duplicated + tally.unexpected;
        values.set("slow", slow as f64);
        values.set("slow_delivered", tally.delivered as f64);
        values.set("slow_missing", tally.missing as f64);
        values.set("slow_corrupted", wrong as f64);
        values.set("slow_closed", closes.count() as f64);
        // Slowness excuses what is missing, and nothing else.
        let wrong = (wrong > 0).then(|| {
            "slow subscribers got messages that were changed, out of order, twice or not asked for".to_owned()
        });
        ((closes.count() > 0).then(|| format!("of the slow ones were closed: {closes}")), wrong)
    }

    /// The report, with notes of the scenario's own behind those that every run has.
    #[must_use]
    pub fn report(
        self,
        scene: Scene,
        values: Values,
        more_notes: impl IntoIterator<Item = String>,
    ) -> Report {
        let first_close = self.closed_first.iter().map(|how| format!("the first close: {how}"));
        let given_up = (self.outcome.given_up > 0).then(|| {
            let count = self.outcome.given_up;
            format!("{count} messages have no last receipt: not all had them for too long")
        });
        let unsent = (self.unsent > 0).then(|| {
            let (unsent, due) = (self.unsent, self.publishes + self.unsent);
            format!(
                "{unsent} of {due} messages were due and not sent: latencies are of the others, and too good"
            )
        });
        let mut notes: Vec<_> = first_close.chain(given_up).chain(unsent).collect();
        notes.extend(more_notes);
        let Scene { scenario, settings, sections, is_measured } = scene;
        Report {
            scenario,
            settings,
            run: Vec::new(),
            sections,
            values,
            tally: self.outcome.tally,
            closes: self.outcome.closes,
            series: Series::default(),
            tables: Vec::new(),
            notes,
            judgements: Vec::new(),
            is_measured,
            is_interrupted: self.is_interrupted,
            failure: self.failure,
        }
    }

    /// Says that less was done than planned, if so.
    #[must_use]
    pub fn short(&self, done: u64, planned: u64, what: &str) -> Option<String> {
        let how = if self.is_interrupted { "interrupted" } else { "ended" };
        (done < planned).then(|| format!("{how} after {done} of {planned} {what}"))
    }
}

/// Says what a closed loop waits for beside the server, if there is more than one process.
#[must_use]
pub fn processes_note(processes: usize, rate: f64) -> Option<String> {
    (processes > 1 && rate == 0.0).then(|| {
        format!(
            "{processes} processes tell each other of every message before the next one leaves: the pace is \
             not the server's alone (--rate, or --processes 1)"
        )
    })
}

/// Says how much a warm-up took, if there was one.
#[must_use]
pub fn warm_up_note(count: u64, what: &str) -> Option<String> {
    (count > 0).then(|| format!("the first {count} {what}, the warm-up, are checked and not measured"))
}
