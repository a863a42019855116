//! What was measured of a cell: each server's runs, by round.
//!
//! In      reports of runs, whose figures a cell names
//! Out     medians, ratios, remarks; a table for people
//! Bounds  none
//! Source  docs/benchmarks.md: ratios are of the same round

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    cells::Cell,
    manifest::{FLOOR, OURS, Rival},
    statistics::Spread,
    steal::STEAL_SHARE_MAX,
};
use crate::report::{Report, figures, unit::Unit};

/// A cell's rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was measured.
    pub cell: Cell,
    /// Publishes per second, where the cell has none of its own.
    pub rate: Option<f64>,
    /// Where that rate comes from.
    pub rate_from: Option<String>,
    /// How many rounds there were to be.
    pub rounds_intended: usize,
    /// Rounds that were run twice, since the first time was disturbed; the better one is in `rounds`.
    pub rounds_repeated: usize,
    /// Share of the time of the server's and the client's CPUs that was stolen, by round.
    pub steal_shares: Vec<f64>,
    /// Load average over a minute before the first round.
    pub load_before: f64,
    /// And after the last.
    pub load_after: f64,
    /// Who, in the order of `rounds`.
    pub names: Vec<String>,
    /// By server, then by round.
    pub rounds: Vec<Vec<Outcome>>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// By name.
    pub figures: BTreeMap<&'static str, f64>,
    /// Whether each message arrived once and in order, and no connection was closed.
    pub is_clean: bool,
    /// Whether the client was the bottleneck.
    pub is_client_bound: bool,
    /// Why it is not clean, or has no figures.
    pub failure: Option<String>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

/// Each server once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// By server; `None` of those that an interrupt has kept from it.
    pub outcomes: Vec<Option<Outcome>>,
    /// Of the time of the CPUs that were used.
    pub steal_share: f64,
}

impl Round {
    /// Whether somebody else had too much of these CPUs.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.steal_share > STEAL_SHARE_MAX
    }

    /// The less disturbed of two; both are whole.
    #[must_use]
    pub fn better(self, other: Self) -> Self {
        if other.steal_share < self.steal_share { other } else { self }
    }
}

impl Outcome {
    /// What a report says of the figures of a cell.
    #[must_use]
    pub fn of(cell: &Cell, report: &Report) -> Self {
        let names = cell.others.iter().chain([&cell.main, &"client_cpu", &"steal"]);
        let mut figures: BTreeMap<_, _> =
            names.filter_map(|&name| Some((name, report.value(name)?))).collect();
        let is_whole = report.tally.is_clean() && report.closes.count() == 0;
        // A search that ends without a rate has found something: the server can bear none.
        let is_none = cell.main == "capacity" && !figures.contains_key("capacity") && is_whole;
        if is_none {
            figures.insert("capacity", 0.0);
        }
        let failure = report.what_failed().map(|what| match report.closes.count() {
            0 if report.tally.is_clean() => what,
            _ => format!("{what} (lost {}; closes: {})", report.tally.missing, report.closes),
        });
        Self {
            figures,
            is_clean: is_none || report.is_clean(),
            is_client_bound: report.is_client_bound(),
            failure,
            notes: report.notes.clone(),
        }
    }

    /// Without figures.
    #[must_use]
    pub fn failed(why: String) -> Self {
        Self {
            figures: BTreeMap::new(),
            is_clean: false,
            is_client_bound: false,
            failure: Some(why),
            notes: Vec::new(),
        }
    }
}

impl Measured {
    /// Without rounds.
    #[must_use]
    pub fn new(cell: Cell, rounds_intended: usize, present: &[Rival]) -> Self {
        Self {
            cell,
            rate: None,
            rate_from: None,
            rounds_intended,
            rounds_repeated: 0,
            steal_shares: Vec::new(),
            load_before: 0.0,
            load_after: 0.0,
            names: present.iter().map(|rival| rival.name.clone()).collect(),
            rounds: vec![Vec::new(); present.len()],
        }
    }

    /// Adds a round.
    pub fn add(&mut self, round: Round) {
        self.steal_shares.push(round.steal_share);
        for (of_server, outcome) in self.rounds.iter_mut().zip(round.outcomes) {
            of_server.extend(outcome);
        }
    }

