//! The contract of README.md, demanded of one server.
//!
//! In      `PROGRAM ARGUMENTS...`, which starts it; `--nats` before it if that is its dialect
//! Out     a line that says what was seen; else what it broke, and exit status 1
//! Bounds  `client::WAIT` for each wait; `FLOOD_MESSAGES` of `FLOOD_MESSAGE_BYTES` at most, about ten seconds
//! Source  README.md
#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use fanwire_ws::Kind;
use rivals::client::{Client, Incoming, Place, WAIT, encode_message};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

fn main() -> ExitCode {
    let command: Vec<String> = env::args().skip(1).collect();
    match check(&command) {
        Ok(seen) => {
            println!("{seen}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("broken: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(command: &[String]) -> Result<String, Box<dyn Error>> {
    match command.split_first() {
        Some((first, command)) if first == "--nats" => check_nats(command),
        _ => check_broadcast(command),
    }
}

/// What is asked of a server with a protocol of its own: that it passes messages on.
fn check_nats(command: &[String]) -> Result<String, Box<dyn Error>> {
    let mut server = Server::start(command)?;
    let mut client = Client::connect(&server.place, "/")?;
    let mut bytes = Vec::new();
    let commands = b"CONNECT {\"verbose\":false}\r\nSUB fan 1\r\nPUB fan 5\r\nhello\r\nPING\r\n";
    encode_message(&mut bytes, Kind::Binary, commands);
    client.sender()?.write_all(&bytes)?;
    let mut said = String::new();
    while !said.contains("PONG\r\n") {
        let Incoming::Message(_, payload) = client.receive()? else {
            return Err("the connection ended".into());
        };
        said.push_str(&String::from_utf8(payload)?);
    }
    if !said.contains("MSG fan 1 5\r\nhello\r\n") {
        return Err(format!("what was published did not come: {said}").into());
    }
    kill_process(Pid::from_child(&server.process), Signal::TERM)?;
    server.wait().map_err(|error| format!("SIGTERM: {error}"))?;
    Ok("a message published comes to its subscriber; ends at SIGTERM".to_owned())
}

fn check_broadcast(command: &[String]) -> Result<String, Box<dyn Error>> {
    let started = Instant::now();
    let mut server = Server::start(command)?;
    let mut readers = Readers::open(&server.place)?;
    let mut publisher = Client::open(&server.place, "/pub")?;
    all_arrive(&mut readers, &publisher, &server.place)?;
    publisher.expect_silence()?;
    let slow = a_slow_one_stops_nobody(&mut readers, &publisher, &server.place)?;
    drop((readers, publisher));
    server.process.stdin.take();
    let ended = server.wait().map_err(|error| format!("its standard input has ended: {error}"))?;
    if !ended.success() {
        return Err(format!("its standard input has ended, and it did with {ended}").into());
    }
    let mut server = Server::start(command)?;
    kill_process(Pid::from_child(&server.process), Signal::TERM)?;
    server.wait().map_err(|error| format!("SIGTERM: {error}"))?;
    Ok(format!(
        "{MESSAGES} messages once, in order and unchanged to {SUBSCRIBERS} subscribers and back from /echo; \
         {slow}; \
         ends with its input and at SIGTERM ({:.1} s)",
        started.elapsed().as_secs_f64()
    ))
}

/// Messages of all sizes in bursts, to the subscribers and back from the echo.
fn all_arrive(readers: &mut Readers, publisher: &Client, place: &Place) -> Result<(), Box<dyn Error>> {
    let mut echo = Client::open(place, "/echo")?;
    let (to_publish, to_echo) = (publisher.sender()?, echo.sender()?);
    thread::scope(|scope| {
        let sent = [to_publish, to_echo].map(|stream| scope.spawn(move || send_bursts(&stream)));
        let echoed = scope.spawn(move || {
            (0..MESSAGES).try_for_each(|index| expect(&mut echo, index))?;
            echo.expect_silence()
        });
        readers.each("a subscriber", |reader| {
            (0..MESSAGES).try_for_each(|index| expect(reader, index))?;
            reader.expect_silence()
        })?;
        joined(echoed).map_err(|error| format!("/echo: {error}"))?;
        sent.into_iter().try_for_each(joined).map_err(|error| format!("sending: {error}"))?;
        Ok(())
    })
}

/// A subscriber that reads nothing, first while little is published, then more than a server may keep for it.
fn a_slow_one_stops_nobody(
    readers: &mut Readers,
    publisher: &Client,
    place: &Place,
) -> Result<String, Box<dyn Error>> {
    let mut slow = Client::open(place, "/sub")?;
    let payload = vec![b'x'; FLOOD_MESSAGE_BYTES];
    let mut frame = Vec::new();
    encode_message(&mut frame, Kind::Binary, &payload);
    let mut stream = publisher.sender()?;
    for count in [SMALL_FLOOD_MESSAGES, FLOOD_MESSAGES - SMALL_FLOOD_MESSAGES] {
        // One at a time: a full socket of the others as well is another case.
        for _ in 0..count {
            stream
                .write_all(&frame)
                .map_err(|error| format!("publishing beside a slow subscriber: {error}"))?;
            readers.each("a subscriber beside a slow one", |reader| match reader.receive()? {
                Incoming::Message(Kind::Binary, received) if received == payload => Ok(()),
                other => Err(unexpected(&other)),
            })?;
        }
    }
    let mut received = 0;
    let mut next =
        || slow.receive().map_err(|error| format!("a subscriber that reads nothing is not closed: {error}"));
    while next()? != Incoming::End {
        received += 1;
        if received == FLOOD_MESSAGES {
            return Err("it keeps everything for a subscriber that reads nothing".into());
        }
    }
    Ok(format!(
        "one that reads nothing stopped nobody while {} MiB were published, and was closed after \
         {received} of {FLOOD_MESSAGES} messages of 256 KiB",
        (FLOOD_MESSAGES * FLOOD_MESSAGE_BYTES) >> 20
    ))
}

fn send_bursts(mut stream: &TcpStream) -> io::Result<()> {
    let mut index = 0;
    for burst in BURSTS {
        let mut bytes = Vec::new();
        for _ in 0..burst {
            let (kind, payload) = message(index);
            encode_message(&mut bytes, kind, &payload);
            index += 1;
        }
        stream.write_all(&bytes)?;
    }
    Ok(())
}

fn expect(client: &mut Client, index: usize) -> io::Result<()> {
    let (kind, payload) = message(index);
    match client.receive()? {
        Incoming::Message(received_kind, received) if (received_kind, &received) == (kind, &payload) => {
            Ok(())
        }
        other => Err(io::Error::other(format!("message {index}: {}", unexpected(&other)))),
    }
}

fn unexpected(incoming: &Incoming) -> io::Error {
    io::Error::other(match incoming {
        Incoming::Message(kind, payload) => format!("another came: {kind:?}, {} bytes", payload.len()),
        Incoming::Pong => "a pong came".to_owned(),
        Incoming::End => "the connection ended".to_owned(),
    })
}

/// A message that no other is like: text is UTF-8 with long characters, binary is any bytes.
fn message(index: usize) -> (Kind, Vec<u8>) {
    let bytes = SIZES[index % SIZES.len()];
    let mut state = index as u64 + 1;
    let mut payload: Vec<u8> = (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    if index % 2 == 1 {
        return (Kind::Binary, payload);
    }
    payload.iter_mut().for_each(|byte| *byte &= 0x7f);
    let long = "\u{20ac}";
    if bytes >= long.len() {
        payload[..long.len()].copy_from_slice(long.as_bytes());
    }
    (Kind::Text, payload)
}

struct Readers(Vec<Client>);

impl Readers {
    fn open(place: &Place) -> io::Result<Self> {
        (0..SUBSCRIBERS).map(|_| Client::open(place, "/sub")).collect::<io::Result<_>>().map(Self)
    }

    /// Does it with all of them at a time.
    fn each(&mut self, who: &str, work: impl Fn(&mut Client) -> io::Result<()> + Sync) -> Result<(), String> {
        let work = &work;
        thread::scope(|scope| {
            let threads: Vec<_> = self.0.iter_mut().map(|reader| scope.spawn(move || work(reader))).collect();
            threads.into_iter().try_for_each(joined).map_err(|error| format!("{who}: {error}"))
        })
    }
}

fn joined(thread: thread::ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the check itself has panicked")))
}

struct Server {
    process: Child,
    place: Place,
}

impl Server {
    fn start(command: &[String]) -> Result<Self, Box<dyn Error>> {
        let (program, arguments) = command.split_first().ok_or("give a program and its arguments")?;
        let mut command = Command::new(program);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or("its output cannot be had")?;
        match place_in(output) {
            Ok(place) => Ok(Self { process, place }),
            Err(error) => {
                // It may have ended already, which is as good.
                drop((process.kill(), process.wait()));
                Err(error.into())
            }
        }
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        let handle = pidfd_open(Pid::from_child(&self.process), PidfdFlags::empty())?;
        poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&ENDING_WAIT))?;
        let running = || io::Error::other(format!("it still runs after {} s", ENDING_WAIT.tv_sec));
        self.process.try_wait()?.ok_or_else(running)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The place in the first line that has one.
fn place_in(output: impl io::Read + Send + 'static) -> Result<Place, String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        // Read to the end, so that a server that says more never blocks; nobody listens after the first
        // place.
        BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    let deadline = Instant::now() + WAIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).map_err(|_| "it prints no line with ws://127.0.0.1:PORT")?;
        if let Some(place) = Place::in_line(&line) {
            return Ok(place);
        }
    }
}

const SUBSCRIBERS: usize = 3;

const BURSTS: [usize; 6] = [1, 16, 1, 256, 10, 16];

const MESSAGES: usize = 300;

/// Around each boundary of the header, of common buffers, and the largest there is. Both kinds get each.
const SIZES: [usize; 23] = [
    1,
    2,
    3,
    125,
    126,
    127,
    128,
    1000,
    1024,
    4095,
    4096,
    4097,
    16_384,
    65_535,
    65_536,
    65_537,
    100,
    1,
    10,
    200_000,
    1 << 20,
    7,
    2 << 20,
];

const FLOOD_MESSAGE_BYTES: usize = 256 << 10;

/// 10 MiB.
const SMALL_FLOOD_MESSAGES: usize = 40;

/// 128 MiB: twice what a server may keep for a subscriber.
const FLOOD_MESSAGES: usize = 512;

const ENDING_WAIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

const _: () = assert!(
    MESSAGES == BURSTS[0] + BURSTS[1] + BURSTS[2] + BURSTS[3] + BURSTS[4] + BURSTS[5] && SIZES.len() % 2 == 1
);
