//! Accounts: what one session must get, and what its peer has got.
//!
//! In      deliveries in the order of their shard; the payloads that arrived
//! Out     a message too many, missing, doubled, changed or out of order
//! Bounds  as the workload
//! Source  docs/protocol.md

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use fanwire::{CloseKind, SessionHandle, SessionId};

use super::drops::{Expected, Policy, Progress};
use crate::plan::{Act, Topic};

/// One peer, from before its session to after it.
#[derive(Debug, Default)]
pub struct Account {
    /// Where it is in its life.
    pub(super) phase: Phase,
    /// Its session's shard.
    pub(super) shard: usize,
    pub(super) topics: BTreeSet<Topic>,
    /// Its session's name.
    pub(super) id: Option<SessionId>,
    /// Names the session from outside, also after its end.
    pub(super) handle: Option<SessionHandle>,
    pub(super) on_open: Vec<Act>,
    pub(super) on_close: Vec<Act>,
    /// What its messages ask for, in the order in which it sent them, with their fillers' lengths.
    pub(super) said: Vec<(Vec<Act>, usize)>,
    /// How many of them have left their peer whole.
    pub(super) sent: usize,
    /// How many of them the hook has had.
    pub(super) heard: usize,
    /// Messages put into its queue, or dropped there.
    pub(super) expected: Vec<Expected>,
    places: HashMap<u32, usize>,
    /// Where in `expected` its peer is.
    pub(super) next: usize,
    pub(super) progress: Progress,
    /// So many of `expected` must arrive, or have been dropped by policy; known once it was closed in order.
    must: Option<usize>,
    /// Dropped by policy, as its session said at its end.
    dropped: usize,
    pub(super) ending: Option<Ending>,
    /// When its peer came.
    pub(super) connected_at: Duration,
    /// When it was accepted, or a moment later.
    pub(super) accepted_at: Option<Duration>,
    /// When all had come that its answer takes: the whole head, or the decision on its ticket.
    pub(super) asked_at: Option<Duration>,
    /// When its peer last sent something, or its session opened.
    pub(super) spoke_at: Duration,
    /// Its session was paused when last seen: what it sends waits, and its silence does not count.
    pub(super) is_paused: bool,
    /// When that was, or when what it had sent before was last heard.
    pub(super) paused_at: Duration,
    /// Values made for it that have not been dropped.
    pub(super) values: Arc<AtomicU32>,
    /// What its peer has done that explains an end.
    pub conduct: Conduct,
}

/// Where a session is in its life, as far as calls and hooks show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet open.
    #[default]
    New,
    Open,
    /// A hook or a handle has closed it, or its hook has panicked: `on_close` must follow with this kind and code,
    /// unless the connection had ended before.
    Leaving(CloseKind, u16),
    /// It must have ended for a reason of its own.
    Doomed,
    Closed,
}

/// How it ended, as `on_close` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) kind: CloseKind,
    pub(super) code: u16,
    /// When it ended, or a moment before.
    pub(super) ended_at: Duration,
}

/// What a peer has done.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Conduct {
    pub has_stalled: bool,
    pub has_closed: bool,
    pub has_left: bool,
    pub is_rude: bool,
    pub is_deaf: bool,
    pub close_code: u16,
    /// Its ticket was dropped.
    pub is_undecided: bool,
}

impl Account {
    /// A peer whose hooks will do this.
    pub fn new(on_open: Vec<Act>, on_close: Vec<Act>) -> Self {
        Self { on_open, on_close, ..Self::default() }
    }

