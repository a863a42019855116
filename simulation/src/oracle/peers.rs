//! What peers get, as the oracle judges it.
//!
//! In      payloads, close frames and ends as they arrive
//! Out     a failure if they are not what the session was to get
//! Bounds  as the workload
//! Source  RFC 6455 sections 5 and 7

use fanwire::CloseKind;

use super::{Oracle, account::Phase};
use crate::message::id_of;

impl Oracle {
    /// One more of a peer's messages has left it whole.
    pub(crate) fn has_said(&mut self, peer: usize) {
        self.accounts[peer].sent += 1;
    }

    /// A peer got a message.
    pub(crate) fn received(&mut self, peer: usize, payload: &[u8]) {
        let is_raw = self.settings.is_raw;
        let sent = id_of(payload).and_then(|id| self.messages.get(id as usize));
        let Some(message) = sent.map(|sent| &sent.message).filter(|message| message.is(payload, is_raw))
        else {
            let start = String::from_utf8_lossy(&payload[..payload.len().min(60)]).into_owned();
            return self.fail("payloads arrive unchanged", format!("peer {peer} got {start:?}"));
        };
        let id = message.id;
        self.note(|| format!("peer {peer} gets {id}"));
        if let Err(what) = self.accounts[peer].receive(id, &self.policy) {
            self.fail(
                "each session gets its messages, all of them, once and in order",
                format!("peer {peer}: {what}"),
            );
        }
    }

    /// A peer got a close frame, after which nothing more may come. `is_first`: it had sent none itself.
    pub(crate) fn got_close(&mut self, peer: usize, code: Option<u16>, is_first: bool, was_refused: bool) {
        self.note(|| format!("peer {peer} gets a close frame, {code:?}"));
        let account = &self.accounts[peer];
        let Some(ending) = account.ending.filter(|_| account.phase == Phase::Closed) else {
            return self.fail("close frames come from ended sessions", format!("peer {peer}, {code:?}"));
        };
        if code.unwrap_or(1005) != ending.code {
            self.fail(
                "on_close has the code of the close frame",
                format!("peer {peer}: {code:?}, {ending:?}"),
            );
        }
        if ending.kind == CloseKind::QueueFull && !was_refused {
            self.fail("only a blocked session meets its policy", format!("peer {peer}"));
        }
        // A peer that closes while the server does has said that it reads no more.
        let is_whole = is_first || matches!(ending.kind, CloseKind::Peer | CloseKind::Violation);
        if is_whole && let Some(what) = self.accounts[peer].missing_at_end() {
            self.fail("what is queued is sent before the close frame", format!("peer {peer}: {what}"));
        }
    }

    /// A peer's connection ended without a close frame.
    pub(crate) fn got_end(&mut self, peer: usize) {
        self.note(|| format!("peer {peer} gets the end of the stream without a close frame"));
        if self.may_end_silently(peer) {
            return;
        }
        if self.settings.is_discard_tight() {
            self.cut_sending += 1;
        } else {
            let account = &self.accounts[peer];
            let missing = account.missing_at_end().unwrap_or_default();
            let what = format!("peer {peer}, {:?} {missing}", account.ending);
            self.fail("sessions end with a close frame", what);
        }
    }

    /// Whether a peer may see its connection end without a close frame, and without what was queued for it: it has
    /// left, or was given all the time that there is for its end.
    fn may_end_silently(&self, peer: usize) -> bool {
        let account = &self.accounts[peer];
        let is_broken = account.conduct.has_left || self.settings.may_reset() || account.phase == Phase::New;
        let timeout = self.settings.close_timeout;
        let was_late = account.ending.is_some_and(|ending| self.now >= ending.ended_at + timeout);
        // For want of memory a session is cut in the middle of a frame.
        is_broken || was_late || self.is_drain_due() || self.settings.is_memory_tight()
    }

    /// At the end of the world: who goes on sending while its last words are on their way may be cut once enough was
    /// thrown away, and the server has counted it.
    pub(crate) fn check_cut_sending(&mut self, counted: u64) {
        if self.cut_sending as u64 > counted {
            let what = format!("{} ended without, {counted} for what they went on sending", self.cut_sending);
            self.fail("sessions end with a close frame", what);
        }
    }

    /// The session's socket was never refused, at the end of the world.
    pub(crate) fn check_never_refused(&mut self, peer: usize) {
        let account = &self.accounts[peer];
        let is_full = account.ending.is_some_and(|ending| ending.kind == CloseKind::QueueFull);
        if is_full || account.dropped() > 0 || account.passed_over() > 0 {
            self.fail("only a blocked session meets its policy", format!("peer {peer} was never blocked"));
        }
    }

    /// At the end of the world: what was passed over was dropped by policy, and counted.
    pub(crate) fn check_counted(&mut self, peer: usize) {
        let account = &self.accounts[peer];
        let (passed, dropped) = (account.passed_over(), account.dropped());
        if account.phase == Phase::Closed && passed > dropped {
            self.fail(
                "every drop is counted",
                format!("peer {peer} missed {passed}, {dropped} were counted"),
            );
        }
    }
}
