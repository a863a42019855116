//! What every driver must do, on real loopback sockets; each test runs on both.
//!
//! Nothing here sleeps: `Bench::until` polls for the event that a test waits for, within `DEADLINE`.

use std::{
    collections::HashMap,
    io::{ErrorKind, IoSlice, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::sockopt,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::{
    Driver, DriverConfig, Event, GENERATION_MAX, Key, PARTS_PER_SEND_MAX, PageRange, SENDS_PER_BATCH_MAX,
    Send,
    epoll::EpollDriver,
    socket::{ListenError, Listener, ListenerOptions, NO_ADDRESS},
    uring::UringDriver,
};

/// A driver with its listener, and what came out of it.
struct Bench<D: Driver> {
    driver: D,
    address: SocketAddr,
    accepted: Vec<(D::Socket, SocketAddr)>,
    accept_failures: Vec<Errno>,
    keys: HashMap<Key, Seen>,
}

/// What was reported for one key.
#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    eof: bool,
    failed: Option<Errno>,
    writable: u32,
    closed: bool,
    taken: Option<OwnedFd>,
}

trait Make: Driver + Sized {
    fn make(config: &DriverConfig, listeners: &[Arc<Listener>]) -> Self;
}

impl Make for EpollDriver {
    fn make(config: &DriverConfig, listeners: &[Arc<Listener>]) -> Self {
        Self::new(config, listeners).unwrap()
    }
}

impl Make for UringDriver {
    fn make(config: &DriverConfig, listeners: &[Arc<Listener>]) -> Self {
        Self::new(config, listeners).unwrap()
    }
}

fn config() -> DriverConfig {
    DriverConfig {
        accepts_armed_max: 64,
        receive_buffer_bytes: 4096,
        receive_buffers: 64,
        send_buffer_bytes: None,
        shares_pages: true,
    }
}

impl<D: Driver> Bench<D> {
    fn of(driver: D, address: SocketAddr) -> Self {
        Self { driver, address, accepted: Vec::new(), accept_failures: Vec::new(), keys: HashMap::new() }
    }
}

impl<D: Make> Bench<D> {
    fn new() -> Self {
        Self::with(&config(), &ListenerOptions::default())
    }

    fn with(config: &DriverConfig, options: &ListenerOptions) -> Self {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), options).unwrap();
        listener.listen(options).unwrap();
        let address = listener.local_addr();
        Self::of(D::make(config, &[Arc::new(listener)]), address)
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.set_write_timeout(Some(DEADLINE)).unwrap();
        client
    }

    /// A client and its registered other end.
    fn connect(&mut self, key: Key) -> TcpStream {
        let client = self.client();
        self.driver.accept(1);
        self.until("an accepted connection", |bench| !bench.accepted.is_empty());
        let (socket, peer) = self.accepted.pop().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        self.driver.register(key, socket);
        client
    }

    /// One poll, and all its events.
    fn turn(&mut self, wait: Option<u64>) -> u32 {
        self.driver.poll(wait);
        let mut events = 0;
        while let Some(event) = self.driver.next_event() {
            self.note(event);
            events += 1;
        }
        events
    }

    fn note(&mut self, event: Event<D>) {
        match event {
            Event::Accepted { socket, peer } => self.accepted.push((socket, peer)),
            Event::AcceptFailed { error } => self.accept_failures.push(error),
            Event::Received { key, buffer } => {
                assert!(!buffer.is_empty(), "Received brings at least one byte");
                let seen = self.open(key);
                assert!(!seen.eof && seen.failed.is_none(), "nothing is received after the end");
                seen.bytes.extend_from_slice(&buffer);
                self.driver.recycle(buffer);
            }
            Event::Eof { key } => {
                let seen = self.open(key);
                assert!(!seen.eof && seen.failed.is_none(), "a stream ends once");
                seen.eof = true;
            }
            Event::Failed { key, error } => {
                let seen = self.open(key);
                assert!(!seen.eof && seen.failed.is_none(), "a stream ends once");
                seen.failed = Some(error);
            }
            Event::Writable { key } => self.open(key).writable += 1,
            Event::Closed { key } => self.open(key).closed = true,
            Event::Taken { key, descriptor } => self.open(key).taken = Some(descriptor),
        }
    }

    fn open(&mut self, key: Key) -> &mut Seen {
        let seen = self.keys.entry(key).or_default();
        assert!(!seen.closed && seen.taken.is_none(), "{key:?} has ended, then an event came for it");
        seen
    }

    fn seen(&mut self, key: Key) -> &mut Seen {
        self.keys.entry(key).or_default()
    }

    fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "no sign of {what} on {}", self.driver.describe());
            self.turn(Some(20 * MILLISECOND));
        }
    }

    /// Polls until the driver has nothing more to say about what has happened so far: a fresh connection
    /// echoes a byte, and that round trip comes after everything that was in flight before it.
    fn settle(&mut self) {
        let key = Key { slot: SETTLE_SLOT, generation: 1 + self.driver_generation() };
        let mut client = self.connect(key);
        client.write_all(b"x").unwrap();
        self.until("the settling byte", |bench| !bench.seen(key).bytes.is_empty());
        self.close(key);
    }

    fn driver_generation(&self) -> u32 {
        u32::try_from(self.keys.keys().filter(|key| key.slot == SETTLE_SLOT).count()).unwrap()
    }

    fn close(&mut self, key: Key) {
        self.driver.close(key);
        self.until("Closed", |bench| bench.seen(key).closed);
    }

    fn received(&mut self, key: Key, count: usize) -> Vec<u8> {
        self.until("all bytes", |bench| bench.seen(key).bytes.len() >= count);
        std::mem::take(&mut self.seen(key).bytes)
    }

    fn send(&mut self, key: Key, bytes: &[u8]) -> Result<usize, Errno> {
        let parts = [IoSlice::new(bytes)];
        let mut results = Vec::new();
        self.driver.send_batch(&[Send { key, parts: 0..1 }], &parts, &mut results);
        assert_eq!(results.len(), 1);
        results[0]
    }

    /// Sends until the socket refuses; returns what it took.
    fn fill(&mut self, key: Key) -> usize {
        let chunk = pattern(64 * 1024);
        let mut sent = 0;
        loop {
            // Each send goes on with the pattern, so that the reader can check every byte.
            let start = sent % PATTERN_PERIOD;
            match self.send(key, &chunk[start..]) {
                Ok(count) => {
                    assert!(count > 0);
                    sent += count;
                }
                Err(error) => {
                    assert_eq!(error, Errno::AGAIN);
                    return sent;
                }
            }
        }
    }
}

