//! Sessions: one open WebSocket as hooks see it, and a handle that outlives it.
//!
//! In      calls of hooks (`Session`), calls of any thread (`SessionHandle`)
//! Out     queued frames, changed subscriptions, or a refusal; nothing blocks
//! Bounds  a handle is three words; queues by `queue_size` and `queue_bytes`
//! Source  docs/architecture.md

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::{
    close::CloseKind,
    error::{PublishError, SendError, SubscribeError},
    frame::{Frame, Payload},
    publisher::{Publisher, with_scratch},
    shared::{SessionRef, Shared},
};

/// One open WebSocket, borrowed for the length of a hook.
///
/// Its calls take effect in program order: what is published here reaches every subscriber of this shard in call
/// order, and those subscribed at the call are the receivers. Between these calls and those of handles and
/// publishers no order is promised.
pub struct Session<'a, V> {
    ops: &'a mut dyn Ops,
    slot: u32,
    value: &'a mut V,
}

impl<'a, V> Session<'a, V> {
    pub(crate) fn new(ops: &'a mut dyn Ops, slot: u32, value: &'a mut V) -> Self {
        Self { ops, slot, value }
    }

    /// The id that `id_generator` gave it.
    pub fn id(&self) -> &SessionId {
        self.ops.id(self.slot)
    }

    /// What `on_auth` stored.
    pub fn value(&self) -> &V {
        self.value
    }

    /// What `on_auth` stored, to change.
    pub fn value_mut(&mut self) -> &mut V {
        self.value
    }

    /// The peer's address, as [`Request::peer`](crate::Request::peer) has it. A Unix stream's peer has none:
    /// `0.0.0.0:0`.
    pub fn peer(&self) -> SocketAddr {
        self.ops.peer(self.slot)
    }

    /// A handle for other threads and for other sessions' hooks.
    pub fn handle(&self) -> SessionHandle {
        SessionHandle { shared: self.ops.shared().clone(), session: self.ops.session_ref(self.slot) }
    }

    /// The server's publisher, for other threads.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.ops.shared().clone())
    }

    /// Queues a message for this session. With [`Json`](crate::Json) the payload must be JSON text, which is not
    /// checked: [`Payload::json`] makes it of any value.
    ///
    /// # Errors
    /// [`SendError::Closed`] after a close, [`SendError::QueueFull`] if the overflow policy refused it or closed
    /// the session, and the errors of encoding.
    pub fn send<'p>(&mut self, topic: &str, payload: impl Into<Payload<'p>>) -> Result<(), SendError> {
        self.ops.send(self.slot, topic, &payload.into())
    }

    /// Queues a message for another session, of this shard or another.
    ///
    /// # Errors
    /// As [`Session::send`]; for a session of another shard only what is known here, and [`SendError::Full`].
    pub fn send_to<'p>(
        &mut self,
        to: &SessionHandle,
        topic: &str,
        payload: impl Into<Payload<'p>>,
    ) -> Result<(), SendError> {
        self.ops.send_to(to.session, topic, &payload.into())
    }

    /// Publishes to all subscribers of `topic`, this session included if it is one.
    /// Cost: one allocation, then about 25 ns per subscriber on this shard.
    ///
    /// # Errors
    /// [`PublishError`]; nobody got the message then.
    pub fn publish<'p>(&mut self, topic: &str, payload: impl Into<Payload<'p>>) -> Result<(), PublishError> {
        self.ops.publish(None, topic, &payload.into())
    }

    /// Publishes to all subscribers of `topic` but this session.
    ///
    /// # Errors
    /// As [`Session::publish`].
    pub fn publish_except_self<'p>(
        &mut self,
        topic: &str,
        payload: impl Into<Payload<'p>>,
    ) -> Result<(), PublishError> {
        self.ops.publish(Some(self.slot), topic, &payload.into())
    }

    /// Sends to every open session of the server, with `topic` in the envelope.
    ///
    /// # Errors
    /// As [`Session::publish`].
    pub fn broadcast<'p>(
        &mut self,
        topic: &str,
        payload: impl Into<Payload<'p>>,
    ) -> Result<(), PublishError> {
        self.ops.broadcast(topic, &payload.into())
    }

    /// Subscribes this session. Subscribing twice is subscribing once.
    /// Cost: O(topics of this session), to find a duplicate.
    ///
    /// # Errors
    /// [`SubscribeError`]: closed, too many topics, or too long a name.
    pub fn subscribe(&mut self, topic: &str) -> Result<(), SubscribeError> {
        self.ops.subscribe(self.slot, topic)
    }

    /// Ends a subscription; `false` if there was none. What was published before is still delivered.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.ops.unsubscribe(self.slot, topic)
    }

    /// Ends all subscriptions and says how many there were.
    pub fn unsubscribe_all(&mut self) -> usize {
        self.ops.unsubscribe_all(self.slot)
    }

    /// The topics it is subscribed to; in `on_close`, those it had at its end.
    pub fn topics(&self) -> Vec<&str> {
        self.ops.topics(self.slot)
    }

    /// Whether it is subscribed to `topic`; in `on_close`, whether it was at its end. One look-up of the name, then
    /// numbers are compared: for a look at many sessions far cheaper than their `topics`.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.ops.is_subscribed(self.slot, topic)
    }

    /// How many topics it is subscribed to; 0 in `on_close`.
    pub fn topic_count(&self) -> usize {
        self.ops.topic_count(self.slot)
    }

    /// Closes with 1000 after what is queued has been sent.
    pub fn close(&mut self) {
        self.close_with(1000, "");
    }

    /// Closes with this code and reason after what is queued has been sent. A code that must not go over the wire
    /// (RFC 6455 section 7.4) becomes 1000; a reason is cut at 123 bytes.
    pub fn close_with(&mut self, code: u16, reason: &str) {
        self.ops.close_with(self.slot, code, reason);
    }

    /// Messages and bytes that wait for this session.
    pub fn queued(&self) -> Queued {
        self.ops.queued(self.slot)
    }

    /// Open sessions of the server; other shards may change it meanwhile.
    pub fn session_count(&self) -> u64 {
        self.ops.shared().session_count()
    }
}

