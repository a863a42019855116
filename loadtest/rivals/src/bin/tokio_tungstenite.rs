//! tokio-tungstenite: what most Rust programs have today, at its best settings.
//!
//! In      `[--port N]` or `--version`; connections as README.md says
//! Out     one task per connection; all that is queued for a subscriber is fed, then flushed once
//! Bounds  `rivals::channel`: a subscriber further behind than `QUEUE_BYTES_MAX` is closed
//! Source  tokio-tungstenite 0.30. `WebSocketConfig`: a read buffer of 4 KiB, as its 128 KiB are allocated
//!         for each connection (tungstenite-rs issue 480); the write buffer's 128 KiB fill only while a batch
//!         is fed
#![forbid(unsafe_code)]

use std::{io, net::TcpListener};

use rivals::{
    MESSAGE_BYTES_MAX, QUEUE_BYTES_MAX,
    channel::Channel,
    listen::{announce, listen},
    messages,
    session::Path,
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        Error, Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::StatusCode,
        protocol::WebSocketConfig,
    },
};

fn main() -> io::Result<()> {
    // One thread, as all have here: the current-thread runtime spares it the hops between workers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(accept(listen("tokio-tungstenite")?))
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    announce(&listener)?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let channel = Channel::new(QUEUE_BYTES_MAX);
    loop {
        let (stream, _) = listener.accept().await?;
        let channel = channel.clone();
        // How a connection ended is for the client to say: it misses what it does not get.
        tokio::spawn(async move { serve(stream, channel).await.ok() });
    }
}

async fn serve(stream: TcpStream, channel: Channel<Message>) -> Result<(), Error> {
    let mut path = None;
    // The callback's signature is the library's, and so is the size of its error.
    #[expect(clippy::result_large_err, reason = "the library's type")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        path = Path::parse(request.uri().path());
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        path.map(|_| response).ok_or(refusal)
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let socket = accept_hdr_async_with_config(stream, look, Some(config)).await?;
    match path {
        Some(Path::Sub) => messages::deliver(socket, channel.subscribe()).await,
        Some(Path::Pub) => messages::publish(socket, channel, payload_bytes).await,
        Some(Path::Echo) => messages::echo(socket, payload_bytes).await,
        None => {}
    }
    Ok(())
}

fn payload_bytes(message: &Message) -> Option<usize> {
    matches!(message, Message::Text(_) | Message::Binary(_)).then(|| message.len())
}

const READ_BUFFER_BYTES: usize = 4096;
