//! Streams of monoio, on io_uring and on epoll.
//!
//! In      `TcpStream` and `UnixStream` of a monoio runtime with a timer
//! Out     sockets of their own; the runtime's descriptors are closed, and deregistered, as they are dropped
//! Bounds  as `Transport`
//! Source  monoio 0.2, `driver::shared_fd`

use std::{io, os::unix::net, time::Duration};

use ::monoio::{
    io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{descriptor::duplicate, transport::sealed::Stream};

macro_rules! stream {
    ($type:ty, $std:ty) => {
        impl Stream for $type {
            async fn receive(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
                let (outcome, bytes) = self.read(Vec::with_capacity(bytes_max)).await;
                outcome.map(|_| bytes)
            }

            async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
                self.write_all(bytes).await.0.map(drop)
            }

            async fn end(&mut self) -> io::Result<()> {
                self.shutdown().await
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
