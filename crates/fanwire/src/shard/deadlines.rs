//! Deadlines: each connection's only timer, and what its state makes of it.
//!
//! In      the wheel's fired entries, stale ones among them
//! Out     pings, time-outs, refusals
//! Bounds  `TIMERS_PER_TICK_MAX` per tick; one live entry per connection
//! Source  docs/limits.md

use fanwire_ws::CloseCode;

use super::{Core, conn::State, random_u64};
use crate::{close::CloseKind, driver::Driver};

impl<D: Driver> Core<D> {
    pub(super) fn fire_timers(&mut self) {
        let fired = &mut self.fired;
        self.wheel.advance(self.now_ns, self.bounds.timers, |slot, stamp| fired.push((slot, stamp)));
        for (slot, stamp) in std::mem::take(&mut self.fired) {
            if self.is_timer_live(slot, stamp) {
                self.timer_fired(slot);
            }
        }
        self.settle();
    }

    fn timer_fired(&mut self, slot: u32) {
        match self.state(slot) {
            State::Proxied | State::Head | State::Parked => self.refuse_late(slot),
            State::Open if self.idle_ns > 0 && self.silent_ns(slot) >= self.idle_ns => {
                self.close_session(slot, CloseKind::Idle, CloseCode::POLICY, "nothing heard from you");
            }
            State::Open => {
                if self.ping_ns > 0 {
                    self.out().ping(slot);
                    self.counters().pings_sent.add(1);
                }
                self.set_session_timer(slot);
            }
            State::Closing | State::Echoing | State::Finishing | State::Lingering => {
                self.counters().close_timeouts.add(1);
                self.cut(slot);
            }
            State::Leaving | State::Gone => {}
        }
    }

    /// Sets the connection's only timer.
    pub(crate) fn set_timer(&mut self, slot: u32, from_now_ns: u64) {
        let conn = &mut self.conns[slot as usize];
        conn.timer_stamp = conn.timer_stamp.wrapping_add(1);
        self.wheel.schedule(slot, self.stamp(slot), self.now_ns.saturating_add(from_now_ns));
    }

    /// Tells a live entry of the wheel from stale ones, those of the slot's earlier uses included.
    fn stamp(&self, slot: u32) -> u32 {
        let conn = &self.conns[slot as usize];
        (conn.key.generation << 8) | (conn.timer_stamp & 0xff)
    }

    pub(crate) fn is_timer_live(&self, slot: u32, stamp: u32) -> bool {
        self.conns.contains(slot as usize) && self.stamp(slot) == stamp
    }

    /// An open session's timer: ping, or give up. With neither there is no timer.
    pub(crate) fn set_session_timer(&mut self, slot: u32) {
        let rest = |limit: u64, silent: u64| if limit == 0 { u64::MAX } else { limit.saturating_sub(silent) };
        let silent_ns = self.silent_ns(slot);
        let next = rest(self.idle_ns, silent_ns).min(if self.ping_ns == 0 { u64::MAX } else { self.ping_ns });
        if next != u64::MAX {
            self.set_timer(slot, next.max(1));
        }
    }

    /// The first ping comes at a random moment of its interval's second half: sessions that opened together do
    /// not stay in step.
    pub(super) fn start_session_timer(&mut self, slot: u32) {
        if self.ping_ns == 0 {
            return self.set_session_timer(slot);
        }
        let half = self.ping_ns / 2;
        let jitter = random_u64(&mut self.driver) % half.max(1);
        self.set_timer(slot, half + jitter);
    }

    /// How long nothing was heard, not counting the time before the clock last jumped.
    pub(crate) fn silent_ns(&self, slot: u32) -> u64 {
        let conn = &self.conns[slot as usize];
        if conn.is_paused {
            return 0;
        }
        self.now_ns.saturating_sub(conn.heard_ns.max(self.clock_jump_ns))
    }
}
