//! The record of a comparison: what was measured, on what, and of whom.
//!
//! In      the figures of each round
//! Out     Markdown for people, JSON for programs, a chart
//! Bounds  none
//! Source  docs/benchmarks.md: what a record says, and when it is void

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    chart::svg,
    host::Host,
    manifest::{FLOOR, OURS, Rival},
    measured::Measured,
    program::Program,
    steal::STEAL_SHARE_MAX,
};

/// What was compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// How.
    pub settings: Settings,
    /// On what.
    pub host: Host,
    /// Who, and who was missing.
    pub participants: Vec<Participant>,
    /// By cell; those that were to be measured and are not here were not reached.
    pub measured: Vec<Measured>,
    /// The user ended it.
    pub is_interrupted: bool,
}

/// How it was compared.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// This program's command line.
    pub command: Vec<String>,
    /// Of this program.
    pub loadtest_version: &'static str,
    /// This program.
    pub loadtest: Option<Program>,
    /// What `git describe` says where it was started; what was measured is what `participants` say.
    pub checkout: Option<String>,
    /// How much is compared.
    pub scale: String,
    /// Names of the cells that were to be measured.
    pub cells: Vec<String>,
    /// The file of --lock.
    pub lock: Option<String>,
    /// A round in which a greater share of the used CPUs' time was stolen is disturbed.
    pub steal_share_max: f64,
}

/// A server.
#[derive(Clone, Debug, Serialize)]
pub struct Participant {
    /// As the manifest has it.
    #[serde(flatten)]
    pub rival: Rival,
    /// What it says of itself.
    pub version: Option<String>,
    /// The files that it needs, as they were when the comparison began.
    pub programs: Vec<Program>,
    /// Why it did not take part.
    pub missing: Option<String>,
}

impl Participant {
    /// Looks for it below `root`.
    #[must_use]
    pub fn find(rival: Rival, root: &Path) -> Self {
        let missing = rival.missing(root);
        let version = missing.is_none().then(|| rival.version(root));
        let programs = rival.needs.iter().filter_map(|path| Program::read(root, path)).collect();
        Self { rival, version, programs, missing }
    }
}

impl Comparison {
    /// Whether a run of Fanwire or of the floor has no figures, or lost something. What rivals do is in the
    /// record.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        let is_ours = |name: &String| name == FLOOR || name.starts_with("fanwire");
        let is_bad = |measured: &Measured| {
            let rounds = measured.names.iter().zip(&measured.rounds).filter(|(name, _)| is_ours(name));
            rounds.flat_map(|(_, rounds)| rounds).any(|round| !round.is_clean)
        };
        self.measured.iter().any(is_bad)
    }

    /// Writes `compare.md`, `compare.json` and `compare.svg`, each as a whole or not at all; the directory is
    /// made if need be.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        fs::create_dir_all(directory)?;
        let drawn = svg(self).map_err(|error| io::Error::other(error.to_string()))?;
        let files = [
            ("compare.md", self.to_string().into_bytes()),
            ("compare.json", serde_json::to_vec_pretty(self)?),
            ("compare.svg", drawn.into_bytes()),
        ];
        files.into_iter().map(|(name, bytes)| replace(&directory.join(name), &bytes)).collect()
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let (settings, host) = (&self.settings, &self.host);
        let lock = settings.lock.as_ref().map_or_else(
            || "none: the machine was to be quiet by itself".to_owned(),
            |file| format!("{file}, taken for each round, waited for {:.0} s in all", host.waited_s),
        );
        let sha1 = settings.loadtest.as_ref().map_or("unread", Program::short);
        let mut rows = vec![
            ("command", format!("`{}`", line(&settings.command))),
            ("loadtest", format!("{}, SHA-1 {sha1}", settings.loadtest_version)),
            ("checkout", self.checkout()),
            ("compilers", self.compilers()),
            ("cells", format!("{} of {} ({})", self.measured.len(), settings.cells.len(), settings.scale)),
            ("lock", lock),
            (
                "disturbed",
                format!(
                    "a round in which more than {:.0} % of the used CPUs' time was stolen",
                    settings.steal_share_max * 100.0
                ),
            ),
            ("machine", format!("{} CPUs, {}", host.cpu_count, host.cpu)),
            ("congestion control", host.congestion_control.clone()),
        ];
        rows.extend(host.rows());
        rows
    }

    fn checkout(&self) -> String {
        match self.settings.checkout.as_deref() {
            None => "unknown".to_owned(),
            Some(said) if said.ends_with("-dirty") => {
                format!(
                    "{said}: **changes that are in no commit**; the programs are known by their SHA-1 only"
                )
            }
            Some(said) => format!("{said} when it began; what was measured is the programs below"),
        }
    }

    fn compilers(&self) -> String {
        let all = self.participants.iter().flat_map(|one| &one.programs);
        let mut compilers: Vec<_> = all.filter_map(|program| program.rustc.as_deref()).collect();
        compilers.sort_unstable();
        compilers.dedup();
        if compilers.is_empty() {
            "unknown".to_owned()
        } else {
            format!("rustc {}", compilers.join("; rustc "))
        }
    }
}

