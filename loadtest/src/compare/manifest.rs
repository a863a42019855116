//! The manifest: which servers are compared, how each is started, and what is missing.
//!
//! In      `rivals.toml`, the directory that its paths are relative to
//! Out     servers that can be started; the missing ones, and why
//! Bounds  none
//! Source  loadtest/rivals/README.md

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    measure::affinity::CpuList,
    scenario::server::{Server, ServerError},
};

/// A server that takes part.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rival {
    /// As tables call it.
    pub name: String,
    /// What kind it is: `ours`, `floor`, `rust`, `js` or `other`.
    pub kind: String,
    /// What starts it; paths are relative to the repository's root.
    pub command: Vec<String>,
    /// What makes it gather messages for a millisecond before they leave, behind `command`; nothing if it cannot.
    #[serde(default)]
    pub batched: Vec<String>,
    /// Files that must be there.
    pub needs: Vec<PathBuf>,
    /// How it is spoken to.
    pub dialect: String,
    /// Whether the messages of a burst leave together (`coalesced`) or `apart`.
    pub burst: String,
    /// What prints its version.
    // A participant's record has the answer under this name.
    #[serde(rename(serialize = "version_command"))]
    pub version: Vec<String>,
    /// Parts of the names of the cells that it is for; without any it is for all.
    #[serde(default)]
    pub cells: Vec<String>,
}

/// All of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// In the order of the tables.
    #[serde(rename = "rival")]
    pub rivals: Vec<Rival>,
    /// What is no server by itself, but a bound for some cells; `read` puts them behind the others.
    #[serde(default, rename = "baseline")]
    baselines: Vec<Rival>,
}

impl Manifest {
    /// Reads it, and puts Fanwire with both drivers in front.
    ///
    /// # Errors
    /// It is not there, or not in its form.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text =
            fs::read_to_string(path).map_err(|error| ManifestError::Read { path: path.to_owned(), error })?;
        let mut manifest: Self = toml::from_str(&text)
            .map_err(|error| ManifestError::Form { path: path.to_owned(), error: Box::new(error) })?;
        manifest.rivals.append(&mut manifest.baselines);
        manifest.rivals.splice(0..0, [ours("io_uring", OURS), ours("epoll", "fanwire epoll")]);
        Ok(manifest)
    }

    /// Keeps those with these names, in this manifest's order.
    ///
    /// # Errors
    /// A name that is none of theirs.
    pub fn only(mut self, names: &[String]) -> Result<Self, ManifestError> {
        let known = |name: &String| self.rivals.iter().any(|rival| rival.name == *name);
        if let Some(name) = names.iter().find(|name| !known(name)) {
            let known = self.rivals.iter().map(|rival| rival.name.as_str());
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(ManifestError::Name { name: name.clone(), known });
        }
        self.rivals.retain(|rival| names.is_empty() || names.contains(&rival.name));
        Ok(self)
    }
}

impl Rival {
    /// What is missing of it below `root`; `None`: it can be started.
    #[must_use]
    pub fn missing(&self, root: &Path) -> Option<String> {
        let missing = self.needs.iter().find(|path| !root.join(path).exists())?;
        let maker = if self.kind == OURS_KIND { MAKE_OURS } else { "scripts/rivals" };
        Some(format!("{} is not there: {maker}", missing.display()))
    }

    /// Whether it takes part in a cell of this name.
    #[must_use]
    pub fn is_for(&self, cell: &str) -> bool {
        self.cells.is_empty() || self.cells.iter().any(|part| cell.contains(part.as_str()))
    }

    /// What it says of its version, in one line.
    #[must_use]
    pub fn version(&self, root: &Path) -> String {
        let said = self.words(&self.version, root).and_then(|mut command| command.output().ok());
        let text = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let line = text.as_deref().and_then(|text| text.lines().next()).unwrap_or_default();
        if line.is_empty() { "says none".to_owned() } else { line.to_owned() }
    }

    /// Starts it on these CPUs, gathering messages if they are to be `batched`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, root: &Path, cpus: &CpuList, batched: bool) -> Result<Server, ServerError> {
        let mut command = self.words(&self.command, root).ok_or(ServerError::Silent)?;
        if batched {
            command.args(&self.batched);
        }
        Server::spawn(command, Some(cpus))
    }

    fn words(&self, words: &[String], root: &Path) -> Option<Command> {
        let (program, arguments) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root);
        Some(command)
    }
}

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No such file.
    #[error("{}: {error}; give --manifest, or run this at the root of the repository", path.display())]
    Read {
        /// Tried.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Not its form.
    #[error("{}: {error}", path.display())]
    Form {
        /// Read.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: Box<toml::de::Error>,
    },
    /// A name that nobody has.
    #[error("--only {name}: there is no such server; there are {known}")]
    Name {
        /// Asked for.
        name: String,
        /// The others.
        known: String,
    },
}

/// Fanwire's own example of the rivals' contract.
fn ours(driver: &str, name: &str) -> Rival {
    // Built into the same directory as this program, wherever that is; a bench lies one below it.
    let own = env::current_exe().unwrap_or_default();
    let mut beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("examples/broadcast"));
    let program = beside.find(|path| path.is_file()).unwrap_or_else(|| PROGRAM.into());
    // Below the repository's root, as the record shall say it.
    let below = env::current_dir().ok().and_then(|root| program.strip_prefix(root).ok().map(Path::to_owned));
    let program = below.unwrap_or(program);
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    Rival {
        name: name.to_owned(),
        kind: OURS_KIND.to_owned(),
        command: words(&[&program.to_string_lossy(), "--driver", driver]),
        batched: words(&["--flush-delay-ms", "1"]),
        needs: vec![program.clone()],
        dialect: "paths".to_owned(),
        burst: "coalesced".to_owned(),
        version: words(&[&program.to_string_lossy(), "--version"]),
        cells: Vec::new(),
    }
}

/// What the ratios are to.
pub const OURS: &str = "fanwire io_uring";

/// What the other ratios are to.
pub const FLOOR: &str = "floor";

const OURS_KIND: &str = "ours";

const MAKE_OURS: &str = "cargo build --release -p fanwire --example broadcast";

const PROGRAM: &str = "target/release/examples/broadcast";

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Manifest::read(&root.join("rivals/rivals.toml")).unwrap()
    }

    #[test]
    fn ours_stand_first_and_the_floor_is_there() {
        let names: Vec<_> = manifest().rivals.into_iter().map(|rival| rival.name).collect();
        assert_eq!(names[..2], [OURS, "fanwire epoll"]);
        assert!(names.contains(&FLOOR.to_owned()) && names.len() > 9, "{names:?}");
        let rivals = manifest().rivals;
        let last = rivals.last().unwrap();
        assert!(last.name == "bare accept" && last.is_for("connect 10000") && !last.is_for("echo 1000"));
        assert!(rivals[0].is_for("echo 1000"));
    }

    #[test]
    fn a_name_that_nobody_has_says_who_is_there() {
        let only = |name: &str| manifest().only(&[name.to_owned()]);
        assert_eq!(only(FLOOR).unwrap().rivals.len(), 1);
        assert!(only("flor").unwrap_err().to_string().contains("fanwire io_uring, fanwire epoll, floor"));
    }

    #[test]
    fn what_is_not_built_is_missing() {
        // Not where it really lies: whether it is built is not this test's to say.
        let ours = Rival { needs: vec![PROGRAM.into()], ..ours("epoll", OURS) };
        let why = ours.missing(Path::new("/nonexistent")).unwrap();
        assert!(why.contains("broadcast is not there: cargo build"), "{why}");
    }
}
