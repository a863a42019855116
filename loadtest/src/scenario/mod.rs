//! Scenarios: what is done to a server, one file each.
//!
//! In      arguments that have been checked; a flag that an interrupt sets
//! Out     a report, or why there is none
//! Bounds  each its own
//! Source  none

pub mod capacity;
pub mod chat;
pub mod churn;
pub mod connect;
pub mod echo;
pub mod ending;
pub mod fanout;
pub mod ground;
pub mod idle;
pub mod large;
pub mod server;
pub mod slow;
pub mod soak;
pub mod stage;
pub mod topics;
pub mod visits;

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
        Scenario::Topics(args) => topics::run(args, is_interrupted),
        Scenario::Chat(args) => chat::run(args, is_interrupted),
        Scenario::Large(args) => large::run(args, is_interrupted),
        Scenario::Slow(args) => slow::run(args, is_interrupted),
        Scenario::Churn(args) => churn::run(args, is_interrupted),
        Scenario::Soak(args) => soak::run(args, is_interrupted),
        Scenario::Capacity(args) => capacity::run(args, is_interrupted),
        Scenario::Echo(args) => echo::run(args, is_interrupted),
        Scenario::Connect(args) => connect::run(args, is_interrupted),
        Scenario::Idle(args) => idle::run(args, is_interrupted),
    }
}
