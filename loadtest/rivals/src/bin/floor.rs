//! The floor: little more than one contiguous `send` per subscriber and burst, a system call each.
//!
//! In      `[--port N] [--batch-ms N] [--bare-accept]` or `--version`; connections as README.md says
//! Out     what one read of a publisher brought (with --batch-ms: what has come within that time), encoded once,
//!         to each subscriber in one `send`; the rest of
//!         a send that was short when its socket has room again
//! Bounds  24 bytes per subscriber beside its decoder; one further behind than `QUEUE_BYTES_MAX` is closed.
//!         With --bare-accept, who asks for /echo gets an acceptance and nothing else, ever; one that asks for
//!         nothing holds up all others for `HEAD_WAIT`
//! Source  a loop on epoll: a plain one over all sockets cannot leave a full one for later
#![forbid(unsafe_code)]

use std::{
    collections::VecDeque,
    io, mem,
    net::{TcpListener, TcpStream},
    rc::Rc,
    time::{Duration, Instant},
};

use fanwire_ws::write_accept;
use rivals::{
    QUEUE_BYTES_MAX, READ_BYTES_MAX,
    listen::{announce, bare_accept, batch, listen},
    session::{Frames, Path, Session, Shaken, shake_hands},
};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::OwnedFd,
    io::Errno,
    net::{
        RecvFlags, SendFlags, recv, send,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use slab::Slab;

fn main() -> io::Result<()> {
    let mut floor = Floor::new(listen("fanwire-ws")?, bare_accept()?)?;
    announce(&floor.listener)?;
    loop {
        floor.turn()?;
    }
}

struct Floor {
    listener: TcpListener,
    poller: OwnedFd,
    connections: Slab<Connection>,
    /// What is read goes through here.
    buffer: Vec<u8>,
    frames: Frames,
    /// The frames of one burst. It is used again unless a subscriber still holds it.
    batch: Rc<Vec<u8>>,
    /// How long frames are gathered, and until when those that wait.
    gathers: Option<Duration>,
    due: Option<Instant>,
    /// Connections that got nothing but an acceptance, if that is asked for: each is read and answered before
    /// the next is accepted.
    bare: Option<Vec<TcpStream>>,
}

/// What a fan-out passes over, so it is small.
struct Connection {
    stream: TcpStream,
    is_subscriber: bool,
    stage: Box<Stage>,
    backlog: Option<Box<Backlog>>,
}

enum Stage {
    Handshake(Vec<u8>),
    Open(Session),
}

/// What a full socket has not taken.
#[derive(Default)]
struct Backlog {
    batches: VecDeque<Rc<Vec<u8>>>,
    /// Of the first batch.
    sent_bytes: usize,
    bytes: usize,
}

/// The connection has ended, or must.
struct Ended;

impl Floor {
    fn new(listener: TcpListener, is_bare: bool) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        if is_bare {
            // Accepted sockets inherit it, and so it costs them no system call.
            set_socket_timeout(&listener, Timeout::Recv, Some(HEAD_WAIT))?;
        }
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&poller, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let (connections, buffer) = (Slab::new(), vec![0; READ_BYTES_MAX]);
        let (frames, gathers) = (Frames::default(), batch()?);
        let (batch, bare) = (Rc::default(), is_bare.then(Vec::new));
        Ok(Self { listener, poller, connections, buffer, frames, batch, gathers, due: None, bare })
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let left = self.due.map(|due| due.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| left.try_into().ok());
        match epoll::wait(&self.poller, spare_capacity(&mut events), left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            if event.data.u64() == LISTENER {
                self.accept()?;
                continue;
            }
            let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            // An earlier event of this turn may have ended it.
            if !self.connections.contains(key) {
                continue;
            }
            let flags = event.flags;
            let writable = flags.contains(EventFlags::OUT);
            let readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
            if (writable && self.send_rest(key).is_err()) || (readable && self.read(key).is_err()) {
                self.connections.try_remove(key);
            }
        }
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.due = None;
            self.publish();
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            if self.bare.is_some() {
                self.accept_bare(stream)?;
            } else {
                self.insert(stream)?;
            }
        }
    }

    fn insert(&mut self, stream: TcpStream) -> io::Result<usize> {
        let stage = Box::new(Stage::Handshake(Vec::new()));
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        epoll::add(&self.poller, &stream, EventData::new_u64(key as u64), EventFlags::IN)?;
        entry.insert(Connection { stream, is_subscriber: false, stage, backlog: None });
        Ok(key)
    }

    /// One `recv`, and for those of the storm one `send`; the others are served as usual.
    fn accept_bare(&mut self, stream: TcpStream) -> io::Result<()> {
        let Ok((count, _)) = recv(&stream, &mut self.buffer[..], RecvFlags::empty()) else { return Ok(()) };
        let Some(key) = bare_key(&self.buffer[..count]) else {
            let key = self.insert(stream)?;
            if count == 0 || self.take(key, count).is_err() {
                self.connections.try_remove(key);
            }
            return Ok(());
        };
        self.frames.answers.clear();
        write_accept(&mut self.frames.answers, key, None, &[]);
        // An answer of some 130 bytes fits into an empty buffer; who does not get it is gone.
        let is_sent = send_some(&stream, &self.frames.answers).is_ok();
        self.frames.answers.clear();
        if let (true, Some(bare)) = (is_sent, &mut self.bare) {
            bare.push(stream);
        }
        Ok(())
    }

    /// Reads once, which is one burst if it is a publisher's.
    fn read(&mut self, key: usize) -> Result<(), Ended> {
        let count = match recv(&self.connections[key].stream, &mut self.buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(Ended),
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(_) => return Err(Ended),
        };
        self.take(key, count)
    }

    /// Takes what was read into the buffer.
    fn take(&mut self, key: usize, count: usize) -> Result<(), Ended> {
        let connection = &mut self.connections[key];
        let goes_on = connection.receive(&mut self.buffer[..count], &mut self.frames);
        let answers = mem::take(&mut self.frames.answers);
        if !answers.is_empty() {
            connection.send(&self.poller, key, &Rc::new(answers))?;
        }
        match self.gathers {
            None => self.publish(),
            Some(time) if !self.frames.published.is_empty() => {
                self.due.get_or_insert_with(|| Instant::now() + time);
            }
            Some(_) => {}
        }
        if goes_on { Ok(()) } else { Err(Ended) }
    }

    fn publish(&mut self) {
        if self.frames.published.is_empty() {
            return;
        }
        match Rc::get_mut(&mut self.batch) {
            Some(batch) => mem::swap(batch, &mut self.frames.published),
            None => self.batch = Rc::new(mem::take(&mut self.frames.published)),
        }
        self.frames.published.clear();
        let (poller, batch) = (&self.poller, &self.batch);
        self.connections.retain(|key, connection| {
            !connection.is_subscriber || connection.send(poller, key, batch).is_ok()
        });
    }

    fn send_rest(&mut self, key: usize) -> Result<(), Ended> {
        let connection = &mut self.connections[key];
        let Some(backlog) = &mut connection.backlog else { return Ok(()) };
        while let Some(batch) = backlog.batches.front() {
            let rest = &batch[backlog.sent_bytes..];
            let sent = send_some(&connection.stream, rest)?;
            backlog.bytes -= sent;
            if sent < rest.len() {
                backlog.sent_bytes += sent;
                return Ok(());
            }
            backlog.batches.pop_front();
            backlog.sent_bytes = 0;
        }
        connection.backlog = None;
        epoll::modify(&self.poller, &connection.stream, EventData::new_u64(key as u64), EventFlags::IN)
            .map_err(|_| Ended)
    }
}