fn key(slot: u32) -> Key {
    Key { slot, generation: 1 }
}

/// Bytes whose order shows: period 251, so that no power of two hides a slip.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from(index % PATTERN_PERIOD).unwrap()).collect()
}

const PATTERN_PERIOD: usize = 251;
const DEADLINE: Duration = Duration::from_secs(20);
const MILLISECOND: u64 = 1_000_000;
const SETTLE_SLOT: u32 = 5000;

fn received_bytes_come_back_whole<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    for round in 1..=20usize {
        let sent = pattern(round * 997);
        client.write_all(&sent).unwrap();
        let received = bench.received(key(0), sent.len());
        assert_eq!(received, sent);
        assert_eq!(bench.send(key(0), &received), Ok(sent.len()));
        let mut echoed = vec![0; sent.len()];
        client.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, sent);
    }
}

fn full_socket_takes_a_part_then_nothing_then_is_writable<D: Make>() {
    let options = ListenerOptions { send_buffer_bytes: Some(4096), ..ListenerOptions::default() };
    let mut bench = Bench::<D>::with(&config(), &options);
    let mut client = bench.connect(key(0));
    let large = pattern(16 << 20);
    let short = bench.send(key(0), &large).unwrap();
    assert!(0 < short && short < large.len(), "a small buffer takes a part, took {short}");
    // What the peer's kernel has taken meanwhile makes room once or twice more.
    let mut taken = short;
    while let Ok(count) = bench.driver.send_now(key(0), &[IoSlice::new(&large[taken..])]) {
        taken += count;
    }
    assert_eq!(bench.send(key(0), &large[taken..]), Err(Errno::AGAIN));
    bench.driver.want_writable(key(0));
    bench.driver.want_writable(key(0));
    bench.turn(Some(0));
    assert_eq!(bench.seen(key(0)).writable, 0);
    let mut read = vec![0; taken];
    client.read_exact(&mut read).unwrap();
    assert_eq!(read, large[..taken]);
    bench.until("Writable", |bench| bench.seen(key(0)).writable > 0);
    bench.settle();
    assert_eq!(bench.seen(key(0)).writable, 1, "one Writable for one wish");
    assert!(bench.send(key(0), &large[taken..]).unwrap() > 0);
}

fn writable_comes_while_paused_and_again_when_asked_again<D: Make>() {
    let mut bench = Bench::<D>::new();
    let _client = bench.connect(key(0));
    bench.driver.pause(key(0));
    for wish in 1..=3 {
        bench.driver.want_writable(key(0));
        bench.until("Writable", |bench| bench.seen(key(0)).writable == wish);
    }
}

fn peer_sees_end_after_close_while_receiving<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    bench.turn(Some(0));
    assert_eq!(bench.send(key(0), b"last words"), Ok(10));
    bench.close(key(0));
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"last words");
}

fn close_while_waiting_to_write_ends_both<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    let sent = bench.fill(key(0));
    bench.driver.want_writable(key(0));
    bench.turn(Some(0));
    bench.close(key(0));
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert_eq!(read, pattern(sent));
}

fn reset_by_the_peer_fails<D: Make>() {
    let mut bench = Bench::<D>::new();
    let client = bench.connect(key(0));
    sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    bench.until("Failed", |bench| bench.seen(key(0)).failed.is_some());
    assert_eq!(bench.seen(key(0)).failed, Some(Errno::CONNRESET));
    assert!(bench.send(key(0), b"x").is_err());
    bench.close(key(0));
}

fn end_of_stream_comes_after_the_bytes_and_leaves_writing_open<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    let sent = pattern(20_000);
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    bench.until("Eof", |bench| bench.seen(key(0)).eof);
    assert_eq!(bench.seen(key(0)).bytes, sent);
    assert_eq!(bench.turn(Some(0)), 0, "the end is reported once");
    assert_eq!(bench.send(key(0), b"answer"), Ok(6));
    bench.driver.shutdown_write(key(0));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
    bench.close(key(0));
}