    /// Whether one more round may be run again.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        self.rounds_repeated < self.rounds_intended.div_ceil(ROUNDS_PER_REPEAT)
    }

    /// How many of the rounds that count are disturbed.
    #[must_use]
    pub fn rounds_disturbed(&self) -> usize {
        self.steal_shares.iter().filter(|share| **share > STEAL_SHARE_MAX).count()
    }

    /// Of a figure of one server.
    #[must_use]
    pub fn spread(&self, server: usize, figure: &str) -> Option<Spread> {
        Spread::of(self.rounds[server].iter().filter_map(|round| round.figures.get(figure).copied()))
    }

    /// Of the main figure of one server to another's in the same rounds.
    #[must_use]
    pub fn ratio(&self, server: usize, to: &str) -> Option<Spread> {
        let other = self.names.iter().position(|name| name == to)?;
        let main = |round: &Outcome| round.figures.get(self.cell.main).copied();
        let pairs = self.rounds[server].iter().zip(&self.rounds[other]);
        Spread::of(pairs.filter_map(|(one, two)| Some(main(one)? / main(two)?)))
    }

    /// 70 % of the weakest server's median, and whose it is; servers that bear nothing at all are named.
    #[must_use]
    pub fn rate_for_all(&self) -> Option<(f64, String)> {
        // Deliveries are of so many publishes.
        let each = if self.cell.main == "delivered_per_s" { self.cell.subscribers()? } else { 1.0 };
        let medians = (0..self.names.len()).map(|server| {
            let median = self.spread(server, self.cell.main).map_or(0.0, |spread| spread.median);
            (self.names[server].as_str(), median / each)
        });
        let (able, unable): (Vec<_>, Vec<_>) = medians.partition(|(_, median)| *median > 0.0);
        let &(name, least) = able.iter().min_by(|one, two| one.1.total_cmp(&two.1))?;
        let mut from = format!("70 % of what {name} can, {least:.0}/s ({})", self.cell.name);
        if !unable.is_empty() {
            let names: Vec<_> = unable.iter().map(|(name, _)| *name).collect();
            from.push_str(&format!("; left out, since they bear no rate there: {}", names.join(", ")));
        }
        Some((least * RATE_SHARE, from))
    }

    fn remarks(&self, server: usize) -> String {
        let rounds = &self.rounds[server];
        let mut remarks = Vec::new();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for why in rounds.iter().filter_map(|round| round.failure.as_deref()) {
            *reasons.entry(why.replace('|', "/").replace('\n', " ")).or_default() += 1;
        }
        let unclean = rounds.iter().filter(|round| !round.is_clean && round.failure.is_none()).count();
        if unclean > 0 {
            *reasons.entry("not clean".to_owned()).or_default() += unclean;
        }
        remarks.extend(reasons.iter().map(|(why, count)| format!("{count} of {}: {why}", rounds.len())));
        let bound = rounds.iter().filter(|round| round.is_client_bound).count();
        if bound > 0 {
            let what =
                if self.cell.is_cost() { "CPU compares, pace does not" } else { "it is the client's figure" };
            remarks.push(format!("{bound} of {} client-bound: {what}", rounds.len()));
        }
        let median = |figure| self.spread(server, figure).map(|spread| spread.median);
        if self.cell.name.ends_with("burst 1")
            && median("segments_per_frame").is_some_and(|segments| segments < 0.98)
        {
            remarks.push("coalesced: does not count".to_owned());
        }
        // Without those of the warm-up.
        let publishes = || Some(median("measured")? / self.cell.subscribers()?);
        let is_p99 = self.cell.main.ends_with("p99");
        if is_p99 && publishes().is_some_and(|publishes| publishes < PUBLISHES_MIN) {
            remarks.push(format!("fewer than {PUBLISHES_MIN} publishes a round: its p99 is a guess"));
        }
        remarks.join("; ")
    }

    fn state(&self) -> String {
        let shares = Spread::of(self.steal_shares.iter().map(|share| share * 100.0));
        let steal = shares.map_or_else(String::new, |share| {
            format!(", {:.1} % stolen [{:.1} .. {:.1}]", share.median, share.min, share.max)
        });
        let (rounds, disturbed) = (self.steal_shares.len(), self.rounds_disturbed());
        let mut state = format!(
            "{rounds} of {} rounds; load {:.2} before, {:.2} after{steal}; {disturbed} rounds disturbed, {} run \
             again.",
            self.rounds_intended, self.load_before, self.load_after, self.rounds_repeated
        );
        if disturbed * 2 > rounds {
            state.push_str(" **VOID: most of its rounds were disturbed.**");
        }
        let bound = self
            .rounds
            .iter()
            .filter(|of| of.iter().filter(|run| run.is_client_bound).count() * 2 > of.len());
        let bound = bound.count();
        if bound * 2 > self.names.len() && self.cell.is_cost() {
            state.push_str(&format!(
                " The client was the bottleneck with {bound} of {} servers: only CPU per frame compares.",
                self.names.len()
            ));
        }
        state
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cell, rate) = (&self.cell, self.rate.map(|rate| format!(" --rate {rate:.0}")));
        writeln!(out, "\n## {}\n", cell.name)?;
        writeln!(out, "`loadtest {}{}`", cell.arguments.join(" "), rate.unwrap_or_default())?;
        if let Some(first) = &cell.first {
            writeln!(out, "after an unmeasured `loadtest {}` on the same server", first.join(" "))?;
        }
        if let Some(from) = &self.rate_from {
            writeln!(out, "at {from}")?;
        }
        writeln!(out, "\n{}\n", self.state())?;
        write!(out, "| server | {} | to {OURS} | to {FLOOR} |", cell.main)?;
        cell.others.iter().try_for_each(|name| write!(out, " {name} |"))?;
        writeln!(out, " remarks |")?;
        writeln!(out, "|---|{}", "---|".repeat(cell.others.len() + 4))?;
        for (server, name) in self.names.iter().enumerate() {
            let main = self
                .spread(server, cell.main)
                .map_or_else(|| "-".to_owned(), |spread| range(cell.main, spread));
            let ratios = [OURS, FLOOR].map(|to| self.ratio(server, to).map_or_else(|| "-".to_owned(), ratio));
            write!(out, "| {name} | {main} | {} | {} |", ratios[0], ratios[1])?;
            for other in cell.others {
                let median = self.spread(server, other).map(|spread| unit(other).write(spread.median));
                write!(out, " {} |", median.unwrap_or_else(|| "-".to_owned()))?;
            }
            writeln!(out, " {} |", self.remarks(server))?;
        }
        Ok(())
    }
}

