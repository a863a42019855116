//! Turns: who acts next, and what may happen while a shard sleeps.
//!
//! In      one server between two steps
//! Out     one step: a shard falls asleep, looks again, or wakes up and has its turn; or time goes on
//! Bounds  one shard acts per step; a sleeping one only if it was woken, or its driver or its deadline asks for it

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{SimServer, driver::SimDriver, rules::Violation};
use crate::{
    handler::Handler,
    shard::{Shard, Turn, audit::Auditor, sleep::Rest},
    shared::Phase,
};

/// A shard, and where in its loop it is.
pub(super) struct Body<H: Handler> {
    pub(super) shard: Shard<SimDriver, H>,
    pub(super) mind: Mind,
    pub(super) auditor: Auditor,
    /// Turns since the last full audit.
    pub(super) unaudited: u32,
}

/// Between two steps others act, wherever in its loop a shard is.
#[derive(Clone, Copy)]
pub(super) enum Mind {
    /// Its turn is over.
    Awake,
    /// It has announced its sleep, and is about to look for what came before.
    Announced(Rest),
    Asleep(Rest),
}

/// What `turn` has done.
enum Turned {
    Shard,
    /// No shard has anything to do before `next_ns`.
    Nobody {
        next_ns: Option<u64>,
    },
    /// A rule is broken, and nothing goes on.
    Stopped,
}

impl<H: Handler> SimServer<H> {
    /// Lets one shard that has something to do act: end a turn and fall asleep, or wake up and have its turn. If none
    /// has, the clock goes on to the next thing that is due. `false`: nothing will ever happen by itself.
    pub fn step(&mut self) -> bool {
        match self.turn() {
            Turned::Shard => true,
            Turned::Nobody { next_ns: Some(next) } => {
                self.net.borrow_mut().now = next;
                true
            }
            Turned::Nobody { next_ns: None } | Turned::Stopped => false,
        }
    }

    /// Steps until something is so; `false` if it is not after `steps_max` steps, or if nothing happens any more.
    pub fn run_until(&mut self, steps_max: usize, mut is_so: impl FnMut(&Self) -> bool) -> bool {
        for _ in 0..steps_max {
            if is_so(self) {
                return true;
            }
            if !self.step() {
                return is_so(self);
            }
        }
        is_so(self)
    }

    /// Lets time pass, and everything happen that is due meanwhile.
    pub fn pass(&mut self, time: Duration) {
        let end = self.net.borrow().now.saturating_add(nanoseconds(time));
        while self.net.borrow().now < end {
            match self.turn() {
                Turned::Shard => {}
                Turned::Nobody { next_ns } => {
                    self.net.borrow_mut().now = next_ns.unwrap_or(end).min(end);
                }
                Turned::Stopped => return,
            }
        }
    }

    /// Sets the clock forward at once, as after a machine's suspension.
    pub fn jump(&mut self, time: Duration) {
        self.net.borrow_mut().now += nanoseconds(time);
    }

    /// Whether a shard has something to do at this moment: otherwise `step` only lets time pass.
    pub fn has_work(&self) -> bool {
        let mut net = self.net.borrow_mut();
        net.reap_tokens();
        let now = net.now;
        drop(net);
        self.violation.is_none() && self.bodies.iter().flatten().any(|body| body.is_runnable(now))
    }

    /// Lets time pass until a shard has something to do, but no longer than this.
    pub fn wait(&mut self, at_most: Duration) {
        if self.has_work() {
            return;
        }
        let end = self.net.borrow().now.saturating_add(nanoseconds(at_most));
        let next = self.next_due_ns();
        self.net.borrow_mut().now = next.unwrap_or(end).min(end);
    }

    /// Whether all is at rest: every shard sleeps with nothing to do, nothing is under way, and nothing waits to be
    /// sent but to sockets that refuse it. Only timers, clients and other threads can change it.
    pub fn is_idle(&self) -> bool {
        let now = {
            let mut net = self.net.borrow_mut();
            net.reap_tokens();
            if net.next_arrival().is_some() {
                return false;
            }
            net.now
        };
        self.bodies.iter().flatten().all(|body| !body.is_runnable(now) && !body.shard.has_unsent())
    }

    fn turn(&mut self) -> Turned {
        self.net.borrow_mut().reap_tokens();
        if self.violation.is_none() {
            self.violation = self.lost_wake();
        }
        if self.violation.is_some() {
            return Turned::Stopped;
        }
        let Some(chosen) = self.choose() else { return Turned::Nobody { next_ns: self.next_due_ns() } };
        match catch_unwind(AssertUnwindSafe(|| self.act(chosen))) {
            Ok(()) => self.check(chosen),
            Err(panic) => self.broken(chosen, &*panic),
        }
        Turned::Shard
    }

