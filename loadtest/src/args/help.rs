//! Help: what stands below the options of a scenario.
//!
//! In      its examples, the sections of its report
//! Out     text for --help
//! Bounds  none
//! Source  none

use crate::report::figures::Section;

/// Examples, then every figure with its meaning: what --require takes is found without a run.
pub(super) fn with_figures(examples: &str, sections: &[Section]) -> String {
    let figures = sections.iter().flat_map(|section| section.figures);
    let lines: Vec<_> = figures.map(|figure| format!("  {:<30} {}", figure.name, figure.meaning)).collect();
    format!(
        "{}\n\nFigures, as the report and --require name them:\n{}",
        with_braces(examples),
        lines.join("\n")
    )
}

/// A text whose `{n}` is shown as it stands: clap would print a line break for it, and has no escape.
pub(super) fn with_braces(help: &str) -> String {
    help.replace("{n}", &format!("{{{STYLE_RESET}n}}"))
}

/// Unseen on a terminal, left out by clap elsewhere.
const STYLE_RESET: &str = "\x1b[0m";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::{Cli, Task};
    use clap::Parser;

    #[test]
    fn each_scenario_teaches_by_examples_and_names_its_figures() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains(&format!("  loadtest {name}")), "{help}");
            let Task::Scenario(scenario) = Cli::parse_from(["loadtest", name]).task() else { continue };
            for figure in scenario.sections().iter().flat_map(|section| section.figures) {
                assert!(help.contains(&format!("  {} ", figure.name)), "{}: {help}", figure.name);
            }
        }
    }

    #[test]
    fn the_placeholder_of_the_number_is_shown_as_it_stands() {
        let mut command = Cli::command();
        let fanout = command.find_subcommand_mut("fanout").unwrap();
        for help in [fanout.render_help().to_string(), fanout.render_long_help().to_string()] {
            assert!(help.contains("'token=u{n}'") && help.contains("; {n} stands for"), "{help}");
        }
    }
}