fn shutdown_of_writing_still_receives<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    bench.driver.shutdown_write(key(0));
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    client.write_all(b"still here").unwrap();
    assert_eq!(bench.received(key(0), 10), b"still here");
    assert_eq!(bench.send(key(0), b"x"), Err(Errno::PIPE));
}

fn pause_stops_and_resume_loses_nothing<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    let all = pattern(400_000);
    let mut sent = 0;
    let mut seen = Vec::new();
    for round in 0..20 {
        let chunk = &all[sent..sent + 10_000];
        if round % 2 == 0 {
            // Data may already be on its way when the pause comes.
            client.write_all(chunk).unwrap();
            bench.driver.pause(key(0));
        } else {
            bench.driver.pause(key(0));
            bench.settle();
            seen.append(&mut bench.seen(key(0)).bytes);
            let before = seen.len();
            client.write_all(chunk).unwrap();
            bench.settle();
            seen.append(&mut bench.seen(key(0)).bytes);
            assert_eq!(seen.len(), before, "nothing comes while paused");
        }
        sent += chunk.len();
        bench.driver.pause(key(0));
        bench.driver.resume(key(0));
        bench.driver.resume(key(0));
        let missing = sent - seen.len();
        seen.extend(bench.received(key(0), missing));
        assert_eq!(seen, all[..sent]);
    }
}

fn pause_and_resume_at_once_changes_nothing<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    let sent = pattern(50_000);
    for chunk in sent.chunks(1_000) {
        client.write_all(chunk).unwrap();
        for _ in 0..3 {
            bench.driver.pause(key(0));
            bench.driver.resume(key(0));
        }
        bench.turn(Some(0));
        bench.driver.pause(key(0));
        bench.turn(Some(0));
        bench.driver.resume(key(0));
    }
    assert_eq!(bench.received(key(0), sent.len()), sent);
    bench.driver.pause(key(0));
    bench.driver.resume(key(0));
    bench.close(key(0));
}

fn end_of_a_paused_peer_does_not_spin<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    bench.driver.pause(key(0));
    bench.settle();
    client.write_all(b"before the end").unwrap();
    bench.driver.shutdown_write(key(0));
    drop(client);
    bench.settle();
    bench.driver.take_counts();
    bench.turn(Some(5 * MILLISECOND));
    bench.turn(Some(5 * MILLISECOND));
    assert!(bench.driver.take_counts().system_calls <= 4);
    assert!(bench.seen(key(0)).bytes.is_empty() && !bench.seen(key(0)).eof);
    bench.driver.resume(key(0));
    bench.until("the end", |bench| bench.seen(key(0)).eof);
    assert_eq!(bench.seen(key(0)).bytes, b"before the end");
}

fn slot_used_again_gets_no_event_of_its_former_key<D: Make>() {
    let mut bench = Bench::<D>::new();
    for generation in 1..=200 {
        let old = Key { slot: 3, generation: 2 * generation - 1 };
        let new = Key { slot: 3, generation: 2 * generation };
        let mut former = bench.connect(old);
        let mut later = bench.client();
        bench.driver.accept(1);
        bench.until("an accepted connection", |bench| !bench.accepted.is_empty());
        let (socket, _) = bench.accepted.pop().unwrap();
        former.write_all(b"of the former").unwrap();
        bench.driver.want_writable(old);
        if generation % 2 == 0 {
            bench.driver.poll(Some(0)); // Its events are now collected, and not fetched.
        }
        bench.driver.close(old);
        // Registered at once, with events of the former use perhaps not fetched yet.
        let deadline = Instant::now() + DEADLINE;
        while !bench.seen(old).closed {
            assert!(Instant::now() < deadline, "no Closed");
            match bench.driver.next_event() {
                Some(event) => bench.note(event),
                None => bench.driver.poll(Some(MILLISECOND)),
            }
        }
        bench.driver.register(new, socket);
        later.write_all(b"of the later").unwrap();
        assert_eq!(bench.received(new, 12), b"of the later");
        assert_eq!(bench.seen(new).writable, 0);
        bench.close(new);
    }
}

fn close_with_unread_bytes_resets<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    bench.driver.pause(key(0));
    bench.settle();
    client.write_all(b"never read").unwrap();
    bench.close(key(0));
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn accept_room_is_respected<D: Make>() {
    let mut bench = Bench::<D>::new();
    let clients: Vec<_> = (0..40).map(|_| bench.client()).collect();
    let ask = |bench: &mut Bench<D>, room: usize| {
        let before = bench.accepted.len();
        bench.driver.accept(room);
        bench.until("as many connections as there is room", |bench| bench.accepted.len() == before + room);
        bench.driver.accept(0);
        for _ in 0..3 {
            bench.turn(Some(MILLISECOND));
        }
        assert_eq!(bench.accepted.len(), before + room, "room {room} was given");
    };
    bench.turn(Some(MILLISECOND));
    assert!(bench.accepted.is_empty(), "no room was given yet");
    for room in [1, 2, 17, 0, 5] {
        ask(&mut bench, room);
    }
    bench.until("the rest", |bench| {
        let room = 40 - bench.accepted.len();
        bench.driver.accept(room);
        room == 0
    });
    let mut peers: Vec<_> = bench.accepted.iter().map(|(_, peer)| *peer).collect();
    let mut addresses: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    peers.sort_unstable();
    addresses.sort_unstable();
    assert_eq!(peers, addresses);
}

