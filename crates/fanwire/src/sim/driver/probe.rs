//! What an audit asks of the simulated driver.
//!
//! In      a slot
//! Out     what is registered there, what is still to come, what was not given back
//! Bounds  none of its own
//! Source  shard/audit.rs

use super::{End, Event, Found, SimDriver};
use crate::shard::audit::{Probe, Probed};

impl Probe for SimDriver {
    fn probe(&self, slot: u32) -> Option<Probed> {
        let entry = self.entries.get(slot as usize)?.as_ref()?;
        let key = entry.key;
        let posted =
            |found: &Found| matches!(found, Found::Posted(Event::Writable { key: of }) if *of == key);
        Some(Probed {
            key,
            is_paused: entry.is_paused,
            is_leaving: entry.is_leaving,
            has_ended: entry.has_ended && entry.posted == 0,
            wants_writable: entry.writable_at.is_some() || self.found.iter().any(posted),
        })
    }

    fn is_ending(&self, slot: u32) -> bool {
        let is_of = |end: &End| match end {
            End::Closed(key) | End::Taken(key) => key.slot == slot,
        };
        let found = self.found.iter().any(|found| matches!(found, Found::End(end) if is_of(end)));
        found || self.ends.iter().any(|(_, end)| is_of(end))
    }

    fn buffers_outstanding(&self) -> usize {
        self.buffers.outstanding
    }

    fn page_bytes(&self) -> u64 {
        self.pages.bytes()
    }
}
