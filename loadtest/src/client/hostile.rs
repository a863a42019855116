//! Hostile clients: connections that misbehave in one of seven ways, on schedule.
//!
//! In      an opener, a topic, how many a second
//! Out     how many there were, and how many the server did not end though it should have
//! Bounds  `AT_ONCE_MAX` at a time, `HOLD` each
//! Source  RFC 6455 sections 5.1 (unmasked frames), 5.5.1 (what ends a connection); docs/limits.md

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use socket2::Socket;

use super::{connection::Opener, progress::Progress, speaker::Speaker};
use crate::{
    dialect::{Role, topic::Topic},
    load::schedule::Schedule,
};

/// What hostile clients have shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostileOutcome {
    /// Those that came.
    pub came: u64,
    /// Those that the server had to end, and has.
    pub ended: u64,
    /// Those that it had to end, and has not within `HOLD`.
    pub unended: u64,
    /// Those that were due while too many others were there, or could not connect.
    pub left_out: u64,
}

/// Those that are there.
pub struct Hostiles<'r> {
    opener: &'r Opener,
    topic: Topic,
    per_s: f64,
    first: usize,
    progress: &'r Progress,
    guests: Vec<Guest>,
    outcome: HostileOutcome,
}

impl<'r> Hostiles<'r> {
    /// So many a second; their numbers begin with `first`.
    #[must_use]
    pub fn new(opener: &'r Opener, topic: Topic, per_s: f64, first: usize, progress: &'r Progress) -> Self {
        let outcome = HostileOutcome::default();
        Self { opener, topic, per_s, first, progress, guests: Vec::new(), outcome }
    }

    /// Misbehaves until it is over.
    #[must_use]
    pub fn run(mut self, is_over: &dyn Fn() -> bool) -> HostileOutcome {
        let mut kinds = Kind::ALL.into_iter().cycle();
        let mut schedule = (self.per_s > 0.0).then(|| Schedule::new(self.progress.now_ns(), self.per_s));
        while !is_over() && !self.progress.is_failed() {
            if let Some(schedule) = &mut schedule {
                while schedule.due_ns() <= self.progress.now_ns() {
                    schedule.advance();
                    if let Some(kind) = kinds.next() {
                        self.come(kind);
                    }
                }
            }
            self.look();
            std::thread::sleep(LOOK_EVERY);
        }
        self.outcome
    }

    fn come(&mut self, kind: Kind) {
        if self.guests.len() >= AT_ONCE_MAX {
            self.outcome.left_out += 1;
            return;
        }
        match self.misbehave(kind) {
            Ok(Some(guest)) => {
                self.outcome.came += 1;
                self.guests.push(guest);
            }
            Ok(None) => self.outcome.came += 1,
            // A server may be so strict that it ends them while they begin.
            Err(_) => self.outcome.left_out += 1,
        }
    }

    /// One client; `None` if it has gone again already.
    fn misbehave(&self, kind: Kind) -> io::Result<Option<Guest>> {
        let number = self.first + usize::try_from(self.outcome.came).unwrap_or_default() % AT_ONCE_MAX;
        let socket = match kind {
            Kind::Garbage => {
                let mut socket = self.connect(number)?;
                socket.write_all(&[0x16, 0x03, 0x01].repeat(200))?;
                socket
            }
            Kind::HalfHandshake => {
                let mut socket = self.connect(number)?;
                socket.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr")?;
                socket
            }
            Kind::Reset => {
                let socket = self.connect(number)?;
                socket.set_linger(Some(Duration::ZERO))?;
                return Ok(None);
            }
            Kind::Unmasked => self.open(number, &[0x81, 0x02, b'h', b'i'])?,
            // A text frame of 2^62 bytes.
            Kind::Endless => self.open(number, &[0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, b'x'])?,
            // 1,000 pings with a mask of 0, whose answers nobody reads.
            Kind::Pings => self.open(number, &[0x89, 0x80, 0, 0, 0, 0].repeat(1000))?,
            Kind::Stalled => {
                let mut speaker =
                    Speaker::open(self.opener, number, Role::Subscriber).map_err(io::Error::other)?;
                speaker.subscribe([&self.topic], |_| ()).map_err(io::Error::other)?;
                speaker.into_socket()
            }
        };
        socket.set_nonblocking(true)?;
        Ok(Some(Guest { kind, socket, since: Instant::now() }))
    }

    fn connect(&self, number: usize) -> io::Result<Socket> {
        let (socket, address) = self.opener.socket(number)?;
        socket.connect(&address.into())?;
        Ok(socket)
    }

    fn open(&self, number: usize, bytes: &[u8]) -> io::Result<Socket> {
        let speaker = Speaker::open(self.opener, number, Role::Idle).map_err(io::Error::other)?;
        let mut socket = speaker.into_socket();
        socket.write_all(bytes)?;
        Ok(socket)
    }

    fn look(&mut self) {
        let outcome = &mut self.outcome;
        self.guests.retain_mut(|guest| {
            if guest.kind.reads() && guest.is_ended() {
                outcome.ended += u64::from(guest.kind.must_end());
                return false;
            }
            if guest.since.elapsed() < HOLD {
                return true;
            }
            // What does not read is never seen to end, and has no claim to it.
            outcome.unended += u64::from(guest.kind.must_end());
            // A stalled one goes without a word, too.
            drop(guest.socket.set_linger(Some(Duration::ZERO)));
            false
        });
    }
}

/// In what way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Garbage,
    HalfHandshake,
    Unmasked,
    Endless,
    Pings,
    Stalled,
    Reset,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Garbage,
        Self::HalfHandshake,
        Self::Unmasked,
        Self::Endless,
        Self::Pings,
        Self::Stalled,
        Self::Reset,
    ];

    /// Whether a server has to end it, at the latest when its handshake takes too long.
    fn must_end(self) -> bool {
        matches!(self, Self::Garbage | Self::HalfHandshake | Self::Unmasked | Self::Endless)
    }

    fn reads(self) -> bool {
        self.must_end()
    }
}

struct Guest {
    kind: Kind,
    socket: Socket,
    since: Instant,
}

impl Guest {
    /// Reads what there is; whether the server has ended the connection.
    fn is_ended(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }
}

/// Hostile clients at a time.
pub const AT_ONCE_MAX: usize = 256;

/// Longer than a server's handshake and closing may take: 10 s and 5 s of ours.
const HOLD: Duration = Duration::from_secs(20);

const LOOK_EVERY: Duration = Duration::from_millis(100);
