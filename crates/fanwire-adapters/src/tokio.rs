//! Streams of tokio.
//!
//! In      `TcpStream` and `UnixStream` of a tokio runtime
//! Out     sockets that its reactor has forgotten
//! Bounds  as `Transport`
//! Source  `tokio::net::TcpStream::into_std`

use std::{future::poll_fn, io, pin::Pin, time::Duration};

use ::tokio::{
    io::AsyncWrite,
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::transport::sealed::Stream;

macro_rules! stream {
    ($type:ty) => {
        impl Stream for $type {
            async fn receive(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
                let mut bytes = vec![0; bytes_max];
                loop {
                    self.readable().await?;
                    match self.try_read(&mut bytes) {
                        Ok(count) => {
                            bytes.truncate(count);
                            return Ok(bytes);
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
            }

            async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
                let mut rest = &*bytes;
                while !rest.is_empty() {
                    self.writable().await?;
                    match self.try_write(rest) {
                        Ok(count) => rest = &rest[count..],
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }

            async fn end(&mut self) -> io::Result<()> {
                poll_fn(|context| Pin::new(&mut *self).poll_shutdown(context)).await
            }

            async fn within<F: Future>(limit: Duration, work: F) -> Option<F::Output> {
                timeout(limit, work).await.ok()
            }

            fn leave(self) -> io::Result<fanwire::Stream> {
                Ok(self.into_std()?.into())
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);
