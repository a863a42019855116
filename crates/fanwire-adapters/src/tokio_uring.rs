//! Streams of tokio-uring.
//!
//! In      `TcpStream` and `UnixStream` of `tokio_uring::start`
//! Out     sockets of their own; the runtime's descriptors are closed as they are dropped
//! Bounds  as `Transport`
//! Source  tokio-uring 0.5, `io::SharedFd`

use std::{io, net::Shutdown, os::unix::net, time::Duration};

use ::tokio::time::timeout;
use ::tokio_uring::net::{TcpStream, UnixStream};

use crate::{descriptor::duplicate, transport::sealed::Stream};

macro_rules! stream {
    ($type:ty, $std:ty) => {
        impl Stream for $type {
            async fn receive(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
                let (outcome, bytes) = self.read(Vec::with_capacity(bytes_max)).await;
                outcome.map(|_| bytes)
            }

            async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
                self.write_all(bytes).await.0
            }

            async fn end(&mut self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }

            /// A read that was dropped goes on in the ring and keeps the descriptor open: this ends it.
            fn cut(&mut self) {
                // It fails only on a socket that is not connected any more.
                let _ = self.shutdown(Shutdown::Both);
            }

            async fn within<F: Future>(limit: Duration, work: F) -> Option<F::Output> {
                timeout(limit, work).await.ok()
            }

            /// The runtime's own descriptor goes when `self` is dropped: no operation is in flight that would
            /// keep it.
            fn leave(self) -> io::Result<fanwire::Stream> {
                Ok(<$std>::from(duplicate(&self)?).into())
            }
        }
    };
}

stream!(TcpStream, std::net::TcpStream);
stream!(UnixStream, net::UnixStream);
