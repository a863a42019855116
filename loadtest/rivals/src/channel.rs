//! The way from publishers to all subscribers: one log of messages, and a place in it for each receiver.
//!
//! In      messages, and how long each is
//! Out     each to every receiver that was there, in order
//!         or, gathered, all that came within a time together
//! Bounds  the log holds at most `bytes_max`, headers of its own included, or one message; a receiver that
//!         has not taken what falls out at its front has lagged, which ends it
//! Source  none. It is for rivals that have no publish of their own: a push costs a log entry, not one per
//!         subscriber

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;

/// The publishers' end; cheap to clone.
#[derive(Debug)]
pub struct Channel<T> {
    log: Arc<Mutex<Log<T>>>,
}

impl<T> Clone for Channel<T> {
    fn clone(&self) -> Self {
        Self { log: Arc::clone(&self.log) }
    }
}

impl<T> Channel<T> {
    /// A channel that holds back at most `bytes_max` for slow receivers. With `batch`, those who wait hear of a
    /// message so long after it came, together with what came meanwhile.
    #[must_use]
    pub fn new(bytes_max: usize, batch: Option<Duration>) -> Self {
        let (items, receivers) = (VecDeque::new(), Slab::new());
        let log = Log { items, first: 0, bytes: 0, bytes_max, receivers, waiting: 0, batch, gathers: false };
        Self { log: Arc::new(Mutex::new(log)) }
    }

    /// Sends `value`, whose payload has so many bytes, to all receivers there are. The first message of a batch says
    /// after how long the caller is to `wake` them.
    #[must_use]
    pub fn publish(&self, value: T, payload_bytes: usize) -> Option<Duration> {
        lock(&self.log).push(value, payload_bytes)
    }

    /// Ends a batch.
    pub fn wake(&self) {
        lock(&self.log).wake();
    }

    /// A receiver of all that is published from now on.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let mut log = lock(&self.log);
        let next = log.end();
        let place = log.receivers.insert(Place { next, waits: None, lags: None });
        Receiver { log: Arc::clone(&self.log), place }
    }
}

/// A subscriber's end.
#[derive(Debug)]
pub struct Receiver<T> {
    log: Arc<Mutex<Log<T>>>,
    place: usize,
}

impl<T: Clone> Receiver<T> {
    /// Appends what there is, at most `TAKE_MAX` messages; ready once there is any.
    ///
    /// # Errors
    /// `Lagged`: it has missed messages.
    pub fn poll_take(&self, context: &Context<'_>, taken: &mut Vec<T>) -> Poll<Result<(), Lagged>> {
        lock(&self.log).take(self.place, context.waker(), taken)
    }

    /// The same as a future.
    ///
    /// # Errors
    /// As `poll_take`.
    pub async fn take(&self, taken: &mut Vec<T>) -> Result<(), Lagged> {
        poll_fn(|context| self.poll_take(context, taken)).await
    }

