//! Profiles: a scenario and its options in a TOML file, put into the command line before that is read.
//!
//! In      arguments with `--profile FILE`; the file
//! Out     arguments as if the file's options had been given; those that were given stand, and the file's do not
//! Bounds  ranges, conflicts and meanings are checked where the command line is
//! Source  docs/loadtest.md

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use clap::{ArgAction, Command};
use toml::{Table, Value};

/// Puts the options of the profile, if there is one, into `arguments`, the first of which is the program.
///
/// # Errors
/// The file cannot be read, or names what the scenario does not have.
pub(super) fn expand(
    arguments: Vec<OsString>,
    command: &Command,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Result<Vec<OsString>, ProfileError> {
    let given = Given::of(arguments)?;
    let Some(path) = &given.profile else { return Ok(given.whole()) };
    let failed = |problem| ProfileError { path: path.clone(), problem };
    let text = read(path).map_err(|error| failed(Problem::Read { error }))?;
    let mut table: Table = text.parse().map_err(|error| failed(Problem::Toml { error: Box::new(error) }))?;
    let scenario = given.scenario(table.remove("scenario"), command).map_err(failed)?;
    let mut profile = Options { command: scenario, arguments: Vec::new(), server: Vec::new() };
    for (key, value) in table {
        profile.add(&key, value, &given).map_err(failed)?;
    }
    Ok(given.with(scenario.get_name(), profile))
}

/// The name among `names` that `name` is most like.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names.min_by_key(|known| strsim::damerau_levenshtein(name, known))
}

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--profile {}: {problem}", path.display())]
pub(super) struct ProfileError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{error}")]
    Read { error: io::Error },
    #[error("{error}")]
    Toml { error: Box<toml::de::Error> },
    #[error("give one profile, as --profile FILE")]
    Count,
    #[error("there is no scenario '{name}': did you mean '{nearest}'? There are {all}")]
    Scenario { name: String, nearest: String, all: String },
    #[error("it is of the scenario {profile}, not of {given}: leave one of the two out")]
    OtherScenario { profile: String, given: String },
    #[error("{scenario} has no option '{name}': did you mean '{nearest}'? (loadtest {scenario} --help)")]
    Unknown { scenario: String, name: String, nearest: String },
    #[error("'{name}' takes {takes}")]
    Value { name: String, takes: &'static str },
}

/// What stands on the command line.
struct Given {
    program: OsString,
    profile: Option<PathBuf>,
    /// Without the profile, up to `--`.
    options: Vec<OsString>,
    /// `--` and what is behind it.
    rest: Vec<OsString>,
}

impl Given {
    fn of(arguments: Vec<OsString>) -> Result<Self, ProfileError> {
        let mut arguments = arguments.into_iter();
        let program = arguments.next().unwrap_or_default();
        let mut given = Self { program, profile: None, options: Vec::new(), rest: Vec::new() };
        while let Some(argument) = arguments.next() {
            let path = match argument.to_str() {
                Some("--") => {
                    given.rest = std::iter::once(argument).chain(arguments).collect();
                    break;
                }
                Some(FLAG) => arguments.next().unwrap_or_default(),
                Some(text) => match text.strip_prefix(FLAG).and_then(|rest| rest.strip_prefix('=')) {
                    Some(path) => path.into(),
                    None => {
                        given.options.push(argument);
                        continue;
                    }
                },
                None => {
                    given.options.push(argument);
                    continue;
                }
            };
            if path.is_empty() || given.profile.replace(PathBuf::from(&path)).is_some() {
                return Err(ProfileError { path: path.into(), problem: Problem::Count });
            }
        }
        Ok(given)
    }

