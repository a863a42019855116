//! Audit of what all shards share: counters of topics and places, subscribes on their way.

use super::Probe;
use crate::{
    handler::Handler,
    shard::{QUEUED_FRAME_BYTES, SESSION_BYTES, Shard, State},
    shared::{Command, Shared},
};

/// Checks the shards of one server that have not ended, against what they share.
pub(crate) fn audit_server<'a, D: Probe + 'a, H: Handler>(
    shared: &Shared,
    inbox_size: usize,
    shards: impl Iterator<Item = &'a Shard<D, H>> + Clone,
) -> Result<(), String> {
    let conns = shards.clone().flat_map(|shard| shard.core.conns.iter().map(|(_, conn)| conn.state));
    let places = conns.clone().filter(|state| matches!(state, State::Open | State::Parked)).count();
    let taken = shared.sessions_taken() as usize;
    ensure!(taken == places, "{places} sessions are open or parked, but {taken} places are taken");
    let max = shared.limits.sessions_max as usize;
    ensure!(places <= max, "{places} sessions are open or parked, over sessions_max");
    let (sockets, counted) = (conns.count(), shared.connections() as usize);
    ensure!(sockets == counted, "there are {sockets} connections, but {counted} are counted");
    audit_pending(shared, inbox_size)?;

    let mut topics: Vec<_> = shards.flat_map(|shard| shard.core.topics().counters()).collect();
    topics.sort_unstable_by(|one, other| one.0.cmp(other.0));
    let mut distinct = 0;
    for same in topics.chunk_by(|one, other| one.0 == other.0) {
        distinct += 1;
        let subscribers = same.iter().map(|topic| topic.2).sum();
        for (name, count, _) in same {
            shared.topic_counts.audit(name, count, same.len(), subscribers)?;
        }
    }
    let counted = shared.topic_counts.len();
    ensure!(distinct == counted, "shards have {distinct} topics, but {counted} are counted");
    Ok(())
}

/// Bytes that a shard uses of what `MemoryBound` promises.
pub(crate) fn memory_in_use<D: Probe, H: Handler>(shard: &Shard<D, H>) -> u64 {
    let core = &shard.core;
    let conns = core.conns.iter().map(|(_, conn)| conn);
    let early = conns.filter_map(|conn| conn.early.as_ref());
    let out = core.publishes.look();
    let queued: u64 = out.queues.iter().map(|queue| u64::from(queue.len())).sum();
    out.frames.live_bytes()
        + out.frames.pages.live_bytes()
        + core.assembly.used()
        + core.driver.memory().fixed_bytes
        + core.held_bytes as u64
        + core.topic_bytes
        + core.side().intake_bytes()
        + early.map(|early| early.bytes.len() as u64).sum::<u64>()
        + core.conns.len() as u64 * (SESSION_BYTES + core.driver.memory().bytes_per_socket)
        + queued * QUEUED_FRAME_BYTES
}

/// Checks that nothing is left when all shards have ended.
pub(crate) fn audit_server_end(shared: &Shared, inbox_size: usize) -> Result<(), String> {
    let (places, sockets) = (shared.sessions_taken(), shared.connections());
    ensure!(places == 0, "the server has ended with {places} places of sessions taken");
    ensure!(sockets == 0, "the server has ended with {sockets} connections counted");
    let topics = shared.topic_counts.len();
    ensure!(topics == 0, "the server has ended with {topics} topics counted");
    audit_pending(shared, inbox_size)
}

/// As long as a subscribe is on its way every shard is asked; longer would cost, shorter would lose messages.
fn audit_pending(shared: &Shared, inbox_size: usize) -> Result<(), String> {
    let mut waiting = 0;
    for side in &shared.shards {
        side.inbox.audit(inbox_size, |command| {
            waiting += usize::from(matches!(command, Command::Subscribe { .. }));
        })?;
    }
    let pending = shared.interest.pending_subscribes();
    ensure!(pending == waiting, "{waiting} subscribes are on their way, but {pending} are counted");
    Ok(())
}
