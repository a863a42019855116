//! Arguments: what the command line asks for.
//!
//! In      the command line
//! Out     a scenario with its settings, and requirements whose names and units have been checked
//! Bounds  each number's range stands at its option
//! Source  none

mod asked;
pub mod capacity;
pub mod chat;
pub mod churn;
pub mod common;
pub mod compare;
pub mod connect;
pub mod echo;
pub mod fanout;
mod help;
pub mod idle;
pub mod large;
mod numbers;
pub mod output;
mod profile;
pub mod slow;
pub mod soak;
pub mod target;
pub mod topics;

use std::{env, ffi::OsString, fs};

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use serde_json::Value;

use crate::report::{
    figures::{self, Section},
    require::{Requirement, RequirementError},
};
use capacity::Capacity;
use chat::Chat;
use churn::Churn;
use compare::Compare;
use connect::Connect;
use echo::Echo;
use fanout::Fanout;
use help::{with_braces, with_figures};
use idle::Idle;
use large::Large;
use output::Output;
use slow::Slow;
use soak::Soak;
use topics::Topics;

/// Loads a WebSocket server, and checks that each message arrives once, in order and unchanged.
///
/// Without a scenario it is `fanout`. Without --url it starts the server itself.
#[derive(Clone, Debug, Parser)]
#[command(name = "loadtest", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    bare: Fanout,
    #[arg(skip)]
    asked: Vec<(String, Value)>,
}

/// What a command line asks for.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is done.
    pub task: Task,
    /// What its figures must be.
    pub requirements: Vec<Requirement>,
    /// The command and all options, for the report.
    pub asked: Vec<(String, Value)>,
}

/// What is done at all.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// One server.
    #[command(flatten)]
    Scenario(Box<Scenario>),
    /// Many servers on the same scenarios, beside each other
    Compare(Compare),
}

/// What is done to the server.
#[derive(Clone, Debug, Subcommand)]
pub enum Scenario {
    /// Many subscribers of one topic, and publishes to them
    #[command(after_help = with_braces(fanout::EXAMPLES))]
    #[command(after_long_help = with_figures(fanout::EXAMPLES, figures::FANOUT))]
    Fanout(Fanout),
    /// Many topics with few subscribers each, some more popular than others
    #[command(after_help = topics::EXAMPLES)]
    #[command(after_long_help = with_figures(topics::EXAMPLES, figures::TOPICS))]
    Topics(Topics),
    /// Connections that all talk to all
    #[command(after_help = chat::EXAMPLES)]
    #[command(after_long_help = with_figures(chat::EXAMPLES, figures::TOPICS))]
    Chat(Chat),
    /// Messages of 16 KiB to 1 MiB, one length after the other
    #[command(after_help = large::EXAMPLES)]
    #[command(after_long_help = with_figures(large::EXAMPLES, figures::FANOUT))]
    Large(Large),
    /// Subscribers of which some do not read, or slowly
    #[command(after_help = slow::EXAMPLES)]
    #[command(after_long_help = with_figures(slow::EXAMPLES, figures::SLOW))]
    Slow(Slow),
    /// A group that stays while others come and go
    #[command(after_help = churn::EXAMPLES)]
    #[command(after_long_help = with_figures(churn::EXAMPLES, figures::CHURN))]
    Churn(Churn),
    /// Hours of publishing while others come and go, do not read, or attack
    #[command(after_help = soak::EXAMPLES)]
    #[command(after_long_help = with_figures(soak::EXAMPLES, figures::SOAK))]
    Soak(Soak),
    /// The highest rate at which an objective is met
    #[command(after_help = capacity::EXAMPLES)]
    #[command(after_long_help = with_figures(capacity::EXAMPLES, figures::CAPACITY))]
    Capacity(Capacity),
    /// Messages that come back to the connection that sent them
    #[command(after_help = echo::EXAMPLES)]
    #[command(after_long_help = with_figures(echo::EXAMPLES, figures::ECHO))]
    Echo(Echo),
    /// A storm of connects while messages are published to a small group
    #[command(after_help = connect::EXAMPLES)]
    #[command(after_long_help = with_figures(connect::EXAMPLES, figures::CONNECT))]
    Connect(Connect),
    /// Connections that only answer pings: what they cost
    #[command(after_help = idle::EXAMPLES)]
    #[command(after_long_help = with_figures(idle::EXAMPLES, figures::IDLE))]
    Idle(Idle),
}

