//! What hooks do and hear, as the oracle books it.
//!
//! In      each call in a hook, with its result
//! Out     deliveries of the hook's own shard, at once; requests to the others
//! Bounds  as the workload
//! Source  docs/architecture.md: calls in a hook take effect in program order

use fanwire::{
    CloseKind, CloseReason, Overflow, PublishError, SendError, SessionHandle, SessionId, SubscribeError,
};

use super::{
    Oracle,
    account::{Conduct, Ending, Phase},
    lanes::{Lane, Request},
};
use crate::{
    message::Message,
    plan::{Act, Topic},
};

impl Oracle {
    /// `on_open` runs: what it does.
    pub(crate) fn opened(
        &mut self,
        peer: usize,
        shard: usize,
        id: SessionId,
        handle: SessionHandle,
    ) -> Vec<Act> {
        self.note(|| format!("peer {peer} opens on shard {shard}"));
        self.has_come();
        let account = &mut self.accounts[peer];
        if account.phase != Phase::New {
            self.fail("on_open runs once", format!("peer {peer}"));
            return Vec::new();
        }
        account.phase = Phase::Open;
        account.spoke_at = self.now;
        account.shard = shard;
        account.id = Some(id);
        account.handle = Some(handle);
        account.on_open.clone()
    }

    /// `on_message` runs: what it does.
    pub(crate) fn heard(&mut self, peer: usize, data: &[u8]) -> Vec<Act> {
        let account = &mut self.accounts[peer];
        let index = account.heard;
        account.heard += 1;
        account.paused_at = self.now;
        let Some((acts, bytes)) = account.said.get(index).cloned() else {
            self.fail("hooks hear what was said", format!("peer {peer} did not say so much"));
            return Vec::new();
        };
        let id = u32::try_from(index).expect("few messages");
        let is_right = Message { id, topic: String::new(), bytes }.data().as_bytes() == data;
        let is_open = account.is_open();
        self.note(|| format!("peer {peer} is heard, message {index}: {acts:?}"));
        if !is_right {
            self.fail(
                "hooks hear messages whole, once and in order",
                format!("peer {peer}, message {index}"),
            );
        }
        if !is_open {
            self.fail("nothing is heard after the end", format!("peer {peer}, message {index}"));
        }
        acts
    }

    /// `on_close` runs: what it does.
    pub(crate) fn closed(
        &mut self,
        peer: usize,
        why: &CloseReason,
        dropped: u32,
        topics: &[&str],
    ) -> Vec<Act> {
        let (kind, code) = (why.kind(), why.code());
        self.note(|| format!("peer {peer} ends: {why}, {dropped} dropped"));
        let (step, is_draining, is_drain_due) = (self.step, self.is_draining(), self.is_drain_due());
        let ended_at = self.now;
        let account = &mut self.accounts[peer];
        let phase = std::mem::replace(&mut account.phase, Phase::Closed);
        account.set_dropped(dropped);
        account.ending = Some(Ending { kind, code, ended_at });
        let mut listed: Vec<_> = topics.iter().filter_map(|name| Topic::of(name)).collect();
        listed.sort_unstable();
        let are_topics_right = listed.iter().eq(&account.topics);
        let mut overtaken = None;
        match phase {
            Phase::Leaving(expected, its_code) if (expected, its_code) == (kind, code) => {}
            Phase::Open if kind == CloseKind::Server && is_draining => {
                account.freeze_before_close_hooks(step);
                overtaken = self.lanes.overtaken(account.shard).copied();
            }
            Phase::Open if matches!(kind, CloseKind::Peer | CloseKind::Violation | CloseKind::Idle) => {
                account.freeze_before(step);
            }
            _ => account.release(),
        }
        let conduct = account.conduct;
        let acts = account.on_close.clone();
        if let Some(what) = account.unheard(kind) {
            self.fail("what was said before an end in order is heard", format!("peer {peer} {why}: {what}"));
        }
        if matches!(phase, Phase::New | Phase::Closed) {
            self.fail("on_close runs once, after on_open", format!("peer {peer} was {phase:?}"));
        }
        if let Some(request) = overtaken {
            self.fail(
                "a drain closes nobody before what was accepted is taken in",
                format!("peer {peer} ends before {request:?}"),
            );
        }
        if !are_topics_right {
            self.fail("on_close lists the session's topics", format!("peer {peer}: {topics:?}"));
        }
        let is_explained = match kind {
            CloseKind::Peer => conduct.has_closed,
            CloseKind::Server => (is_draining && code == 1001) || phase == Phase::Leaving(kind, code),
            CloseKind::Panic => phase == Phase::Leaving(kind, code),
            CloseKind::Eof => conduct.has_left,
            CloseKind::Reset => conduct.has_left || self.settings.may_reset(),
            CloseKind::Violation => conduct.is_rude || self.settings.is_assembly_tight(),
            CloseKind::Idle => conduct.has_stalled && self.may_be_idle(peer),
            CloseKind::Shutdown => is_drain_due,
            // The world asks the peer's connection.
            CloseKind::QueueFull => true,
            _ => false,
        };
        if !is_code_of(kind, code, conduct) {
            self.fail("each kind of end has its close code", format!("peer {peer}: {why}"));
        }
        if !is_explained {
            self.fail("sessions end for a reason", format!("peer {peer} {phase:?}: {why}"));
        }
        if dropped > 0 && self.settings.overflow == Overflow::Close {
            self.fail("nothing is dropped from sessions that are closed for it", format!("peer {peer}"));
        }
        acts
    }

