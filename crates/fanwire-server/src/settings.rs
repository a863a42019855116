//! Settings: what is in force, and who said so.
//!
//! In      the command line, the environment, a TOML file
//! Out     the arguments that they add up to, each with its source; or everything that is wrong with them
//! Bounds  a file of `file::FILE_BYTES_MAX`
//! Source  docs/configuration.md
//!
//! `Args` is the one table of settings. The file and the environment are read through it: a key is a flag's name with
//! underscores, a variable is the key in capitals behind `FANWIRE_`, and a value is parsed as the flag's.

mod file;
mod idle;
mod print;

use std::{
    error::Error as _,
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
};

use clap::{
    Arg, ArgAction, Command, CommandFactory as _, FromArgMatches as _,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};

use crate::args::Args;

pub(crate) use idle::idle;
pub(crate) use print::printed;

/// The arguments in force, and where each comes from.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) args: Args,
    pub(crate) rows: Vec<Row>,
    pub(crate) file: Option<PathBuf>,
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its name in a file.
    pub(crate) key: String,
    /// As written; none if it is not set and has no default.
    pub(crate) texts: Vec<String>,
    pub(crate) source: Source,
    pub(crate) setting: Setting,
}

/// Who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Why there are no settings.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The command line: clap says it, or what was asked for, such as help.
    CommandLine(clap::Error),
    /// All that is wrong with the file and the environment.
    Wrong(Vec<String>),
}

impl Settings {
    /// Adds up what the three sources say.
    pub(crate) fn read(
        line: &[OsString],
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Trouble> {
        let mut command = Args::command();
        command.build();
        let flags = command.clone().try_get_matches_from(line).map_err(Trouble::CommandLine)?;
        let settings = Setting::all(&command);
        let mut wrong = Vec::new();
        let mut said = Vec::new();
        let mut path = flags.get_one::<PathBuf>("config").cloned();
        for (name, value) in environment {
            let Some(key) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            if key == "CONFIG" {
                path = path.or(Some(value.into()));
                continue;
            }
            if is_service_link(key, &value) {
                continue;
            }
            let source = Source::Variable(name.to_string_lossy().into_owned());
            said.push(Said { key: key.to_ascii_lowercase(), texts: texts_of(&value), source });
        }
        // Whatever order the system keeps them in, two runs say the same.
        said.sort_by(|one, other| one.key.cmp(&other.key));
        if let Some(path) = &path {
            match file::read(path) {
                Ok(more) => said.extend(more),
                Err(problem) => wrong.push(problem),
            }
        }
        wrong.extend(said.iter().filter_map(|one| one.problem(&command, &settings)));
        if !wrong.is_empty() {
            return Err(Trouble::Wrong(wrong));
        }
        // Variables stand before the file's keys, so the first one that says something wins, unless a flag does.
        let is_flag = |setting: &Setting| flags.value_source(&setting.id) == Some(ValueSource::CommandLine);
        let mut full = vec![line.first().cloned().unwrap_or_default()];
        for setting in settings.iter().filter(|setting| !is_flag(setting)) {
            if let Some(one) = said.iter().find(|one| one.key == setting.key) {
                full.extend(one.arguments(setting));
            }
        }
        full.extend(line.iter().skip(1).cloned());
        let matches = command.try_get_matches_from(full).map_err(Trouble::CommandLine)?;
        let args = Args::from_arg_matches(&matches).map_err(Trouble::CommandLine)?;
        let rows = settings.into_iter().map(|setting| {
            let raw = matches.get_raw(&setting.id);
            let texts = raw.map(|raw| raw.map(|text| text.to_string_lossy().into_owned()).collect());
            let source = match said.iter().find(|one| one.key == setting.key) {
                _ if is_flag(&setting) => Source::Flag(setting.flag.clone()),
                Some(one) => one.source.clone(),
                None => Source::Default,
            };
            Row { key: setting.key.clone(), texts: texts.unwrap_or_default(), source, setting }
        });
        Ok(Self { args, rows: rows.collect(), file: path })
    }

    /// Who set the value of a flag.
    pub(crate) fn source_of(&self, flag: &str) -> Option<&Source> {
        self.rows.iter().find(|row| row.setting.flag == flag).map(|row| &row.source)
    }
}

/// A setting as the table of arguments has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    id: String,
    key: String,
    /// With its dashes.
    pub(crate) flag: String,
    /// What it is, in one line.
    pub(crate) help: String,
    pub(crate) heading: String,
    pub(crate) default: Option<String>,
    /// The values that it can have, if they have names.
    pub(crate) choices: Vec<String>,
    is_list: bool,
}

impl Setting {
    /// All of them, in the order of the help.
    pub(crate) fn all(command: &Command) -> Vec<Self> {
        let arguments =
            command.get_arguments().filter(|argument| !NO_SETTINGS.contains(&argument.get_id().as_str()));
        arguments.filter_map(Self::of).collect()
    }

