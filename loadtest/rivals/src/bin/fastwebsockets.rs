//! fastwebsockets: frames without a mask, vectored where they are long, on Tokio's current-thread runtime.
//!
//! In      `[--port N]` or `--version`; connections as README.md says
//! Out     one task per connection, its two halves polled together; all that is queued for a subscriber is
//!         written to a buffer, then flushed once. The library has no such batch of its own: an echo is one
//!         write per message
//! Bounds  `rivals::channel`: a subscriber further behind than `QUEUE_BYTES_MAX` is closed;
//!         `WRITE_BUFFER_BYTES` and `CONTROLS_MAX` control frames per connection
//! Source  fastwebsockets 0.10, `after_handshake_split` and `FragmentCollectorRead` (its `read_frame` must
//!         not be cancelled, so it is never dropped half way), `WebSocketWrite::flush` for a buffered stream
#![forbid(unsafe_code)]

use std::io;

use bytes::Bytes;
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocket, WebSocketError,
    WebSocketWrite, after_handshake_split,
};
use rivals::{
    MESSAGE_BYTES_MAX,
    channel::{Channel, Receiver},
    current_thread,
    gather::Gather,
    listen::listen,
    session::{Path, Shaken, shake_hands},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufWriter},
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
};

fn main() -> io::Result<()> {
    current_thread::run(listen("fastwebsockets")?, serve)
}

#[derive(Clone)]
struct Message {
    opcode: OpCode,
    payload: Bytes,
}

impl Message {
    fn new(opcode: OpCode, payload: Payload<'_>) -> Self {
        let payload = match payload {
            Payload::Bytes(bytes) => bytes.freeze(),
            Payload::Owned(bytes) => bytes.into(),
            other => Bytes::copy_from_slice(&other),
        };
        Self { opcode, payload }
    }

    fn frame(&self) -> Frame<'_> {
        Frame::new(true, self.opcode, None, Payload::Borrowed(&self.payload))
    }
}

async fn serve(mut stream: TcpStream, channel: Channel<Message>) -> Result<(), WebSocketError> {
    let mut request = Vec::with_capacity(1024);
    let path = loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        match shake_hands(&request) {
            Shaken::Partial => {}
            // The library cannot be given bytes that were read already; clients wait for the answer before
            // they send.
            Shaken::Accepted { head_bytes, .. } if head_bytes < request.len() => return Ok(()),
            Shaken::Accepted { answer, session, .. } => {
                stream.write_all(&answer).await?;
                break session.path();
            }
            Shaken::Refused(answer) => return Ok(stream.write_all(&answer).await?),
        }
    };
    drop(request);
    if path == Path::Sub {
        return subscribe(stream, channel.subscribe()).await;
    }
    let mut socket = WebSocket::after_handshake(stream, Role::Server);
    // The library refuses what is as long as the limit.
    socket.set_max_message_size(MESSAGE_BYTES_MAX + 1);
    let mut socket = FragmentCollector::new(socket);
    let mut gather = Gather::new(channel);
    loop {
        let frame = gather.reading(socket.read_frame(), tokio::time::sleep).await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary if path == Path::Echo => socket.write_frame(frame).await?,
            OpCode::Text | OpCode::Binary => {
                let message = Message::new(frame.opcode, frame.payload);
                let payload_bytes = message.payload.len();
                gather.publish(message, payload_bytes);
            }
            _ => {}
        }
    }
}

async fn subscribe(stream: TcpStream, messages: Receiver<Message>) -> Result<(), WebSocketError> {
    let (reader, writer) = stream.into_split();
    let writer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, writer);
    let (reader, writer) = after_handshake_split(reader, writer, Role::Server);
    let mut reader = FragmentCollectorRead::new(reader);
    let (controls, to_answer) = mpsc::channel(CONTROLS_MAX);
    let listening = async {
        let mut answer = |frame: Frame<'_>| {
            let (controls, message) = (controls.clone(), Message::new(frame.opcode, frame.payload));
            async move { controls.send(message).await }
        };
        loop {
            reader.read_frame(&mut answer).await?;
        }
    };
    // A closing peer gets its answer from the other half, which then ends.
    tokio::select! {
        biased;
        ended = deliver(writer, messages, to_answer) => ended,
        ended = listening => ended,
    }
}

async fn deliver(
    mut writer: WebSocketWrite<BufWriter<OwnedWriteHalf>>,
    messages: Receiver<Message>,
    mut to_answer: mpsc::Receiver<Message>,
) -> Result<(), WebSocketError> {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            taken = messages.take(&mut batch) => if taken.is_err() { return Ok(()) },
            Some(answer) = to_answer.recv() => batch.push(answer),
        }
        let sending = async {
            for message in &batch {
                writer.write_frame(message.frame()).await?;
            }
            writer.flush().await
        };
        tokio::select! {
            biased;
            sent = sending => sent?,
            () = messages.lagged() => return Ok(()),
        }
        if writer.is_closed() {
            return Ok(());
        }
        batch.clear();
    }
}

/// Bursts of 16 messages of 1 KiB leave in one write; pages that are never filled are never touched.
const WRITE_BUFFER_BYTES: usize = 64 << 10;

const CONTROLS_MAX: usize = 16;