    /// Its peer sends a message that asks for this; the message's number.
    pub fn say(&mut self, acts: Vec<Act>, bytes: usize) -> u32 {
        self.said.push((acts, bytes));
        u32::try_from(self.said.len() - 1).expect("few messages")
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// What its hook has not had of what its peer had sent when it ended in this way. A close frame, and the end of
    /// its direction, come behind everything else.
    pub(super) fn unheard(&self, kind: CloseKind) -> Option<String> {
        let is_behind = matches!(kind, CloseKind::Peer | CloseKind::Eof);
        let (heard, sent) = (self.heard, self.sent);
        (is_behind && heard != sent).then(|| format!("{heard} of {sent} messages"))
    }

    /// Whether its peer may be waited for: it is there, and does what peers do.
    pub(super) fn is_well(&self) -> bool {
        !self.conduct.has_left && !self.conduct.is_rude && !self.conduct.is_deaf
    }

    /// A message was queued for the session, or dropped by its policy.
    pub(super) fn expect(&mut self, id: u32, frame_bytes: usize, step: u64, is_from_close_hook: bool) {
        self.places.insert(id, self.expected.len());
        let before = self.progress;
        self.expected.push(Expected { id, step, is_from_close_hook, frame_bytes, before });
    }

    /// Its peer has got this message.
    pub(super) fn receive(&mut self, id: u32, policy: &Policy) -> Result<(), String> {
        let Some(&place) = self.places.get(&id) else {
            return Err(format!("message {id} was not for it"));
        };
        if place < self.next {
            return Err(format!("message {id} came twice, or late"));
        }
        if let Some(dropped) = self.wrongly_dropped(self.next..place, policy) {
            return Err(format!("message {dropped} was dropped although there was room"));
        }
        self.next = place + 1;
        self.progress.messages += 1;
        self.progress.bytes += self.expected[place].frame_bytes;
        Ok(())
    }

    /// The session was closed in order: everything up to here is on its way.
    pub(super) fn freeze(&mut self) {
        self.must = Some(self.expected.len());
    }

    /// It ended at some moment of this step before the `on_close` hooks ran.
    pub(super) fn freeze_before_close_hooks(&mut self, step: u64) {
        let is_later = |expected: &&Expected| expected.step == step && expected.is_from_close_hook;
        self.must = Some(self.expected.len() - self.expected.iter().rev().take_while(is_later).count());
    }

    /// It ended at some moment of this step.
    pub(super) fn freeze_before(&mut self, step: u64) {
        self.must = Some(self.expected.partition_point(|expected| expected.step < step));
    }

    /// It ended in a way that promises nothing.
    pub(super) fn release(&mut self) {
        self.must = None;
    }

    pub(super) fn set_dropped(&mut self, dropped: u32) {
        self.dropped = dropped as usize;
    }

    /// What is missing at the end of a session that was closed in order, after its peer has read everything.
    pub(super) fn missing_at_end(&self) -> Option<String> {
        let must = self.must?;
        let missing = must.saturating_sub(self.progress.messages);
        let optional = self.expected.len() - must;
        let is_right = (missing..=missing + optional).contains(&self.dropped);
        (!is_right).then(|| {
            format!(
                "{} of {must} messages arrived, {} were dropped by policy",
                self.progress.messages, self.dropped
            )
        })
    }

    /// A message that is missing now, and was not dropped by policy.
    pub(super) fn missing(&self, policy: &Policy) -> Option<u32> {
        self.wrongly_dropped(self.next..self.expected.len(), policy)
    }

    /// Messages that were passed over: each must have been dropped by policy.
    pub(super) fn passed_over(&self) -> usize {
        self.next - self.progress.messages
    }

    pub(super) fn dropped(&self) -> usize {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use fanwire::Overflow;

    use super::*;
    use crate::settings::Settings;

    fn account(ids: &[u32]) -> Account {
        let mut account = Account::default();
        ids.iter().for_each(|&id| account.expect(id, 10, 0, false));
        account
    }

    fn policy(overflow: Overflow) -> Policy {
        let mut settings = Settings::draw(&mut fastrand::Rng::with_seed(0));
        (settings.overflow, settings.queue_size, settings.frame_bytes_max) = (overflow, 1, 1 << 30);
        Policy::new(&settings)
    }

    #[test]
    fn what_arrives_must_be_what_was_queued_in_its_order() {
        let (close, drop) = (policy(Overflow::Close), policy(Overflow::DropOldest));
        let mut account = account(&[5, 7, 9]);
        assert!(account.receive(6, &close).is_err(), "it is another's");
        assert_eq!(account.receive(5, &close), Ok(()));
        assert!(account.receive(5, &close).is_err(), "it came before");
        assert!(account.receive(9, &close).is_err(), "7 is missing");
        assert_eq!(account.receive(9, &drop), Ok(()));
        assert_eq!((account.passed_over(), account.missing(&close)), (1, None));
    }

    #[test]
    fn a_session_closed_in_order_gets_everything_but_what_was_dropped() {
        let mut account = account(&[1, 2, 3]);
        account.expect(4, 10, 8, true);
        account.freeze_before_close_hooks(8);
        account.receive(1, &policy(Overflow::DropOldest)).unwrap();
        assert!(account.missing_at_end().is_some());
        account.set_dropped(2);
        assert_eq!(account.missing_at_end(), None);
        account.freeze();
        assert!(account.missing_at_end().is_some());
        account.release();
        assert_eq!(account.missing_at_end(), None);
    }
}
