//! Gathering: a publisher's messages leave together that came within a time.
//!
//! In      messages, the publisher's next read, a way to sleep
//! Out     the messages in the channel, whose receivers are woken when the time is over
//! Bounds  one timer per publisher; without a batch time nothing is kept back
//! Source  README.md. It is for comparisons with servers that gather by themselves

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};

use crate::channel::Channel;

/// A publisher's end of a channel.
#[derive(Debug)]
pub struct Gather<T> {
    channel: Channel<T>,
    /// When the batch that this publisher began is to leave.
    due: Option<Instant>,
}

impl<T> Gather<T> {
    /// Nothing is gathered yet.
    #[must_use]
    pub fn new(channel: Channel<T>) -> Self {
        Self { channel, due: None }
    }

    /// As `Channel::publish`.
    pub fn publish(&mut self, value: T, payload_bytes: usize) {
        if let Some(time) = self.channel.publish(value, payload_bytes) {
            self.due = Some(Instant::now() + time);
        }
    }

    /// Awaits the next read, and lets a batch leave when its time has come.
    pub async fn reading<R, S>(&mut self, read: impl Future<Output = R>, sleep: impl Fn(Duration) -> S) -> R
    where
        S: Future<Output = ()>,
    {
        let mut read = pin!(read);
        if let Some(due) = self.due {
            let left = due.saturating_duration_since(Instant::now());
            if let Either::Left((read, _)) = select(read.as_mut(), pin!(sleep(left))).await {
                if due <= Instant::now() {
                    self.leave();
                }
                return read;
            }
            self.leave();
        }
        read.await
    }

    fn leave(&mut self) {
        self.due = None;
        self.channel.wake();
    }
}

impl<T> Drop for Gather<T> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Wake, Waker},
    };

    use futures_util::{FutureExt, future::pending, task::noop_waker_ref};

    use super::*;
    use crate::channel::Receiver;

    const BATCH: Duration = Duration::from_secs(1);

    fn world(batch: Option<Duration>) -> (Gather<u32>, Receiver<u32>) {
        let channel = Channel::new(1 << 20, batch);
        let receiver = channel.subscribe();
        (Gather::new(channel), receiver)
    }

    /// Whether a receiver that waits is woken by this.
    fn wakes(receiver: &Receiver<u32>, what: impl FnOnce()) -> bool {
        let mut taken = Vec::new();
        let mut waiting = pin!(receiver.take(&mut taken));
        let (waker, count) = counting_waker();
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        what();
        count.load(Ordering::Relaxed) > 0
    }

    fn counting_waker() -> (Waker, Arc<AtomicUsize>) {
        struct Count(Arc<AtomicUsize>);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::default();
        (Arc::new(Count(Arc::clone(&count))).into(), count)
    }

    #[test]
    fn without_a_batch_time_a_message_leaves_when_it_has_come() {
        let (mut gather, receiver) = world(None);
        assert!(wakes(&receiver, || gather.publish(1, 1)));
        let never = |_| -> std::future::Pending<()> { panic!("there is nothing to wait for") };
        assert_eq!(gather.reading(ready(7), never).now_or_never(), Some(7));
    }

    #[test]
    fn a_batch_leaves_when_its_time_has_come_whatever_is_read() {
        let (mut gather, receiver) = world(Some(BATCH));
        assert!(!wakes(&receiver, || {
            gather.publish(1, 1);
            gather.publish(2, 1);
        }));
        assert_eq!(receiver.take(&mut Vec::new()).now_or_never(), Some(Ok(())));
        // The time is over before anything is read.
        assert!(wakes(&receiver, || {
            let mut context = Context::from_waker(noop_waker_ref());
            let mut reading = pin!(gather.reading(pending::<()>(), |_| ready(())));
            assert!(reading.as_mut().poll(&mut context).is_pending());
        }));
        // The next batch has its own time, and what is read within it does not end it.
        assert!(!wakes(&receiver, || {
            gather.publish(3, 1);
            assert_eq!(gather.reading(ready(7), |_| pending()).now_or_never(), Some(7));
        }));
        assert_eq!(receiver.take(&mut Vec::new()).now_or_never(), Some(Ok(())));
        assert!(wakes(&receiver, || drop(gather)), "a publisher that ends leaves nothing behind");
    }
}
