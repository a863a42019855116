//! The record of a comparison: what was measured, on what, and of whom.
//!
//! In      the figures of each round
//! Out     Markdown for people, JSON for programs
//! Bounds  none
//! Source  a record says the load before and after, or it is void

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::{
    cells::Cell,
    chart::svg,
    manifest::{FLOOR, OURS, Rival},
    statistics::Spread,
};
use crate::{
    measure::{affinity::CpuList, machine::Machine},
    report::{Report, figures, unit::Unit},
};

/// What was compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// On what.
    pub host: Host,
    /// Who, and who was missing.
    pub participants: Vec<Participant>,
    /// By cell.
    pub measured: Vec<Measured>,
    /// The user ended it.
    pub is_interrupted: bool,
}

/// The machine, and what else it did.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Of the kernel.
    pub kernel: String,
    /// Of the CPU.
    pub cpu: String,
    /// Where the servers ran.
    pub server_cpus: String,
    /// Where this program did.
    pub client_cpus: String,
    /// Of TCP.
    pub congestion_control: String,
    /// Load average over a minute before the first run.
    pub load_before: f64,
    /// And after the last.
    pub load_after: f64,
    /// CPU time that a hypervisor took meanwhile, in seconds.
    pub steal_s: f64,
    /// How long it took, in seconds.
    pub elapsed_s: f64,
    /// The day, as YYYY-MM-DD.
    pub date: String,
}

/// A server.
#[derive(Clone, Debug, Serialize)]
pub struct Participant {
    /// As the manifest has it.
    #[serde(flatten)]
    pub rival: Rival,
    /// What it says of itself.
    pub version: Option<String>,
    /// Why it did not take part.
    pub missing: Option<String>,
}

/// A cell's rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was measured.
    pub cell: Cell,
    /// Publishes per second, where the cell has none of its own.
    pub rate: Option<f64>,
    /// Who, in the order of `rounds`.
    pub names: Vec<String>,
    /// By server, then by round.
    pub rounds: Vec<Vec<Outcome>>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// By name.
    pub figures: BTreeMap<&'static str, f64>,
    /// Whether each message arrived once and in order, and no connection was closed.
    pub is_clean: bool,
    /// Whether the client was the bottleneck.
    pub is_client_bound: bool,
    /// Why there are no figures.
    pub failure: Option<String>,
}

impl Outcome {
    /// What a report says of the figures of a cell.
    #[must_use]
    pub fn of(cell: &Cell, report: &Report) -> Self {
        let names = cell.others.iter().chain([&cell.main, &"client_cpu", &"steal"]);
        let figures = names.filter_map(|&name| Some((name, report.value(name)?))).collect();
        let failure = report.failure.clone().filter(|_| !report.is_measured);
        let is_clean = report.is_clean();
        Self { figures, is_clean, is_client_bound: report.is_client_bound(), failure }
    }

    /// Without figures.
    #[must_use]
    pub fn failed(why: String) -> Self {
        let failure = Some(why);
        Self { figures: BTreeMap::new(), is_clean: false, is_client_bound: false, failure }
    }
}

impl Measured {
    /// Without rounds.
    #[must_use]
    pub fn new(cell: Cell, rate: Option<f64>, present: &[Rival]) -> Self {
        let names = present.iter().map(|rival| rival.name.clone()).collect();
        Self { cell, rate, names, rounds: vec![Vec::new(); present.len()] }
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

    /// The least of the servers' medians of the main figure.
    #[must_use]
    pub fn least_median(&self) -> Option<f64> {
        let medians =
            (0..self.names.len()).filter_map(|server| Some(self.spread(server, self.cell.main)?.median));
        medians.reduce(f64::min)
    }

    fn remarks(&self, server: usize) -> String {
        let rounds = &self.rounds[server];
        let count = |is: fn(&Outcome) -> bool| rounds.iter().filter(|round| is(round)).count();
        let mut remarks = Vec::new();
        if let Some(why) = rounds.iter().find_map(|round| round.failure.as_deref()) {
            remarks.push(why.replace('|', "/").replace('\n', " "));
        }
        for (count, what) in [
            (count(|round| !round.is_clean && round.failure.is_none()), "not clean"),
            (count(|round| round.is_client_bound), "client-bound"),
        ] {
            if count > 0 {
                remarks.push(format!("{count} of {} {what}", rounds.len()));
            }
        }
        let segments = self.spread(server, "segments_per_frame").map(|spread| spread.median);
        if self.cell.name.ends_with("burst 1") && segments.is_some_and(|segments| segments < 0.98) {
            remarks.push("coalesced: does not count".to_owned());
        }
        remarks.join("; ")
    }
}

impl Host {
    /// What /proc says.
    #[must_use]
    pub fn read(
        server: &CpuList,
        client: &CpuList,
        before: &Machine,
        after: &Machine,
        elapsed: Duration,
    ) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned()),
            server_cpus: server.to_string(),
            client_cpus: client.to_string(),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control"),
            load_before: before.load,
            load_after: after.load,
            steal_s: after.steal.saturating_sub(before.steal).as_secs_f64(),
            elapsed_s: elapsed.as_secs_f64(),
            date: time::OffsetDateTime::now_utc().date().to_string(),
        }
    }

    /// Such as `2026-11-22-amd-epyc-2-cpus`.
    #[must_use]
    pub fn directory(&self) -> String {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let all = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpus = all.lines().filter(|line| line.starts_with("processor")).count().max(cpus);
        let words = self.cpu.to_lowercase();
        let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let name: Vec<_> = words.take(2).collect();
        format!("{}-{}-{cpus}-cpus", self.date, name.join("-"))
    }
}