    /// A hook begins or ends.
    pub(crate) fn in_hook(&mut self, shard: Option<usize>, is_close: bool) {
        self.in_hook = shard;
        self.in_close_hook = is_close && shard.is_some();
    }

    /// A hook published; `None`: broadcast.
    pub(crate) fn hook_published(
        &mut self,
        shard: usize,
        id: u32,
        topic: Option<Topic>,
        except: Option<usize>,
        result: Result<(), PublishError>,
    ) {
        self.note(|| {
            format!("hook on shard {shard} publishes {id} on {topic:?} but to {except:?}: {result:?}")
        });
        match result {
            Ok(()) => {
                let is_for = |topics: &std::collections::BTreeSet<Topic>| {
                    topic.is_none_or(|topic| topics.contains(&topic))
                };
                for other in (0..self.shards()).filter(|&other| other != shard) {
                    let is_certain = topic.is_none()
                        || self
                            .accounts
                            .iter()
                            .any(|one| one.is_open() && one.shard == other && is_for(&one.topics))
                        || self.has_pending(other, topic);
                    let request = match topic {
                        Some(_) => Request::Publish { id, except },
                        None => Request::Broadcast { id },
                    };
                    self.lanes.push(other, Lane::Mesh(shard), request, is_certain);
                }
                self.deliver(shard, id, except, |account| is_for(&account.topics));
            }
            Err(PublishError::Full) => self.check_mesh_full(shard, None),
            Err(error) => self.fail("publishes are refused only for want of room", format!("{id}: {error}")),
        }
    }

    /// A hook sent to its own session, or to another of its shard.
    pub(crate) fn hook_sent(&mut self, peer: usize, id: u32, result: Result<(), SendError>) {
        self.note(|| format!("hook sends {id} to peer {peer}: {result:?}"));
        let drops = self.settings.overflow != Overflow::Close;
        let account = &self.accounts[peer];
        let was_open = account.is_open();
        match result {
            Ok(()) if was_open => self.expect(peer, id),
            Ok(()) if self.suspects.contains(&peer) || account.phase == Phase::Doomed => {}
            Err(SendError::QueueFull) if was_open && drops => self.expect(peer, id),
            Err(SendError::QueueFull | SendError::Closed) if was_open => self.doom(peer),
            Err(SendError::Closed) => {}
            _ => self.fail("sends say what becomes of them", format!("{id} to peer {peer}: {result:?}")),
        }
    }

    /// A hook sent to a session by its handle.
    pub(crate) fn hook_sent_to(&mut self, shard: usize, peer: usize, id: u32, result: Result<(), SendError>) {
        let account = &self.accounts[peer];
        if account.shard == shard {
            return self.hook_sent(peer, id, result);
        }
        self.note(|| format!("hook on shard {shard} sends {id} to peer {peer}: {result:?}"));
        let (to, is_open) = (self.accounts[peer].shard, self.accounts[peer].is_open());
        match result {
            Ok(()) => self.lanes.push(to, Lane::Mesh(shard), Request::Send { id, peer }, true),
            Err(SendError::Full) => self.check_mesh_full(shard, Some(to)),
            Err(SendError::Closed) if !is_open => {}
            Err(error) => {
                self.fail("sends say what becomes of them", format!("{id} to peer {peer}: {error}"))
            }
        }
    }

