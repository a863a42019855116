//! tokio-tungstenite: what most Rust programs have today, at its best settings.
//!
//! In      `[--port N]` or `--version`; connections as README.md says
//! Out     one task per connection; all that is queued for a subscriber is fed, then flushed once
//! Bounds  `rivals::channel`: a subscriber further behind than `QUEUE_BYTES_MAX` is closed
//! Source  tokio-tungstenite 0.30. `WebSocketConfig`: a read buffer of 4 KiB, as its 128 KiB are allocated for
//!         each connection (tungstenite-rs issue 480); a write buffer of 64 KiB, which fills while a batch is fed
#![forbid(unsafe_code)]

use std::io;

use rivals::{MESSAGE_BYTES_MAX, channel::Channel, current_thread, listen::listen, messages, session::Path};
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
    current_thread::run(listen("tokio-tungstenite")?, serve)
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
        .write_buffer_size(WRITE_BUFFER_BYTES)
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

/// A burst of 256 messages of 128 bytes, and half of what would be copied out of the cache with 16 KiB each.
const WRITE_BUFFER_BYTES: usize = 64 << 10;
