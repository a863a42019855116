//! A publish from a thread that is no shard: how long the call takes, whether the shard is awake or asleep.
//!
//! In      `cargo bench --bench publisher -- [--quick] [FILTER]...`
//! Out     per driver: p50 and p99 of `Publisher::publish` while the shard is held in a hook, while it takes
//!         what comes, and while it sleeps; beside them a bare eventfd wake, and reading the clock
//! Bounds  some seconds; at most `HELD` messages wait, and every round ends when all have come
//! Source  the target is 2 us at p99 while the shard is awake; asleep it is one wake, as a bare eventfd's

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use fanwire::{
    Auth, DriverChoice, Handler, Message, Options, Payload, PublishError, Publisher, Raw, Request, Running,
    Server, Session,
};
use fanwire_benches::arguments::{Arguments, Scale};
use fanwire_ws::{Opcode, encode_frame};
use loadtest::measure::machine::Machine;
use rustix::{
    event::{EventfdFlags, eventfd},
    io::{read, write},
};

fn main() -> ExitCode {
    let ended = Arguments::parse("publisher", env::args().skip(1))
        .map_err(Into::into)
        .and_then(|arguments| arguments.map_or(Ok(()), |arguments| run(&arguments)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("publisher: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.wants("publisher") {
        return Ok(());
    }
    let rounds = match arguments.scale {
        Scale::Full => 100,
        Scale::Quick => 20,
        Scale::Smoke => 1,
    };
    let before = Machine::read()?;
    println!("one publish from a thread that is no shard, {PAYLOAD_BYTES} B; load {:.2}", before.load);
    println!("  {:<32} {:>8} {:>10} {:>10}", "", "calls", "p50", "p99");
    for (name, driver) in [("io_uring", DriverChoice::Uring), ("epoll", DriverChoice::Epoll)] {
        let stage = match Stage::open(driver) {
            Ok(stage) => stage,
            Err(error) => {
                println!("  {name}: {error}");
                continue;
            }
        };
        // The first messages pay for the pages that all later ones use again.
        stage.publish_held(2)?;
        print(&format!("{name}, shard in a hook"), stage.publish_held(rounds)?);
        print(&format!("{name}, shard takes what comes"), stage.publish_in_a_row(rounds)?);
        print(&format!("{name}, shard asleep"), stage.publish_asleep(rounds)?);
        stage.running.shutdown();
    }
    print("bare eventfd, thread asleep", wake_asleep(rounds)?);
    print("reading the clock", (0..HELD * rounds).map(|_| Instant::now().elapsed()).collect());
    println!("load {:.2} after", Machine::read()?.load);
    Ok(())
}

fn print(name: &str, mut calls: Vec<Duration>) {
    calls.sort_unstable();
    let at = |percent: usize| calls.get(calls.len() * percent / 100).copied().unwrap_or_default();
    let us = |call: Duration| format!("{:.2} us", call.as_secs_f64() * 1e6);
    println!("  {name:<32} {:>8} {:>10} {:>10}", calls.len(), us(at(50)), us(at(99)));
}

/// A server with one shard, one subscriber, and a thread that reads what the subscriber gets.
struct Stage {
    running: Running<()>,
    publisher: Publisher,
    subscriber: TcpStream,
    gate: Arc<Gate>,
    received_bytes: Arc<AtomicU64>,
}

/// Holds the shard in a hook, which is as awake as it can be.
#[derive(Default)]
struct Gate {
    is_wanted: AtomicBool,
    is_held: AtomicBool,
}

impl Stage {
    fn open(driver: DriverChoice) -> Result<Self, Failure> {
        let options = Options::default()
            .codec(Raw)
            .driver(driver)
            .shards(1)
            .queue_size(u32::try_from(2 * HELD)?)
            .ping_interval(Duration::ZERO)
            .idle_timeout(Duration::ZERO);
        let gate = Arc::new(Gate::default());
        let running = Server::bind_with("127.0.0.1:0", options)?.start(|_| Hold(Arc::clone(&gate)))?;
        let subscriber = connect(running.address())?;
        let publisher = running.publisher();
        wait_for(|| publisher.subscriber_count(TOPIC) == 1)?;
        let received_bytes = Arc::new(AtomicU64::new(0));
        let (mut reading, counter) = (subscriber.try_clone()?, Arc::clone(&received_bytes));
        // It ends when the server does.
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                counter.fetch_add(count as u64, SeqCst);
            }
        });
        Ok(Self { running, publisher, subscriber, gate, received_bytes })
    }

    fn publish_held(&self, rounds: usize) -> Result<Vec<Duration>, Failure> {
        self.rounds(rounds, HELD, |calls| {
            self.gate.is_wanted.store(true, SeqCst);
            let mut frame = Vec::new();
            encode_frame(&mut frame, true, Opcode::Text, Some([0; 4]), b"hold");
            (&self.subscriber).write_all(&frame)?;
            wait_for(|| self.gate.is_held.load(SeqCst))?;
            for _ in 0..HELD {
                calls.push(self.publish()?);
            }
            self.gate.is_wanted.store(false, SeqCst);
            Ok(())
        })
    }

    fn publish_in_a_row(&self, rounds: usize) -> Result<Vec<Duration>, Failure> {
        self.rounds(rounds, HELD, |calls| {
            for _ in 0..HELD {
                calls.push(self.publish()?);
            }
            Ok(())
        })
    }

    fn publish_asleep(&self, rounds: usize) -> Result<Vec<Duration>, Failure> {
        self.rounds(rounds * ASLEEP, 1, |calls| {
            thread::sleep(NAP);
            calls.push(self.publish()?);
            Ok(())
        })
    }

    /// Each round ends when the subscriber has got its messages.
    fn rounds(
        &self,
        rounds: usize,
        messages: usize,
        round: impl Fn(&mut Vec<Duration>) -> Result<(), Failure>,
    ) -> Result<Vec<Duration>, Failure> {
        let mut calls = Vec::with_capacity(rounds * messages);
        for _ in 0..rounds {
            let wanted = self.received_bytes.load(SeqCst) + (messages * FRAME_BYTES) as u64;
            round(&mut calls)?;
            wait_for(|| self.received_bytes.load(SeqCst) == wanted)?;
        }
        Ok(calls)
    }

    fn publish(&self) -> Result<Duration, PublishError> {
        let start = Instant::now();
        self.publisher.publish(TOPIC, Payload::binary(&[7; PAYLOAD_BYTES]))?;
        Ok(start.elapsed())
    }
}

