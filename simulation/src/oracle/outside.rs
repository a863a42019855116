//! What threads do that are no shard, as the oracle books it.
//!
//! In      each call of a publisher or handle, with its result
//! Out     requests on their way into the shards' inboxes
//! Bounds  as the workload
//! Source  docs/architecture.md: all shards that may be interested get a publish, or none

use std::time::Duration;

use fanwire::{PublishError, SendError, SessionHandle, SubscribeError};

use super::{
    Oracle,
    lanes::{Lane, Request},
};
use crate::plan::Topic;

impl Oracle {
    /// A publisher published; `None`: broadcast.
    pub(crate) fn published(
        &mut self,
        id: u32,
        topic: Option<Topic>,
        except: Option<usize>,
        result: Result<(), PublishError>,
    ) {
        self.note(|| format!("publisher publishes {id} on {topic:?} but to {except:?}: {result:?}"));
        match result {
            Ok(()) => {
                let request = match topic {
                    Some(_) => Request::Publish { id, except },
                    None => Request::Broadcast { id },
                };
                for shard in 0..self.shards() {
                    let is_certain = self.is_certain(shard, topic);
                    self.lanes.push(shard, Lane::Inbox, request, is_certain);
                }
            }
            Err(PublishError::Full) => self.check_inbox_full(None),
            Err(PublishError::Stopped) if self.is_draining() => {}
            Err(error) => self.fail("publishes are refused only for want of room", format!("{id}: {error}")),
        }
    }

    /// Whether a shard must get a publish. A shard whose hook runs may have lost subscribers whose end nobody has
    /// heard of yet.
    fn is_certain(&self, shard: usize, topic: Option<Topic>) -> bool {
        let Some(topic) = topic else { return true };
        let is_subscribed = self
            .accounts
            .iter()
            .any(|account| account.is_open() && account.shard == shard && account.topics.contains(&topic));
        (is_subscribed && self.in_hook != Some(shard)) || self.has_pending(shard, Some(topic))
    }

    /// A handle sent.
    pub(crate) fn sent(&mut self, peer: usize, id: u32, result: Result<(), SendError>) {
        self.note(|| format!("handle sends {id} to peer {peer}: {result:?}"));
        self.asked(peer, Request::Send { id, peer }, result);
    }

    /// A handle subscribed.
    pub(crate) fn subscribed(&mut self, peer: usize, topic: Topic, result: Result<(), SubscribeError>) {
        self.note(|| format!("handle subscribes peer {peer} to {topic:?}: {result:?}"));
        let result = result.map_err(|error| match error {
            SubscribeError::Closed => SendError::Closed,
            _ => SendError::Full,
        });
        self.asked(peer, Request::Subscribe { peer, topic }, result);
    }

    /// A handle ended a subscription.
    pub(crate) fn unsubscribed(&mut self, peer: usize, topic: Topic, result: Result<(), SendError>) {
        self.note(|| format!("handle unsubscribes peer {peer} from {topic:?}: {result:?}"));
        self.asked(peer, Request::Unsubscribe { peer, topic }, result);
    }

    /// A handle closed.
    pub(crate) fn close_asked(&mut self, peer: usize, code: u16, result: Result<(), SendError>) {
        self.note(|| format!("handle closes peer {peer} with {code}: {result:?}"));
        self.asked(peer, Request::Close { peer, code }, result);
    }

    /// Another program handed a connection over.
    pub(crate) fn adopted(&mut self, peer: usize, shard: usize, result: Result<(), SendError>) {
        self.note(|| format!("peer {peer} is handed to shard {shard}: {result:?}"));
        match result {
            Ok(()) => self.lanes.push(shard, Lane::Inbox, Request::Adopt { peer }, true),
            Err(SendError::Full) => self.check_inbox_full(Some(shard)),
            Err(SendError::Closed) if self.is_draining() => {}
            Err(error) => {
                self.fail("sockets are refused only for want of room", format!("peer {peer}: {error}"))
            }
        }
    }

    /// A ticket is about to be answered. A drain has refused whoever was parked.
    pub(crate) fn decided(&mut self, peer: usize, is_accepted: bool, now: Duration) {
        self.now = now;
        self.accounts[peer].asked_at = Some(now);
        self.note(|| format!("the ticket of peer {peer} is answered, accepted: {is_accepted}"));
        if !self.is_draining() {
            let request = Request::Answer { peer, is_accepted };
            self.lanes.push(self.accounts[peer].shard, Lane::Tickets, request, true);
        }
    }

    /// A session that has been opened, and the peer behind it, for calls by handle.
    pub(crate) fn some_handle(&self, number: usize) -> Option<(usize, SessionHandle)> {
        let peer = number.checked_rem(self.accounts.len())?;
        Some((peer, self.handle(peer)?))
    }

    fn asked(&mut self, peer: usize, request: Request, result: Result<(), SendError>) {
        let account = &self.accounts[peer];
        let (shard, is_open) = (account.shard, account.is_open());
        match result {
            Ok(()) if is_open => self.lanes.push(shard, Lane::Inbox, request, true),
            Err(SendError::Closed) if !is_open => {}
            Err(SendError::Full) => self.check_inbox_full(Some(shard)),
            _ => self.fail("handles know whether their session is open", format!("{request:?}: {result:?}")),
        }
    }

    /// A call was refused: an inbox must be full, or memory. Commands count until the shard is done with the lot of
    /// them that it took at a time.
    fn check_inbox_full(&mut self, to: Option<usize>) {
        let is_full = |to| self.lanes.len(to, Lane::Inbox) + INBOX_CHUNK >= self.settings.inbox_size as usize;
        let is_explained = match to {
            Some(to) => is_full(to),
            None => (0..self.shards()).any(is_full),
        };
        if !is_explained && !self.settings.is_intake_tight() {
            self.fail("calls are refused only for want of room", "a thread's call".to_owned());
        }
    }
}

/// Commands that a shard takes at a time.
const INBOX_CHUNK: usize = 64;
