//! The program under the sessions: it obeys its clients, and notes what it has done.
//!
//! In      the engine's hooks, and commands in messages
//! Out     a log that the judge compares with what clients got
//! Bounds  one entry per hook, subscription and message sent

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use super::either;
use fanwire::{Auth, CloseReason, Handler, Http, Message, Request, Session, SessionHandle, Ticket};

/// One shard's hooks.
pub(super) struct Hooks {
    log: SharedLog,
}

pub(super) type SharedLog = Arc<Mutex<Log>>;

/// What has happened so far, on all shards.
#[derive(Default)]
pub(super) struct Log {
    /// Serial numbers of the sessions whose `on_open` ran.
    pub(super) opened: BTreeSet<usize>,
    pub(super) closed: BTreeSet<usize>,
    pub(super) handles: Vec<(usize, SessionHandle)>,
    pub(super) tickets: Vec<Ticket<Value>>,
    /// Which session was ever subscribed to what.
    subscribed: BTreeSet<(usize, String)>,
    /// The number of the last message when a session left a topic that it has not come back to.
    left: BTreeMap<(usize, String), usize>,
    /// Subscribed by a handle, which may take effect at any time.
    by_handle: BTreeSet<(usize, String)>,
    serials: usize,
    messages: usize,
    values_alive: Arc<AtomicUsize>,
}

/// What `on_auth` stores: who it is.
pub(super) struct Value {
    serial: usize,
    alive: Arc<AtomicUsize>,
}

/// What a message says of itself, so that a receiver can judge it.
pub(super) struct Mark {
    /// Who sent it: `OUTSIDE`, or a session's hooks.
    lane: usize,
    /// Grows with every message of the whole server.
    number: usize,
    topic: String,
    /// The only session it is meant for.
    to: Option<usize>,
    /// The session that must not get it.
    except: Option<usize>,
}

impl Log {
    pub(super) fn shared() -> SharedLog {
        SharedLog::default()
    }

    /// A value for a session that may come to be.
    pub(super) fn value(log: &SharedLog) -> Value {
        let mut log = log.lock().expect("nobody panics with it");
        log.serials += 1;
        log.values_alive.fetch_add(1, SeqCst);
        Value { serial: log.serials, alive: log.values_alive.clone() }
    }

    /// The mark of the next message of `lane`, for everybody who is subscribed.
    pub(super) fn mark(log: &SharedLog, lane: usize, topic: &str) -> Mark {
        let mut log = log.lock().expect("nobody panics with it");
        log.messages += 1;
        Mark { lane, number: log.messages, topic: topic.to_owned(), to: None, except: None }
    }

    pub(super) fn subscribed(log: &SharedLog, serial: usize, topic: &str) {
        let mut log = log.lock().expect("nobody panics with it");
        let which = (serial, topic.to_owned());
        log.left.remove(&which);
        log.subscribed.insert(which);
    }

    pub(super) fn subscribed_by_handle(log: &SharedLog, serial: usize, topic: &str) {
        Log::subscribed(log, serial, topic);
        log.lock().expect("nobody panics with it").by_handle.insert((serial, topic.to_owned()));
    }

    /// A session has left a topic in its own hook: what is published from now on is not for it.
    fn left(log: &SharedLog, serial: usize, topic: &str) {
        let mut log = log.lock().expect("nobody panics with it");
        let last = log.messages;
        log.left.insert((serial, topic.to_owned()), last);
    }

    /// Whether a session may get message `number` of a topic.
    pub(super) fn may_get(&self, serial: usize, topic: &str, number: u64) -> bool {
        let which = (serial, topic.to_owned());
        let has_left = self.left.get(&which).is_some_and(|&last| number > last as u64);
        self.subscribed.contains(&which) && (!has_left || self.by_handle.contains(&which))
    }

    pub(super) fn values_alive(&self) -> usize {
        self.values_alive.load(SeqCst)
    }
}

impl Mark {
    pub(super) fn only_to(self, serial: usize) -> Mark {
        Mark { to: Some(serial), ..self }
    }

    pub(super) fn except(self, serial: usize) -> Mark {
        Mark { except: Some(serial), ..self }
    }

    /// The message's payload: JSON text, with so many bytes of padding.
    pub(super) fn payload(&self, padding_bytes: usize) -> String {
        let Mark { lane, number, topic, to, except } = self;
        let padding = "x".repeat(padding_bytes);
        serde_json::json!([lane, number, topic, to, except, padding]).to_string()
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, SeqCst);
    }
}

impl Hooks {
    pub(super) fn new(log: SharedLog) -> Hooks {
        Hooks { log }
    }

    /// One message from this session's hook; refusals are answers too.
    fn publish(&self, session: &mut Session<'_, Value>, topic: &str, padding_bytes: usize) {
        let mark = Log::mark(&self.log, session.value().serial, topic);
        either(session.publish(topic, mark.payload(padding_bytes)));
    }

