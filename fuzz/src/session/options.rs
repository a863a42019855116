//! Options and faults, chosen by the input's first bytes.
//!
//! In      a byte for each choice
//! Out     options that a server accepts, with limits within a few operations' reach; faults of the simulation
//! Bounds  41 bytes

use std::time::Duration;

use fanwire::{Json, Options, Overflow, Raw, sim::Faults};

use crate::input::Input;

/// What must hold at any time.
pub(super) struct Limits {
    pub(super) sessions_max: u64,
    pub(super) frame_bytes_max: u64,
    pub(super) assembly_bytes_max: u64,
    pub(super) shards: u64,
}

pub(super) fn faults(input: &mut Input<'_>) -> Faults {
    let mut faults = Faults::none();
    faults.send_short_per_mille = input.choice([0, 100, 900]);
    faults.send_refused_per_mille = input.choice([0, 50, 500]);
    faults.receive_short_per_mille = input.choice([0, 200, 1_000]);
    faults.delayed_per_mille = input.choice([0, 200, 900]);
    faults.delay_ns_max = input.choice([2_000_000, 1_000, 3_000_000_000]);
    faults
}

/// Those that a healthy connection seldom shows, and those of drivers.
pub(super) fn rare_faults(input: &mut Input<'_>, mut faults: Faults) -> Faults {
    faults.send_starved_per_mille = input.choice([0, 20, 300]);
    faults.reset_per_mille = input.choice([0, 0, 5, 50]);
    faults.accept_failed_per_mille = input.choice([0, 300]);
    faults.event_late_per_mille = input.choice([0, 50, 700]);
    faults.closed_late_per_mille = input.choice([0, 500, 1_000]);
    faults.closed_delay_ns_max = input.choice([1_000_000, 2_000_000_000]);
    faults.received_after_pause_per_mille = input.choice([0, 300, 900]);
    faults.writable_spurious_per_mille = input.choice([0, 50, 500]);
    faults.wake_spurious_per_mille = input.choice([0, 10, 300]);
    faults
}

/// Zeros choose calm values; what is behind them brings limits within a few operations' reach.
pub(super) fn options(input: &mut Input<'_>, is_json: bool) -> (Options, Limits) {
    let shards = input.choice([1, 2, 3]);
    let sessions_max = input.choice([100, 1, 3]);
    let queue_bytes = input.choice([1 << 20, 1_024, 8_192]);
    let frame_bytes_max = u64::from(queue_bytes) * input.choice([64, 1, 4]) + FRAME_COST_BYTES;
    let read_limit = input.choice([70_000, 1, 125, 4_096]);
    let assembly_bytes_max = u64::from(read_limit) * input.choice([16, 1]);
    let options = Options::default()
        .shards(shards)
        .sessions_max(sessions_max)
        .queue_bytes(queue_bytes)
        .frame_bytes_max(frame_bytes_max)
        .intake_bytes_max(frame_bytes_max)
        .read_limit(read_limit)
        .assembly_bytes_max(assembly_bytes_max)
        .queue_size(input.choice([256, 1, 2, 5]))
        .overflow(input.choice([Overflow::Close, Overflow::DropNewest, Overflow::DropOldest]))
        .handshakes_max(input.choice([64, 1, 2]))
        .mesh_size(input.choice([64, 1, 4]))
        .inbox_size(input.choice([64, 1, 4]))
        .topics_per_session_max(input.choice([64, 1, 3]))
        .topic_bytes_max(input.choice([64, 4]))
        .topic_memory_max(input.choice([1 << 20, 1_024]))
        .receive_buffer_bytes(input.choice([16 << 10, 1_024]))
        .send_buffer_bytes(input.choice([64 << 10, 2_048]))
        .read_budget_bytes(input.choice([256 << 10, 1_024]))
        .head_bytes_max(input.choice([16 << 10, 256]))
        .flush_delay(input.choice([Duration::ZERO, Duration::from_millis(1)]))
        .accepts_armed_max(input.choice([8, 1]))
        .ping_interval(Duration::from_secs(input.choice([25, 1, 0])))
        .idle_timeout(Duration::from_secs(input.choice([75, 0, 26])))
        .handshake_timeout(Duration::from_secs(input.choice([10, 1])))
        .close_timeout(Duration::from_secs(input.choice([5, 1])))
        .require_origin(input.choice([false, true]));
    let options = if is_json { options.codec(Json) } else { options.codec(Raw) };
    let limits = Limits {
        sessions_max: sessions_max.into(),
        frame_bytes_max,
        assembly_bytes_max,
        shards: shards.into(),
    };
    (options, limits)
}

/// More than holding a frame costs beside its bytes: the least that `frame_bytes_max` may be is reached but for this.
const FRAME_COST_BYTES: u64 = 512;
