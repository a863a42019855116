//! What a script's hooks have seen, for the test to look at.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use fanwire::{CloseReason, SendError, SessionHandle, Ticket};

/// Shared by the test and the handlers of all shards.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Entries>>);

#[derive(Default)]
pub struct Entries {
    pub opened: Vec<Opened>,
    pub closed: Vec<Closed>,
    /// Names of sessions and topics of messages, in the order of the calls of `on_message`.
    pub messages: Vec<(String, String)>,
    /// Parked handshakes by name.
    pub tickets: HashMap<String, Ticket<String>>,
    /// The newest handle by name.
    pub handles: HashMap<String, SessionHandle>,
}

pub struct Opened {
    pub name: String,
    pub shard: usize,
    pub id: String,
}

/// One call of `on_close`.
#[derive(Clone, Debug)]
pub struct Closed {
    pub name: String,
    pub reason: CloseReason,
    pub topics: Vec<String>,
    /// What `send` gave inside the hook.
    pub sent: Result<(), SendError>,
    /// `session_count()` inside the hook.
    pub session_count: u64,
}

impl Log {
    pub fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The calls of `on_close` for sessions of this name.
    pub fn closed(&self, name: &str) -> Vec<Closed> {
        self.lock().closed.iter().filter(|closed| closed.name == name).cloned().collect()
    }

    /// The handle of the newest session of this name.
    pub fn handle(&self, name: &str) -> SessionHandle {
        self.lock().handles.get(name).expect("that session was opened").clone()
    }

    /// The shard of the newest session of this name.
    pub fn shard(&self, name: &str) -> usize {
        let log = self.lock();
        log.opened.iter().rev().find(|opened| opened.name == name).expect("that session was opened").shard
    }
}
