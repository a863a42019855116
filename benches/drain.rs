//! The drain: the client of all compared servers, which asks for bursts and takes what comes.
//!
//! In      an address and a number of subscribers; then lines `BURSTS MESSAGES BYTES`
//! Out     `done` when each subscriber has got each message of each burst, or `failed` and why
//! Bounds  one thread; the next burst is asked for when everyone has the last one
//! Source  the load generator's client

use std::{
    io::{self, BufRead, Write},
    thread,
    time::{Duration, Instant},
};

use fanwire_ws::Kind;
use loadtest::{
    client::{
        address::Address,
        connection::{Connection, Opener},
    },
    dialect::{Dialect, Role},
    measure::descriptors::raise_limit,
};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    fd::OwnedFd,
    io::Errno,
};

use crate::command::{Burst, CONTROL_TARGET, SUBSCRIBER_TARGET};

/// Serves the parent until it ends; `argument` is `ADDRESS SUBSCRIBERS`.
///
/// # Errors
/// The server cannot be reached, or the parent has gone.
pub fn run(argument: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (address, subscribers) = argument.split_once(' ').ok_or("ADDRESS SUBSCRIBERS expected")?;
    let mut drain = Drain::open(address, subscribers.parse()?)?;
    writeln!(io::stdout(), "ready")?;
    for line in io::stdin().lock().lines() {
        let answer = match drain.sample(&line?) {
            Ok(elapsed) => format!("done {}", elapsed.as_nanos()),
            Err(error) => format!("failed {error}"),
        };
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}

struct Drain {
    control: Connection,
    subscribers: Vec<Subscriber>,
    poller: OwnedFd,
    buffer: Vec<u8>,
}

struct Subscriber {
    connection: Connection,
    received: usize,
}

impl Drain {
    fn open(address: &str, count: usize) -> Result<Self, Box<dyn std::error::Error>> {
        raise_limit(count + 1)?;
        let opener = |target: &str| -> Result<Opener, Box<dyn std::error::Error>> {
            let address = Address::new(&format!("ws://{address}{target}"), "broadcast");
            Ok(Opener::new(address, Dialect::load("broadcast")?)?)
        };
        let subscriber_opener = opener(SUBSCRIBER_TARGET)?;
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        let mut subscribers = Vec::with_capacity(count);
        for number in 0..count {
            let connection = subscriber_opener.open(number, Role::Subscriber)?;
            epoll::add(&poller, &connection, EventData::new_u64(number as u64), EventFlags::IN)?;
            subscribers.push(Subscriber { connection, received: 0 });
        }
        let control = opener(CONTROL_TARGET)?.open(count, Role::Publisher)?;
        Ok(Self { control, subscribers, poller, buffer: vec![0; BUFFER_BYTES] })
    }

    fn sample(&mut self, line: &str) -> Result<Duration, Box<dyn std::error::Error>> {
        let (bursts, burst) = line.split_once(' ').ok_or("BURSTS and a burst expected")?;
        let (bursts, burst) = (bursts.parse::<usize>()?, burst.parse().map_err(|_| "not a burst")?);
        let start = Instant::now();
        for _ in 0..bursts {
            self.drain_burst(burst)?;
        }
        Ok(start.elapsed())
    }

    fn drain_burst(&mut self, burst: Burst) -> Result<(), Box<dyn std::error::Error>> {
        self.control.send(Kind::Text, burst.to_string().as_bytes())?;
        let mut missing = burst.messages * self.subscribers.len();
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while missing > 0 {
            match epoll::wait(&self.poller, spare_capacity(&mut events), Some(&SILENCE_MAX)) {
                Ok(0) => return Err(format!("{missing} messages of {burst} did not come").into()),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let is_ahead = events.len() < EVENTS_FEW;
            for event in events.drain(..) {
                let index = usize::try_from(event.data.u64())?;
                missing -= self.subscribers[index].receive(burst, &mut self.buffer)?;
            }
            // A client that waits for each frame has each `send` wake its core, which over a network no
            // server pays for. Some frames gather while it looks away.
            if is_ahead {
                thread::sleep(PAUSE);
            }
        }
        self.check_shares(burst)
    }

    /// A sum could hide that one got what another misses.
    fn check_shares(&mut self, burst: Burst) -> Result<(), Box<dyn std::error::Error>> {
        for (index, subscriber) in self.subscribers.iter_mut().enumerate() {
            if subscriber.received != burst.messages {
                return Err(
                    format!("subscriber {index} got {} messages of {burst}", subscriber.received).into()
                );
            }
            subscriber.received = 0;
        }
        Ok(())
    }
}

impl Subscriber {
    /// Reads once; the messages that became whole.
    fn receive(&mut self, burst: Burst, buffer: &mut [u8]) -> Result<usize, Box<dyn std::error::Error>> {
        let (mut count, mut is_right) = (0, true);
        self.connection.receive(buffer, |message| {
            count += 1;
            is_right &= message.len() == burst.payload_bytes;
        })?;
        self.received += count;
        if !is_right || self.received > burst.messages {
            return Err(format!("a message that is not of {burst}").into());
        }
        Ok(count)
    }
}

const EVENTS_MAX: usize = 256;

/// Fewer ready sockets than this, and the client is faster than the server.
const EVENTS_FEW: usize = 64;

const PAUSE: Duration = Duration::from_micros(100);

const BUFFER_BYTES: usize = 256 * 1024;

/// A server that delivers nothing for so long has lost something.
const SILENCE_MAX: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
