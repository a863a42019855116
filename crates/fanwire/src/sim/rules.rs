//! Rules: what must hold after every step, whatever a test looks at.
//!
//! In      shards between two steps, and what they share
//! Out     the first violation, which stops the world, and panics if nobody has asked for it
//! Bounds  an audit costs as much as a shard has sessions, and comes the more seldom
//! Source  shard/audit.rs

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    SimServer,
    world::{Body, Mind},
};
use crate::{
    handler::Handler,
    shard::audit::{self, Probe},
};

/// A rule of its own that the engine has broken: a sentence that names the shard and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub(super) String);

impl<H: Handler> SimServer<H> {
    /// The rule that was broken first, if any was. The simulation does not go on after it.
    pub fn violation(&self) -> Option<&Violation> {
        let violation = self.violation.as_ref();
        self.is_violation_seen.set(violation.is_some() || self.is_violation_seen.get());
        violation
    }

    /// Checks all rules at once, whatever `set_audit_every` says.
    ///
    /// # Errors
    /// The first rule that is broken, now or earlier.
    pub fn audit(&mut self) -> Result<(), Violation> {
        if self.violation.is_none() {
            self.violation = self.find_violation();
        }
        self.violation().map_or(Ok(()), |violation| Err(violation.clone()))
    }

    /// A shard is audited in full after every `turns` of its turns; 0: never, but for sleeps and buffers. By default
    /// more seldom the more sessions it has, so that a step's cost stays about the same.
    pub fn set_audit_every(&mut self, turns: u32) {
        self.audit_every = Some(turns);
    }

    fn find_violation(&mut self) -> Option<Violation> {
        let shards = (0..self.bodies.len()).find_map(|index| self.audit_shard(index));
        shards.or_else(|| self.lost_wake()).or_else(|| self.audit_server())
    }

    fn audit_shard(&mut self, index: usize) -> Option<Violation> {
        let body = self.bodies[index].as_mut()?;
        body.unaudited = 0;
        let audit = || body.shard.audit(&mut body.auditor);
        let result = catch_unwind(AssertUnwindSafe(audit));
        let text =
            result.unwrap_or_else(|panic| Err(format!("its audit has panicked: {}", text_of(&*panic))));
        Some(Violation(format!("shard {index}: {}", text.err()?)))
    }

    /// What all shards share, and the sum of their memory.
    pub(super) fn audit_server(&self) -> Option<Violation> {
        let shards = self.bodies.iter().flatten().map(|body| &body.shard);
        let used: u64 = shards.clone().map(audit::memory_in_use).sum();
        if used > self.memory.user_bytes() {
            let text = format!("{used} bytes are in use, but the bound is {}", self.memory.user_bytes());
            return Some(Violation(text));
        }
        let result = if self.ended().is_some() {
            audit::audit_server_end(&self.shared, self.inbox_size)
        } else {
            audit::audit_server(&self.shared, self.inbox_size, shards)
        };
        result.err().map(Violation)
    }

    /// A shard that sleeps although somebody has brought it something, and that nobody has woken.
    pub(super) fn lost_wake(&self) -> Option<Violation> {
        let sleepers = self.bodies.iter().enumerate();
        let mut lost = sleepers.filter(|(_, body)| body.as_ref().is_some_and(Body::oversleeps));
        let (shard, _) = lost.next()?;
        Some(Violation(format!(
            "shard {shard}: lost wake: it sleeps, though its mesh, its inbox or the server's phase has something for it, and \
             no wake is pending"
        )))
    }

    /// What is checked after a step of a shard.
    pub(super) fn check(&mut self, index: usize) {
        let Some(body) = &self.bodies[index] else { return };
        let outstanding = body.shard.driver().buffers_outstanding();
        let every = self.audit_every.unwrap_or_else(|| body.turns_between_audits());
        let found = if outstanding > 0 {
            let text =
                format!("shard {index}: {outstanding} receive buffers were not recycled after the turn");
            Some(Violation(text))
        } else if let Mind::Asleep(rest) = body.mind
            && let Err(text) = body.shard.audit_sleep(rest)
        {
            Some(Violation(format!("shard {index}: {text}")))
        } else if every > 0 && body.unaudited >= every {
            self.audits += 1;
            let is_servers_turn = self.audits.is_multiple_of(SHARD_AUDITS_PER_SERVER_AUDIT);
            self.audit_shard(index).or_else(|| is_servers_turn.then(|| self.audit_server())?)
        } else {
            None
        };
        self.violation = self.violation.take().or(found);
    }

    /// A shard has panicked, and not a hook: one of its own assertions has failed. What is left of it is in no state
    /// to be dropped.
    pub(super) fn broken(&mut self, index: usize, panic: &(dyn Any + Send)) {
        std::mem::forget(self.bodies[index].take());
        self.violation = Some(Violation(format!("shard {index}: it has panicked: {}", text_of(panic))));
    }
}

impl<H: Handler> Drop for SimServer<H> {
    fn drop(&mut self) {
        let Some(violation) = self.violation.as_ref().filter(|_| !self.is_violation_seen.get()) else {
            return;
        };
        // Whatever a test has found wrong, this was wrong before.
        assert!(std::thread::panicking(), "{violation}");
        eprintln!("{violation}");
    }
}

impl<H: Handler> Body<H> {
    /// Few sessions are audited after each turn; many so that it costs about the same.
    fn turns_between_audits(&self) -> u32 {
        1 + u32::try_from(self.shard.conn_count() / CONNS_PER_AUDIT).unwrap_or(u32::MAX - 1)
    }

    fn oversleeps(&self) -> bool {
        match self.mind {
            Mind::Awake | Mind::Announced(_) => false,
            Mind::Asleep(rest) => {
                !rest.is_over() && !self.shard.driver().is_woken() && self.shard.has_arrivals()
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

/// What all shards share is audited once for so many audits of shards.
const SHARD_AUDITS_PER_SERVER_AUDIT: u32 = 8;

/// Connections that are audited per turn.
const CONNS_PER_AUDIT: usize = 64;