impl Cli {
    /// Reads this program's command line; ends the process if it is wrong, or asks for help.
    #[must_use]
    pub fn parse_or_exit() -> Order {
        let mut cli = match Self::read(env::args_os().collect()) {
            Ok(cli) => cli,
            Err(error) => error.exit(),
        };
        let asked = std::mem::take(&mut cli.asked);
        let task = cli.task();
        let requirements = match &task {
            Task::Scenario(scenario) => scenario.requirements(),
            Task::Compare(_) => Ok(Vec::new()),
        };
        match requirements {
            Ok(requirements) => Order { task, requirements, asked },
            Err(error) => Self::command().error(ErrorKind::ValueValidation, error).exit(),
        }
    }

    /// Reads a command line, the first word of which is the program; a profile is put into it.
    ///
    /// # Errors
    /// It is wrong, or asks for help.
    pub fn read(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let given = arguments.clone();
        let arguments = profile::expand(arguments, &command, |path| fs::read_to_string(path))
            .map_err(|error| command.error(ErrorKind::ValueValidation, error))?;
        if let Some(error) = strange_scenario(&arguments, &mut command) {
            return Err(error);
        }
        let format = |error: clap::Error| error.format(&mut Self::command());
        let matches = command.try_get_matches_from_mut(arguments)?;
        let asked = asked::asked(&given, &matches, &command);
        let cli = Self::from_arg_matches(&matches).map_err(format)?;
        Ok(Self { asked, ..cli })
    }

    /// What was asked for: without a name it is the scenario `fanout`.
    #[must_use]
    pub fn task(self) -> Task {
        self.task.unwrap_or(Task::Scenario(Box::new(Scenario::Fanout(self.bare))))
    }

    /// The scenario asked for.
    ///
    /// # Panics
    /// Something else was.
    #[must_use]
    pub fn scenario(self) -> Scenario {
        match self.task() {
            Task::Scenario(scenario) => *scenario,
            Task::Compare(_) => panic!("a comparison is no scenario"),
        }
    }
}

impl Scenario {
    /// Where its results go.
    #[must_use]
    pub fn output(&self) -> &Output {
        match self {
            Self::Fanout(args) => &args.common.output,
            Self::Topics(args) => &args.common.output,
            Self::Chat(args) => &args.common.output,
            Self::Large(args) => &args.common.output,
            Self::Slow(args) => &args.common.output,
            Self::Churn(args) => &args.common.output,
            Self::Capacity(args) => &args.common.output,
            Self::Soak(args) => &args.common.output,
            Self::Echo(args) => &args.common.output,
            Self::Connect(args) => &args.output,
            Self::Idle(args) => &args.output,
        }
    }

    /// The figures of its report.
    #[must_use]
    pub fn sections(&self) -> &'static [Section] {
        match self {
            Self::Fanout(_) => figures::FANOUT,
            Self::Topics(_) => figures::TOPICS,
            Self::Chat(_) => figures::TOPICS,
            Self::Large(_) => figures::FANOUT,
            Self::Slow(_) => figures::SLOW,
            Self::Churn(_) => figures::CHURN,
            Self::Capacity(_) => figures::CAPACITY,
            Self::Soak(_) => figures::SOAK,
            Self::Echo(_) => figures::ECHO,
            Self::Connect(_) => figures::CONNECT,
            Self::Idle(_) => figures::IDLE,
        }
    }

    /// What the user requires of them.
    ///
    /// # Errors
    /// The first requirement that is none, or not of this scenario.
    pub fn requirements(&self) -> Result<Vec<Requirement>, RequirementError> {
        self.output().require.iter().map(|text| Requirement::parse(text, self.sections())).collect()
    }
}

