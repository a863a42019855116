//! Turns: who acts next, and what may happen while a shard sleeps.
//!
//! In      one server between two steps
//! Out     one step: a shard falls asleep, looks again, or wakes up and has its turn; or time goes on
//! Bounds  one shard acts per step; a sleeping one only if it was woken, or its driver or its deadline asks for it

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{SimServer, driver::SimDriver};
use crate::{
    handler::Handler,
    shard::{
        Shard, Turn,
        audit::{self, Auditor, Probe},
        sleep::Rest,
    },
    shared::Phase,
};

/// A shard, and where in its loop it is.
pub(super) struct Body<H: Handler> {
    pub(super) shard: Shard<SimDriver, H>,
    mind: Mind,
    auditor: Auditor,
    /// Turns since the last full audit.
    unaudited: u32,
}

/// Between two steps others act, wherever in its loop a shard is.
#[derive(Clone, Copy)]
enum Mind {
    /// Its turn is over.
    Awake,
    /// It has announced its sleep, and is about to look for what came before.
    Announced(Rest),
    Asleep(Rest),
}

/// A rule of its own that the engine has broken: a sentence that names the shard and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(String);

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

    // --- rules ---

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
    fn audit_server(&self) -> Option<Violation> {
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
    fn lost_wake(&self) -> Option<Violation> {
        let sleepers = self.bodies.iter().enumerate();
        let mut lost = sleepers.filter(|(_, body)| body.as_ref().is_some_and(Body::oversleeps));
        let (shard, _) = lost.next()?;
        Some(Violation(format!(
            "shard {shard}: lost wake: it sleeps, though its mesh, its inbox or the server's phase has something for it, and \
             no wake is pending"
        )))
    }

    /// What is checked after a step of a shard.
    fn check(&mut self, index: usize) {
        let Some(body) = &self.bodies[index] else { return };
        let outstanding = body.shard.driver().buffers_outstanding();
        let every = self.audit_every.unwrap_or_else(|| body.turns_between_audits());
        let found = if outstanding > 0 {
            let text =
                format!("shard {index}: {outstanding} receive buffers were not recycled after the turn");
            Some(Violation(text))
        } else if every > 0 && body.unaudited >= every {
            self.audits += 1;
            let is_servers_turn = self.audits.is_multiple_of(SHARD_AUDITS_PER_SERVER_AUDIT);
            self.audit_shard(index).or_else(|| is_servers_turn.then(|| self.audit_server())?)
        } else {
            None
        };
        self.violation = self.violation.take().or(found);
    }

    // --- turns ---

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

    /// A shard has panicked, and not a hook: one of its own assertions has failed. What is left of it is in no state
    /// to be dropped.
    fn broken(&mut self, index: usize, panic: &(dyn Any + Send)) {
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
    pub(super) fn new(shard: Shard<SimDriver, H>) -> Self {
        Self { shard, mind: Mind::Awake, auditor: Auditor::default(), unaudited: 0 }
    }

    /// Few sessions are audited after each turn; many so that it costs about the same.
    fn turns_between_audits(&self) -> u32 {
        1 + u32::try_from(self.shard.conn_count() / CONNS_PER_AUDIT).unwrap_or(u32::MAX - 1)
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

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What all shards share is audited once for so many audits of shards.
const SHARD_AUDITS_PER_SERVER_AUDIT: u32 = 8;

/// Connections that are audited per turn.
const CONNS_PER_AUDIT: usize = 64;

/// A shard's turn takes at most so long.
const TURN_NS_MAX: u64 = 4_000;

/// How often others may act between a shard's announcement and its second look.
const INTERRUPTED_PER_MILLE: u32 = 200;

/// How often a shard that finds work goes on before others may act.
const GOES_ON_PER_MILLE: u32 = 700;

/// More would be for ever.
const SPURIOUS_PER_MILLE_MAX: u32 = 500;
