//! Assembly: who gives way when messages that arrive in pieces fill their memory.
//!
//! In      what the decoders of a shard hold together
//! Out     the sessions that hold most are closed with 1013, until the limit holds again
//! Bounds  `assembly_bytes_max` between inputs, `ASSEMBLY_SLACK_BYTES` more while one is decoded; O(sessions) for each
//!         session closed
//! Source  docs/limits.md, `assembly_bytes_max`

use fanwire_ws::{CloseCode, DecodeError, Limit};

use super::Core;
use crate::driver::Driver;

impl<D: Driver> Core<D> {
    /// Closes whoever holds most, not whoever came last: a few that never end their messages must not keep everybody
    /// else from sending one that comes in two pieces.
    pub(super) fn relieve_assembly(&mut self) {
        while self.assembly.used() > self.options.assembly_bytes_max {
            self.queue_publishes();
            let holders = self.conns.iter().map(|(_, conn)| (conn.decoder.assembled_bytes(), conn.key.slot));
            let Some((1.., slot)) = holders.max() else { return };
            self.counters().assemblies_refused.add(1);
            self.close_violated(slot, CloseCode::TRY_AGAIN_LATER, "no memory for this message now");
            self.conns[slot as usize].decoder.release(&mut self.assembly);
        }
    }

    /// A piece so large that even the slack had no room for it.
    pub(super) fn count_refused_assembly(&self, error: DecodeError) {
        if error == DecodeError::Limit(Limit::AssemblyBytes) {
            self.counters().assemblies_refused.add(1);
        }
    }
}

/// Room for the largest part of an input that is decoded at a time with default options.
pub(super) const ASSEMBLY_SLACK_BYTES: u64 = 256 << 10;