    fn send(&self, session: &mut Session<'_, Value>, topic: &str) -> bool {
        let serial = session.value().serial;
        let mark = Log::mark(&self.log, serial, topic).only_to(serial);
        session.send(topic, mark.payload(0)).is_ok()
    }

    fn subscribe(&self, session: &mut Session<'_, Value>, topic: &str) {
        if session.subscribe(topic).is_ok() {
            Log::subscribed(&self.log, session.value().serial, topic);
            assert!(session.topics().contains(&topic));
        }
    }

    fn obey(&mut self, session: &mut Session<'_, Value>, command: &str, topic: &str) {
        let serial = session.value().serial;
        match command {
            "subscribe" => self.subscribe(session, topic),
            "unsubscribe" => {
                session.unsubscribe(topic);
                assert!(!session.topics().contains(&topic));
                Log::left(&self.log, serial, topic);
            }
            "leave" => {
                let topics: Vec<String> = session.topics().into_iter().map(str::to_owned).collect();
                session.unsubscribe_all();
                assert!(session.topics().is_empty());
                topics.iter().for_each(|topic| Log::left(&self.log, serial, topic));
            }
            "publish" => self.publish(session, topic, 0),
            "publish-much" => (0..40).for_each(|_| self.publish(session, topic, 0)),
            "publish-large" => self.publish(session, topic, 3_000),
            "publish-except" => {
                let mark = Log::mark(&self.log, serial, topic).except(serial);
                either(session.publish_except_self(topic, mark.payload(0)));
            }
            "broadcast" => {
                let mark = Log::mark(&self.log, serial, EVERYBODY);
                either(session.broadcast(EVERYBODY, mark.payload(0)));
            }
            "echo" => {
                self.send(session, "echo");
            }
            "tell" => self.tell(session),
            "close" => session.close(),
            "close-with" => session.close_with(4_000, topic),
            // A panic without the panic hook, which would end the process under libFuzzer.
            "panic" => std::panic::resume_unwind(Box::new("on purpose")),
            _ => {}
        }
    }

    /// A direct message to the session that was opened last, perhaps on another shard.
    fn tell(&self, session: &mut Session<'_, Value>) {
        let last = self.log.lock().expect("nobody panics with it").handles.last().cloned();
        let Some((to, handle)) = last else { return };
        let mark = Log::mark(&self.log, session.value().serial, "direct").only_to(to);
        either(session.send_to(&handle, "direct", mark.payload(0)));
    }
}

impl Handler for Hooks {
    type Value = Value;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<Value> {
        match request.query("wish").as_deref() {
            Some("reject") => Auth::reject(403, "no"),
            Some("later") => {
                let (auth, ticket) = Auth::later(request);
                self.log.lock().expect("nobody panics with it").tickets.push(ticket);
                auth
            }
            Some("panic") => std::panic::resume_unwind(Box::new("on purpose")),
            Some("protocol") => Auth::accept(Log::value(&self.log)).protocol("b"),
            _ => Auth::accept(Log::value(&self.log)),
        }
    }

    fn on_open(&mut self, session: &mut Session<'_, Value>) {
        let serial = session.value().serial;
        let handle = session.handle();
        let mut log = self.log.lock().expect("nobody panics with it");
        assert!(log.opened.insert(serial), "on_open ran before");
        log.handles.push((serial, handle));
        drop(log);
        self.send(session, "hello");
    }

    fn on_message(&mut self, session: &mut Session<'_, Value>, message: Message<'_>) {
        let serial = session.value().serial;
        let log = self.log.lock().expect("nobody panics with it");
        assert!(log.opened.contains(&serial) && !log.closed.contains(&serial), "a message out of time");
        drop(log);
        let text = message.text().filter(|text| !text.is_empty()).unwrap_or(message.topic());
        if let Some((command, topic)) = text.split_once(' ') {
            self.obey(session, command, topic);
        }
    }

    fn on_close(&mut self, session: &mut Session<'_, Value>, why: &CloseReason) {
        let serial = session.value().serial;
        let mut log = self.log.lock().expect("nobody panics with it");
        assert!(log.opened.contains(&serial), "on_close without on_open");
        assert!(log.closed.insert(serial), "on_close ran before");
        drop(log);
        assert!(why.text().len() <= 123);
        assert!(!self.send(session, "late"), "a session that has ended takes nothing");
        self.publish(session, "a", 0);
    }

    fn on_http(&mut self, _request: &Request<'_>) -> Http {
        Http::text(200, "a page\n")
    }
}

/// What a client may ask for; a topic follows, after a space.
pub(super) const COMMANDS: [&str; 13] = [
    "subscribe",
    "unsubscribe",
    "leave",
    "publish",
    "publish-much",
    "publish-large",
    "publish-except",
    "broadcast",
    "echo",
    "tell",
    "close",
    "close-with",
    "panic",
];

/// The lane of publishers and handles, which no session has.
pub(super) const OUTSIDE: usize = 0;

/// The topic that broadcasts bear, and nothing else.
pub(super) const EVERYBODY: &str = "everybody";
