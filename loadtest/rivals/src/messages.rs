//! A connection on a library that gives messages: a stream of those received, a sink for those to send.
//!
//! In      the library's socket, the channel
//! Out     all that was published since the last flush is fed, then flushed once
//! Bounds  one task per connection; what a batch holds is shared with all other subscribers
//! Source  README.md

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};

use crate::{
    channel::{Channel, Receiver},
    gather::Gather,
};

/// Length of a message's payload if it is text or binary, and not about the connection.
pub type PayloadBytes<M> = fn(&M) -> Option<usize>;

/// A subscriber: gets everything until it ends, or has lagged.
pub async fn deliver<S, M, E>(mut socket: S, messages: Receiver<M>)
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: Clone,
{
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            taken = messages.take(&mut batch) => {
                if taken.is_err() {
                    return;
                }
                let sending = async {
                    for message in batch.drain(..) {
                        socket.feed(message).await?;
                    }
                    socket.flush().await
                };
                let sent = tokio::select! {
                    biased;
                    sent = sending => sent.is_ok(),
                    () = messages.lagged() => false,
                };
                if !sent {
                    return;
                }
            }
            received = socket.next() => {
                // The library answers pings and close frames by itself.
                let Some(Ok(_)) = received else { return };
            }
        }
    }
}

/// A publisher: what it sends is for all subscribers.
pub async fn publish<S, M, E>(mut socket: S, channel: Channel<M>, payload_bytes: PayloadBytes<M>)
where
    S: Stream<Item = Result<M, E>> + Unpin,
{
    let mut gather = Gather::new(channel);
    while let Some(Ok(message)) = gather.reading(socket.next(), tokio::time::sleep).await {
        if let Some(bytes) = payload_bytes(&message) {
            gather.publish(message, bytes);
        }
    }
}

/// An echo: what came together goes back together.
pub async fn echo<S, M, E>(mut socket: S, payload_bytes: PayloadBytes<M>)
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
{
    while let Some(Ok(message)) = socket.next().await {
        let mut next = Some(message);
        while let Some(message) = next {
            if payload_bytes(&message).is_some() && socket.feed(message).await.is_err() {
                return;
            }
            next = socket.next().now_or_never().flatten().and_then(Result::ok);
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}