    /// The variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.to_ascii_uppercase())
    }

    fn of(argument: &Arg) -> Option<Self> {
        let flag = argument.get_long()?;
        let default = argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        Some(Self {
            id: argument.get_id().to_string(),
            key: flag.replace('-', "_"),
            flag: format!("--{flag}"),
            help: argument.get_help().map(ToString::to_string).unwrap_or_default(),
            heading: argument.get_help_heading().unwrap_or_default().to_owned(),
            default,
            choices: argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
            is_list: matches!(argument.get_action(), ArgAction::Append),
        })
    }
}

/// What one source says of one setting.
#[derive(Debug)]
struct Said {
    key: String,
    /// What stands there, or why it can be no setting's value.
    texts: Result<Texts, String>,
    source: Source,
}

#[derive(Debug)]
enum Texts {
    One(String),
    List(Vec<String>),
}

impl Said {
    fn problem(&self, command: &Command, settings: &[Setting]) -> Option<String> {
        let Some(setting) = settings.iter().find(|setting| setting.key == self.key) else {
            return Some(format!(
                "{}: there is no setting {}{}",
                self.place(),
                self.key,
                self.nearest(settings)
            ));
        };
        let problem = match &self.texts {
            Err(problem) => problem.clone(),
            Ok(Texts::List(texts)) if !setting.is_list => {
                return Some(format!(
                    "{}: {} takes one value, not a list of {}",
                    self.place(),
                    self.key,
                    texts.len()
                ));
            }
            Ok(Texts::List(texts)) if texts.is_empty() => {
                return Some(format!(
                    "{}: {} is an empty list: leave it out for its default",
                    self.place(),
                    self.key
                ));
            }
            Ok(_) => return self.value_problem(command, setting),
        };
        Some(format!("{}: {}: {problem}", self.place(), self.key))
    }

    /// Hands each value to the flag's own parser.
    fn value_problem(&self, command: &Command, setting: &Setting) -> Option<String> {
        let problems = self.arguments(setting).into_iter().filter_map(|argument| {
            let line = [OsString::from("fanwire-server"), argument.clone()];
            let error = command.clone().try_get_matches_from(line).err()?;
            let text = argument.to_string_lossy().into_owned();
            let value = text.split_once('=').map_or("", |(_, value)| value);
            Some(format!("{}: {} = {value:?}: {}", self.place(), self.key, advice(&error)))
        });
        problems.reduce(|one, other| format!("{one}\n{other}"))
    }

    /// The flag that would say the same, once for each value.
    fn arguments(&self, setting: &Setting) -> Vec<OsString> {
        let texts = match &self.texts {
            Ok(Texts::One(text)) if setting.is_list && matches!(self.source, Source::Variable(_)) => {
                text.split(',').map(str::trim).collect()
            }
            Ok(Texts::One(text)) => vec![text.as_str()],
            Ok(Texts::List(texts)) => texts.iter().map(String::as_str).collect(),
            Err(_) => Vec::new(),
        };
        texts.into_iter().map(|text| format!("{}={text}", setting.flag).into()).collect()
    }

    /// Where it stands; a variable's name says its key.
    fn place(&self) -> String {
        self.source.to_string()
    }

    fn nearest(&self, settings: &[Setting]) -> String {
        if matches!(&self.texts, Err(problem) if problem == file::IS_SECTION) {
            return format!(": {}", file::IS_SECTION);
        }
        let wanted = self.key.replace('-', "_").to_ascii_lowercase();
        let likeness = |setting: &Setting| strsim::jaro_winkler(&setting.key, &wanted);
        let nearest = settings.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        match nearest.filter(|setting| likeness(setting) >= LIKENESS_MIN) {
            Some(setting) if matches!(self.source, Source::Variable(_)) => {
                format!("; do you mean {}?", setting.variable())
            }
            Some(setting) => format!("; do you mean {}?", setting.key),
            None => "; `fanwire-server config print` shows all".to_owned(),
        }
    }
}

/// What clap knows of a value that it refused.
fn advice(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) if !known.is_empty() => {
            format!("choose one of {}", known.join(", "))
        }
        _ => error.kind().to_string(),
    }
}

/// Kubernetes sets variables such as FANWIRE_SERVICE_HOST and FANWIRE_PORT_80_TCP in every container beside a service
/// of that name; nobody wrote them.
fn is_service_link(key: &str, value: &OsStr) -> bool {
    let is_address = value.to_str().is_some_and(|value| value.contains("://"));
    let is_port = key.contains("PORT_") && ["_TCP", "_UDP", "_SCTP"].iter().any(|kind| key.contains(kind));
    let is_service = key.ends_with("SERVICE_HOST") || key.contains("SERVICE_PORT");
    is_service || is_port || (key.ends_with("PORT") && is_address)
}

fn texts_of(value: &OsStr) -> Result<Texts, String> {
    value.to_str().map(|text| Texts::One(text.to_owned())).ok_or_else(|| "is not UTF-8".to_owned())
}

const PREFIX: &str = "FANWIRE_";

/// Arguments that say what to do, not how.
const NO_SETTINGS: [&str; 3] = ["config", "help", "version"];

/// Below this, a name is no misspelling of another.
const LIKENESS_MIN: f64 = 0.75;

#[cfg(test)]
mod tests;
