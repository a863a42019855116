//! Who is online, over all shards.
//!
//! In      sessions as they open and end
//! Out     a user's newest session
//! Bounds  one handle per open session; O(sessions of the user) per call

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fanwire::SessionHandle;

/// Users and their sessions, the newest last.
#[derive(Default)]
pub(super) struct Online {
    users: Mutex<Users>,
}

/// INVARIANT: no user's list is empty.
type Users = HashMap<String, Vec<SessionHandle>>;

impl Online {
    pub(super) fn add(&self, user: &str, session: SessionHandle) {
        self.users().entry(user.to_owned()).or_default().push(session);
    }

    /// Forgets a session; one that is not there is not missed.
    pub(super) fn remove(&self, user: &str, session: &SessionHandle) {
        let mut users = self.users();
        let Some(sessions) = users.get_mut(user) else { return };
        sessions.retain(|one| one != session);
        if sessions.is_empty() {
            users.remove(user);
        }
    }

    /// It may have ended, if its `on_close` is still to come.
    pub(super) fn newest(&self, user: &str) -> Option<SessionHandle> {
        self.users().get(user)?.last().cloned()
    }

    #[cfg(test)]
    pub(super) fn user_count(&self) -> usize {
        self.users().len()
    }

    /// A panic under the lock leaves a whole map, so poison means nothing here.
    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