fn range(figure: &str, spread: Spread) -> String {
    let unit = unit(figure);
    format!("{} [{} .. {}]", unit.write(spread.median), unit.write(spread.min), unit.write(spread.max))
}

fn ratio(spread: Spread) -> String {
    let equal = if spread.holds_one() { " =" } else { "" };
    format!("{:.2} [{:.2} .. {:.2}]{equal}", spread.median, spread.min, spread.max)
}

fn unit(figure: &str) -> Unit {
    let all = figures::ALL.iter().flat_map(|sections| sections.iter()).flat_map(|section| section.figures);
    all.into_iter().find(|known| known.name == figure).map_or(Unit::Number, |known| known.unit)
}

/// What all can bear, with room for some bad luck.
const RATE_SHARE: f64 = 0.7;

/// One of so many rounds may be run again.
const ROUNDS_PER_REPEAT: usize = 5;

/// Below that a p99 is of less than ten messages.
const PUBLISHES_MIN: f64 = 1000.0;

#[cfg(test)]
pub(super) mod tests {
    use super::{super::cells::Scale, *};
    use crate::truth::{closes::Closes, sequence::Tally};

    pub(in super::super) fn rival(name: &str) -> Rival {
        Rival {
            batched: Vec::new(),
            name: name.to_owned(),
            kind: "rust".to_owned(),
            command: vec!["x".to_owned()],
            needs: Vec::new(),
            dialect: "paths".to_owned(),
            burst: "apart".to_owned(),
            version: vec!["x".to_owned(), "--version".to_owned()],
            cells: Vec::new(),
        }
    }

    fn outcome(figures: &[(&'static str, f64)]) -> Outcome {
        Outcome {
            figures: figures.iter().copied().collect(),
            is_clean: true,
            failure: None,
            ..Outcome::failed(String::new())
        }
    }

    pub(in super::super) fn measured(values: [&[f64]; 2], segments: f64) -> Measured {
        let cell = Scale::Quick.cells().remove(0);
        let mut measured = Measured::new(cell, values[0].len(), &[rival(OURS), rival(FLOOR)]);
        for (&one, &two) in values[0].iter().zip(values[1]) {
            let of =
                |value| Some(outcome(&[("server_cpu_per_frame", value), ("segments_per_frame", segments)]));
            measured.add(Round { outcomes: vec![of(one), of(two)], steal_share: 0.0 });
        }
        measured
    }

    /// Of a run of `cell` that was measured to its end, without any figures yet.
    fn report(is_measured: bool) -> Report {
        Report {
            scenario: "capacity",
            settings: Vec::new(),
            run: Vec::new(),
            sections: figures::CAPACITY,
            values: crate::report::values::Values::default(),
            tally: Tally::default(),
            closes: Closes::default(),
            series: crate::report::series::Series::default(),
            tables: Vec::new(),
            notes: Vec::new(),
            judgements: Vec::new(),
            is_measured,
            is_interrupted: false,
            failure: None,
        }
    }

    fn cell(main: &str) -> Cell {
        Scale::Full.cells().into_iter().find(|cell| cell.main == main).unwrap()
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let measured = measured([&[1000.0, 4000.0, 3000.0], &[500.0, 1000.0, 3000.0]], 1.0);
        let ratio = measured.ratio(0, FLOOR).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.0, 1.0, 4.0));
        let text = measured.to_string();
        let row = "| fanwire io_uring | 3.000 us [1.000 us .. 4.000 us] | 1.00 [1.00 .. 1.00] = | 2.00 [1.00 .. \
                   4.00] = |";
        assert!(text.contains(row), "{text}");
        assert!(!text.contains("does not count") && !text.contains("VOID"), "{text}");
    }

