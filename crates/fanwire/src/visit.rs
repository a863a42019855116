//! Visits: a walk over all open sessions, from any thread.
//!
//! In      a closure for each session, a place to begin at
//! Out     calls of the closure on the shards' threads; the place to go on at
//! Bounds  `VISIT_SLOTS_MAX` places looked at per call, in one turn of one shard; `inbox_size` calls per shard; never
//!         blocks
//! Source  docs/architecture.md

use std::{fmt, marker::PhantomData, ops::ControlFlow, sync::Arc};

use crate::{
    error::SendError,
    session::Session,
    shared::{Command, Phase, Shared},
};

/// All open sessions of a server, to be visited from any thread. Cheap to clone; it does not keep the server running.
///
/// `V` is the handler's value type.
///
/// ```
/// use std::{ops::ControlFlow, sync::mpsc};
///
/// use fanwire::{Place, SendError, Session, Sessions};
///
/// /// Closes the sessions of a user, and says how many they were. `None`: the server is ending.
/// fn close_all_of(sessions: &Sessions<String>, user: &'static str) -> Option<usize> {
///     let (mut closed, mut next) = (0, Some(Place::default()));
///     while let Some(from) = next {
///         let (sender, found) = mpsc::channel();
///         let (each, done) = (sender.clone(), sender);
///         let visit = move |session: &mut Session<'_, String>| {
///             if session.value() == user {
///                 session.close_with(4_000, "signed out");
///                 let _ = each.send(None);
///             }
///             ControlFlow::Continue(())
///         };
///         match sessions.visit(from, visit, move |next| drop(done.send(Some(next)))) {
///             Err(SendError::Full) => std::thread::yield_now(),
///             Err(_) => return None,
///             Ok(()) => loop {
///                 match found.recv().ok()? {
///                     None => closed += 1,
///                     Some(place) => break next = place,
///                 }
///             },
///         }
///     }
///     Some(closed)
/// }
/// ```
pub struct Sessions<V: Send + 'static> {
    shared: Arc<Shared>,
    value: PhantomData<fn(V)>,
}

impl<V: Send + 'static> Sessions<V> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, value: PhantomData }
    }

    /// Visits some of the sessions, from a place on: those of one shard, in one of its turns. `each` is called with
    /// them like a hook, so the same holds for it: whatever it takes, all sessions of the shard wait for, and if it
    /// panics, the session is closed with 1011. [`ControlFlow::Break`] ends the visit behind a session.
    ///
    /// Then `done` is called, on the same thread, with the place where the next visit goes on, or `None` if this was the
    /// last session of the last shard. It is dropped uncalled if the server ends before. Whoever is open all the time
    /// from the first visit to the last is visited once; who comes or goes meanwhile may be missed.
    ///
    /// # Errors
    /// [`SendError::Full`] if the shard's inbox is full, [`SendError::Closed`] if the server is ending.
    pub fn visit(
        &self,
        from: Place,
        each: impl FnMut(&mut Session<'_, V>) -> ControlFlow<()> + Send + 'static,
        done: impl FnOnce(Option<Place>) + Send + 'static,
    ) -> Result<(), SendError> {
        if self.shared.phase() != Phase::Running {
            return Err(SendError::Closed);
        }
        let shard = usize::from(from.shard);
        let shards = self.shared.shards.len();
        if shard >= shards {
            done(None);
            return Ok(());
        }
        let behind = (shard + 1 < shards).then_some(Place { shard: from.shard + 1, slot: 0 });
        let done = move |slot: Option<u32>| done(slot.map(|slot| Place { slot, ..from }).or(behind));
        let visit: Visit<V> = Visit { from: from.slot, each: Box::new(each), done: Box::new(done) };
        self.shared.hand_over(shard, Command::Visit { visit: Box::new(visit) }, false)
    }
}

impl<V: Send + 'static> Clone for Sessions<V> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl<V: Send + 'static> fmt::Debug for Sessions<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// Where a visit begins: the default is the first session of the first shard. As a number it can be kept elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    shard: u16,
    slot: u32,
}

impl Place {
    /// Whose sessions a visit from here on looks at.
    pub fn shard(self) -> usize {
        self.shard.into()
    }
}

impl From<Place> for u64 {
    fn from(place: Place) -> Self {
        Self::from(place.shard) << 32 | Self::from(place.slot)
    }
}

impl From<u64> for Place {
    /// A number that no place has given is a place behind the last session.
    fn from(number: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the slot")]
        let slot = number as u32;
        Self { shard: u16::try_from(number >> 32).unwrap_or(u16::MAX), slot }
    }
}

/// What a shard is asked to do.
pub(crate) struct Visit<V> {
    pub(crate) from: u32,
    pub(crate) each: Box<Each<V>>,
    /// With the slot to go on at; `None`: there is none.
    pub(crate) done: Box<dyn FnOnce(Option<u32>) + Send>,
}

type Each<V> = dyn FnMut(&mut Session<'_, V>) -> ControlFlow<()> + Send;

/// Places that one visit looks at, whether a session has them or not: well below a millisecond.
pub(crate) const VISIT_SLOTS_MAX: u32 = 4_096;
