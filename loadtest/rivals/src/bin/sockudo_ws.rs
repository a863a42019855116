//! sockudo-ws: its unified stream, whose sink corks, on Tokio's current-thread runtime.
//!
//! In      `[--port N]` or `--version`; connections as README.md says
//! Out     one task per connection; all that is queued for a subscriber is fed, then flushed once. Payloads
//!         from 8 KiB are queued by reference and leave by a vectored write
//! Bounds  `rivals::channel`: a subscriber further behind than `QUEUE_BYTES_MAX` is closed. Its own `pubsub`
//!         has an unbounded queue per subscriber and one push each, so it is not used
//! Source  sockudo-ws 3.1.0, `Config`: `write_coalescing` with `feed` and `flush` at batch boundaries; no
//!         timers, as nobody is pinged here; a high-water mark as wide as the kernel's send buffer
#![forbid(unsafe_code)]

use std::io;

use bytes::Bytes;
use rivals::{
    MESSAGE_BYTES_MAX,
    channel::Channel,
    current_thread,
    listen::listen,
    messages,
    session::{Path, Shaken, shake_hands},
};
use sockudo_ws::{Config, Message, WebSocketStream, protocol::Role};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn main() -> io::Result<()> {
    sockudo_ws::init_clock();
    current_thread::run(listen("sockudo-ws")?, serve)
}

async fn serve(mut stream: TcpStream, channel: Channel<Message>) -> io::Result<()> {
    let mut request = Vec::with_capacity(1024);
    let (path, head_bytes) = loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        match shake_hands(&request) {
            Shaken::Partial => {}
            Shaken::Refused(answer) => return stream.write_all(&answer).await,
            Shaken::Accepted { answer, session, head_bytes } => {
                stream.write_all(&answer).await?;
                break (session.path(), head_bytes);
            }
        }
    };
    let config = Config::builder()
        .auto_ping(false)
        .idle_timeout(0)
        .max_payload_length(MESSAGE_BYTES_MAX)
        .write_coalescing(true)
        .build();
    let rest = (head_bytes < request.len()).then(|| Bytes::copy_from_slice(&request[head_bytes..]));
    drop(request);
    let mut socket = WebSocketStream::from_raw_with_leftover(stream, Role::Server, config, rest);
    socket.set_high_water_mark(HIGH_WATER_BYTES);
    match path {
        Path::Sub => messages::deliver(socket, channel.subscribe()).await,
        Path::Pub => messages::publish(socket, channel, payload_bytes).await,
        Path::Echo => messages::echo(socket, payload_bytes).await,
    }
    Ok(())
}

fn payload_bytes(message: &Message) -> Option<usize> {
    matches!(message, Message::Text(_) | Message::Binary(_)).then(|| message.as_bytes().len())
}

const HIGH_WATER_BYTES: usize = 256 << 10;
