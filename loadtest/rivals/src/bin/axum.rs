//! axum: the WebSockets of its `extract::ws`, behind its router, at their best settings.
//!
//! In      `[--port N]` or `--version`; connections as README.md says
//! Out     one task per connection; all that is queued for a subscriber is fed, then flushed once
//! Bounds  `rivals::channel`: a subscriber further behind than `QUEUE_BYTES_MAX` is closed
//! Source  axum 0.8, `WebSocketUpgrade`: a read buffer of 4 KiB instead of 128 KiB for each connection, a write
//!         buffer of 64 KiB, as for tokio-tungstenite, which it is built on
#![forbid(unsafe_code)]

use std::io;

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
    routing::any,
};
use rivals::{
    MESSAGE_BYTES_MAX, QUEUE_BYTES_MAX,
    channel::Channel,
    current_thread::{listening, runtime},
    listen::{batch, listen},
    messages,
};

fn main() -> io::Result<()> {
    let listener = listen("axum")?;
    let routes = Router::new()
        .route("/sub", any(subscribe))
        .route("/pub", any(publish))
        .route("/echo", any(echo))
        .with_state(Channel::new(QUEUE_BYTES_MAX, batch()?));
    runtime()?.block_on(async { axum::serve(listening(listener)?, routes).await })
}

async fn subscribe(upgrade: WebSocketUpgrade, State(channel): State<Channel<Message>>) -> Response {
    tuned(upgrade).on_upgrade(move |socket: WebSocket| messages::deliver(socket, channel.subscribe()))
}

async fn publish(upgrade: WebSocketUpgrade, State(channel): State<Channel<Message>>) -> Response {
    tuned(upgrade).on_upgrade(move |socket: WebSocket| messages::publish(socket, channel, payload_bytes))
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    tuned(upgrade).on_upgrade(|socket: WebSocket| messages::echo(socket, payload_bytes))
}

fn tuned(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
}

fn payload_bytes(message: &Message) -> Option<usize> {
    match message {
        Message::Text(text) => Some(text.as_str().len()),
        Message::Binary(bytes) => Some(bytes.len()),
        _ => None,
    }
}

const READ_BUFFER_BYTES: usize = 4096;

const WRITE_BUFFER_BYTES: usize = 64 << 10;
