//! The floor: the least that any server must do, one contiguous `send` per subscriber and burst.
//!
//! In      handshakes; bursts on a control connection
//! Out     the burst's frames, made once, to each subscriber in a plain loop
//! Bounds  nothing is kept per subscriber but its descriptor, and its place while its socket is full
//! Source  what every ratio of the fan-out table is a ratio to; the better of its two ways counts

use std::{
    io,
    net::{TcpListener, TcpStream},
};

use fanwire_ws::{
    Budget, Decoder, Event, HeadLimits, Opcode, RequestHead, Role, Rules, encode_frame, write_accept,
};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::OwnedFd,
    io::{Errno, write},
    net::{RecvFlags, SendFlags, recv, send},
};

use crate::{
    command::{Burst, is_control_query, payload},
    listen::{announce, listen},
};

/// How the floor sends to a socket that may be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `send` waits in the kernel until all is taken, then comes the next subscriber.
    Loop,
    /// `send` takes what fits; epoll tells when the rest does.
    Epoll,
}

/// Serves until the parent ends.
///
/// # Errors
/// A system call failed that a server cannot do without.
pub fn serve(way: Way) -> io::Result<()> {
    let mut floor = Floor::new(way)?;
    announce(floor.listener.local_addr()?)?;
    loop {
        floor.turn()?;
    }
}

struct Floor {
    way: Way,
    listener: TcpListener,
    poller: OwnedFd,
    /// By epoll data: connections in their handshake, and the control connection.
    guests: Vec<Option<Guest>>,
    subscribers: Vec<TcpStream>,
    /// The frames of one burst.
    batch: Vec<u8>,
}

/// A connection that is read from.
struct Guest {
    stream: TcpStream,
    received: Vec<u8>,
    /// Only the control connection gets one.
    decoder: Option<Decoder>,
}

impl Floor {
    fn new(way: Way) -> io::Result<Self> {
        let listener = listen()?;
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&poller, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Self { way, listener, poller, guests: Vec::new(), subscribers: Vec::new(), batch: Vec::new() })
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        match epoll::wait(&self.poller, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            match event.data.u64() {
                LISTENER => self.accept()?,
                guest => self.read(usize::try_from(guest).unwrap_or(usize::MAX))?,
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let (stream, _) = self.listener.accept()?;
        epoll::add(&self.poller, &stream, EventData::new_u64(self.guests.len() as u64), EventFlags::IN)?;
        self.guests.push(Some(Guest { stream, received: Vec::new(), decoder: None }));
        Ok(())
    }

    fn read(&mut self, index: usize) -> io::Result<()> {
        let Some(mut guest) = self.guests.get_mut(index).and_then(Option::take) else { return Ok(()) };
        let mut bytes = [0; 4096];
        let count = match recv(&guest.stream, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => {
                self.guests[index] = Some(guest);
                return Ok(());
            }
            Err(_) => 0,
        };
        // A guest that ends is forgotten; closing its descriptor takes it out of the epoll set.
        if count == 0 {
            return Ok(());
        }
        if let Some(decoder) = &mut guest.decoder {
            let burst = burst(decoder, &mut bytes[..count])?;
            self.guests[index] = Some(guest);
            return burst.map_or(Ok(()), |burst| self.publish(burst));
        }
        guest.received.extend_from_slice(&bytes[..count]);
        self.shake_hands(index, guest)
    }

    fn shake_hands(&mut self, index: usize, mut guest: Guest) -> io::Result<()> {
        let Some((head, _)) = RequestHead::parse(&guest.received, &HeadLimits::default()).map_err(invalid)?
        else {
            self.guests[index] = Some(guest);
            return Ok(());
        };
        let upgrade = head.upgrade().map_err(|refusal| invalid(refusal.text))?;
        let mut answer = Vec::new();
        write_accept(&mut answer, upgrade.key(), None, &[]);
        let is_control = is_control_query(head.query());
        write(&guest.stream, &answer)?;
        if is_control {
            guest.decoder = Some(Decoder::new());
            self.guests[index] = Some(guest);
        } else {
            epoll::delete(&self.poller, &guest.stream)?;
            self.subscribers.push(guest.stream);
        }
        Ok(())
    }

    fn publish(&mut self, burst: Burst) -> io::Result<()> {
        let payload = payload(burst.payload_bytes);
        self.batch.clear();
        for _ in 0..burst.messages {
            encode_frame(&mut self.batch, true, Opcode::Binary, None, &payload);
        }
        match self.way {
            Way::Loop => self.send_waiting(),
            Way::Epoll => self.send_polling(),
        }
    }

    fn send_waiting(&self) -> io::Result<()> {
        for subscriber in &self.subscribers {
            let mut rest = self.batch.as_slice();
            while !rest.is_empty() {
                rest = &rest[send(subscriber, rest, SendFlags::NOSIGNAL)?..];
            }
        }
        Ok(())
    }

    fn send_polling(&self) -> io::Result<()> {
        let mut waiting: Vec<(usize, usize)> = Vec::new();
        for (index, subscriber) in self.subscribers.iter().enumerate() {
            let sent = send_some(subscriber, &self.batch)?;
            if sent < self.batch.len() {
                waiting.push((index, sent));
            }
        }
        if waiting.is_empty() { Ok(()) } else { self.send_rest(waiting) }
    }

    /// Sends to sockets that were full, as they empty. No other event is looked at meanwhile.
    fn send_rest(&self, mut waiting: Vec<(usize, usize)>) -> io::Result<()> {
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        for (place, &(index, _)) in waiting.iter().enumerate() {
            epoll::add(&poller, &self.subscribers[index], EventData::new_u64(place as u64), EventFlags::OUT)?;
        }
        let mut left = waiting.len();
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while left > 0 {
            epoll::wait(&poller, spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                let place = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                let Some((index, sent)) = waiting.get_mut(place) else { continue };
                let subscriber = &self.subscribers[*index];
                *sent += send_some(subscriber, &self.batch[*sent..])?;
                if *sent == self.batch.len() {
                    epoll::delete(&poller, subscriber)?;
                    left -= 1;
                }
            }
        }
        Ok(())
    }
}

/// What the socket takes now, maybe nothing.
fn send_some(subscriber: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match send(subscriber, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// The command in `bytes`, if they end one. The client sends the next when this one is done, never two.
fn burst(decoder: &mut Decoder, bytes: &mut [u8]) -> io::Result<Option<Burst>> {
    let (_, event) = decoder.decode(&RULES, &mut Budget::new(0), bytes);
    let Event::Message { payload, .. } = event.map_err(invalid)? else { return Ok(None) };
    let text = str::from_utf8(payload).map_err(invalid)?;
    text.parse().map(Some).map_err(|_| invalid("not a burst"))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

const RULES: Rules = Rules { role: Role::Server, message_bytes_max: 1024 };

const LISTENER: u64 = u64::MAX;

const EVENTS_MAX: usize = 64;
