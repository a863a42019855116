//! One seed, from its plan to its outcome.
//!
//! In      a seed
//! Out     the turns it took, or what went wrong
//! Bounds  as `plan` and `world`
//! Source  none

use std::{cell::RefCell, panic};

use crate::{
    actor::Planned,
    plan::Plan,
    world::{Outcome, World},
};

/// Runs a seed.
pub fn seed(seed: u64) -> Outcome {
    plan(&Plan::draw(seed), false)
}

/// Runs a plan.
pub fn plan(plan: &Plan, is_traced: bool) -> Outcome {
    let mut outcome = World::run(plan, is_traced);
    let place = PLACE.take();
    if let (Some(failure), Some(place)) = (&mut outcome.failure, place)
        && failure.rule == PANIC_RULE
    {
        failure.what = format!("{} ({place})", failure.what);
    }
    outcome
}

/// Keeps the place of a panic for the report, in place of a line on standard error for each.
pub fn hush_panics() {
    panic::set_hook(Box::new(|info| {
        if !info.payload().is::<Planned>() {
            PLACE.set(info.location().map(ToString::to_string));
        }
    }));
}

thread_local! {
    /// Where this thread panicked last.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The rule that a panic breaks.
pub const PANIC_RULE: &str = "the engine never panics";
