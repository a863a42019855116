//! The end of a shard: a drain at a steady pace, or a cut.
//!
//! In      the server's phase, the time
//! Out     closed sessions, and how many were closed and how many cut
//! Bounds  `CLOSES_PER_TICK_MAX` closes per tick, behind what had been published before; at the deadline everything is cut
//! Source  docs/architecture.md; RFC 6455 section 7.4.1 for 1001

use fanwire_ws::CloseCode;

use super::{Core, State, nanoseconds};
use crate::{close::CloseKind, driver::Driver, shared::Phase};

/// What became of a shard's sessions when it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardReport {
    pub(crate) drained: u64,
    pub(crate) cut: u64,
}

/// A drain under way.
pub(super) struct Drain {
    deadline_ns: u64,
    /// Nanoseconds between two closes.
    pace_ns: u64,
    next_ns: u64,
    /// What must be taken in before the next ones are closed.
    horizon: Option<Horizon>,
    report: ShardReport,
    is_stopping: bool,
    /// Nothing is left to do but to hear of the sockets' ends.
    is_cut: bool,
}

impl Drain {
    /// When there is something to do, if nothing comes before; `None`: never.
    pub(super) fn due_ns(&self) -> Option<u64> {
        (!self.is_cut).then(|| self.next_ns.min(self.deadline_ns))
    }
}

/// How much had been handed to this shard at one moment.
struct Horizon {
    mesh: Vec<u64>,
    inbox: u64,
}

impl<D: Driver> Core<D> {
    pub(super) fn phase_is_new(&self) -> bool {
        match self.shared.phase() {
            Phase::Running => false,
            Phase::Draining => self.drain.is_none(),
            Phase::Stopping => self.drain.as_ref().is_none_or(|drain| !drain.is_stopping),
        }
    }

    /// Closes sessions at a steady pace, so that their reconnects do not come as one storm; at the deadline cuts
    /// the rest.
    pub(super) fn drain(&mut self) {
        if self.phase_is_new() {
            self.start_drain();
        }
        let Some(mut drain) = self.drain.take() else { return };
        if drain.is_stopping || self.now_ns >= drain.deadline_ns {
            drain.report.cut += self.cut_all();
            drain.is_cut = true;
            // What the last sends have found: the next turn may know these slots no more.
            self.settle();
        } else if drain.next_ns <= self.now_ns && self.has_taken_in(&mut drain) {
            self.close_some(&mut drain);
        }
        self.drain = Some(drain);
    }

    /// Whoever published before the next sessions are chosen was told that they would get it.
    fn has_taken_in(&self, drain: &mut Drain) -> bool {
        let inbox = &self.side().inbox;
        let horizon = drain
            .horizon
            .take()
            .unwrap_or_else(|| Horizon { mesh: self.mesh.horizon(), inbox: inbox.horizon() });
        let is_reached = self.mesh.has_reached(&horizon.mesh) && inbox.has_reached(horizon.inbox);
        if !is_reached {
            drain.horizon = Some(horizon);
        }
        is_reached
    }

    fn start_drain(&mut self) {
        self.driver.stop_accepting();
        let time_ns = nanoseconds(self.shared.drain_time());
        // The last fifth is for closing handshakes.
        let pace_ns = (time_ns / 5 * 4 / self.sessions.max(1)).min(DRAIN_PACE_NS_MAX);
        let report = self.report();
        self.drain = Some(Drain {
            deadline_ns: self.now_ns.saturating_add(time_ns),
            pace_ns,
            next_ns: self.now_ns,
            horizon: None,
            report,
            is_stopping: self.shared.phase() == Phase::Stopping,
            is_cut: false,
        });
        for slot in self.slots(|state| matches!(state, State::Proxied | State::Head | State::Parked)) {
            let is_silent = self.conns[slot as usize].read_bytes == 0;
            self.refuse_draining(slot);
            if is_silent {
                self.set_timer(slot, self.close_ns.min(SILENT_LINGER_NS));
            }
        }
    }

    pub(super) fn report(&self) -> ShardReport {
        self.drain.as_ref().map(|drain| drain.report).unwrap_or_default()
    }

    fn close_some(&mut self, drain: &mut Drain) {
        let due = (self.now_ns - drain.next_ns) / drain.pace_ns.max(1) + 1;
        let due = usize::try_from(due).unwrap_or(usize::MAX).min(self.bounds.closes);
        let slots: Vec<u32> = self.out().open_slots().take(due).collect();
        for &slot in &slots {
            self.close_session(slot, CloseKind::Server, CloseCode::GOING_AWAY, "the server is going away");
            drain.report.drained += 1;
        }
        drain.next_ns += drain.pace_ns * slots.len() as u64;
        if self.sessions == 0 {
            // Nothing is left to close; wake up for the deadline only.
            drain.next_ns = drain.deadline_ns;
        }
    }

    /// Ends everything now; how many sessions were still open or had not finished closing.
    fn cut_all(&mut self) -> u64 {
        let mut count = 0;
        for slot in self.slots(|state| !matches!(state, State::Gone | State::Leaving)) {
            count += u64::from(matches!(self.state(slot), State::Open | State::Closing));
            self.close_session(slot, CloseKind::Shutdown, CloseCode::GOING_AWAY, "the server is shut down");
            // One try to get the close frame out.
            self.publishes.now(&mut self.driver).out.try_flush(&mut self.driver, slot);
            self.cut(slot);
        }
        count
    }

    fn slots(&self, of: impl Fn(State) -> bool) -> Vec<u32> {
        self.conns.iter().filter(|(_, conn)| of(conn.state)).map(|(_, conn)| conn.key.slot).collect()
    }

    pub(super) fn is_done(&self) -> bool {
        self.drain.is_some() && self.conns.is_empty() && self.ended.is_empty()
    }
}

/// A drain closes at least 100 sessions a second and shard: few sessions need not wait for their deadline.
const DRAIN_PACE_NS_MAX: u64 = 10_000_000;

/// Browsers open connections on suspicion: a drain waits for what such a one may have sent just now, and not for its end.
const SILENT_LINGER_NS: u64 = 250_000_000;