impl Comparison {
    /// Whether a run of Fanwire or of the floor has no figures, or lost something. What rivals do is in the record.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        let is_ours = |name: &String| name == FLOOR || name.starts_with("fanwire");
        let is_bad = |measured: &Measured| {
            let rounds = measured.names.iter().zip(&measured.rounds).filter(|(name, _)| is_ours(name));
            rounds.flat_map(|(_, rounds)| rounds).any(|round| round.failure.is_some() || !round.is_clean)
        };
        self.measured.iter().any(is_bad)
    }

    /// Writes `compare.md`, `compare.json` and `compare.svg`; the directory is made if need be.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        fs::create_dir_all(directory)?;
        let files = ["compare.md", "compare.json", "compare.svg"].map(|name| directory.join(name));
        let [markdown, json, chart] = &files;
        fs::write(markdown, self.to_string())?;
        fs::write(json, serde_json::to_vec_pretty(self)?)?;
        let drawn = svg(self).map_err(|error| io::Error::other(error.to_string()))?;
        fs::write(chart, drawn)?;
        Ok(files.to_vec())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        writeln!(out, "# Comparison of {}\n", host.date)?;
        writeln!(
            out,
            "Linux {}, {}, servers on CPU {}, client on CPU {}, congestion control {}. Load {:.2} before, {:.2} \
             after; {:.1} s of CPU were stolen in {:.0} s.{}\n",
            host.kernel,
            host.cpu,
            host.server_cpus,
            host.client_cpus,
            host.congestion_control,
            host.load_before,
            host.load_after,
            host.steal_s,
            host.elapsed_s,
            if self.is_interrupted { " It was interrupted." } else { "" }
        )?;
        writeln!(
            out,
            "![Ratios to {OURS}](compare.svg)\n\nEach value is the median of the rounds, with least and most behind it; ratios are of the same round. A \
             ratio whose range holds 1 is reported as equal (=).\n"
        )?;
        writeln!(out, "| server | kind | version | started by |\n|---|---|---|---|")?;
        for one in &self.participants {
            let version =
                one.version.clone().or_else(|| one.missing.as_ref().map(|why| format!("MISSING: {why}")));
            let (rival, version) = (&one.rival, version.unwrap_or_default());
            writeln!(out, "| {} | {} | {version} | `{}` |", rival.name, rival.kind, rival.command.join(" "))?;
        }
        self.measured.iter().try_for_each(|measured| measured.fmt(out))
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cell, rate) = (&self.cell, self.rate.map(|rate| format!(" --rate {rate:.0}")));
        writeln!(out, "\n## {}\n", cell.name)?;
        writeln!(out, "`loadtest {}{}`\n", cell.arguments.join(" "), rate.unwrap_or_default())?;
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

#[cfg(test)]
mod tests {
    use super::{super::cells::Scale, *};

    fn rival(name: &str) -> Rival {
        let none = Vec::new;
        Rival {
            batched: Vec::new(),
            name: name.to_owned(),
            kind: "rust".to_owned(),
            command: vec!["x".to_owned()],
            needs: Vec::new(),
            dialect: "paths".to_owned(),
            burst: "apart".to_owned(),
            version: none(),
        }
    }

    fn measured(values: [&[f64]; 2], segments: f64) -> Measured {
        let cell = Scale::Quick.cells().remove(0);
        let mut measured = Measured::new(cell, None, &[rival(OURS), rival(FLOOR)]);
        for (rounds, values) in measured.rounds.iter_mut().zip(values) {
            rounds.extend(values.iter().map(|&value| Outcome {
                figures: [("server_cpu_per_frame", value), ("segments_per_frame", segments)].into(),
                is_clean: true,
                is_client_bound: false,
                failure: None,
            }));
        }
        measured
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let measured = measured([&[1000.0, 4000.0, 3000.0], &[500.0, 1000.0, 3000.0]], 1.0);
        let ratio = measured.ratio(0, FLOOR).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.0, 1.0, 4.0));
        assert_eq!(measured.least_median(), Some(1000.0));
        let text = measured.to_string();
        let row = "| fanwire io_uring | 3.000 us [1.000 us .. 4.000 us] | 1.00 [1.00 .. 1.00] = | 2.00 [1.00 .. 4.00] = |";
        assert!(text.contains(row), "{text}");
        assert!(!text.contains("does not count"), "{text}");
    }

    #[test]
    fn what_is_not_as_it_should_be_is_remarked() {
        let mut measured = measured([&[1000.0], &[500.0]], 0.5);
        assert!(measured.to_string().contains("coalesced: does not count"));
        measured.rounds[0][0].is_clean = false;
        measured.rounds[1][0] = Outcome::failed("it | ended".to_owned());
        let text = measured.to_string();
        assert!(text.contains("1 of 1 not clean") && text.contains("| it / ended |"), "{text}");
        assert!(text.contains("| floor | - | - | - |"), "{text}");
    }

    #[test]
    fn the_chart_has_a_row_per_cell_and_everybody_in_its_legend() {
        let host = Host::read(
            &CpuList::one(0),
            &CpuList::one(1),
            &Machine::default(),
            &Machine::default(),
            Duration::ZERO,
        );
        let measured = vec![measured([&[1000.0], &[500.0]], 1.0)];
        let comparison = Comparison { host, participants: Vec::new(), measured, is_interrupted: false };
        let svg = svg(&comparison).unwrap();
        for word in ["fanout 200 x 128 B, burst 1", OURS, FLOOR, "0.5x"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
}