    /// The scenario's command: of the profile, or of the command line, or `fanout`.
    fn scenario<'c>(&self, profile: Option<Value>, command: &'c Command) -> Result<&'c Command, Problem> {
        let given = self.name();
        let name = match (profile, given) {
            (None, None) => "fanout".to_owned(),
            (None, Some(given)) => given.to_owned(),
            (Some(Value::String(name)), None) => name,
            (Some(Value::String(name)), Some(given)) if name == given => name,
            (Some(Value::String(profile)), Some(given)) => {
                return Err(Problem::OtherScenario { profile, given: given.to_owned() });
            }
            (Some(_), _) => return Err(Problem::Value { name: "scenario".to_owned(), takes: "a name" }),
        };
        command.find_subcommand(&name).ok_or_else(|| {
            let names = || command.get_subcommands().map(Command::get_name);
            Problem::Scenario {
                nearest: nearest(&name, names()).unwrap_or_default().to_owned(),
                all: names().collect::<Vec<_>>().join(", "),
                name,
            }
        })
    }

    /// The scenario's name, which comes before all options.
    fn name(&self) -> Option<&str> {
        self.options.first().and_then(|first| first.to_str()).filter(|first| !first.starts_with('-'))
    }

    /// Whether an option is given here, whatever its value is.
    fn has(&self, name: &str) -> bool {
        self.options.iter().filter_map(|option| option.to_str()).any(|option| {
            let rest = option.strip_prefix("--").and_then(|option| option.strip_prefix(name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    }

    fn whole(self) -> Vec<OsString> {
        [self.program].into_iter().chain(self.options).chain(self.rest).collect()
    }

    fn with(self, scenario: &str, profile: Options<'_>) -> Vec<OsString> {
        let is_named = usize::from(self.name().is_some());
        // For the report to name it, where there is one.
        let has_report = profile.command.get_arguments().any(|option| option.get_long() == Some("profile"));
        let path = self.profile.filter(|_| has_report).map(|path| join(FLAG, path.as_os_str()));
        let server = if self.rest.is_empty() { profile.server } else { self.rest };
        [self.program, scenario.into()]
            .into_iter()
            .chain(profile.arguments)
            .chain(path)
            .chain(self.options.into_iter().skip(is_named))
            .chain(server)
            .collect()
    }
}

/// What a profile adds.
struct Options<'c> {
    command: &'c Command,
    arguments: Vec<OsString>,
    /// `--` and what is behind it.
    server: Vec<OsString>,
}

impl Options<'_> {
    fn add(&mut self, key: &str, value: Value, given: &Given) -> Result<(), Problem> {
        let name = key.replace('_', "-");
        let wrong = |takes| Problem::Value { name: key.to_owned(), takes };
        if name == SERVER_ARGUMENTS {
            let Value::Array(values) = value else { return Err(wrong("a list of texts")) };
            let texts = values.iter().map(|value| text(value).ok_or_else(|| wrong("a list of texts")));
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            self.server = ["--".to_owned()].into_iter().chain(texts).map(OsString::from).collect();
            return Ok(());
        }
        let options = || self.command.get_arguments().filter(|option| option.get_long() != Some("profile"));
        let Some(option) = options().find(|option| option.get_long() == Some(&name)) else {
            let names = options().filter_map(clap::Arg::get_long);
            return Err(Problem::Unknown {
                scenario: self.command.get_name().to_owned(),
                nearest: nearest(&name, names.chain([SERVER_ARGUMENTS])).unwrap_or_default().to_owned(),
                name: key.to_owned(),
            });
        };
        let is_flag = matches!(option.get_action(), ArgAction::SetTrue);
        let values = match value {
            _ if given.has(&name) => return Ok(()),
            Value::Boolean(false) if is_flag => return Ok(()),
            Value::Boolean(true) if is_flag => {
                self.arguments.push(format!("--{name}").into());
                return Ok(());
            }
            _ if is_flag => return Err(wrong("true or false")),
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let value = text(&value).ok_or_else(|| wrong("a text or a number, or a list of them"))?;
            self.arguments.push(format!("--{name}={value}").into());
        }
        Ok(())
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

fn join(flag: &str, value: &OsStr) -> OsString {
    let mut joined = OsString::from(flag);
    joined.push("=");
    joined.push(value);
    joined
}

const FLAG: &str = "--profile";

/// In a profile, what stands behind `--` on the command line.
const SERVER_ARGUMENTS: &str = "server-args";

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory;

    use super::{super::Cli, *};

    fn expanded(line: &str, profile: &str) -> Result<String, String> {
        let arguments = line.split_whitespace().map(OsString::from).collect();
        let read = |path: &Path| match path.to_str() {
            Some("p.toml") => Ok(profile.to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let expanded = expand(arguments, &Cli::command(), read).map_err(|error| error.to_string())?;
        Ok(expanded.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn options_of_the_profile_are_as_if_they_were_given() {
        let profile = "scenario = 'echo'\nconnections = 7\npayload_bytes = 100\nwarm-up = 0.5\nquiet = true\n\
                       require = ['lost==0', 'p99<5ms']\nserver_args = ['--driver', 'epoll']\n";
        assert_eq!(
            expanded("loadtest --profile p.toml", profile).unwrap(),
            "loadtest echo --connections=7 --payload-bytes=100 --quiet --require=lost==0 --require=p99<5ms \
             --warm-up=0.5 --profile=p.toml -- --driver epoll"
        );
    }

    #[test]
    fn what_is_given_wins() {
        let profile = "scenario = 'echo'\nconnections = 7\nrate = 5\nquiet = false\nserver-args = ['a']";
        assert_eq!(
            expanded("loadtest echo --rate=9 --profile=p.toml --connections 8 -- b", profile).unwrap(),
            "loadtest echo --profile=p.toml --rate=9 --connections 8 -- b"
        );
        assert_eq!(
            expanded("loadtest --rate 1 -- --profile x", "").unwrap(),
            "loadtest --rate 1 -- --profile x"
        );
        assert_eq!(expanded("loadtest --profile p.toml", "").unwrap(), "loadtest fanout --profile=p.toml");
    }

    #[test]
    fn what_is_wrong_says_what_is_meant() {
        for (line, profile, said) in [
            (
                "loadtest --profile p.toml",
                "subscriber = 7",
                "fanout has no option 'subscriber': did you mean 'subscribers'?",
            ),
            (
                "loadtest --profile p.toml",
                "scenario = 'ecko'",
                "no scenario 'ecko': did you mean 'echo'? There are fanout, ",
            ),
            (
                "loadtest idle --profile p.toml",
                "scenario = 'echo'",
                "it is of the scenario echo, not of idle",
            ),
            ("loadtest --profile p.toml", "profile = 'q.toml'", "fanout has no option 'profile'"),
            ("loadtest --profile p.toml", "quiet = 3", "'quiet' takes true or false"),
            ("loadtest --profile p.toml", "rate = { a = 1 }", "'rate' takes a text or a number"),
            ("loadtest --profile p.toml", "rate", "expected"),
            ("loadtest --profile no.toml", "", "--profile no.toml: entity not found"),
            ("loadtest --profile p.toml --profile p.toml", "", "give one profile"),
            ("loadtest --profile", "", "give one profile"),
        ] {
            let error = expanded(line, profile).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_profiles_that_come_with_it_can_be_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let mut count = 0;
        for file in fs::read_dir(folder).unwrap() {
            let arguments = ["loadtest".into(), FLAG.into(), file.unwrap().path().into_os_string()];
            let read = |path: &Path| fs::read_to_string(path);
            let arguments = expand(arguments.to_vec(), &Cli::command(), read).unwrap();
            let scenario = <Cli as clap::Parser>::try_parse_from(arguments).unwrap().scenario();
            assert!(!scenario.requirements().unwrap().is_empty() && scenario.output().profile.is_some());
            count += 1;
        }
        assert_eq!(count, 2);
    }
}