    /// Ready once this receiver has missed messages: for while it is busy sending earlier ones.
    pub async fn lagged(&self) {
        poll_fn(|context| {
            let mut log = lock(&self.log);
            let first = log.first;
            let place = &mut log.receivers[self.place];
            if place.next < first {
                return Poll::Ready(());
            }
            place.lags = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        lock(&self.log).leave(self.place);
    }
}

/// A receiver was too slow and has missed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged;

#[derive(Debug)]
struct Log<T> {
    items: VecDeque<Item<T>>,
    /// How many items have been before the first of `items`.
    first: u64,
    /// INVARIANT: the sum of `items[..].bytes`.
    bytes: usize,
    bytes_max: usize,
    receivers: Slab<Place>,
    /// INVARIANT: how many places have `waits`.
    waiting: usize,
    batch: Option<Duration>,
    /// A batch has begun, and somebody will end it.
    gathers: bool,
}

#[derive(Debug)]
struct Item<T> {
    value: T,
    bytes: usize,
    /// Receivers that have not taken it.
    left: usize,
}

#[derive(Debug)]
struct Place {
    /// The number of the item to take next.
    next: u64,
    waits: Option<Waker>,
    lags: Option<Waker>,
}

impl<T> Log<T> {
    fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    fn push(&mut self, value: T, payload_bytes: usize) -> Option<Duration> {
        let left = self.receivers.len();
        if left == 0 {
            return None;
        }
        let bytes = payload_bytes + size_of::<Item<T>>();
        self.items.push_back(Item { value, bytes, left });
        self.bytes += bytes;
        while self.bytes > self.bytes_max && self.items.len() > 1 {
            self.evict();
        }
        if self.batch.is_none() {
            self.wake();
        }
        self.batch.filter(|_| !std::mem::replace(&mut self.gathers, true))
    }

    fn wake(&mut self) {
        self.gathers = false;
        if self.waiting > 0 {
            self.waiting = 0;
            self.receivers.iter_mut().filter_map(|(_, place)| place.waits.take()).for_each(Waker::wake);
        }
    }

    /// Drops the oldest item, and tells those that have not taken it.
    fn evict(&mut self) {
        self.pop();
        let first = self.first;
        let lagging = self.receivers.iter_mut().filter(|(_, place)| place.next < first);
        lagging.filter_map(|(_, place)| place.lags.take()).for_each(Waker::wake);
    }

    fn pop(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.bytes -= item.bytes;
            self.first += 1;
        }
    }

    fn leave(&mut self, place: usize) {
        let place = self.receivers.remove(place);
        self.waiting -= usize::from(place.waits.is_some());
        let taken = usize::try_from(place.next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.items.iter_mut().skip(taken).for_each(|item| item.left -= 1);
        self.forget_taken();
    }

    fn forget_taken(&mut self) {
        while self.items.front().is_some_and(|item| item.left == 0) {
            self.pop();
        }
    }
}

impl<T: Clone> Log<T> {
    fn take(&mut self, place: usize, waker: &Waker, taken: &mut Vec<T>) -> Poll<Result<(), Lagged>> {
        let place = &mut self.receivers[place];
        let Some(skipped) = place.next.checked_sub(self.first) else { return Poll::Ready(Err(Lagged)) };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        if skipped == self.items.len() {
            self.waiting += usize::from(place.waits.replace(waker.clone()).is_none());
            return Poll::Pending;
        }
        let end = self.items.len().min(skipped + TAKE_MAX);
        place.next = self.first + end as u64;
        taken.extend(self.items.range_mut(skipped..end).map(|item| {
            item.left -= 1;
            item.value.clone()
        }));
        self.forget_taken();
        Poll::Ready(Ok(()))
    }
}

/// Nothing under this lock can panic halfway, so poison means nothing.
fn lock<T>(log: &Mutex<Log<T>>) -> MutexGuard<'_, Log<T>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Messages that one call takes.
const TAKE_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(receiver: &Receiver<u32>, count: &Arc<Count>) -> Poll<Result<Vec<u32>, Lagged>> {
        let (waker, mut taken) = (Waker::from(Arc::clone(count)), Vec::new());
        let ready = receiver.poll_take(&Context::from_waker(&waker), &mut taken);
        ready.map(|result| result.map(|()| taken))
    }

    /// Messages and bytes.
    fn held(channel: &Channel<u32>) -> (usize, usize) {
        let log = lock(&channel.log);
        (log.items.len(), log.bytes)
    }

    #[test]
    fn every_receiver_takes_every_message_once_and_none_is_kept() {
        let (channel, count) = (Channel::new(1 << 20, None), Arc::new(Count::default()));
        assert_eq!(channel.publish(0, 1), None);
        let (a, b) = (channel.subscribe(), channel.subscribe());
        assert_eq!(take(&a, &count), Poll::Pending);
        assert_eq!(channel.publish(1, 1), None);
        assert_eq!(channel.publish(2, 1), None);
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "one wake for both");
        assert_eq!(take(&a, &count), Poll::Ready(Ok(vec![1, 2])));
        assert_eq!(channel.publish(3, 1), None);
        assert_eq!(take(&b, &count), Poll::Ready(Ok(vec![1, 2, 3])));
        assert_eq!(lock(&channel.log).items.len(), 1);
        drop(a);
        assert_eq!(held(&channel), (0, 0));
        assert_eq!(take(&b, &count), Poll::Pending);
        drop(b);
        assert_eq!(lock(&channel.log).waiting, 0);
    }

    #[test]
    fn a_receiver_that_does_not_take_is_told_and_others_lose_nothing() {
        let item = size_of::<Item<u32>>();
        let (channel, count) = (Channel::new(3 * (item + 100), None), Arc::new(Count::default()));
        let (slow, quick) = (channel.subscribe(), channel.subscribe());
        let waker = Waker::from(Arc::clone(&count));
        let mut lagged = Box::pin(slow.lagged());
        assert!(lagged.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        for message in 0..5 {
            assert_eq!(channel.publish(message, 100), None);
            assert_eq!(take(&quick, &count), Poll::Ready(Ok(vec![message])));
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(lagged.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        assert_eq!(take(&slow, &count), Poll::Ready(Err(Lagged)));
        drop(lagged);
        drop(slow);
        assert_eq!(held(&channel), (0, 0));
    }

    #[test]
    fn one_take_is_bounded() {
        let (channel, count) = (Channel::new(1 << 20, None), Arc::new(Count::default()));
        let receiver = channel.subscribe();
        (0..300).for_each(|message| assert_eq!(channel.publish(message, 1), None));
        assert_eq!(take(&receiver, &count), Poll::Ready(Ok((0..256).collect())));
        assert_eq!(take(&receiver, &count), Poll::Ready(Ok((256..300).collect())));
        assert_eq!(take(&receiver, &count), Poll::Pending);
    }
}
