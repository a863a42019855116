//! Answers to handshakes: which one a request may get, and when it may be refused for what is no fault of its own.
//!
//! In      answers as they arrive; how many sessions and parked handshakes there are, turn by turn
//! Out     an answer that the request did not ask for, or a refusal that nothing explains
//! Bounds  none of its own
//! Source  docs/protocol.md; docs/limits.md: `sessions_max`, `handshakes_max`, `handshake_timeout`

use std::time::Duration;

use fanwire::{Stats, Ticket};

use super::Oracle;
use crate::actor::Value;

/// How many places are taken, at most.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Sessions and parked handshakes after the last turn.
    places: u64,
    /// Parked handshakes of the shard that has the most of them.
    parked: u64,
    /// Sessions opened and handshakes parked in this turn.
    came: u64,
    /// When somebody may have found no place, last.
    full_at: Option<Duration>,
    /// From when to when the clock has jumped.
    jumps: Vec<(Duration, Duration)>,
}

impl Oracle {
    /// A peer is seen to be accepted: its time runs.
    pub(crate) fn is_accepted(&mut self, peer: usize) {
        let now = self.now;
        self.accounts[peer].accepted_at.get_or_insert(now);
    }

    /// A peer has sent the last byte of its request's head.
    pub(crate) fn has_asked(&mut self, peer: usize) {
        self.accounts[peer].asked_at = Some(self.now);
    }

    /// Its handshake is parked: its answer is no longer the server's concern.
    pub(crate) fn parked(&mut self, peer: usize, shard: usize, ticket: Ticket<Value>) {
        self.accounts[peer].shard = shard;
        self.tickets.push_back((peer, ticket));
        self.accounts[peer].asked_at = None;
        self.has_come();
    }

    /// Whether a peer waits for its ticket.
    pub(crate) fn is_parked(&self, peer: usize) -> bool {
        self.tickets.iter().any(|(its, _)| *its == peer)
    }

    /// A session opens, or a handshake is parked.
    pub(crate) fn has_come(&mut self) {
        self.crowd.came += 1;
    }

    /// Whether all places may be taken at this moment of a turn.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowd.places + self.crowd.came >= self.settings.sessions_max.into()
    }

    /// The clock jumps.
    pub(crate) fn note_jump(&mut self, from: Duration, to: Duration) {
        self.crowd.jumps.push((from, to));
    }

    /// A turn is over: so many places are taken now.
    pub(crate) fn note_crowd(&mut self, stats: &Stats) {
        let crowd = &mut self.crowd;
        let (sessions_max, handshakes_max) = (self.settings.sessions_max, self.settings.handshakes_max);
        let came = std::mem::take(&mut crowd.came);
        if crowd.places + came >= sessions_max.into() || crowd.parked + came >= handshakes_max.into() {
            crowd.full_at = Some(self.now);
        }
        crowd.places = stats.total.sessions + stats.total.handshakes_parked;
        crowd.parked = stats.shards.iter().map(|shard| shard.handshakes_parked).max().unwrap_or_default();
    }

    /// A peer got the answer to its request, which may be one of these; or it came too late, or found no place.
    pub(crate) fn answered(&mut self, peer: usize, status: u16, allowed: &[u16]) {
        self.note(|| format!("peer {peer} is answered {status}"));
        let is_right = match status {
            408 => self.may_be_late(peer),
            503 => self.may_be_turned_away(peer),
            _ => allowed.contains(&status),
        };
        if !is_right {
            self.fail(
                "requests get the answer they ask for",
                format!("peer {peer}: {status}, not {allowed:?}"),
            );
        }
    }

    /// Time is up, and its head or its ticket's answer may have come too late for that: it was sent late, or the
    /// clock has jumped while it was under way or waited to be accepted.
    fn may_be_late(&self, peer: usize) -> bool {
        let account = &self.accounts[peer];
        let (came_at, timeout) = (account.connected_at, self.settings.handshake_timeout);
        let accepted_at = account.accepted_at.unwrap_or(came_at);
        let is_slow = account.asked_at.is_none_or(|asked_at| {
            let delay = Duration::from_nanos(self.settings.faults.delay_ns_max);
            let read_at = asked_at.max(accepted_at) + delay + SLACK;
            let has_jumped = self.crowd.jumps.iter().any(|&(from, to)| from <= read_at && to >= came_at);
            has_jumped || read_at >= accepted_at + timeout
        });
        self.now >= came_at + timeout && is_slow
    }

    /// All places were taken at some moment since it came, or nobody has decided about it.
    fn may_be_turned_away(&self, peer: usize) -> bool {
        let account = &self.accounts[peer];
        let was_full = self.crowd.full_at.is_some_and(|at| at >= account.connected_at);
        was_full || account.conduct.is_undecided || self.is_draining()
    }
}

/// A shard is done with whatever has arrived in less than this, however little it does in a turn.
const SLACK: Duration = Duration::from_millis(100);
