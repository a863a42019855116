//! Expiry: sessions whose tokens end are warned, then closed.
//!
//! In      sessions with the times of their tokens
//! Out     a message some time before, and 4001 at the end, by a thread of its own
//! Bounds  one entry per open session; a look every `LOOK_MAX` at least, for the clock may be set
//! Source  docs/configuration.md

use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fanwire::{SendError, SessionHandle};

use super::Pass;

/// Who is to be warned and closed, and when. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Expiry(Arc<Shared>);

impl Expiry {
    /// Starts the thread; it lives as long as the process.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watching = shared.clone();
        thread::Builder::new().name("expiry".to_owned()).spawn(move || watching.run())?;
        Ok(Self(shared))
    }

    /// Watches a session until it is taken out again, or closed.
    /// Nothing watches over a pass without end.
    pub(crate) fn watch(&self, session: SessionHandle, pass: &Pass) -> Option<Watched> {
        let ends_ms = pass.ends_ms?;
        let mut due = self.0.lock();
        due.last_id += 1;
        let watched = Watched { id: due.last_id, warns_ms: pass.warns_ms, ends_ms };
        let first = watched.first();
        let is_next = due.entries.first_key_value().is_none_or(|(next, _)| first < *next);
        due.entries.insert(first, Entry { session, watched });
        drop(due);
        if is_next {
            self.0.changed.notify_one();
        }
        Some(watched)
    }

    /// Forgets it: its session has ended, or has another token.
    pub(crate) fn forget(&self, watched: Watched) {
        let mut due = self.0.lock();
        due.entries.remove(&watched.first());
        due.entries.remove(&watched.last());
    }
}

/// The right to take a session out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    id: u64,
    warns_ms: Option<u64>,
    ends_ms: u64,
}

impl Watched {
    fn first(&self) -> Key {
        (self.warns_ms.unwrap_or(self.ends_ms), self.id)
    }

    fn last(&self) -> Key {
        (self.ends_ms, self.id)
    }
}

/// Milliseconds since 1970, by the clock that tokens go by.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// When, and which of those at that time.
type Key = (u64, u64);

