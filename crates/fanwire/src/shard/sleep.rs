//! Sleep: how long a shard may wait, and that nobody's work is slept over.
//!
//! In      what is left to do, deadlines, the driver's clock
//! Out     a wait, announced to whoever may bring work; clock jumps
//! Bounds  `O(paused sessions)` per tick
//! Source  docs/architecture.md

use super::{Core, drain::Drain};
use crate::driver::Driver;

/// How a shard is about to wait. Between its making and `Shard::wake_up` others may act; the simulator sees to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// When it began.
    pub(super) before_ns: u64,
    /// `None`: until something happens.
    pub(super) wait_ns: Option<u64>,
    /// Whoever brings work has to wake the shard.
    is_announced: bool,
}

impl<D: Driver> Core<D> {
    pub(super) fn fall_asleep(&mut self) -> Rest {
        self.accept_room();
        let before_ns = self.driver.now();
        let wait_ns = self.wait_ns(before_ns);
        let is_announced = wait_ns != Some(0);
        if is_announced {
            self.side().parking.prepare_sleep();
        }
        Rest { before_ns, wait_ns, is_announced }
    }

    /// What came before the announcement has woken nobody, and is looked for here.
    pub(super) fn look_again(&self, rest: &mut Rest) {
        if rest.is_announced && self.has_arrivals() {
            rest.wait_ns = Some(0);
        }
    }

    /// Whether another shard or thread has brought something.
    pub(super) fn has_arrivals(&self) -> bool {
        self.mesh.has_entries() || self.side().inbox.has_items() || self.phase_is_new()
    }

    /// Waits for work, as long as `rest` says.
    pub(super) fn poll(&mut self, rest: Rest) {
        self.driver.poll(rest.wait_ns);
        if rest.is_announced {
            self.side().parking.awake();
        }
        self.now_ns = self.driver.now();
        self.tick_number = self.tick_number.wrapping_add(1);
        self.counters().ticks.add(1);
        self.note_clock_jump(rest.before_ns, rest.wait_ns);
    }

    /// How long nothing needs to be done; `None`: until something happens.
    fn wait_ns(&self, now: u64) -> Option<u64> {
        let has_work = !self.ended.is_empty()
            || self.paused.iter().any(|&slot| self.may_resume(slot))
            || (self.publishes.look().has_dirty() && self.flush_due_ns.is_none_or(|due| due <= now));
        if has_work {
            return Some(0);
        }
        let accept_again = (self.accept_again_ns > now).then_some(self.accept_again_ns);
        let drain = self.drain.as_ref().and_then(Drain::due_ns);
        [self.wheel.next_deadline(), self.flush_due_ns, self.retry_ns, accept_again, drain]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.saturating_sub(now))
    }

    /// After a jump (a suspended machine, say) peers had no chance to be heard: silence is counted anew.
    pub(super) fn note_clock_jump(&mut self, before: u64, wait: Option<u64>) {
        let Some(wait) = wait else { return };
        let late = self.now_ns.saturating_sub(before.saturating_add(wait));
        if late > self.jump_ns() {
            self.clock_jump_ns = self.now_ns;
            self.counters().clock_jumps.add(1);
        }
    }

    /// How late a turn may be before silence is counted anew: a peer that answers every ping may be one interval
    /// behind already, and one that is not asked half of its time.
    fn jump_ns(&self) -> u64 {
        match (self.ping_ns, self.idle_ns) {
            (0, 0) => u64::MAX,
            (ping, 0) => ping,
            (0, idle) => idle / 2,
            (ping, idle) => ping.min(idle.saturating_sub(ping)),
        }
    }
}
