//! Transports: the streams of async runtimes, as far as a handshake needs them.
//!
//! In      a stream of a runtime
//! Out     bytes both ways while the handshake lasts, then the socket itself
//! Bounds  one read or write at a time; none is in flight when the socket leaves
//! Source  none

use std::{future::Future, io, time::Duration};

use fanwire::Adopter;

use crate::AdoptError;

/// A stream of an async runtime whose socket can leave it: `TcpStream` and `UnixStream` of tokio, monoio and
/// tokio-uring.
#[cfg_attr(
    feature = "tokio",
    doc = r"
```
fn hand_over(adopter: &fanwire::Adopter<()>, stream: tokio::net::TcpStream) {
    fanwire_adapters::adopt(adopter, stream, (), Vec::new()).unwrap();
}
```
What has TLS or anything else around its socket is none, which the compiler says with what to do instead:
```compile_fail,E0277
# use tokio_rustls::server::TlsStream;
fn hand_over(adopter: &fanwire::Adopter<()>, stream: TlsStream<tokio::net::TcpStream>) {
    fanwire_adapters::adopt(adopter, stream, (), Vec::new()).unwrap();
}
```
"
)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no plain socket that Fanwire can adopt",
    note = "the TcpStream and UnixStream of tokio, monoio and tokio-uring are, behind features of that name",
    note = "a TLS stream is not: end TLS in a proxy in front, or serve this address without TLS"
)]
pub trait Transport: sealed::Stream {}

impl<S: sealed::Stream> Transport for S {}

/// Hands over a connection on which the program has checked and answered the WebSocket handshake by its own
/// code. `received` is what it has read behind the request. The session opens with `value`.
///
/// No read or write may be under way. Where the handshake is not answered yet, [`Incoming`](crate::Incoming)
/// does it.
///
/// # Errors
/// [`AdoptError::Socket`] if the stream cannot leave its runtime, [`AdoptError::Server`] if the server does
/// not take it. The connection is closed then.
pub fn adopt<V: Send + 'static>(
    adopter: &Adopter<V>,
    stream: impl Transport,
    value: V,
    received: Vec<u8>,
) -> Result<(), AdoptError> {
    Ok(adopter.adopt(stream.leave()?, value, received)?)
}

pub(crate) mod sealed {
    use super::*;

    /// What each runtime's streams do.
    pub trait Stream: Sized {
        /// Up to so many bytes; none at the end.
        fn receive(&mut self, bytes_max: usize) -> impl Future<Output = io::Result<Vec<u8>>>;

        /// Sends all of it.
        fn send(&mut self, bytes: Vec<u8>) -> impl Future<Output = io::Result<()>>;

        /// Ends our direction.
        fn end(&mut self) -> impl Future<Output = io::Result<()>>;

        /// Ends what a `receive` that was dropped may have left in flight.
        fn cut(&mut self) {}

        /// `None` if the work is not done in time.
        fn within<F: Future>(limit: Duration, work: F) -> impl Future<Output = Option<F::Output>>;

        /// Takes the socket out of its runtime.
        fn leave(self) -> io::Result<fanwire::Stream>;
    }
}