fn room_that_was_taken_back_accepts_nothing<D: Make>() {
    let mut bench = Bench::<D>::new();
    for (given, left) in [(64, 0), (64, 2), (3, 0), (64, 63)] {
        bench.driver.accept(given);
        bench.turn(Some(0));
        bench.driver.accept(left);
        bench.turn(Some(0));
        bench.turn(Some(0));
        let clients: Vec<_> = (0..left + 5).map(|_| bench.client()).collect();
        bench.until("what there is room for", |bench| bench.accepted.len() >= left);
        for _ in 0..3 {
            bench.turn(Some(MILLISECOND));
        }
        assert_eq!(bench.accepted.len(), left);
        bench.driver.accept(5);
        bench.until("the others", |bench| bench.accepted.len() == clients.len());
        bench.driver.accept(0);
        bench.turn(Some(0));
        bench.accepted.clear();
    }
}

fn connections_come_from_every_listener<D: Make>() {
    let options = ListenerOptions::default();
    let listeners: Vec<_> = (0..3)
        .map(|_| {
            let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), &options).unwrap();
            listener.listen(&options).unwrap();
            Arc::new(listener)
        })
        .collect();
    let mut bench = Bench::of(D::make(&config(), &listeners), listeners[0].local_addr());
    bench.driver.accept(60);
    let clients: Vec<_> = (0..60)
        .map(|index| TcpStream::connect(listeners[index % 3].local_addr()).unwrap().local_addr().unwrap())
        .collect();
    bench.until("all connections", |bench| bench.accepted.len() == 60);
    assert!(clients.iter().all(|client| bench.accepted.iter().any(|(_, peer)| peer == client)));
}

fn peer_of_ipv6_is_told_whole<D: Make>() {
    let options = ListenerOptions::default();
    let listener = match Listener::bind((Ipv6Addr::LOCALHOST, 0).into(), &options) {
        Ok(listener) => listener,
        // A machine without IPv6 has no such peers.
        Err(error) => {
            assert!(matches!(
                error,
                ListenError::AddressNotAvailable { .. } | ListenError::FamilyNotSupported { .. }
            ));
            return;
        }
    };
    listener.listen(&options).unwrap();
    let address = listener.local_addr();
    let mut bench = Bench::of(D::make(&config(), &[Arc::new(listener)]), address);
    let mut client = bench.connect(key(0)); // Compares the address.
    client.write_all(b"six").unwrap();
    assert_eq!(bench.received(key(0), 3), b"six");
}

fn listener_that_is_stopped_refuses<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    bench.driver.accept(10);
    bench.turn(Some(0));
    bench.driver.stop_accepting();
    let deadline = Instant::now() + DEADLINE;
    // What had already reached the backlog may be reset instead; then it refuses.
    while TcpStream::connect(bench.address).is_ok() {
        assert!(Instant::now() < deadline, "the listener is closed");
        bench.turn(Some(0));
    }
    bench.driver.accept(10);
    client.write_all(b"still served").unwrap();
    assert_eq!(bench.received(key(0), 12), b"still served");
}

fn few_receive_buffers_lose_nothing<D: Make>() {
    let few = DriverConfig { receive_buffers: 2, receive_buffer_bytes: 512, ..config() };
    let mut bench = Bench::<D>::with(&few, &ListenerOptions::default());
    let mut clients: Vec<_> = (0..30).map(|slot| bench.connect(key(slot))).collect();
    let sent = pattern(20_000);
    for client in &mut clients {
        client.write_all(&sent).unwrap();
    }
    // All buffers are held for a while: the driver neither loses bytes nor gives the same buffer twice.
    let mut held = Vec::new();
    let deadline = Instant::now() + DEADLINE;
    while held.len() < 2 {
        assert!(Instant::now() < deadline);
        bench.driver.poll(Some(MILLISECOND));
        while let Some(event) = bench.driver.next_event() {
            match event {
                Event::Received { key, buffer } => held.push((key, buffer)),
                other => bench.note(other),
            }
        }
    }
    let before = bench.driver.take_counts().receive_buffers_exhausted;
    for _ in 0..5 {
        bench.driver.poll(Some(0));
        assert!(bench.driver.next_event().is_none(), "no buffer is left to receive into");
    }
    let meanwhile = bench.driver.take_counts().receive_buffers_exhausted;
    assert!(before + meanwhile > 0 && meanwhile <= 5, "it is counted, and not tried again and again");
    for (key, buffer) in held {
        bench.note(Event::Received { key, buffer });
    }
    for slot in 0..30 {
        assert_eq!(bench.received(key(slot), sent.len()), sent);
    }
}

fn wake_ends_a_wait_without_end<D: Make>() {
    let mut bench = Bench::<D>::new();
    for _ in 0..100 {
        let waker = bench.driver.waker();
        let other = thread::spawn(move || {
            waker.wake();
            waker.wake();
        });
        assert_eq!(bench.turn(None), 0);
        other.join().unwrap();
        // The second wake may have come after the wait: it counts for the next one at most.
        bench.turn(Some(0));
        bench.turn(Some(0));
    }
}

fn waits_last_as_long_as_asked<D: Make>() {
    let mut bench = Bench::<D>::new();
    bench.turn(Some(0));
    for wait in [MILLISECOND, 3 * MILLISECOND + 1, 20 * MILLISECOND] {
        let deadline = Instant::now() + DEADLINE;
        let start = bench.driver.now();
        let mut polls = 0;
        while bench.driver.now() < start + wait {
            assert!(Instant::now() < deadline);
            assert_eq!(bench.turn(Some(start + wait - bench.driver.now())), 0);
            polls += 1;
        }
        assert!(polls <= 2, "a wait of {wait} ns took {polls} polls");
    }
}

