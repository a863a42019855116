//! Settings: the engine's options and the world's faults, drawn from a seed.
//!
//! In      chance
//! Out     options at and beyond what anybody would choose: queues of one message, rings of one entry, tight memory
//! Bounds  the tables below
//! Source  docs/limits.md

use std::time::Duration;

use fanwire::{
    Json, Options, Overflow, Raw,
    sim::{Bounds, Faults},
};
use fastrand::Rng;

/// What a world is made with.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the options of the same names")]
pub struct Settings {
    pub shards: u16,
    /// The Raw codec in place of Json.
    pub is_raw: bool,
    pub overflow: Overflow,
    pub queue_size: u32,
    pub queue_bytes: u32,
    pub frame_bytes_max: u64,
    pub intake_bytes_max: u64,
    pub read_limit: u32,
    pub read_budget_bytes: u32,
    pub assembly_bytes_max: u64,
    pub send_buffer_bytes: u32,
    pub page_share_bytes_min: u32,
    pub receive_buffer_bytes: u32,
    pub receive_buffers: u16,
    pub mesh_size: u32,
    pub inbox_size: u32,
    pub flush_delay: Duration,
    pub ping_interval: Duration,
    pub idle_timeout: Duration,
    pub handshake_timeout: Duration,
    pub close_timeout: Duration,
    pub sessions_max: u32,
    pub handshakes_max: u32,
    pub topics_per_session_max: u32,
    /// What a peer holds of bytes that it does not read.
    pub peer_buffer_bytes: usize,
    /// What a shard does at most in one tick.
    pub bounds: Bounds,
    pub faults: Faults,
}

impl Settings {
    /// Usual or tight, each by chance.
    pub fn draw(rng: &mut Rng) -> Self {
        let queue_bytes = *choose(rng, &[1_024, 8 << 10, 64 << 10, 16 << 20]);
        let read_limit = *choose(rng, &[4 << 10, 64 << 10, 4 << 20]);
        let ping_interval = *choose(rng, &[Duration::ZERO, Duration::from_secs(1), Duration::from_secs(25)]);
        let is_tight = rng.u8(..8) == 0;
        Self {
            shards: *choose(rng, &[1, 1, 2, 2, 3, 4]),
            is_raw: rng.bool(),
            overflow: *choose(rng, &[Overflow::Close, Overflow::DropNewest, Overflow::DropOldest]),
            queue_size: *choose(rng, &[1, 2, 3, 8, 31, 32, 64, 256]),
            queue_bytes,
            frame_bytes_max: if is_tight { u64::from(queue_bytes) + 1_024 } else { 256 << 20 },
            intake_bytes_max: if rng.u8(..8) == 0 { queue_bytes.into() } else { 64 << 20 },
            read_limit,
            read_budget_bytes: *choose(rng, &[1_024, 8 << 10, 256 << 10]),
            assembly_bytes_max: u64::from(read_limit) * choose(rng, &[1, 64]),
            send_buffer_bytes: *choose(rng, &[2_048, 16 << 10, 128 << 10]),
            page_share_bytes_min: *choose(rng, &[0, 1, 1, 64, 1_024, 4_096]),
            receive_buffer_bytes: *choose(rng, &[1_024, 4 << 10, 16 << 10]),
            receive_buffers: *choose(rng, &[2, 4, 256]),
            mesh_size: *choose(rng, &[1, 2, 16, 4_096]),
            inbox_size: *choose(rng, &[1, 2, 16, 4_096]),
            flush_delay: *choose(rng, &[Duration::ZERO, Duration::ZERO, Duration::from_millis(1)]),
            ping_interval,
            idle_timeout: ping_interval * 3,
            handshake_timeout: *choose(rng, &[Duration::from_millis(200), Duration::from_secs(10)]),
            close_timeout: *choose(rng, &[Duration::from_millis(100), Duration::from_secs(5)]),
            sessions_max: *choose(rng, &[4, 1_000, 1_000, 1_000]),
            handshakes_max: *choose(rng, &[1, 2, 64]),
            topics_per_session_max: *choose(rng, &[2, 1_024, 1_024]),
            peer_buffer_bytes: *choose(rng, &[0, 1_024, 256 << 10]),
            bounds: draw_bounds(rng),
            faults: draw_faults(rng),
        }
    }

