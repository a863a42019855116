//! Tokio's current-thread runtime, and a task per connection: what the rivals on Tokio have in common.
//!
//! In      a listener
//! Out     each connection, with a channel that all share
//! Bounds  one thread, which spares it the hops between workers
//! Source  tokio::runtime::Builder; README.md for what was measured
//!
//! How a connection ended is for the client to say: it misses what it does not get.

use std::{io, net::TcpListener};

use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};

use crate::{
    QUEUE_BYTES_MAX,
    channel::Channel,
    listen::{announce, batch},
};

/// Runs `serve` for each connection, for as long as the process lives.
///
/// # Errors
/// The runtime cannot be had, or nothing can be accepted any more.
pub fn run<T, F>(listener: TcpListener, serve: impl Fn(TcpStream, Channel<T>) -> F) -> io::Result<()>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    runtime()?.block_on(async {
        let listener = listening(listener)?;
        let channel = Channel::new(QUEUE_BYTES_MAX, batch()?);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream, channel.clone()));
        }
    })
}

/// The runtime. It asks the kernel for events after `EVENT_INTERVAL` tasks, and whenever it has nothing to do. Time is
/// of use to those only that gather messages.
///
/// # Errors
/// The system refused, or the command line is another.
pub fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    if batch()?.is_some() {
        builder.enable_time();
    }
    builder.enable_io().event_interval(EVENT_INTERVAL).build()
}

/// The listener as Tokio's, once it is announced.
///
/// # Errors
/// Nobody reads the output any more, or this is no runtime.
pub fn listening(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    announce(&listener)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Tokio's 61 are a question for every 61 subscribers of a fan-out.
const EVENT_INTERVAL: u32 = 1024;
