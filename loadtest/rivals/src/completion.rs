//! A connection on a runtime that owns buffers while the kernel does: monoio's and tokio-uring's loop.
//!
//! In      a connection's two halves, the channel
//! Out     each batch of frames to the subscriber in one write; what one read brought is one batch
//! Bounds  one task per connection; it holds `SUBSCRIBER_READ_BYTES` if it subscribes, `ECHO_READ_BYTES` if
//!         it echoes, `READ_BYTES_MAX` if it publishes; `ANSWERS_BYTES_MAX` of pongs wait, then it ends
//! Source  README.md

use std::{
    cell::RefCell,
    future::poll_fn,
    io, mem,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Either, select};

use crate::{
    READ_BYTES_MAX,
    channel::{Channel, Lagged, Receiver},
    gather::Gather,
    session::{Frames, Path, Session, Shaken, shake_hands},
};

/// What a connection is read from.
pub trait Read {
    /// Fills `buffer` from its start, and says how much came.
    fn read(&mut self, buffer: Vec<u8>) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;
}

/// What a connection is written to.
pub trait Write {
    /// Writes all of `bytes`.
    fn write_all(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>>;
}

/// Serves a connection until it ends. `sleep` is used if messages are gathered.
///
/// # Errors
/// It could not be read or written.
pub async fn serve<R: Read, W: Write, S: Future<Output = ()>>(
    mut reader: R,
    mut writer: W,
    channel: Channel<Bytes>,
    sleep: impl Fn(Duration) -> S,
) -> io::Result<()> {
    let Some((mut session, rest)) = open(&mut reader, &mut writer).await? else { return Ok(()) };
    if session.path() == Path::Sub {
        return subscribe(session, reader, writer, rest, channel.subscribe()).await;
    }
    let read_bytes = if session.path() == Path::Pub { READ_BYTES_MAX } else { ECHO_READ_BYTES };
    let (mut received, mut buffer) = (rest.len(), room(rest, read_bytes));
    let mut frames = Frames::default();
    let mut gather = Gather::new(channel);
    loop {
        let goes_on = session.receive(&mut buffer[..received], &mut frames);
        if !frames.published.is_empty() {
            let batch = Bytes::from(mem::take(&mut frames.published));
            let batch_bytes = batch.len();
            gather.publish(batch, batch_bytes);
        }
        if !frames.answers.is_empty() {
            writer.write_all(mem::take(&mut frames.answers).into()).await?;
        }
        if !goes_on {
            return Ok(());
        }
        let read;
        (read, buffer) = gather.reading(reader.read(buffer), &sleep).await;
        received = read?;
        if received == 0 {
            return Ok(());
        }
        frames.published.reserve(if session.path() == Path::Pub { received } else { 0 });
    }
}

/// The opening handshake: a session and what came behind its request, or nothing if it was refused.
async fn open<R: Read, W: Write>(reader: &mut R, writer: &mut W) -> io::Result<Option<(Session, Vec<u8>)>> {
    let mut request = Vec::new();
    let mut buffer = Vec::with_capacity(SUBSCRIBER_READ_BYTES);
    loop {
        let read;
        (read, buffer) = reader.read(buffer).await;
        let received = read?;
        if received == 0 {
            return Ok(None);
        }
        request.extend_from_slice(&buffer[..received]);
        match shake_hands(&request) {
            Shaken::Partial => {}
            Shaken::Accepted { answer, session, head_bytes } => {
                writer.write_all(answer.into()).await?;
                request.drain(..head_bytes);
                return Ok(Some((session, request)));
            }
            Shaken::Refused(answer) => {
                writer.write_all(answer.into()).await?;
                return Ok(None);
            }
        }
    }
}

/// A subscriber: reads and writes at a time.
async fn subscribe<R: Read, W: Write>(
    mut session: Session,
    mut reader: R,
    mut writer: W,
    rest: Vec<u8>,
    messages: Receiver<Bytes>,
) -> io::Result<()> {
    let answers = RefCell::new(Vec::new());
    let listening = async {
        let (mut received, mut buffer) = (rest.len(), room(rest, SUBSCRIBER_READ_BYTES));
        let mut frames = Frames::default();
        loop {
            let goes_on = session.receive(&mut buffer[..received], &mut frames);
            answers.borrow_mut().append(&mut frames.answers);
            if !goes_on || answers.borrow().len() > ANSWERS_BYTES_MAX {
                return Ok(());
            }
            let read;
            (read, buffer) = reader.read(buffer).await;
            received = read?;
            if received == 0 {
                return Ok(());
            }
        }
    };
    let delivering = async {
        let mut batches = Vec::new();
        // One task polls both halves, the reading one first: an answer is seen here in the turn that made it.
        while poll_fn(|context| poll_work(context, &answers, &messages, &mut batches)).await.is_ok() {
            let answer = answers.take();
            for bytes in (!answer.is_empty()).then(|| answer.into()).into_iter().chain(batches.drain(..)) {
                match select(pin!(writer.write_all(bytes)), pin!(messages.lagged())).await {
                    Either::Left((written, _)) => written?,
                    Either::Right(_) => return Ok(()),
                }
            }
        }
        Ok(())
    };
    let ended = match select(pin!(listening), pin!(delivering)).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    };
    // The answer to a close frame; a batch under way is cut off, and so is this then.
    let last = answers.take();
    if ended.is_ok() && !last.is_empty() {
        return writer.write_all(last.into()).await;
    }
    ended
}

fn poll_work(
    context: &Context<'_>,
    answers: &RefCell<Vec<u8>>,
    messages: &Receiver<Bytes>,
    batches: &mut Vec<Bytes>,
) -> Poll<Result<(), Lagged>> {
    let taken = messages.poll_take(context, batches);
    if taken.is_pending() && !answers.borrow().is_empty() { Poll::Ready(Ok(())) } else { taken }
}

/// A buffer that begins with what was read already.
fn room(mut read: Vec<u8>, bytes: usize) -> Vec<u8> {
    read.reserve_exact(bytes.saturating_sub(read.len()));
    read
}

/// Subscribers send pongs and close frames only; what they send beyond takes more reads.
const SUBSCRIBER_READ_BYTES: usize = 512;

const ECHO_READ_BYTES: usize = 16 << 10;

const ANSWERS_BYTES_MAX: usize = 64 << 10;