fn batches_keep_the_order_of_each_socket<D: Make>() {
    const SOCKETS: u32 = 300;
    const ROUNDS: u32 = 12;
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<_> = (0..SOCKETS).map(|slot| bench.connect(key(slot))).collect();
    let mut results = Vec::new();
    for round in 0..ROUNDS {
        // 1 to 64 parts, some empty in the middle.
        let parts_each = [1, 2, 3, PARTS_PER_SEND_MAX][round as usize % 4];
        let texts: Vec<_> = (0..SOCKETS)
            .map(|slot| {
                (0..parts_each)
                    .map(|part| if part == 1 { String::new() } else { format!("{slot}/{round}/{part};") })
                    .collect::<Vec<_>>()
            })
            .collect();
        let parts: Vec<_> = texts.iter().flatten().map(|text| IoSlice::new(text.as_bytes())).collect();
        let parts_each = u32::try_from(parts_each).unwrap();
        let sends: Vec<_> = (0..SOCKETS)
            .map(|slot| Send { key: key(slot), parts: slot * parts_each..(slot + 1) * parts_each })
            .collect();
        for batch in sends.chunks(SENDS_PER_BATCH_MAX) {
            bench.driver.send_batch(batch, &parts, &mut results);
            assert_eq!(results.len(), batch.len());
            for (send, result) in batch.iter().zip(&results) {
                let whole = texts[send.key.slot as usize].iter().map(String::len).sum();
                assert_eq!(*result, Ok(whole));
            }
        }
    }
    for (slot, client) in clients.iter_mut().enumerate() {
        bench.driver.shutdown_write(key(u32::try_from(slot).unwrap()));
        let mut read = String::new();
        client.read_to_string(&mut read).unwrap();
        let mut expected = String::new();
        for round in 0..ROUNDS {
            for part in (0..[1, 2, 3, PARTS_PER_SEND_MAX][round as usize % 4]).filter(|part| *part != 1) {
                expected += &format!("{slot}/{round}/{part};");
            }
        }
        assert_eq!(read, expected);
    }
}

fn sends_of_a_batch_fail_each_for_itself<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<_> = (0..5).map(|slot| bench.connect(key(slot))).collect();
    bench.fill(key(1));
    bench.driver.shutdown_write(key(3));
    let part = IoSlice::new(b"hello");
    let sends: Vec<_> = (0..5).map(|slot| Send { key: key(slot), parts: 0..1 }).collect();
    let mut results = vec![Ok(99)];
    bench.driver.send_batch(&sends, &[part], &mut results);
    assert_eq!(results, [Ok(5), Err(Errno::AGAIN), Ok(5), Err(Errno::PIPE), Ok(5)]);
    for slot in [0, 2, 4] {
        let mut read = [0; 5];
        clients[slot].read_exact(&mut read).unwrap();
        assert_eq!(&read, b"hello");
    }
}

/// Bytes put into pages at `offset`.
fn write_pages<D: Make>(bench: &mut Bench<D>, offset: u64, bytes: &[u8]) -> PageRange {
    bench.driver.write_pages(offset, bytes).unwrap();
    PageRange { offset, bytes: u32::try_from(bytes.len()).unwrap() }
}

fn pages_go_to_many_sockets_in_order_with_what_is_sent_otherwise<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<_> = (0..20).map(|slot| bench.connect(key(slot))).collect();
    let all = pattern(30_000);
    let range = write_pages(&mut bench, 0, &all);
    for slot in 0..20 {
        assert_eq!(bench.send(key(slot), b"before"), Ok(6));
        assert_eq!(bench.driver.send_pages(key(slot), range), Ok(all.len()));
        assert_eq!(bench.driver.send_now(key(slot), &[IoSlice::new(b"between")]), Ok(7));
        assert_eq!(bench.driver.send_pages(key(slot), range.after(29_000)), Ok(1_000));
        bench.driver.shutdown_write(key(slot));
    }
    bench.driver.free_pages(range);
    let expected = [b"before", &all[..], b"between", &all[29_000..]].concat();
    for client in &mut clients {
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        assert_eq!(read, expected);
    }
}

fn pages_fill_a_socket_in_part_and_go_on_when_it_is_writable<D: Make>() {
    let options = ListenerOptions { send_buffer_bytes: Some(4096), ..ListenerOptions::default() };
    let mut bench = Bench::<D>::with(&config(), &options);
    let mut client = Some(bench.connect(key(0)));
    let all = pattern(16 << 20);
    let whole = write_pages(&mut bench, 0, &all);
    let (mut rest, mut shorts, mut reading) = (whole, 0, None);
    while rest.bytes > 0 {
        match bench.driver.send_pages(key(0), rest) {
            Ok(taken) => {
                assert!(taken > 0);
                shorts += u32::from(taken < rest.bytes as usize);
                rest = rest.after(u32::try_from(taken).unwrap());
            }
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                // Nobody reads before the socket is full.
                let client = client.take();
                reading = reading.or_else(|| client.map(read_all));
                let before = bench.seen(key(0)).writable;
                bench.driver.want_writable(key(0));
                bench.until("Writable", |bench| bench.seen(key(0)).writable > before);
            }
        }
    }
    bench.driver.shutdown_write(key(0));
    bench.driver.free_pages(whole);
    let read = reading.unwrap().join().unwrap();
    assert!(shorts > 1, "it was taken in pieces");
    assert!(read == all, "the bytes are right, whatever pieces they went in");
}

