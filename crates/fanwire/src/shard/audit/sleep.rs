//! Audit of a sleep: what a shard has to do by itself ends it in time.
//!
//! In      a shard that has fallen asleep, and how it rests
//! Out     work that waits for longer than it may, and that no event brings up
//! Bounds  O(dirty and paused sessions)
//! Source  sleep.rs

use super::Probe;
use crate::{
    handler::Handler,
    shard::{
        Core, SEND_RETRY_NS, Shard, nanoseconds,
        outbox::{BLOCKED, DEAD},
        sleep::Rest,
    },
};

impl<D: Probe, H: Handler> Shard<D, H> {
    /// Checks a shard that has fallen asleep.
    pub(crate) fn audit_sleep(&self, rest: Rest) -> Result<(), String> {
        let core = &self.core;
        ensure!(core.ended.is_empty() || rest.is_until(0), "it sleeps, and on_close is to run");
        let mut paused = core.paused.iter();
        let resumed = paused.find(|&&slot| core.may_resume(slot)).filter(|_| !rest.is_until(0));
        if let Some(slot) = resumed {
            return Err(format!("it sleeps, and slot {slot}, which is paused, may go on"));
        }
        let flush_ns = rest.before_ns + nanoseconds(core.options.flush_delay);
        ensure!(
            !core.has_sendable() || rest.is_until(core.flush_due_ns.unwrap_or(0).min(flush_ns)),
            "it sleeps, and what is due to be sent waits"
        );
        let retry_ns = rest.before_ns + SEND_RETRY_NS;
        ensure!(
            !core.publishes.look().has_starved() || rest.is_until(core.retry_ns.unwrap_or(0).min(retry_ns)),
            "it sleeps, and nobody will try again what the kernel had no memory for"
        );
        Ok(())
    }
}

impl<D: Probe> Core<D> {
    /// Whether a session has something to send, and its socket has not refused it.
    fn has_sendable(&self) -> bool {
        let out = self.publishes.look();
        out.dirty.iter().any(|&slot| out.queue(slot).flags & (BLOCKED | DEAD) == 0)
    }
}

impl Rest {
    /// Whether it ends by this time, or at once.
    fn is_until(&self, limit_ns: u64) -> bool {
        self.due_ns().is_some_and(|due| due <= limit_ns.max(self.before_ns))
    }
}
