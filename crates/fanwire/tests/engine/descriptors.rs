//! Descriptors: accepting with a full file table, in a process of its own.

use std::{fs::File, net::TcpStream, process::Command};

use fanwire::{DriverChoice, Error, Options, Server};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::common::{Client, Log, PATIENCE, Script, TcpWire, request_head};

/// The limit is the process's, so other tests must not share it.
fn in_own_process(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(MARK, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the test bears that name");
}

fn is_own_process() -> bool {
    std::env::var_os(MARK).is_some()
}

#[test]
fn uring_accepts_again_after_a_full_file_table() {
    if is_own_process() {
        fill_the_file_table(DriverChoice::Uring);
    } else {
        in_own_process("descriptors::uring_accepts_again_after_a_full_file_table");
    }
}

#[test]
fn epoll_accepts_again_after_a_full_file_table() {
    if is_own_process() {
        fill_the_file_table(DriverChoice::Epoll);
    } else {
        in_own_process("descriptors::epoll_accepts_again_after_a_full_file_table");
    }
}

/// Connections that cannot be accepted wait in the backlog: accepting pauses, does not spin, and goes on.
fn fill_the_file_table(driver: DriverChoice) {
    // The server raises the soft limit to the hard one.
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let log = Log::default();
    let options = Options::default().driver(driver).shards(1);
    let script = |shard| Script { shard, log: log.clone(), ..Script::default() };
    let running = Server::bind_with("127.0.0.1:0", options).unwrap().start(script).unwrap();
    let address = running.address();
    let accepted: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    wait("the first are accepted", || running.stats().total.connections_accepted == 20);
    let waiting: Vec<_> = (0..10).map(|_| socket_to_connect()).collect();
    let mut fillers = Vec::new();
    while let Ok(filler) = File::open("/dev/null") {
        fillers.push(filler);
    }
    // They connect, since the kernel does that by itself.
    let waiting: Vec<TcpStream> = waiting.into_iter().map(|socket| connect(socket, address)).collect();
    wait("accepting has failed", || running.stats().total.accepts_failed >= 1);
    let start = running.stats().total;
    let watched = std::time::Instant::now();
    wait("it has failed again", || running.stats().total.accepts_failed >= start.accepts_failed + 3);
    let stats = running.stats().total;
    let pauses = watched.elapsed().as_millis() / 100 + 4;
    assert!(u128::from(stats.ticks - start.ticks) < pauses * 10, "{} turns", stats.ticks - start.ticks);
    assert_eq!(stats.connections_accepted, 20);
    // Places become free, and all who have waited are served.
    drop(fillers);
    for stream in waiting.into_iter().chain(accepted) {
        let client = Client::open(Box::new(TcpWire::of(stream)), &request_head("/ws", &[]));
        client.unwrap_or_else(|response| panic!("{response:?}")).close();
    }
    assert_eq!(running.stats().total.sessions_opened, 30);
}

#[test]
fn a_limit_too_low_for_any_server_says_what_is_needed() {
    if !is_own_process() {
        return in_own_process("descriptors::a_limit_too_low_for_any_server_says_what_is_needed");
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(40), maximum: Some(40) }).unwrap();
    let server = Server::bind("127.0.0.1:0").unwrap();
    let error = server.start(|_| Script::default()).expect_err("40 descriptors are too few");
    assert!(matches!(error, Error::Descriptors { limit: 40, .. }), "{error:?}");
    assert!(error.to_string().contains("ulimit -n"), "{error}");
    let Error::Descriptors { needed, .. } = error else { unreachable!() };
    let server = Server::bind_with("127.0.0.1:0", Options::default().descriptors_reserved(1_032)).unwrap();
    let more = server.start(|_| Script::default()).expect_err("even fewer are left");
    assert!(
        matches!(more, Error::Descriptors { limit: 40, needed: more } if more == needed + 1_000),
        "{more:?}"
    );
}

fn socket_to_connect() -> socket2::Socket {
    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap()
}

fn connect(socket: socket2::Socket, address: std::net::SocketAddr) -> TcpStream {
    socket.connect(&address.into()).unwrap();
    socket.into()
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

const DESCRIPTORS: u64 = 200;

const MARK: &str = "FANWIRE_OWN_PROCESS";