/// Reads a connection to its end, on a thread.
fn read_all(mut client: TcpStream) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        read
    })
}

fn pages_to_a_socket_that_has_ended_are_an_error<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<_> = (0..2).map(|slot| bench.connect(key(slot))).collect();
    let range = write_pages(&mut bench, 0, b"hello");
    bench.driver.shutdown_write(key(0));
    assert_eq!(bench.driver.send_pages(key(0), range), Err(Errno::PIPE));
    assert_eq!(bench.driver.send_pages(key(1), range), Ok(5));
    let mut read = [0; 5];
    clients[1].read_exact(&mut read).unwrap();
    assert_eq!(&read, b"hello");
}

fn pages_that_nobody_wants_are_refused<D: Make>() {
    let plain = DriverConfig { shares_pages: false, ..config() };
    let mut bench = Bench::<D>::with(&plain, &ListenerOptions::default());
    assert_eq!(bench.driver.write_pages(0, b"x"), Err(Errno::NOSYS));
}

/// Readers who stall keep what they were sent while far more than all their buffers is written, sent and
/// given back.
fn stalled_sockets_keep_their_pages_as_they_were<D: Make>() {
    const READERS: u32 = 8;
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<_> = (0..=READERS).map(|slot| bench.connect(key(slot))).collect();
    let mut lively = clients.pop().unwrap();
    let reading = thread::spawn(move || std::io::copy(&mut lively, &mut std::io::sink()).unwrap());
    let mut sent: Vec<Vec<u8>> = vec![Vec::new(); READERS as usize];
    let (mut offset, mut lively_bytes) = (0, 0);
    let turns = std::env::var("FANWIRE_PAGE_TURNS").map_or(PAGE_TURNS, |turns| turns.parse().unwrap());
    for turn in 0..turns {
        let bytes: Vec<u8> = (0..60_000u32).map(|at| (turn ^ at ^ at >> 8).to_le_bytes()[0]).collect();
        let range = write_pages(&mut bench, offset, &bytes);
        offset += range.page_bytes();
        let mut rest = range;
        while rest.bytes > 0 {
            match bench.driver.send_pages(key(READERS), rest) {
                Ok(taken) => rest = rest.after(u32::try_from(taken).unwrap()),
                Err(error) => {
                    assert_eq!(error, Errno::AGAIN);
                    bench.driver.want_writable(key(READERS));
                    let before = bench.seen(key(READERS)).writable;
                    bench.until("Writable", |bench| bench.seen(key(READERS)).writable > before);
                }
            }
        }
        lively_bytes += u64::from(range.bytes);
        // Each stalls at another place, and stays so.
        for slot in (0..READERS).filter(|slot| turn % (slot + 1) == 0) {
            if let Ok(taken) = bench.driver.send_pages(key(slot), range) {
                sent[slot as usize].extend_from_slice(&bytes[..taken]);
                if taken < bytes.len() {
                    // A socket that took a part gets no more: its stream would not be the pattern's.
                    bench.driver.shutdown_write(key(slot));
                }
            }
        }
        bench.driver.free_pages(range);
    }
    bench.driver.shutdown_write(key(READERS));
    assert_eq!(reading.join().unwrap(), lively_bytes);
    for (slot, (client, sent)) in (0..READERS).zip(clients.iter_mut().zip(&sent)) {
        bench.driver.shutdown_write(key(slot));
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        assert!(read.len() > 60_000 && read == *sent, "reader {slot} has {} bytes", read.len());
    }
}

/// 240 MB; FANWIRE_PAGE_TURNS=100000 for 6 GB.
const PAGE_TURNS: u32 = 4_000;

/// Events that a batch meets while it waits for its results are kept, in order.
fn receiving_goes_on_between_batches<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<_> = (0..20).map(|slot| bench.connect(key(slot))).collect();
    let all = pattern(50_000);
    for chunk in all.chunks(1000) {
        for client in &mut clients {
            client.write_all(chunk).unwrap();
        }
        let sends: Vec<_> = (0..20).map(|slot| Send { key: key(slot), parts: 0..1 }).collect();
        let mut results = Vec::new();
        for _ in 0..3 {
            bench.driver.send_batch(&sends, &[IoSlice::new(b"ab")], &mut results);
            assert!(results.iter().all(|result| *result == Ok(2)));
        }
        bench.turn(Some(0));
    }
    for slot in 0..20 {
        assert_eq!(bench.received(key(slot), all.len()), all);
    }
}

fn taken_descriptor_keeps_its_unread_bytes<D: Make>() {
    let mut bench = Bench::<D>::new();
    for generation in 1..=50 {
        let key = Key { slot: 0, generation };
        let mut client = bench.connect(key);
        let sent = pattern(30_000);
        client.write_all(&sent).unwrap();
        if generation % 3 == 1 {
            bench.driver.pause(key);
        }
        if generation % 2 == 0 {
            bench.turn(Some(0));
        }
        bench.driver.take(key);
        bench.until("Taken", |bench| bench.seen(key).taken.is_some());
        let seen = bench.seen(key);
        let mut stream = std::mem::take(&mut seen.bytes);
        let mut taken = TcpStream::from(seen.taken.take().unwrap());
        taken.set_nonblocking(false).unwrap();
        taken.set_read_timeout(Some(DEADLINE)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        taken.read_to_end(&mut stream).unwrap();
        assert_eq!(stream, sent);
        taken.write_all(b"mine now").unwrap();
        drop(taken);
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"mine now");
    }
}

