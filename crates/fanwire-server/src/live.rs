//! What may change while the server runs, and who looks at it.
//!
//! In      a new value, from the thread that hears SIGHUP
//! Out     that value to each shard, at its next look
//! Bounds  one value here, and one more in each shard that has not looked yet; a look without news is one atomic load
//! Source  none

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// A value that can be replaced. Cheap to clone: clones are the same place.
#[derive(Debug)]
pub(crate) struct Live<T> {
    place: Arc<Place<T>>,
}

impl<T> Live<T> {
    pub(crate) fn new(value: T) -> Self {
        let place = Place { generation: AtomicU64::new(0), value: Mutex::new(Arc::new(value)) };
        Self { place: Arc::new(place) }
    }

    pub(crate) fn replace(&self, value: T) {
        let mut place = self.place.value.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Arc::new(value);
        // Under the lock, so that nobody takes the old value with the new number.
        self.place.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// The value now.
    pub(crate) fn load(&self) -> Arc<T> {
        self.place.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone() }
    }
}

/// One shard's view: looks at the place only when there is news.
#[derive(Debug)]
pub(crate) struct View<T> {
    live: Live<T>,
    generation: u64,
    value: Arc<T>,
}

impl<T> View<T> {
    pub(crate) fn new(live: Live<T>) -> Self {
        // The number first: at worst the same value is fetched once more.
        let generation = live.place.generation.load(Ordering::SeqCst);
        let value = live.load();
        Self { live, generation, value }
    }

    /// The place that it looks at.
    pub(crate) fn live(&self) -> &Live<T> {
        &self.live
    }

    /// The value as of now.
    pub(crate) fn now(&mut self) -> &Arc<T> {
        let generation = self.live.place.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.value = self.live.load();
        }
        &self.value
    }
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        Self { live: self.live.clone(), generation: self.generation, value: self.value.clone() }
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: AtomicU64,
    value: Mutex<Arc<T>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_sees_what_was_replaced_and_keeps_it() {
        let live = Live::new(1);
        let mut view = View::new(live.clone());
        assert_eq!(**view.now(), 1);
        live.replace(2);
        assert_eq!((**view.now(), *live.load()), (2, 2));
        let first = Arc::as_ptr(view.now());
        assert_eq!(Arc::as_ptr(view.now()), first);
    }
}
