//! monoio: a thread-per-core runtime on io_uring, with fanwire-ws for the protocol.
//!
//! In      `[--port N]` or `--version`; connections as README.md says
//! Out     one task per connection; what one read of a publisher brought is one shared write per subscriber
//! Bounds  `rivals::channel`: a subscriber further behind than `QUEUE_BYTES_MAX` is closed
//! Source  monoio 0.2.4, `RuntimeBuilder`: the io_uring driver, no timer unless messages are gathered, ring
//!         entries for thousands of sockets. COOP_TASKRUN and DEFER_TASKRUN were tried and gave no less CPU
#![forbid(unsafe_code)]

use std::io;

use bytes::Bytes;
use monoio::{
    IoUringDriver, RuntimeBuilder,
    io::{AsyncReadRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use rivals::{
    QUEUE_BYTES_MAX,
    channel::Channel,
    completion::{self, Read, Write},
    listen::{announce, batch, listen},
};

fn main() -> io::Result<()> {
    let listener = listen("monoio")?;
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_cqsize(COMPLETION_ENTRIES);
    let runtime = RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(ENTRIES);
    if batch()?.is_some() {
        return runtime.enable_timer().build()?.block_on(accept(listener));
    }
    runtime.build()?.block_on(accept(listener))
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    announce(&listener)?;
    let listener = TcpListener::from_std(listener)?;
    let channel = Channel::new(QUEUE_BYTES_MAX, batch()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let (reader, writer) = stream.into_split();
        let channel = channel.clone();
        // How a connection ended is for the client to say: it misses what it does not get.
        monoio::spawn(
            async move { completion::serve(Reader(reader), Writer(writer), channel, sleep).await.ok() },
        );
    }
}

struct Reader(OwnedReadHalf<TcpStream>);

struct Writer(OwnedWriteHalf<TcpStream>);

impl Read for Reader {
    async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        self.0.read(buffer).await
    }
}

impl Write for Writer {
    async fn write_all(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.write_all(bytes).await.0.map(drop)
    }
}

const ENTRIES: u32 = 4096;

const COMPLETION_ENTRIES: u32 = 32_768;