fn adopted_socket_is_served_like_an_accepted_one<D: Make>() {
    let mut bench = Bench::<D>::new();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let (socket, peer) = bench.driver.adopt(accepted.into()).unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    bench.driver.register(key(0), socket);
    client.write_all(b"hello").unwrap();
    assert_eq!(bench.received(key(0), 5), b"hello");
    let (mut client, accepted) = UnixStream::pair().unwrap();
    let (socket, peer) = bench.driver.adopt(accepted.into()).unwrap();
    assert_eq!(peer, NO_ADDRESS);
    bench.driver.register(key(1), socket);
    client.write_all(b"hello").unwrap();
    assert_eq!(bench.received(key(1), 5), b"hello");
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(bench.driver.adopt(file.into()).err(), Some(Errno::NOTSOCK));
}

fn a_thousand_closes_give_a_thousand_closed<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<_> = (0..1000).map(|slot| bench.connect(key(slot))).collect();
    for client in clients.iter_mut().step_by(3) {
        client.write_all(b"unread").unwrap();
    }
    for slot in 0..1000 {
        if slot % 5 == 0 {
            bench.driver.want_writable(key(slot));
        }
        if slot % 7 == 0 {
            bench.driver.pause(key(slot));
        }
        bench.driver.close(key(slot));
    }
    bench.until("all Closed", |bench| bench.keys.values().filter(|seen| seen.closed).count() == 1000);
    for client in &mut clients {
        match client.read(&mut [0; 8]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

fn last_generation_is_told_from_the_first<D: Make>() {
    let mut bench = Bench::<D>::new();
    let last = Key { slot: 9, generation: GENERATION_MAX };
    let first = Key { slot: 9, generation: 1 };
    let mut client = bench.connect(last);
    client.write_all(b"last").unwrap();
    assert_eq!(bench.received(last, 4), b"last");
    bench.driver.want_writable(last);
    bench.driver.close(last);
    bench.until("Closed", |bench| bench.seen(last).closed);
    let mut client = bench.connect(first);
    client.write_all(b"first").unwrap();
    assert_eq!(bench.received(first, 5), b"first");
    assert_eq!(bench.seen(first).writable, 0);
}

fn dropped_driver_closes_its_sockets<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<_> = (0..10).map(|slot| bench.connect(key(slot))).collect();
    clients[0].write_all(b"held").unwrap();
    let mut held = None;
    let deadline = Instant::now() + DEADLINE;
    while held.is_none() {
        assert!(Instant::now() < deadline);
        bench.driver.poll(Some(MILLISECOND));
        held = bench.driver.next_event();
    }
    bench.driver.want_writable(key(1));
    bench.driver.accept(8);
    bench.turn(Some(0));
    let Some(Event::Received { mut buffer, .. }) = held else {
        panic!("bytes were received");
    };
    bench.driver.close(key(2)); // Not carried out yet.
    drop(bench);
    // A buffer outlives its driver.
    assert_eq!(&*buffer, b"held");
    buffer[0] = b'H';
    assert_eq!(&*buffer, b"Held");
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    }
}

fn random_bytes_differ<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut ids = [[0; 16]; 50];
    for id in &mut ids {
        bench.driver.fill_random(id);
    }
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
}

fn memory_per_socket_is_small<D: Make>() {
    let bench = Bench::<D>::new();
    let memory = bench.driver.memory();
    assert!(memory.bytes_per_socket <= 24);
    assert!(memory.fixed_bytes >= 64 * 4096);
}

/// Runs in a process of its own, because the descriptor limit is the process's.
fn full_descriptor_table_loses_no_connection<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut served = bench.connect(key(0));
    // Connections in the backlog take no descriptor of ours until they are accepted; the clients do.
    let clients: Vec<_> = (0..4).map(|_| bench.client()).collect();
    let limit = getrlimit(Resource::Nofile);
    let highest = clients.iter().map(|client| client.as_raw_fd()).max().unwrap().unsigned_abs();
    let few = Rlimit { current: Some(u64::from(highest) + 16), maximum: limit.maximum };
    setrlimit(Resource::Nofile, few).unwrap();
    // All numbers below the limit are taken, so that the next accept fails.
    let mut stuffing = Vec::new();
    while let Ok(descriptor) = served.as_fd().try_clone_to_owned() {
        stuffing.push(descriptor);
    }
    bench.driver.accept(8);
    bench.until("AcceptFailed", |bench| !bench.accept_failures.is_empty());
    assert_eq!(bench.accept_failures, [Errno::MFILE]);
    bench.driver.take_counts();
    for _ in 0..5 {
        bench.driver.accept(8);
        bench.turn(Some(MILLISECOND));
    }
    bench.driver.accept(0);
    bench.turn(Some(MILLISECOND));
    assert_eq!(bench.accept_failures.len(), 1, "reported once");
    assert!(bench.accepted.is_empty());
    assert!(bench.driver.take_counts().system_calls <= 20, "a full table must not spin");
    served.write_all(b"still served").unwrap();
    assert_eq!(bench.received(key(0), 12), b"still served");
    // Room returns.
    stuffing.clear();
    bench.driver.accept(8);
    bench.until("the waiting connections", |bench| bench.accepted.len() >= clients.len());
    for client in clients {
        let address = client.local_addr().unwrap();
        assert!(bench.accepted.iter().any(|(_, peer)| *peer == address));
    }
    assert_eq!(bench.accept_failures.len(), 1);
}