impl Connection {
    /// Takes received bytes; false if it ends once the answers are sent.
    fn receive(&mut self, received: &mut [u8], frames: &mut Frames) -> bool {
        let request = match &mut *self.stage {
            Stage::Open(session) => return session.receive(received, frames),
            Stage::Handshake(request) => request,
        };
        request.extend_from_slice(received);
        match shake_hands(request) {
            Shaken::Partial => true,
            Shaken::Refused(answer) => {
                frames.answers = answer;
                false
            }
            Shaken::Accepted { answer, mut session, head_bytes } => {
                frames.answers = answer;
                let goes_on = session.receive(&mut request[head_bytes..], frames);
                self.is_subscriber = session.path() == Path::Sub;
                *self.stage = Stage::Open(session);
                goes_on
            }
        }
    }

    /// Sends now what the socket takes, and keeps the rest behind what waits already.
    fn send(&mut self, poller: &OwnedFd, key: usize, batch: &Rc<Vec<u8>>) -> Result<(), Ended> {
        let sent = if self.backlog.is_some() { 0 } else { send_some(&self.stream, batch)? };
        if sent == batch.len() {
            return Ok(());
        }
        if self.backlog.is_none() {
            let flags = EventFlags::IN | EventFlags::OUT;
            epoll::modify(poller, &self.stream, EventData::new_u64(key as u64), flags).map_err(|_| Ended)?;
        }
        let backlog = self.backlog.get_or_insert_default();
        if backlog.batches.is_empty() {
            backlog.sent_bytes = sent;
        }
        backlog.batches.push_back(Rc::clone(batch));
        backlog.bytes += batch.len() - sent;
        if backlog.bytes > QUEUE_BYTES_MAX { Err(Ended) } else { Ok(()) }
    }
}

/// What the socket takes now, maybe nothing.
fn send_some(stream: &TcpStream, bytes: &[u8]) -> Result<usize, Ended> {
    match send(stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(_) => Err(Ended),
    }
}

/// The key of a whole request for /echo, found and not checked; `None` of any other.
fn bare_key(request: &[u8]) -> Option<&[u8]> {
    if !request.starts_with(b"GET /echo ") || !request.ends_with(b"\r\n\r\n") {
        return None;
    }
    let start = request.windows(KEY_FIELD.len()).position(|window| window == KEY_FIELD)? + KEY_FIELD.len();
    request.get(start..start + KEY_BYTES)
}

const KEY_FIELD: &[u8] = b"\r\nSec-WebSocket-Key: ";

/// RFC 6455 s4.1: 16 bytes as base64.
const KEY_BYTES: usize = 24;

const HEAD_WAIT: Duration = Duration::from_secs(1);

const LISTENER: u64 = u64::MAX;

const EVENTS_MAX: usize = 256;

const _: () = assert!(size_of::<Connection>() == 24);

#[cfg(test)]
mod tests {
    use fanwire_ws::ClientRequest;

    use super::*;

    #[test]
    fn the_key_is_found_in_what_clients_send_to_echo() {
        let request = |target| {
            let mut out = Vec::new();
            let request =
                ClientRequest { host: "a", target, key: [7; 16], origin: None, protocols: &[], headers: &[] };
            request.write(&mut out);
            out
        };
        let echo = request("/echo");
        assert_eq!(bare_key(&echo), Some(&b"BwcHBwcHBwcHBwcHBwcHBw=="[..]));
        assert_eq!(bare_key(&echo[..echo.len() - 1]), None, "it is not whole");
        assert_eq!(bare_key(&request("/sub")), None);
    }
}