impl<V: fmt::Debug> fmt::Debug for Session<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", self.id()).field("value", &self.value).finish_non_exhaustive()
    }
}

/// What waits for a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queued {
    /// Messages, one partly sent included.
    pub messages: u32,
    /// Their bytes that have not left.
    pub bytes: u64,
    /// Messages that its overflow policy has dropped so far.
    pub dropped: u32,
    /// Whether its socket refuses bytes at present.
    pub blocked: bool,
}

/// A session's name: whatever `id_generator` made.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SessionId {
    /// The default: 128 random bits, shown as 32 hex digits.
    Random([u8; 16]),
    /// A name of the user's making.
    Custom(Box<str>),
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(bits) => write!(f, "{:032x}", u128::from_be_bytes(*bits)),
            Self::Custom(name) => f.write_str(name),
        }
    }
}

/// With the text that it is shown as, which is not made for that: to look for one session among many.
impl PartialEq<str> for SessionId {
    fn eq(&self, text: &str) -> bool {
        match self {
            Self::Random(bits) => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let shown = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                text.len() == 2 * bits.len()
                    && bits
                        .iter()
                        .zip(text.as_bytes().chunks_exact(2))
                        .all(|(byte, pair)| shown(byte) == *pair)
            }
            Self::Custom(name) => **name == *text,
        }
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Names a session from any thread, also after its end. Cheap to clone; `Ok` means routed to its shard.
///
/// A stale handle is harmless: once its session's slot has gone to another, everything gives `Closed`.
#[derive(Clone)]
pub struct SessionHandle {
    shared: Arc<Shared>,
    session: SessionRef,
}

impl SessionHandle {
    /// Queues a message for the session.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`] if the way to its shard is full, and the errors of encoding.
    /// Whether its own queue has room only its shard knows: `on_close` tells.
    pub fn send<'p>(&self, topic: &str, payload: impl Into<Payload<'p>>) -> Result<(), SendError> {
        let frame = with_scratch(|scratch| self.shared.encode(topic, &payload.into(), scratch))?;
        self.shared.send(self.session, frame)
    }

