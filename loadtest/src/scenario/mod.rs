//! Scenarios: what is done to a server, one file each.
//!
//! In      arguments that have been checked; a flag that an interrupt sets
//! Out     a report, or why there is none
//! Bounds  each its own
//! Source  none

pub mod connect;
pub mod echo;
pub mod ending;
pub mod fanout;
pub mod ground;
pub mod idle;
pub mod server;
pub mod stage;

use std::sync::atomic::AtomicBool;

use crate::{args::Scenario, report::Report};
use ground::RunError;

/// Runs the scenario that was asked for.
///
/// # Errors
/// Nothing could be measured.
pub fn run(scenario: &Scenario, is_interrupted: &AtomicBool) -> Result<Report, RunError> {
    match scenario {
        Scenario::Fanout(args) => fanout::run(args, is_interrupted),
        Scenario::Echo(args) => echo::run(args, is_interrupted),
        Scenario::Connect(args) => connect::run(args, is_interrupted),
        Scenario::Idle(args) => idle::run(args, is_interrupted),
    }
}
