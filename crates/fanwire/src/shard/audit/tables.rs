//! Audit of topics, the interest filter, timers and what waits to be taken in.

use super::{Auditor, HAS_TIMER, Probe};
use crate::shard::{Core, State, interest::InterestOwner, ops::subscription_bytes};

impl<D: Probe> Core<D> {
    pub(super) fn audit_topics(&self, auditor: &mut Auditor) -> Result<(), String> {
        let is_open = |slot: u32| self.conns.get(slot as usize).is_some_and(|conn| conn.state == State::Open);
        self.topics().audit(is_open)?;
        std::mem::swap(&mut auditor.places, &mut auditor.places_before);
        auditor.places.clear();
        let mut bytes = 0;
        for (name, _, subscribers) in self.topics().counters() {
            ensure!(
                name.len() <= self.options.topic_bytes_max as usize,
                "topic {name:?} is over topic_bytes_max"
            );
            bytes +=
                subscription_bytes(name, true) + (subscribers as u64 - 1) * subscription_bytes(name, false);
            auditor.places.push(InterestOwner::place_of(self.shared.hasher.hash(name)));
        }
        auditor.places.sort_unstable();
        self.interest.audit(&auditor.places, &auditor.places_before)?;
        ensure!(
            bytes == self.topic_bytes,
            "subscriptions take {bytes} bytes, but {} are counted",
            self.topic_bytes
        );
        ensure!(
            bytes <= self.options.topic_memory_max,
            "subscriptions take {bytes} bytes, over topic_memory_max"
        );
        for (slot, _) in &self.conns {
            let count = u32::try_from(slot).map_or(0, |slot| self.topics().count_of(slot));
            let max = self.options.topics_per_session_max as usize;
            ensure!(count <= max, "slot {slot}: it has {count} topics, over topics_per_session_max");
        }
        Ok(())
    }

    /// Marks the slots that have a live timer, and looks whether it is one of theirs.
    pub(super) fn audit_timers(&self, auditor: &mut Auditor) -> Result<(), String> {
        let mut late = None;
        self.wheel.for_each(|slot, stamp, deadline_ns| {
            if self.is_timer_live(slot, stamp) {
                auditor.mark(slot, HAS_TIMER);
                let longest_ns = self.longest_ns(self.state(slot));
                if deadline_ns > self.now_ns.saturating_add(longest_ns).saturating_add(TIMER_SLACK_NS) {
                    late = Some((slot, deadline_ns - self.now_ns));
                }
            }
        })?;
        let Some((slot, rest_ns)) = late else { return Ok(()) };
        Err(format!("slot {slot}: it is {:?}, and its timer is {rest_ns} ns away", self.state(slot)))
    }

    fn longest_ns(&self, state: State) -> u64 {
        match state {
            State::Proxied | State::Head | State::Parked => self.handshake_ns,
            // Its handshake's timer is still there, and does nothing.
            State::Open if self.ping_ns == 0 && self.idle_ns == 0 => u64::MAX,
            State::Open => self.ping_ns.max(self.idle_ns),
            State::Closing | State::Echoing | State::Finishing | State::Lingering => self.close_ns,
            // Whatever it was set for before.
            State::Leaving | State::Gone => u64::MAX,
        }
    }

    /// What waits in the inbox and in the rings to this shard is what its callers were let in with.
    pub(super) fn audit_intake(&mut self) -> Result<(), String> {
        let mut bytes = 0;
        self.mesh.audit(|command| bytes += command.frame_bytes())?;
        let places = self.options.inbox_size as usize;
        self.side().inbox.audit(places, |command| bytes += command.frame_bytes())?;
        let (counted, max) = (self.side().intake_bytes(), self.options.intake_bytes_max);
        ensure!(counted == bytes, "{bytes} bytes of frames wait to be taken in, but {counted} are counted");
        ensure!(bytes <= max, "{bytes} bytes of frames wait to be taken in, over intake_bytes_max");
        Ok(())
    }
}

/// A timer fires at the first tick of its wheel after its time.
const TIMER_SLACK_NS: u64 = 8_000_000;
