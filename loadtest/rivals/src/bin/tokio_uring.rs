//! tokio-uring: io_uring under Tokio's current-thread runtime, with fanwire-ws for the protocol.
//!
//! In      `[--port N]` or `--version`; connections as README.md says
//! Out     one task per connection; what one read of a publisher brought is one shared write per subscriber
//! Bounds  `rivals::channel`: a subscriber further behind than `QUEUE_BYTES_MAX` is closed
//! Source  tokio-uring 0.5.0, `Builder`: ring entries for thousands of sockets. Tokio waits for the ring by
//!         epoll, so completions must be posted without an enter: no DEFER_TASKRUN
#![forbid(unsafe_code)]

use std::{io, net::Shutdown, rc::Rc};

use bytes::Bytes;
use rivals::{
    QUEUE_BYTES_MAX,
    channel::Channel,
    completion::{self, Read, Write},
    listen::{announce, batch, listen},
};
use tokio_uring::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_single_issuer().setup_coop_taskrun().setup_cqsize(COMPLETION_ENTRIES);
    tokio_uring::builder().entries(ENTRIES).uring_builder(&ring).start(accept())
}

async fn accept() -> io::Result<()> {
    let listener = listen("tokio-uring")?;
    announce(&listener)?;
    let listener = TcpListener::from_std(listener);
    let channel = Channel::new(QUEUE_BYTES_MAX, batch()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let stream = Rc::new(stream);
        let channel = channel.clone();
        tokio_uring::spawn(async move {
            let (reader, writer) = (Half(Rc::clone(&stream)), Half(Rc::clone(&stream)));
            // How a connection ended is for the client to say: it misses what it does not get.
            completion::serve(reader, writer, channel, tokio::time::sleep).await.ok();
            // A request that is under way keeps the socket open; this ends it.
            stream.shutdown(Shutdown::Both).ok();
        });
    }
}

struct Half(Rc<TcpStream>);

impl Read for Half {
    async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        self.0.read(buffer).await
    }
}

impl Write for Half {
    async fn write_all(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.write_all(bytes).await.0
    }
}

const ENTRIES: u32 = 4096;

const COMPLETION_ENTRIES: u32 = 32_768;