struct Hold(Arc<Gate>);

impl Handler for Hold {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_open(&mut self, session: &mut Session<'_, ()>) {
        if session.subscribe(TOPIC).is_err() {
            session.close();
        }
    }

    fn on_message(&mut self, _session: &mut Session<'_, ()>, _message: Message<'_>) {
        self.0.is_held.store(true, SeqCst);
        let start = Instant::now();
        while self.0.is_wanted.load(SeqCst) && start.elapsed() < PATIENCE {
            std::hint::spin_loop();
        }
        self.0.is_held.store(false, SeqCst);
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    if answer.starts_with(b"HTTP/1.1 101 ") { Ok(stream) } else { Err("the handshake was refused".into()) }
}

/// What any wake costs: a thread that sleeps in a read of an eventfd, and a write to it.
fn wake_asleep(rounds: usize) -> Result<Vec<Duration>, Failure> {
    let descriptor = eventfd(0, EventfdFlags::CLOEXEC)?;
    let wakes = rounds * ASLEEP;
    let mut calls = Vec::with_capacity(wakes);
    let woken = AtomicU64::new(0);
    thread::scope(|scope| -> Result<(), Failure> {
        let sleeper = scope.spawn(|| {
            while woken.load(SeqCst) < wakes as u64 {
                let mut count = [0; 8];
                match read(&descriptor, &mut count) {
                    Ok(_) => woken.fetch_add(u64::from_ne_bytes(count), SeqCst),
                    Err(_) => return,
                };
            }
        });
        for number in 1..=wakes as u64 {
            thread::sleep(NAP);
            let start = Instant::now();
            write(&descriptor, &1_u64.to_ne_bytes())?;
            calls.push(start.elapsed());
            wait_for(|| woken.load(SeqCst) == number)?;
        }
        sleeper.join().map_err(|_| "the sleeping thread panicked".into())
    })?;
    Ok(calls)
}

fn wait_for(is_true: impl Fn() -> bool) -> Result<(), Failure> {
    let start = Instant::now();
    while !is_true() {
        if start.elapsed() > PATIENCE {
            return Err("nothing has come for 20 s".into());
        }
        thread::yield_now();
    }
    Ok(())
}

const REQUEST: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const TOPIC: &str = "publisher";

const PAYLOAD_BYTES: usize = 128;

/// A header of four bytes, as the payload is longer than 125.
const FRAME_BYTES: usize = PAYLOAD_BYTES + 4;

/// Messages of a round: the inbox has room for them all, and they are less than the 128 KiB from which the
/// allocator gives memory back to the kernel, so that no call pays to have it again.
const HELD: usize = 400;

/// Wakes of a round.
const ASLEEP: usize = 8;

/// A shard with nothing to do sleeps well within it.
const NAP: Duration = Duration::from_millis(1);

const PATIENCE: Duration = Duration::from_secs(20);
