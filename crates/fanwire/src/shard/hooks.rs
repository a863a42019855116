//! Hooks: the user's code, and what is left of a session when it panics.
//!
//! In      sessions that open and end, messages
//! Out     calls of `Handler`; a session whose hook panicked is closed
//! Bounds  `CLOSE_HOOKS_PER_TICK_MAX` `on_close` hooks per tick
//! Source  docs/architecture.md

use std::panic::{AssertUnwindSafe, catch_unwind};

use fanwire_ws::CloseCode;

use super::{Core, Shard};
use crate::{
    close::{CloseKind, CloseReason},
    driver::Driver,
    handler::Handler,
    session::Session,
};

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Opens the session of a connection whose handshake is answered, and tells the handler.
    pub(crate) fn open(&mut self, slot: u32, value: H::Value) {
        if self.values.len() <= slot as usize {
            self.values.resize_with(slot as usize + 1, || None);
        }
        self.values[slot as usize] = Some(value);
        self.core.open_session(slot);
        self.hook(slot, |handler, session| handler.on_open(session));
    }

    /// Runs a hook for an open session; if it panics, that session ends.
    pub(super) fn hook(&mut self, slot: u32, hook: impl FnOnce(&mut H, &mut Session<'_, H::Value>)) {
        let Some(value) = &mut self.values[slot as usize] else { return };
        let mut session = Session::new(&mut self.core, slot, value);
        if guarded(|| hook(&mut self.handler, &mut session)).is_none() {
            self.core.close_panicked(slot);
        }
        self.core.settle();
    }

    /// Drops a session's value, which is the user's code as well.
    fn drop_value(&mut self, slot: u32) {
        let value = self.values[slot as usize].take();
        if guarded(|| drop(value)).is_none() {
            self.core.counters().hook_panics.add(1);
        }
    }

    pub(super) fn run_close_hooks(&mut self) {
        for _ in 0..self.core.bounds.close_hooks {
            // The entry stays in front while its hook runs: `topics()` reads it there.
            let Some(ended) = self.core.ended.front_mut() else { break };
            let slot = ended.slot;
            let reason = std::mem::replace(
                &mut ended.reason,
                CloseReason::new(CloseKind::Server, CloseCode::NORMAL.value(), ""),
            );
            self.hook(slot, |handler, session| handler.on_close(session, &reason));
            self.core.ended.pop_front();
            // It may end others, whose hooks run in this same turn.
            self.core.queue_publishes();
            self.drop_value(slot);
            self.core.conns[slot as usize].awaits_hook = false;
            self.core.free_if_done(slot);
        }
    }
}

impl<D: Driver> Core<D> {
    /// A hook, or the user's codec, has panicked.
    pub(super) fn close_panicked(&mut self, slot: u32) {
        self.queue_publishes();
        self.counters().hook_panics.add(1);
        self.close_session(slot, CloseKind::Panic, CloseCode::INTERNAL_ERROR, "internal error");
    }
}

/// Runs a hook; `None` if it panicked.
pub(crate) fn guarded<R>(hook: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(hook)).ok()
}