    /// Queues a frame made by [`Publisher::frame`]: encoded once for many sessions.
    ///
    /// # Errors
    /// As [`SessionHandle::send`].
    pub fn send_frame(&self, frame: &Frame) -> Result<(), SendError> {
        self.shared.send(self.session, frame.clone())
    }

    /// Subscribes the session. What this thread publishes afterwards reaches it.
    ///
    /// # Errors
    /// [`SubscribeError`]; too many topics is found out by the shard and only counted.
    pub fn subscribe(&self, topic: &str) -> Result<(), SubscribeError> {
        self.shared.subscribe(self.session, topic)
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// [`SendError::Closed`] or [`SendError::Full`].
    pub fn unsubscribe(&self, topic: &str) -> Result<(), SendError> {
        self.shared.unsubscribe(self.session, topic)
    }

    /// Closes with 1000 after what is queued has been sent.
    ///
    /// # Errors
    /// [`SendError::Closed`] if it is closed already, [`SendError::Full`].
    pub fn close(&self) -> Result<(), SendError> {
        self.close_with(1000, "")
    }

    /// Closes with this code and reason; see [`Session::close_with`].
    ///
    /// # Errors
    /// As [`SessionHandle::close`].
    pub fn close_with(&self, code: u16, reason: &str) -> Result<(), SendError> {
        self.shared.close(self.session, code, reason)
    }

    /// Whether the session has ended. `false` may be out of date at once, `true` is final.
    pub fn is_closed(&self) -> bool {
        !matches!(self.shared.state(self.session), Some(None))
    }

    /// How the session ended; `None` while it is open, and once its slot has gone to another session.
    pub fn close_error(&self) -> Option<CloseKind> {
        self.shared.state(self.session).flatten()
    }

    pub(crate) fn session_ref(&self) -> SessionRef {
        self.session
    }
}

impl PartialEq for SessionHandle {
    fn eq(&self, other: &Self) -> bool {
        self.session == other.session && Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for SessionHandle {}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle").field("session", &self.session).finish_non_exhaustive()
    }
}

/// What a shard does for the sessions of its hooks. A trait, so that `Session` does not name the driver.
pub(crate) trait Ops {
    fn shared(&self) -> &Arc<Shared>;
    fn session_ref(&self, slot: u32) -> SessionRef;
    fn id(&self, slot: u32) -> &SessionId;
    fn peer(&self, slot: u32) -> SocketAddr;
    fn queued(&self, slot: u32) -> Queued;
    fn topics(&self, slot: u32) -> Vec<&str>;
    fn is_subscribed(&self, slot: u32, topic: &str) -> bool;
    fn topic_count(&self, slot: u32) -> usize;
    fn send(&mut self, slot: u32, topic: &str, payload: &Payload<'_>) -> Result<(), SendError>;
    fn send_to(&mut self, to: SessionRef, topic: &str, payload: &Payload<'_>) -> Result<(), SendError>;
    fn publish(
        &mut self,
        except: Option<u32>,
        topic: &str,
        payload: &Payload<'_>,
    ) -> Result<(), PublishError>;
    fn broadcast(&mut self, topic: &str, payload: &Payload<'_>) -> Result<(), PublishError>;
    fn subscribe(&mut self, slot: u32, topic: &str) -> Result<(), SubscribeError>;
    fn unsubscribe(&mut self, slot: u32, topic: &str) -> bool;
    fn unsubscribe_all(&mut self, slot: u32) -> usize;
    fn close_with(&mut self, slot: u32, code: u16, reason: &str);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_equals_its_own_text_and_no_other() {
        let random =
            SessionId::Random([0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255]);
        let text = random.to_string();
        assert_eq!(text, "00112233445566778899aabbccddeeff");
        assert!(random == *text);
        for other in ["", &text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace("ff", "fe")] {
            assert!(random != *other, "{other}");
        }
        let custom = SessionId::Custom("ada".into());
        assert!(custom == *"ada" && custom != *"Ada" && custom != *"");
    }
}
