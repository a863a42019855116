//! Silence: peers that say nothing, and when their sessions may and must end for it.
//!
//! In      when peers send, when the clock jumps, which sessions are paused
//! Out     a session that was given up too early, or not in time
//! Bounds  none of its own
//! Source  docs/limits.md: `ping_interval`, `idle_timeout`

use std::time::Duration;

use fanwire::sim::ShardSnapshot;

use super::Oracle;

impl Oracle {
    /// A peer has sent some bytes.
    pub(crate) fn has_spoken(&mut self, peer: usize) {
        self.accounts[peer].spoke_at = self.now;
    }

    /// The clock has jumped: silence is counted anew, if the jump was long enough.
    pub(crate) fn jumped(&mut self, now: Duration) {
        self.now = now;
        self.jumped_at = now;
    }

    /// Whether a peer has been silent for long enough, just now.
    pub(super) fn may_be_idle(&self, peer: usize) -> bool {
        let heard_at = self.accounts[peer].spoke_at;
        // What was sent a moment ago, or before a jump, may still be under way.
        let is_clear = self.now > heard_at.max(self.jumped_at) + SLACK;
        !is_clear || self.now + TURN >= heard_at + self.settings.idle_timeout
    }

    /// No session of a shard may be open whose peer has been silent for longer than that.
    pub(super) fn check_silent(&mut self, shard: usize, found: &ShardSnapshot) {
        let timeout = self.settings.idle_timeout;
        if timeout.is_zero() {
            return;
        }
        let paused: Vec<_> = found.sessions.iter().filter(|one| one.is_paused).map(|one| &one.id).collect();
        for peer in 0..self.accounts.len() {
            let account = &mut self.accounts[peer];
            if !account.is_open() || account.shard != shard {
                continue;
            }
            let is_paused = account.id.as_ref().is_some_and(|id| paused.contains(&id));
            // Its reading went on at some moment since the last look.
            if std::mem::replace(&mut account.is_paused, is_paused) || is_paused {
                account.paused_at = self.now;
            }
            let since = account.spoke_at.max(account.paused_at).max(self.jumped_at);
            if self.now > since + timeout + SLACK {
                let silent = self.now - since;
                self.fail("silent sessions end as idle", format!("peer {peer} is silent for {silent:?}"));
            }
        }
    }
}

/// Longer than a turn: a shard reads its clock once in each.
pub(super) const TURN: Duration = Duration::from_millis(1);

/// Longer than anything is under way, and than a timer is late.
const SLACK: Duration = Duration::from_secs(1);