    #[test]
    fn what_is_not_as_it_should_be_is_remarked_with_its_reason() {
        let mut measured = measured([&[1000.0, 1000.0], &[500.0, 500.0]], 0.5);
        assert!(measured.to_string().contains("coalesced: does not count"));
        let mut unclean = report(true).with_failure("lost | something".to_owned());
        unclean.closes.add(1013);
        measured.rounds[0][0] = Outcome::of(&measured.cell, &unclean);
        measured.rounds[1] = vec![Outcome::failed("it | ended".to_owned()); 2];
        measured.rounds[0][1].is_client_bound = true;
        let text = measured.to_string();
        assert!(text.contains("1 of 2: lost / something (lost 0; closes: 1 with 1013)"), "{text}");
        assert!(text.contains("1 of 2 client-bound: CPU compares"), "{text}");
        assert!(text.contains("| floor | - | - | - |") && text.contains("2 of 2: it / ended"), "{text}");
    }

    #[test]
    fn who_bears_no_rate_has_a_capacity_of_0_and_the_reason_stays() {
        let none = Outcome::of(&cell("capacity"), &report(false).with_failure("no rate met it".to_owned()));
        assert_eq!((none.figures.get("capacity"), none.is_clean), (Some(&0.0), true));
        assert_eq!(none.failure.as_deref(), Some("no rate met it"));
        let mut died = report(false);
        died.closes.add(1006);
        let died = Outcome::of(&cell("capacity"), &died);
        assert!(!died.is_clean && !died.figures.contains_key("capacity") && died.failure.is_some());
    }

    #[test]
    fn the_rate_is_the_weakest_servers_and_says_whose() {
        let rate = |values: [f64; 2]| {
            let mut measured = Measured::new(cell("capacity"), 1, &[rival("strong"), rival("weak")]);
            let outcomes = values.iter().map(|&value| Some(outcome(&[("capacity", value)]))).collect();
            measured.add(Round { outcomes, steal_share: 0.0 });
            measured.rate_for_all()
        };
        let (least, from) = rate([500.0, 100.0]).unwrap();
        assert_eq!(least, 70.0);
        assert!(from.contains("weak can, 100/s") && !from.contains("left out"), "{from}");
        let (least, from) = rate([500.0, 0.0]).unwrap();
        assert!(least == 350.0 && from.ends_with("no rate there: weak"), "{from}");
        assert_eq!(rate([0.0, 0.0]), None);
        let mut measured = Measured::new(cell("delivered_per_s"), 1, &[rival("one")]);
        let outcomes = vec![Some(outcome(&[("delivered_per_s", 100_000.0)]))];
        measured.add(Round { outcomes, steal_share: 0.0 });
        assert_eq!(measured.rate_for_all().unwrap().0, 350.0);
    }

    #[test]
    fn a_cell_whose_rounds_are_mostly_disturbed_is_void() {
        let mut measured = measured([&[1.0], &[1.0]], 1.0);
        let disturbed = Round { outcomes: vec![None, None], steal_share: STEAL_SHARE_MAX * 1.5 };
        assert!(disturbed.is_disturbed() && measured.may_repeat());
        measured.add(disturbed.clone());
        assert!(!measured.to_string().contains("VOID"));
        measured.rounds_repeated += 1;
        measured.add(disturbed.clone());
        assert_eq!((measured.rounds_disturbed(), measured.may_repeat()), (2, false));
        assert!(measured.to_string().contains("2 rounds disturbed, 1 run again. **VOID"), "{measured}");
        let calm = Round { steal_share: 0.01, ..disturbed.clone() };
        assert_eq!(disturbed.clone().better(calm.clone()), calm);
        assert_eq!(calm.clone().better(disturbed), calm);
    }

    #[test]
    fn a_guess_is_called_one() {
        let mut measured = Measured { cell: cell("last_p99"), ..measured([&[1.0], &[1.0]], 1.0) };
        measured.rounds[0][0] = outcome(&[("last_p99", 1e6), ("measured", 999.0 * 200.0)]);
        measured.rounds[1][0] = outcome(&[("last_p99", 1e6), ("measured", 1000.0 * 200.0)]);
        assert_eq!(measured.to_string().matches("is a guess").count(), 1);
    }
}