    /// For `SimServer::new`.
    pub fn options(&self) -> Options {
        let options = Options::default()
            .shards(self.shards)
            .overflow(self.overflow)
            .queue_size(self.queue_size)
            .queue_bytes(self.queue_bytes)
            .frame_bytes_max(self.frame_bytes_max)
            .intake_bytes_max(self.intake_bytes_max)
            .read_limit(self.read_limit)
            .read_budget_bytes(self.read_budget_bytes)
            .assembly_bytes_max(self.assembly_bytes_max)
            .send_buffer_bytes(self.send_buffer_bytes)
            .page_share_bytes_min(self.page_share_bytes_min)
            .receive_buffer_bytes(self.receive_buffer_bytes)
            .receive_buffers(self.receive_buffers)
            .mesh_size(self.mesh_size)
            .inbox_size(self.inbox_size)
            .flush_delay(self.flush_delay)
            .ping_interval(self.ping_interval)
            .idle_timeout(self.idle_timeout)
            .handshake_timeout(self.handshake_timeout)
            .close_timeout(self.close_timeout)
            .sessions_max(self.sessions_max)
            .handshakes_max(self.handshakes_max)
            .topics_per_session_max(self.topics_per_session_max);
        if self.is_raw { options.codec(Raw) } else { options.codec(Json) }
    }

    /// Whether frames find room in a shard's memory only at the cost of blocked sessions.
    pub fn is_memory_tight(&self) -> bool {
        self.frame_bytes_max < 1 << 20
    }

    /// Whether one message in pieces can take the memory of all.
    pub fn is_assembly_tight(&self) -> bool {
        self.assembly_bytes_max == u64::from(self.read_limit)
    }

    /// Whether a peer that goes on after it has broken the protocol is cut before it has read what came of it.
    pub fn is_discard_tight(&self) -> bool {
        self.bounds.discard_bytes < Bounds::default().discard_bytes
    }

    /// Whether any connection may break by itself.
    pub fn may_reset(&self) -> bool {
        self.faults.reset_per_mille > 0
    }

    /// Whether frames can find no room on their way between shards.
    pub fn is_intake_tight(&self) -> bool {
        self.intake_bytes_max < 1 << 20
    }
}

/// One of them.
pub fn choose<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

/// The usual ones are beyond what a small world does in a tick; in half of all worlds they are in its reach.
fn draw_bounds(rng: &mut Rng) -> Bounds {
    if rng.bool() {
        return Bounds::default();
    }
    let mut count = || *choose(rng, &[1, 2, 5, 64]);
    Bounds {
        events: count(),
        commands: count(),
        timers: count(),
        closes: count(),
        sends: count(),
        deliveries: count() as u64,
        event_bytes: *choose(rng, &[0, 1_000, 4 << 20]),
        command_bytes: *choose(rng, &[1, 1_000, 4 << 20]),
        held_bytes: *choose(rng, &[0, 1_000, 16 << 20]),
        discard_bytes: *choose(rng, &[100, 1 << 20]),
        // The oracle hears of an end by its hook, in the same turn.
        ..Bounds::default()
    }
}

/// A third of all worlds is calm; in the others each fault is absent, rare or frequent.
fn draw_faults(rng: &mut Rng) -> Faults {
    let mut faults = Faults::none();
    if rng.u8(..3) == 0 {
        return faults;
    }
    let mut rate = || *choose(rng, &[0, 20, 200, 500]);
    faults.send_short_per_mille = rate();
    faults.send_refused_per_mille = rate();
    faults.send_starved_per_mille = rate() / 4;
    faults.share_refused_per_mille = rate() / 4;
    faults.receive_short_per_mille = rate();
    faults.accept_failed_per_mille = rate();
    faults.delayed_per_mille = rate();
    faults.event_late_per_mille = rate();
    faults.closed_late_per_mille = rate();
    faults.received_after_pause_per_mille = rate();
    faults.writable_spurious_per_mille = rate();
    faults.wake_spurious_per_mille = rate() / 4;
    faults.delay_ns_max = *choose(rng, &[10_000, 2_000_000, 50_000_000]);
    faults.closed_delay_ns_max = *choose(rng, &[10_000, 2_000_000, 50_000_000]);
    // Resets excuse much: most worlds have none.
    faults.reset_per_mille = *choose(rng, &[0, 0, 0, 0, 0, 0, 2, 20]);
    faults
}