impl Settings {
    /// Those that this process knows by itself.
    #[must_use]
    pub fn of_this_process(root: &Path) -> Self {
        let describe = std::process::Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .current_dir(root)
            .output();
        let said = describe.ok().filter(|output| output.status.success());
        Self {
            command: std::env::args().collect(),
            loadtest_version: env!("CARGO_PKG_VERSION"),
            loadtest: std::env::current_exe().ok().and_then(|own| Program::read(root, &own)),
            checkout: said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            steal_share_max: STEAL_SHARE_MAX,
            ..Self::default()
        }
    }
}

/// As a shell takes it; in a table a bar would end its field.
fn line(words: &[String]) -> String {
    let quoted = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ").replace('|', "/")
}

/// Puts a file in the place of the one before in one step, so that a kill leaves one or the other.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, bytes)?;
    fs::rename(&new, path)?;
    Ok(path.to_owned())
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        writeln!(out, "# Comparison of {}\n", host.date)?;
        writeln!(
            out,
            "Linux {}, {}, servers on CPU {}, client on CPU {}, congestion control {}. Load {:.2} before, \
             {:.2} after; {:.1} s of CPU were stolen in {:.0} s.{}\n",
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
            "![Ratios to {OURS}](compare.svg)\n\nEach value is the median of the rounds, with least and most \
             behind it; ratios are of the same round. A ratio whose range holds 1 is reported as equal (=).\n"
        )?;
        writeln!(out, "| setting | value |\n|---|---|")?;
        self.rows().iter().try_for_each(|(name, value)| writeln!(out, "| {name} | {value} |"))?;
        writeln!(out, "\n| server | kind | version | started by | SHA-1 |\n|---|---|---|---|---|")?;
        for one in &self.participants {
            let version =
                one.version.clone().or_else(|| one.missing.as_ref().map(|why| format!("MISSING: {why}")));
            let (rival, version) = (&one.rival, version.unwrap_or_default());
            let sha1 = one.programs.first().map_or("", Program::short);
            let command = rival.command.join(" ");
            writeln!(out, "| {} | {} | {version} | `{command}` | {sha1} |", rival.name, rival.kind)?;
        }
        self.measured.iter().try_for_each(|measured| measured.fmt(out))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

    use super::{
        super::measured::tests::{measured, rival},
        *,
    };
    use crate::measure::affinity::CpuList;

    fn comparison() -> Comparison {
        let root = Path::new("/");
        Comparison {
            settings: Settings {
                cells: vec!["a".to_owned(), "b".to_owned()],
                ..Settings::of_this_process(root)
            },
            host: Host::read(&CpuList::one(0), &CpuList::one(1)),
            participants: vec![Participant::find(rival(OURS), root)],
            measured: vec![measured([&[1000.0], &[500.0]], 1.0)],
            is_interrupted: false,
        }
    }

    /// JSON in which each key stands once in its object.
    struct Unique;

    impl<'de> Deserialize<'de> for Unique {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Self)
        }
    }

    impl<'de> Visitor<'de> for Unique {
        type Value = Self;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("JSON")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
            let mut keys = BTreeSet::new();
            while let Some((key, Self)) = map.next_entry::<String, Self>()? {
                if !keys.insert(key.clone()) {
                    return Err(serde::de::Error::custom(format!("{key} stands twice")));
                }
            }
            Ok(self)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
            while seq.next_element::<Self>()?.is_some() {}
            Ok(self)
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_str<E>(self, _: &str) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_unit<E>(self) -> Result<Self, E> {
            Ok(self)
        }
    }

    #[test]
    fn no_key_of_the_json_stands_twice_in_an_object() {
        let text = serde_json::to_string(&comparison()).unwrap();
        assert!(serde_json::from_str::<Unique>(r#"{"a":1,"b":[{"c":null,"c":-1.5}]}"#).is_err());
        serde_json::from_str::<Unique>(&text).map(drop).unwrap();
        assert!(text.contains(r#""version_command":["x","--version"]"#), "{text}");
    }

    #[test]
    fn a_record_replaces_the_one_before_and_leaves_nothing_else() {
        let directory = std::env::temp_dir().join(format!("loadtest-record-{}", std::process::id()));
        let mut comparison = comparison();
        comparison.write(&directory).unwrap();
        comparison.is_interrupted = true;
        let files = comparison.write(&directory).unwrap();
        assert!(fs::read_to_string(&files[0]).unwrap().contains("It was interrupted."));
        let names: BTreeSet<_> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["compare.json", "compare.md", "compare.svg"].map(Into::into).into());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_record_says_how_it_was_made() {
        let mut comparison = comparison();
        comparison.settings.checkout = Some("1234567-dirty".to_owned());
        comparison.settings.lock = Some("/tmp/file".to_owned());
        comparison.settings.command = ["loadtest", "--only", "a b"].map(str::to_owned).to_vec();
        let text = comparison.to_string();
        for word in [
            "changes that are in no commit",
            "| cells | 1 of 2 ",
            "/tmp/file, taken for",
            "`loadtest --only 'a b'`",
            "tcp_wmem",
            "5 %",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn the_chart_has_a_row_per_cell_and_everybody_in_its_legend() {
        let svg = svg(&comparison()).unwrap();
        for word in ["fanout 200 x 128 B, burst 1", OURS, FLOOR, "0.5x"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
}
