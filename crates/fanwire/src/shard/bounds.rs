//! Bounds: how much a shard does in one tick, and keeps of what is of no use yet, before the rest waits.
//!
//! In      the constants below; smaller ones in a simulation, so that small worlds reach them
//! Out     for each step of a tick, where it stops
//! Bounds  these
//! Source  docs/limits.md

use crate::driver::SENDS_PER_BATCH_MAX;

/// What a shard does at most before it goes on to the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "sim"), expect(unreachable_pub, reason = "simulations choose them"))]
pub struct Bounds {
    /// Driver events per tick.
    pub events: usize,
    /// Received bytes per tick, beyond which no event is taken.
    pub event_bytes: usize,
    /// Commands per tick from the mesh, and as many from the inbox.
    pub commands: usize,
    /// Bytes of their frames, each.
    pub command_bytes: u64,
    /// Frames that those commands may queue per tick.
    pub deliveries: u64,
    /// Timers per tick.
    pub timers: usize,
    /// `on_close` hooks per tick.
    pub close_hooks: usize,
    /// Sessions that a drain closes per tick.
    pub closes: usize,
    /// Sends per flush, at most 256.
    pub sends: usize,
    /// Input held for paused sessions, over all of them.
    pub held_bytes: usize,
    /// Bytes that are read and thrown away after a connection's last words.
    pub discard_bytes: u32,
}

impl Bounds {
    /// Every step goes on.
    #[cfg(feature = "sim")]
    pub(crate) fn check(&self) {
        let counts = [self.events, self.commands, self.timers, self.close_hooks, self.closes, self.sends];
        assert!(counts.iter().all(|&count| count > 0) && self.command_bytes > 0 && self.deliveries > 0);
        assert!(self.sends <= SENDS_PER_BATCH_MAX, "a driver takes no more at once");
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            events: EVENTS_PER_TICK_MAX,
            event_bytes: EVENT_BYTES_PER_TICK_MAX,
            commands: COMMANDS_PER_TICK_MAX,
            command_bytes: COMMAND_BYTES_PER_TICK_MAX,
            deliveries: INTAKE_DELIVERIES_MAX,
            timers: TIMERS_PER_TICK_MAX,
            close_hooks: CLOSE_HOOKS_PER_TICK_MAX,
            closes: CLOSES_PER_TICK_MAX,
            sends: SENDS_PER_BATCH_MAX,
            held_bytes: HELD_BYTES_MAX,
            discard_bytes: DISCARD_BYTES_MAX,
        }
    }
}

/// Events handled before the next flush.
const EVENTS_PER_TICK_MAX: usize = 1_024;

/// Received bytes handled before the next flush: about a millisecond of decoding.
const EVENT_BYTES_PER_TICK_MAX: usize = 4 << 20;

/// Commands taken from the mesh, and from the inbox, per tick.
const COMMANDS_PER_TICK_MAX: usize = 1_024;

/// Frame bytes taken from the mesh, and from the inbox, per tick.
const COMMAND_BYTES_PER_TICK_MAX: u64 = 4 << 20;

/// Frames that a tick's commands may queue before the rest waits for the next tick: about 6 ms.
const INTAKE_DELIVERIES_MAX: u64 = 256 * 1024;

/// Timers fired per tick.
const TIMERS_PER_TICK_MAX: usize = 4_096;

/// `on_close` hooks run per tick.
const CLOSE_HOOKS_PER_TICK_MAX: usize = 1_024;

/// Sessions closed per tick of a drain.
const CLOSES_PER_TICK_MAX: usize = 256;

/// Bytes read and thrown away while lingering.
const DISCARD_BYTES_MAX: u32 = 1024 * 1024;

/// Bytes held over all sessions of a shard, with what it costs to hold them.
pub(crate) const HELD_BYTES_MAX: usize = 16 << 20;