    /// A hook subscribed its session.
    pub(crate) fn hook_subscribed(&mut self, peer: usize, topic: Topic, result: Result<(), SubscribeError>) {
        self.note(|| format!("hook subscribes peer {peer} to {topic:?}: {result:?}"));
        let topics_max = self.settings.topics_per_session_max as usize;
        let account = &mut self.accounts[peer];
        let fits = account.topics.contains(&topic) || account.topics.len() < topics_max;
        match result {
            Ok(()) if account.is_open() && fits => {
                account.topics.insert(topic);
            }
            Err(SubscribeError::TooManyTopics) if account.is_open() && !fits => {}
            Err(SubscribeError::Closed) if account.is_open() => self.doom(peer),
            Err(SubscribeError::Closed) => {}
            _ => {
                self.fail("subscribes say what becomes of them", format!("peer {peer} {topic:?}: {result:?}"))
            }
        }
    }

    /// A hook ended a subscription of its session.
    pub(crate) fn hook_unsubscribed(&mut self, peer: usize, topic: Topic, was_subscribed: bool) {
        self.note(|| format!("hook unsubscribes peer {peer} from {topic:?}: {was_subscribed}"));
        let account = &self.accounts[peer];
        let expected = account.is_open() && account.topics.contains(&topic);
        if self.check_same(peer, usize::from(expected), usize::from(was_subscribed)) {
            self.accounts[peer].topics.remove(&topic);
        }
    }

    /// A hook ended all subscriptions of its session.
    pub(crate) fn hook_unsubscribed_all(&mut self, peer: usize, count: usize) {
        self.note(|| format!("hook unsubscribes peer {peer} from all: {count}"));
        let account = &self.accounts[peer];
        let expected = if account.is_open() { account.topics.len() } else { 0 };
        if self.check_same(peer, expected, count) {
            self.accounts[peer].topics.clear();
        }
    }

    /// Whether subscriptions of an open session have ended. It may have been closed by what its hook has published:
    /// then it had nothing to unsubscribe.
    fn check_same(&mut self, peer: usize, expected: usize, found: usize) -> bool {
        let is_open = self.accounts[peer].is_open();
        if found == expected {
            return is_open;
        }
        if found == 0 && is_open {
            self.doom(peer);
        } else {
            self.fail("unsubscribes say what they ended", format!("peer {peer}: {found} of {expected}"));
        }
        false
    }

    /// A hook closed its session.
    pub(crate) fn hook_closed(&mut self, peer: usize, code: u16) {
        self.note(|| format!("hook closes peer {peer} with {code}"));
        self.leave(peer, CloseKind::Server, code);
    }

    /// A hook is about to panic.
    pub(crate) fn hook_panics(&mut self, peer: usize) {
        self.note(|| format!("hook of peer {peer} panics"));
        self.leave(peer, CloseKind::Panic, 1011);
    }

    /// A call has shown that the session has ended, for a reason that `on_close` will tell in this turn.
    pub(super) fn doom(&mut self, peer: usize) {
        self.accounts[peer].phase = Phase::Doomed;
        self.suspects.push(peer);
    }

    /// A call was refused: a ring from this shard must be full, or what may wait in them. A shard's own memory always
    /// finds room: somebody blocked makes it.
    fn check_mesh_full(&mut self, from: usize, to: Option<usize>) {
        let is_full = |to| self.lanes.len(to, Lane::Mesh(from)) >= self.settings.mesh_size as usize;
        let is_explained = match to {
            Some(to) => is_full(to),
            None => (0..self.shards()).any(is_full),
        };
        if !is_explained && !self.settings.is_intake_tight() {
            self.fail("calls are refused only for want of room", format!("a hook on shard {from}"));
        }
    }

    /// Whether a thread's subscription is on its way to this shard.
    pub(super) fn has_pending(&self, shard: usize, topic: Option<Topic>) -> bool {
        self.lanes
            .in_inbox(shard)
            .any(|request| matches!(request, Request::Subscribe { topic: its, .. } if Some(*its) == topic))
    }

    pub(super) fn shards(&self) -> usize {
        self.settings.shards.into()
    }
}

/// Whether sessions that end so have this close code (RFC 6455 section 7.4.1; docs/protocol.md).
fn is_code_of(kind: CloseKind, code: u16, conduct: Conduct) -> bool {
    match kind {
        CloseKind::Peer => code == conduct.close_code,
        // Whoever asked for it named it: see `Phase::Leaving`. A drain says 1001.
        CloseKind::Server => true,
        CloseKind::QueueFull => code == 1013,
        CloseKind::Eof | CloseKind::Reset => code == 1006,
        // A frame that no peer may send, or a message for which the memory of all had no room.
        CloseKind::Violation if conduct.is_rude => matches!(code, 1002 | 1013),
        CloseKind::Violation => code == 1013,
        CloseKind::Idle => code == 1008,
        CloseKind::Panic => code == 1011,
        CloseKind::Shutdown => code == 1001,
        _ => false,
    }
}