/// Runs one test of this binary alone in a child process, or the body itself if this is the child.
fn in_own_process(name: &str, body: fn()) {
    const CHILD: &str = "FANWIRE_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{output:?}");
}

macro_rules! driver_tests {
    ($module:ident, $driver:ty, [$($name:ident),* $(,)?]) => {
        mod $module {
            use super::*;

            $(
                #[test]
                fn $name() {
                    super::$name::<$driver>();
                }
            )*

            #[test]
            fn full_descriptor_table_loses_no_connection() {
                in_own_process(
                    concat!("driver::tests::", stringify!($module), "::full_descriptor_table_loses_no_connection"),
                    super::full_descriptor_table_loses_no_connection::<$driver>,
                );
            }
        }
    };
    ($names:tt) => {
        driver_tests!(on_epoll, EpollDriver, $names);
        driver_tests!(on_uring, UringDriver, $names);
    };
}

driver_tests!([
    received_bytes_come_back_whole,
    full_socket_takes_a_part_then_nothing_then_is_writable,
    writable_comes_while_paused_and_again_when_asked_again,
    peer_sees_end_after_close_while_receiving,
    close_while_waiting_to_write_ends_both,
    reset_by_the_peer_fails,
    end_of_stream_comes_after_the_bytes_and_leaves_writing_open,
    shutdown_of_writing_still_receives,
    pause_stops_and_resume_loses_nothing,
    pause_and_resume_at_once_changes_nothing,
    end_of_a_paused_peer_does_not_spin,
    slot_used_again_gets_no_event_of_its_former_key,
    close_with_unread_bytes_resets,
    accept_room_is_respected,
    room_that_was_taken_back_accepts_nothing,
    connections_come_from_every_listener,
    peer_of_ipv6_is_told_whole,
    listener_that_is_stopped_refuses,
    few_receive_buffers_lose_nothing,
    wake_ends_a_wait_without_end,
    waits_last_as_long_as_asked,
    batches_keep_the_order_of_each_socket,
    sends_of_a_batch_fail_each_for_itself,
    pages_go_to_many_sockets_in_order_with_what_is_sent_otherwise,
    pages_fill_a_socket_in_part_and_go_on_when_it_is_writable,
    pages_to_a_socket_that_has_ended_are_an_error,
    pages_that_nobody_wants_are_refused,
    stalled_sockets_keep_their_pages_as_they_were,
    receiving_goes_on_between_batches,
    taken_descriptor_keeps_its_unread_bytes,
    adopted_socket_is_served_like_an_accepted_one,
    a_thousand_closes_give_a_thousand_closed,
    last_generation_is_told_from_the_first,
    dropped_driver_closes_its_sockets,
    random_bytes_differ,
    memory_per_socket_is_small,
]);

mod on_a_tiny_ring {
    use super::*;

    /// A ring of 4 submissions and 8 completions: both overflow all the time.
    fn bench() -> Bench<UringDriver> {
        let options = ListenerOptions::default();
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), &options).unwrap();
        listener.listen(&options).unwrap();
        let address = listener.local_addr();
        Bench::of(UringDriver::tiny(&config(), &[Arc::new(listener)]), address)
    }

    #[test]
    fn completions_beyond_the_ring_are_counted_and_not_lost() {
        let mut bench = bench();
        let mut clients: Vec<_> = (0..40).map(|slot| bench.connect(key(slot))).collect();
        let all = pattern(30_000);
        let sends: Vec<_> = (0..40).map(|slot| Send { key: key(slot), parts: 0..1 }).collect();
        let mut results = Vec::new();
        for chunk in all.chunks(1000) {
            for client in &mut clients {
                client.write_all(chunk).unwrap();
            }
            bench.driver.send_batch(&sends, &[IoSlice::new(chunk)], &mut results);
            assert!(results.iter().all(|result| *result == Ok(chunk.len())));
            bench.turn(Some(0));
        }
        for (slot, client) in (0..40).zip(&mut clients) {
            assert_eq!(bench.received(key(slot), all.len()), all);
            let mut read = vec![0; all.len()];
            client.read_exact(&mut read).unwrap();
            assert_eq!(read, all);
        }
        assert!(bench.driver.take_counts().completions_overflowed > 0);
    }

    #[test]
    fn requests_beyond_the_ring_are_all_carried_out() {
        let mut bench = bench();
        let mut clients: Vec<_> = (0..200).map(|slot| bench.connect(key(slot))).collect();
        for slot in 0..200 {
            bench.driver.pause(key(slot));
            bench.driver.want_writable(key(slot));
            bench.driver.resume(key(slot));
            bench.driver.close(key(slot));
        }
        bench.until("all Closed", |bench| bench.keys.values().filter(|seen| seen.closed).count() == 200);
        for client in &mut clients {
            assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        }
    }
}
