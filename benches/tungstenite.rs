//! The rival most Rust programs have today: tokio-tungstenite with a broadcast channel, at its best settings.
//!
//! In      handshakes; bursts on a control connection
//! Out     each burst to each subscriber: its messages are fed, then flushed once
//! Bounds  one task per connection; the channel holds `CHANNEL_MESSAGES_MAX`
//! Source  tokio-tungstenite 0.30; the settings that measured best of those its documentation names

use std::{io, net::TcpListener};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::broadcast::{self, error::TryRecvError},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Bytes, Error, Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::WebSocketConfig,
    },
};

use crate::{
    command::{Burst, is_control_query, payload},
    listen::{announce, listen},
};

/// Serves until the parent ends.
///
/// # Errors
/// The runtime or the listener cannot be had.
pub fn serve() -> io::Result<()> {
    // One thread, as all peers have here: the current-thread runtime spares it the hops between workers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(accept(listen()?))
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    announce(listener.local_addr()?)?;
    let (publisher, _) = broadcast::channel(CHANNEL_MESSAGES_MAX);
    loop {
        let (stream, _) = listener.accept().await?;
        let publisher = publisher.clone();
        // How a connection ended is for the client to say: it misses what it does not get.
        tokio::spawn(async move { drop(serve_connection(stream, publisher).await) });
    }
}

async fn serve_connection(stream: TcpStream, publisher: broadcast::Sender<Message>) -> Result<(), Error> {
    let mut is_control_connection = false;
    // The callback's signature is the library's, and so is the size of its error.
    #[expect(clippy::result_large_err, reason = "the library's type")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        is_control_connection = is_control_query(request.uri().query());
        Ok(response)
    };
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let socket = accept_hdr_async_with_config(stream, look, Some(config)).await?;
    if is_control_connection {
        obey(socket, &publisher).await
    } else {
        let messages = publisher.subscribe();
        drop(publisher);
        deliver(socket, messages).await
    }
}

/// The control connection: publishes on command.
async fn obey(
    mut socket: WebSocketStream<TcpStream>,
    publisher: &broadcast::Sender<Message>,
) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let Ok(burst) = message?.to_text()?.parse::<Burst>() else { continue };
        let message = Message::Binary(Bytes::from(payload(burst.payload_bytes)));
        for _ in 0..burst.messages {
            // An error means that nobody is subscribed, which the client would notice.
            drop(publisher.send(message.clone()));
        }
    }
    Ok(())
}

/// A subscriber: all that has been published since the last flush leaves in one.
async fn deliver(
    mut socket: WebSocketStream<TcpStream>,
    mut messages: broadcast::Receiver<Message>,
) -> Result<(), Error> {
    loop {
        tokio::select! {
            biased;
            message = messages.recv() => {
                let Ok(message) = message else { return Ok(()) };
                socket.feed(message).await?;
                loop {
                    match messages.try_recv() {
                        Ok(message) => socket.feed(message).await?,
                        Err(TryRecvError::Empty) => break,
                        Err(_) => return Ok(()),
                    }
                }
                socket.flush().await?;
            }
            received = socket.next() => {
                let Some(received) = received else { return Ok(()) };
                received?;
            }
        }
    }
}

/// Its default of 128 KiB is allocated for each connection and never needed here.
const READ_BUFFER_BYTES: usize = 4096;

/// The largest burst of the table, four times.
const CHANNEL_MESSAGES_MAX: usize = 1024;