#[derive(Debug, Default)]
struct Shared {
    due: Mutex<Due>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Due {
    /// INVARIANT: at most one for each id, at its first or its last time.
    entries: BTreeMap<Key, Entry>,
    last_id: u64,
    /// The last one whose way was full. Those behind it have their turn before all that were put off have another.
    put_off: Option<Key>,
}

#[derive(Debug)]
struct Entry {
    session: SessionHandle,
    watched: Watched,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut due = self.lock();
        loop {
            let wait = due.turn(now_ms());
            // At a wait of zero others get the lock in between as well.
            due = self.changed.wait_timeout(due, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Due {
    /// Does what is due, some of it, and says how long to wait.
    fn turn(&mut self, now_ms: u64) -> Duration {
        for _ in 0..ENTRIES_PER_TURN_MAX {
            let behind = self.put_off.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.entries.range((behind, Bound::Unbounded)).next().map(|(key, _)| *key);
            let Some((key, entry)) =
                next.filter(|key| key.0 <= now_ms).and_then(|key| self.entries.remove_entry(&key))
            else {
                let wait = next.map_or(LOOK_MAX, |key| LOOK_MAX.min(Duration::from_millis(key.0 - now_ms)));
                return if self.put_off.take().is_some() { wait.min(RETRY) } else { wait };
            };
            let is_end = key == entry.watched.last() || entry.watched.ends_ms <= now_ms;
            match if is_end { entry.close() } else { entry.warn(now_ms) } {
                // The way to its shard is full, which is no other shard's matter.
                Err(SendError::Full) => {
                    self.entries.insert(key, entry);
                    self.put_off = Some(key);
                }
                Ok(()) if !is_end => {
                    self.entries.insert(entry.watched.last(), entry);
                }
                Ok(()) | Err(_) => {}
            }
        }
        Duration::ZERO
    }
}

impl Entry {
    fn warn(&self, now_ms: u64) -> Result<(), SendError> {
        let left = (self.watched.ends_ms - now_ms).div_ceil(1_000);
        let warned =
            self.session.send("auth", format!(r#"{{"state":"expiring","expires_in":{left}}}"#).as_str());
        // Whoever cannot be warned, because its queue is full, is closed all the same when the time comes.
        match warned {
            Err(SendError::Full | SendError::Closed) => warned,
            _ => Ok(()),
        }
    }

    fn close(&self) -> Result<(), SendError> {
        self.session.close_with(TOKEN_EXPIRED, "the token has expired")
    }
}

/// The close code; 4000 to 4999 are applications' own (RFC 6455 s7.4.2).
const TOKEN_EXPIRED: u16 = 4001;

const LOOK_MAX: Duration = Duration::from_secs(10);

const RETRY: Duration = Duration::from_millis(100);

const ENTRIES_PER_TURN_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
        sync::{
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        time::Instant,
    };

    use fanwire::{Auth, CloseReason, Handler, Message, Options, Request, Running, Server, Session};

    use super::*;
    use crate::topics::Claims;

    /// Watches as the server does.
    #[derive(Clone)]
    struct Watching {
        expiry: Expiry,
        pass: Pass,
        ended: mpsc::Sender<u16>,
        gate: Arc<Gate>,
    }

    /// Whoever says something holds the shard while it is shut.
    #[derive(Default)]
    struct Gate {
        shut: Mutex<()>,
        is_reached: AtomicBool,
    }

    /// A server whose sessions are watched.
    struct World {
        expiry: Expiry,
        running: Running<Option<Watched>>,
        gate: Arc<Gate>,
    }

    impl Handler for Watching {
        type Value = Option<Watched>;

        fn on_auth(&mut self, _request: &Request<'_>) -> Auth<Option<Watched>> {
            Auth::accept(None)
        }

        fn on_open(&mut self, session: &mut Session<'_, Option<Watched>>) {
            *session.value_mut() = self.expiry.watch(session.handle(), &self.pass);
        }

        fn on_message(&mut self, _session: &mut Session<'_, Option<Watched>>, _message: Message<'_>) {
            self.gate.is_reached.store(true, Ordering::Release);
            drop(self.gate.shut.lock());
        }

        fn on_close(&mut self, session: &mut Session<'_, Option<Watched>>, why: &CloseReason) {
            self.expiry.forget((*session.value()).expect("it was opened"));
            self.ended.send(why.code()).unwrap();
        }
    }

    fn pass(warns_in: u64, ends_in: u64) -> Pass {
        let (ends_ms, warns_ms) = (Some(now_ms() + ends_in), Some(now_ms() + warns_in));
        Pass { claims: Claims::default(), ends_ms, warns_ms, subscribe: None, publish: None }
    }

    /// Opens as many sessions, has something done with them, and says how they ended.
    fn sessions(count: usize, pass: Pass, then: impl FnOnce(Vec<TcpStream>, &World)) -> (Vec<u16>, Expiry) {
        sessions_on(1, count, pass, then)
    }

    fn sessions_on(
        shards: u16,
        count: usize,
        pass: Pass,
        then: impl FnOnce(Vec<TcpStream>, &World),
    ) -> (Vec<u16>, Expiry) {
        let (expiry, gate) = (Expiry::start().unwrap(), Arc::<Gate>::default());
        let (ended, ends) = mpsc::channel();
        let handler = Watching { expiry: expiry.clone(), pass, ended, gate: gate.clone() };
        // One accept at a time, so that every shard gets some of a few.
        let options = Options::default().shards(shards).inbox_size(INBOX_SIZE).accepts_armed_max(1);
        let server = Server::bind_with("127.0.0.1:0", options).unwrap();
        let running = server.start(|_| handler.clone()).unwrap();
        let head = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        let streams = (0..count).map(|_| {
            let mut stream = TcpStream::connect(running.address()).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            assert_eq!(stream.read(&mut [0; 12]).unwrap(), 12);
            stream
        });
        let streams = streams.collect();
        let world = World { expiry: expiry.clone(), running, gate };
        then(streams, &world);
        let codes = (0..count).map(|_| ends.recv_timeout(WAIT_MAX).unwrap()).collect();
        (codes, expiry)
    }

    #[test]
    fn sessions_that_have_gone_leave_no_entry() {
        let (codes, expiry) = sessions(50, pass(3_600_000, 7_200_000), |streams, world| {
            assert_eq!(world.expiry.0.lock().entries.len(), 50);
            drop(streams);
        });
        assert_eq!(codes.len(), 50);
        assert!(expiry.0.lock().entries.is_empty());
    }

    #[test]
    fn sessions_are_warned_once_and_then_closed() {
        let (codes, expiry) = sessions(3, pass(0, 300), |streams, _| {
            for mut stream in streams {
                let all = read_until_expired(&mut stream);
                assert_eq!(String::from_utf8_lossy(&all).matches(r#""state":"expiring""#).count(), 1);
            }
        });
        assert_eq!(codes, [TOKEN_EXPIRED; 3]);
        assert!(expiry.0.lock().entries.is_empty());
    }

    #[test]
    fn whom_a_full_inbox_keeps_from_being_closed_is_closed_when_there_is_room() {
        let pass = pass(0, 500);
        let ends_ms = pass.ends_ms.unwrap();
        let (codes, expiry) = sessions(1, pass, |mut streams, world| {
            let guard = world.gate.shut.lock().unwrap();
            hold(&mut streams[0], world);
            until("its time has come and it was tried again", || now_ms() > ends_ms + 350);
            assert_eq!(world.expiry.0.lock().entries.len(), 1);
            drop(guard);
            read_until_expired(&mut streams[0]);
        });
        assert_eq!(codes, [TOKEN_EXPIRED]);
        assert!(expiry.0.lock().entries.is_empty());
    }

    #[test]
    fn a_shard_whose_inbox_is_full_keeps_nobody_elsewhere_from_being_closed() {
        const SESSIONS: usize = 8;
        let pass = pass(0, 500);
        let (codes, expiry) = sessions_on(2, SESSIONS, pass, |mut streams, world| {
            let guard = world.gate.shut.lock().unwrap();
            // The first one to end is on the shard that stands still.
            hold(&mut streams[0], world);
            until("some are closed", || world.expiry.0.lock().entries.len() < SESSIONS);
            assert!(!world.expiry.0.lock().entries.is_empty(), "who is held is not");
            drop(guard);
            streams.iter_mut().for_each(|stream| drop(read_until_expired(stream)));
        });
        assert_eq!(codes, [TOKEN_EXPIRED; SESSIONS]);
        assert!(expiry.0.lock().entries.is_empty());
    }

    /// Has a session's shard stand still, as long as the gate is shut, and fills its inbox.
    fn hold(stream: &mut TcpStream, world: &World) {
        // A text frame under a mask of zeros.
        let text = br#"{"topic":"hold"}"#;
        let length = 0x80 | u8::try_from(text.len()).unwrap();
        stream.write_all(&[&[0x81, length, 0, 0, 0, 0], &text[..]].concat()).unwrap();
        until("the shard stands still", || world.gate.is_reached.load(Ordering::Acquire));
        let publisher = world.running.publisher();
        until("its inbox is full", || publisher.broadcast("news", "1").is_err());
    }

    /// All up to the close frame. When the stream goes, the server ends the connection.
    fn read_until_expired(stream: &mut TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        while !all.windows(2).any(|code| code == TOKEN_EXPIRED.to_be_bytes()) {
            let mut buffer = [0; 1_000];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0);
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }

    #[track_caller]
    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < WAIT_MAX, "waited in vain until {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    const INBOX_SIZE: u32 = 16;

    const WAIT_MAX: Duration = Duration::from_secs(20);
}
