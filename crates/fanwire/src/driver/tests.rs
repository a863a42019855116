//! What every driver must do, on real loopback sockets; each test runs on both.
//!
//! Nothing here sleeps: `Bench::until` polls for the event that a test waits for, within `DEADLINE`.

mod accepting;
mod closing;
mod pages;
mod reading;
mod sending;
mod taking;

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

use self::{accepting::*, closing::*, pages::*, reading::*, sending::*, taking::*};
use super::{
    Driver, DriverConfig, Event, GENERATION_MAX, Key, PARTS_PER_SEND_MAX, PageRange, SENDS_PER_BATCH_MAX,
    Send,
    epoll::EpollDriver,
    listener::{ListenError, Listener, ListenerOptions},
    socket::NO_ADDRESS,
    uring::UringDriver,
};

/// A driver with its listener, and what came out of it.
struct Bench<D: Driver> {
    driver: D,
    address: SocketAddr,
    accepted: Vec<(D::Socket, SocketAddr)>,
    /// By which listener each came.
    listeners: Vec<u8>,
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
        shares_listeners: false,
        receive_buffer_bytes: 4096,
        receive_buffers: 64,
        send_buffer_bytes: None,
        shares_pages: true,
    }
}

impl<D: Driver> Bench<D> {
    fn of(driver: D, address: SocketAddr) -> Self {
        Self {
            driver,
            address,
            accepted: Vec::new(),
            listeners: Vec::new(),
            accept_failures: Vec::new(),
            keys: HashMap::new(),
        }
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
            Event::Accepted { socket, peer, listener } => {
                self.accepted.push((socket, peer));
                self.listeners.push(listener);
            }
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
    little_room_is_shared_out_to_every_listener,
    connections_come_from_a_socket_file_without_an_address,
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