    fn next_due_ns(&self) -> Option<u64> {
        let arrival = self.net.borrow_mut().next_arrival();
        let deadlines = self.bodies.iter().flatten().filter_map(Body::due_ns);
        deadlines.chain(arrival).min()
    }

    /// One of the shards that have something to do.
    fn choose(&mut self) -> Option<usize> {
        let mut net = self.net.borrow_mut();
        let (now, spurious) = (net.now, net.faults.wake_spurious_per_mille.min(SPURIOUS_PER_MILLE_MAX));
        let startled = net.rng.happens(spurious).then(|| net.rng.below(self.bodies.len()));
        drop(net);
        self.runnable.clear();
        for (index, body) in self.bodies.iter().enumerate() {
            let Some(body) = body else { continue };
            if startled == Some(index) || body.is_runnable(now) {
                self.runnable.push(index);
            }
        }
        match self.runnable.len() {
            0 => None,
            1 => Some(self.runnable[0]),
            count => Some(self.runnable[self.net.borrow_mut().rng.below(count)]),
        }
    }

    /// Takes a shard one step further in its loop.
    fn act(&mut self, index: usize) {
        let Some(body) = &mut self.bodies[index] else { return };
        let (interrupts, goes_on, turn_ns) = {
            let rng = &mut self.net.borrow_mut().rng;
            let goes_on = rng.happens(GOES_ON_PER_MILLE);
            (rng.happens(INTERRUPTED_PER_MILLE), goes_on, 1 + rng.number() % TURN_NS_MAX)
        };
        match body.mind {
            Mind::Awake => {
                let rest = body.shard.fall_asleep();
                body.mind = Mind::Announced(rest);
                if !interrupts {
                    self.look_again(index, goes_on, turn_ns);
                }
            }
            Mind::Announced(_) => self.look_again(index, goes_on, turn_ns),
            Mind::Asleep(rest) => self.wake_up(index, rest, turn_ns),
        }
    }

    /// The shard looks for what came before its announcement; if there is something, it may go on at once.
    fn look_again(&mut self, index: usize, goes_on: bool, turn_ns: u64) {
        let Some(body) = &mut self.bodies[index] else { return };
        let Mind::Announced(mut rest) = body.mind else { return };
        body.shard.look_again(&mut rest);
        body.mind = Mind::Asleep(rest);
        if goes_on && rest.is_over() {
            self.wake_up(index, rest, turn_ns);
        }
    }

    fn wake_up(&mut self, index: usize, rest: Rest, turn_ns: u64) {
        // A turn takes time, so that one shard that always has work cannot stop the clock.
        self.net.borrow_mut().now += turn_ns;
        let Some(body) = &mut self.bodies[index] else { return };
        body.mind = Mind::Awake;
        body.unaudited += 1;
        if body.shard.wake_up(rest) == Turn::Done {
            self.end(index);
        }
    }

    /// As at the end of a shard's thread.
    fn end(&mut self, index: usize) {
        let Some(mut body) = self.bodies[index].take() else { return };
        let left = body.shard.audit_end(&mut body.auditor).err();
        let report = body.shard.report();
        self.report.drained += report.drained;
        self.report.cut += report.cut;
        self.shared.shards[index].discard_commands();
        let is_last = self.bodies.iter().all(Option::is_none);
        if is_last {
            self.shared.enter_phase(Phase::Stopping, Duration::ZERO);
        }
        // The rings to it go with it, and what was in them.
        drop(body);
        self.violation = left.map(|text| Violation(format!("shard {index}: {text}")));
        if is_last && self.violation.is_none() {
            self.violation = self.audit_server();
        }
    }
}

impl<H: Handler> Body<H> {
    pub(super) fn new(shard: Shard<SimDriver, H>) -> Self {
        Self { shard, mind: Mind::Awake, auditor: Auditor::default(), unaudited: 0 }
    }

    fn is_runnable(&self, now: u64) -> bool {
        match self.mind {
            Mind::Awake | Mind::Announced(_) => true,
            Mind::Asleep(rest) => {
                let driver = self.shard.driver();
                rest.due_ns().is_some_and(|due| due <= now) || driver.is_woken() || driver.has_events()
            }
        }
    }

    /// Until when it sleeps if nothing comes.
    fn due_ns(&self) -> Option<u64> {
        match self.mind {
            Mind::Awake | Mind::Announced(_) => None,
            Mind::Asleep(rest) => rest.due_ns(),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A shard's turn takes at most so long.
const TURN_NS_MAX: u64 = 4_000;

/// How often others may act between a shard's announcement and its second look.
const INTERRUPTED_PER_MILLE: u32 = 200;

/// How often a shard that finds work goes on before others may act.
const GOES_ON_PER_MILLE: u32 = 700;

/// More would be for ever.
const SPURIOUS_PER_MILLE_MAX: u32 = 500;