/// A first word that is none of the scenarios, since nothing else can stand there.
fn strange_scenario(arguments: &[OsString], command: &mut Command) -> Option<clap::Error> {
    let name = arguments.get(1)?.to_str().filter(|first| !first.starts_with('-') && *first != "help")?;
    let names: Vec<_> = command.get_subcommands().map(|known| known.get_name().to_owned()).collect();
    if names.iter().any(|known| known == name) {
        return None;
    }
    let nearest = profile::nearest(name, names.iter().map(String::as_str)).unwrap_or_default();
    let text =
        format!("there is no scenario '{name}': did you mean '{nearest}'?\nScenarios: {}", names.join(", "));
    Some(command.error(ErrorKind::InvalidSubcommand, text))
}

const AFTER_HELP: &str = "\
Examples:
  loadtest
      our server, 1,000 subscribers, 2,000 publishes
  loadtest fanout --help
      each scenario has examples of its own
  loadtest --profile loadtest/profiles/fanout.toml --rate 500
      options from a file: scenario = \"fanout\", subscribers = 200, require = [\"lost==0\"], each name with - or _;
      server-args = [\"--driver\", \"epoll\"] is for the server; what is given on the command line wins
  loadtest fanout --duration 60 --report fanout.html --json fanout.json
      a page with plots, and all figures for programs

Exit codes:
  0  every message arrived once, in order and unchanged, no connection was closed, all requirements are met
  1  a message did not, or the run failed half-way
  2  nothing was measured: wrong arguments, no server, no connections
  3  a requirement is not met
  130  interrupted; the report is of what was measured until then";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Scenario, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(Cli::scenario)
    }

    #[test]
    fn the_bare_name_is_a_fanout_with_all_its_options() {
        let rest = "--subscribers 7 --json x --require lost==0 -- --driver epoll";
        for line in [format!("loadtest {rest}"), format!("loadtest fanout {rest}")] {
            let Scenario::Fanout(args) = parse(&line).unwrap() else { panic!("{line}") };
            assert_eq!(args.subscribers.get(), 7);
            assert_eq!(args.common.target.server_args, ["--driver", "epoll"]);
            assert_eq!(args.common.output.require, ["lost==0"]);
        }
        let Scenario::Fanout(args) = parse("loadtest").unwrap() else { panic!("not a fan-out") };
        assert_eq!(args.subscribers.get(), 1000);
    }

    #[test]
    fn options_before_a_scenario_are_refused_and_not_forgotten() {
        assert!(parse("loadtest --subscribers 7 fanout").is_err());
    }

    #[test]
    fn a_strange_scenario_is_told_which_there_are() {
        let error = |line: &str| Cli::read(line.split(' ').map(OsString::from).collect()).unwrap_err();
        let said = error("loadtest bogus --rate 5").to_string();
        assert!(said.contains("there is no scenario 'bogus'"), "{said}");
        for command in Cli::command().get_subcommands() {
            assert!(said.contains(command.get_name()), "{said}");
        }
        assert!(error("loadtest fanuot").to_string().contains("did you mean 'fanout'?"));
        assert_eq!(error("loadtest help").kind(), ErrorKind::DisplayHelp);
    }

    #[test]
    fn requirements_are_of_the_scenario() {
        assert_eq!(parse("loadtest --require p99<5ms").unwrap().requirements().unwrap().len(), 1);
        assert!(parse("loadtest idle --require p99<5ms").unwrap().requirements().is_err());
        let error = parse("loadtest --require p98<5ms").unwrap().requirements().unwrap_err();
        assert!(error.to_string().contains("p99.99"), "{error}");
    }
}
