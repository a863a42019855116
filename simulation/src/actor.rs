//! The program on top: hooks that do what the plan says, and tell the oracle.
//!
//! In      requests and messages that name their peer and what is to be done
//! Out     calls of every kind; planned panics
//! Bounds  as the plan
//! Source  the hooks of `fanwire::Handler`

use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use fanwire::{Auth, CloseReason, Handler, Http, Message, Request, Session};

use crate::{
    oracle::{Lane, Oracle},
    plan::{Act, Topic},
};

/// One shard's handler.
#[derive(Debug)]
pub struct Actor {
    shard: usize,
    oracle: SharedOracle,
}

/// The oracle, as all shards of the one thread see it.
pub type SharedOracle = Arc<Mutex<Oracle>>;

/// What a session holds. It counts itself.
#[derive(Debug)]
pub struct Value {
    peer: usize,
    count: Arc<AtomicU32>,
}

impl Value {
    /// The value of a peer's session.
    pub fn new(peer: usize, oracle: &SharedOracle) -> Self {
        let count = lock(oracle).values(peer);
        count.fetch_add(1, Relaxed);
        Self { peer, count }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Relaxed);
    }
}

/// What planned panics carry.
#[derive(Debug)]
pub struct Planned;

impl Actor {
    /// The handler of a shard.
    pub fn new(shard: usize, oracle: SharedOracle) -> Self {
        Self { shard, oracle }
    }

    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        lock(&self.oracle)
    }

    fn run(&self, session: &mut Session<'_, Value>, acts: &[Act], is_close: bool) {
        self.oracle().in_hook(Some(self.shard), is_close);
        for act in acts {
            self.act(session, *act);
        }
        self.oracle().in_hook(None, false);
    }

    fn act(&self, session: &mut Session<'_, Value>, act: Act) {
        let peer = session.value().peer;
        match act {
            Act::Subscribe(topic) => {
                let result = session.subscribe(&topic.name());
                self.oracle().hook_subscribed(peer, topic, result);
            }
            Act::Unsubscribe(topic) => {
                let was_subscribed = session.unsubscribe(&topic.name());
                self.oracle().hook_unsubscribed(peer, topic, was_subscribed);
            }
            Act::UnsubscribeAll => {
                let count = session.unsubscribe_all();
                self.oracle().hook_unsubscribed_all(peer, count);
            }
            Act::Publish { topic, bytes, count } => {
                (0..count).for_each(|_| self.publish(session, topic, bytes, false));
            }
            Act::PublishExceptSelf { topic, bytes } => self.publish(session, topic, bytes, true),
            Act::Broadcast { bytes } => self.broadcast(session, bytes),
            Act::Send { bytes, count } => (0..count).for_each(|_| self.send(session, bytes)),
            Act::SendTo { peer: to, bytes } => self.send_to(session, to, bytes),
            Act::Close(code) => {
                session.close_with(code, "bye");
                self.oracle().hook_closed(peer, code);
            }
            Act::PublishFromOutside { topic, bytes } => {
                let message = self.oracle().message(topic.name(), bytes, Lane::Inbox);
                let result = session.publisher().publish(&topic.name(), message.data());
                self.oracle().published(message.id, Some(topic), None, result);
            }
            Act::Panic => {
                self.oracle().hook_panics(peer);
                self.oracle().in_hook(None, false);
                resume_unwind(Box::new(Planned));
            }
        }
    }

    fn publish(&self, session: &mut Session<'_, Value>, topic: Topic, bytes: usize, except_self: bool) {
        let name = topic.name();
        let message = self.oracle().message(name.clone(), bytes, Lane::Mesh(self.shard));
        let result = if except_self {
            session.publish_except_self(&name, message.data())
        } else {
            session.publish(&name, message.data())
        };
        let except = except_self.then(|| session.value().peer);
        self.oracle().hook_published(self.shard, message.id, Some(topic), except, result);
    }

    fn broadcast(&self, session: &mut Session<'_, Value>, bytes: usize) {
        let message = self.oracle().message("all".to_owned(), bytes, Lane::Mesh(self.shard));
        let result = session.broadcast("all", message.data());
        self.oracle().hook_published(self.shard, message.id, None, None, result);
    }

    fn send(&self, session: &mut Session<'_, Value>, bytes: usize) {
        let message = self.oracle().message("own".to_owned(), bytes, Lane::Mesh(self.shard));
        let result = session.send("own", message.data());
        self.oracle().hook_sent(session.value().peer, message.id, result);
    }

    fn send_to(&self, session: &mut Session<'_, Value>, to: usize, bytes: usize) {
        let Some((to, handle)) = self.oracle().some_handle(to) else { return };
        let message = self.oracle().message("direct".to_owned(), bytes, Lane::Mesh(self.shard));
        let result = session.send_to(&handle, "direct", message.data());
        self.oracle().hook_sent_to(self.shard, to, message.id, result);
    }

    /// The peer that a request names.
    fn peer_of(request: &Request<'_>) -> Option<usize> {
        request.query("peer")?.parse().ok()
    }
}

impl Handler for Actor {
    type Value = Value;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<Value> {
        let Some(peer) = Self::peer_of(request) else { return Auth::reject(400, "which peer?\n") };
        match request.query("door").as_deref() {
            Some("park") => {
                let (auth, ticket) = Auth::later(request);
                self.oracle().parked(peer, self.shard, ticket);
                auth
            }
            Some("refuse") => Auth::reject(401, "not you\n"),
            Some("panic") => resume_unwind(Box::new(Planned)),
            _ => Auth::accept(Value::new(peer, &self.oracle)),
        }
    }

    fn on_open(&mut self, session: &mut Session<'_, Value>) {
        let (peer, id, handle) = (session.value().peer, session.id().clone(), session.handle());
        let acts = self.oracle().opened(peer, self.shard, id, handle);
        self.run(session, &acts, false);
    }

    fn on_message(&mut self, session: &mut Session<'_, Value>, message: Message<'_>) {
        let acts = self.oracle().heard(session.value().peer, message.data());
        self.run(session, &acts, false);
    }

    fn on_close(&mut self, session: &mut Session<'_, Value>, why: &CloseReason) {
        let (peer, dropped) = (session.value().peer, session.queued().dropped);
        let acts = self.oracle().closed(peer, why, dropped, &session.topics());
        self.run(session, &acts, true);
    }

    fn on_http(&mut self, request: &Request<'_>) -> Http {
        let (peer, path) = (Self::peer_of(request), request.path());
        match peer {
            Some(peer) if path == "/take" => {
                let oracle = self.oracle.clone();
                Http::take_over(move |stream, read, _| lock(&oracle).taken_over.push((peer, stream, read)))
            }
            _ => Http::not_found(),
        }
    }
}

/// The oracle, also after a planned panic.
pub(crate) fn lock(oracle: &SharedOracle) -> MutexGuard<'_, Oracle> {
    oracle.lock().unwrap_or_else(PoisonError::into_inner)
}
