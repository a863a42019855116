//! Expiry: sessions whose tokens end are warned, then closed.
//!
//! In      sessions with the times of their tokens
//! Out     a message some time before, and 4001 at the end, by a thread of its own
//! Bounds  one entry per open session; a look every `LOOK_MAX` at least, for the clock may be set
//! Source  docs/configuration.md

use std::{
    collections::BTreeMap,
    io,
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
    pub(crate) fn watch(&self, session: SessionHandle, pass: &Pass) -> Watched {
        let mut due = self.0.lock();
        due.last_id += 1;
        let watched = Watched { id: due.last_id, warns_ms: pass.warns_ms, ends_ms: pass.ends_ms };
        let first = watched.first();
        let is_next = due.entries.first_key_value().is_none_or(|(next, _)| first < *next);
        due.entries.insert(first, Entry { session, watched });
        drop(due);
        if is_next {
            self.0.changed.notify_one();
        }
        watched
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
            let Some(entry) = self.entries.first_entry() else { return LOOK_MAX };
            let (at_ms, id) = *entry.key();
            if at_ms > now_ms {
                return LOOK_MAX.min(Duration::from_millis(at_ms - now_ms));
            }
            let entry = entry.remove();
            let is_end = (at_ms, id) == entry.watched.last() || entry.watched.ends_ms <= now_ms;
            match if is_end { entry.close() } else { entry.warn(now_ms) } {
                // Its way is full: it comes first again.
                Err(SendError::Full) => {
                    self.entries.insert((at_ms, id), entry);
                    return RETRY;
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
