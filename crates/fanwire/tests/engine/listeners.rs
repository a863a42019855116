//! Listeners: several in one server, socket files, sockets that somebody else has made.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    time::Duration,
};

use fanwire::{DriverChoice, Error, Listen, ListenAddress, ListenError, Network, Options, Running, Server};

use crate::{
    common::{Backend, Client, Gates, Log, PATIENCE, Response, Script, Setup, TcpWire, Wire, request_head},
    on_real_sockets,
};

on_real_sockets!(
    every_place_of_a_server_takes_connections,
    a_socket_file_alone_is_enough,
    a_socket_file_is_replaced_only_if_nobody_listens,
    a_socket_that_was_handed_over_goes_to_the_next_server,
    behind_a_socket_file_the_proxy_names_the_peer,
    each_listener_has_its_own_rule,
    connections_are_adopted_beside_listeners,
    the_smallest_room_for_handshakes_serves_every_listener,
    connections_one_by_one_go_to_every_shard,
);

fn options(setup: Setup) -> Options {
    let driver = if setup.backend == Backend::Uring { DriverChoice::Uring } else { DriverChoice::Epoll };
    Options::default().driver(driver).shards(setup.shards)
}

fn start(options: Options, places: impl IntoIterator<Item = Listen>) -> Running<String> {
    let (log, gates) = (Log::default(), Gates::default());
    let make = |shard| Script { shard, log: log.clone(), gates: gates.clone() };
    Server::bind_all(places, options).unwrap().start(make).unwrap()
}

fn loopback() -> Listen {
    Listen::tcp("127.0.0.1:0").unwrap()
}

/// A path of this test's own.
struct Place(PathBuf);

impl Place {
    fn new(setup: Setup, name: &str) -> Self {
        let name = format!("fanwire-{}-{:?}-{}-{name}", std::process::id(), setup.backend, setup.shards);
        Self(std::env::temp_dir().join(name))
    }

    fn listen(&self) -> Listen {
        Listen::unix(&self.0)
    }

    fn wire(&self) -> Box<dyn Wire> {
        Box::new(TcpWire::of_unix(UnixStream::connect(&self.0).unwrap()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn wire_to(address: &ListenAddress) -> Box<dyn Wire> {
    match address {
        ListenAddress::Tcp(address) => Box::new(TcpWire::connect(*address)),
        ListenAddress::Unix(path) => Box::new(TcpWire::of_unix(UnixStream::connect(path).unwrap())),
        other => panic!("{other:?}"),
    }
}

fn open(wire: Box<dyn Wire>) -> Client {
    Client::open(wire, &request_head("/ws?name=c", &[])).unwrap_or_else(|response| panic!("{response:?}"))
}

fn peer_of(client: &mut Client) -> String {
    client.script("peer");
    serde_json::from_str(&client.data_of("peer")).unwrap()
}

fn every_place_of_a_server_takes_connections(setup: Setup) {
    let place = Place::new(setup, "every");
    let running = start(options(setup), [loopback(), place.listen(), loopback()]);
    let addresses = running.addresses().to_vec();
    assert_eq!(addresses[1], ListenAddress::Unix(place.0.clone()));
    let [ListenAddress::Tcp(first), _, ListenAddress::Tcp(last)] = addresses[..] else {
        panic!("{addresses:?}");
    };
    assert!(first.port() != 0 && last.port() != 0 && first != last);
    assert_eq!(running.address(), first);
    let mut clients: Vec<Client> = (0..12).map(|index| open(wire_to(&addresses[index % 3]))).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let peer = peer_of(client);
        assert_eq!(peer == "0.0.0.0:0", index % 3 == 1, "{peer}");
        client.script_and_wait("sub t");
    }
    running.publisher().publish("t", "1").unwrap();
    clients.iter_mut().for_each(|client| client.expect("t", "1"));
    let drained = std::thread::spawn(move || (running.drain(PATIENCE), running));
    for client in clients {
        client.finish_close(1_001);
    }
    let (report, running) = drained.join().unwrap();
    assert_eq!((report.drained, report.cut), (12, 0));
    assert!(!place.0.exists());
    for address in [first, last] {
        until("nobody listens", || TcpStream::connect(address).is_err());
    }
    drop(running);
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn a_socket_file_alone_is_enough(setup: Setup) {
    let place = Place::new(setup, "alone");
    let running = start(options(setup), [place.listen()]);
    assert_eq!(running.address(), SocketAddr::from(([0, 0, 0, 0], 0)));
    let mut client = open(place.wire());
    // More than the socket holds, so that sends are blocked and go on.
    client.script("sub t\nsend_n 200 n\nmark 1");
    client.expect_numbers("n", 0..200);
    client.expect("mark", "1");
    client.close();
    drop(running);
    assert!(!place.0.exists(), "dropping it ends it");
}

fn a_socket_file_is_replaced_only_if_nobody_listens(setup: Setup) {
    let place = Place::new(setup, "stale");
    drop(UnixListener::bind(&place.0).unwrap());
    let running = start(options(setup), [place.listen()]);
    let error = Server::bind_all([place.listen()], options(setup)).unwrap_err();
    assert!(matches!(error, Error::Listen(ListenError::PathInUse { .. })), "{error}");
    open(place.wire()).close();
    drop(running);
    fs::write(&place.0, "precious").unwrap();
    let error = Server::bind_all([place.listen()], options(setup)).unwrap_err();
    assert!(matches!(error, Error::Listen(ListenError::PathTaken { .. })), "{error}");
    fs::remove_file(&place.0).unwrap();
    start(options(setup), [place.listen()]).shutdown();
    // One that was bound and not started leaves nothing behind either.
    drop(Server::bind_all([place.listen()], options(setup)).unwrap());
    assert!(!place.0.exists());
}

fn a_socket_that_was_handed_over_goes_to_the_next_server(setup: Setup) {
    let place = Place::new(setup, "handed");
    let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&place.0).unwrap());
    let address = tcp.local_addr().unwrap();
    let start = || {
        let places = [Listen::socket(tcp.try_clone().unwrap()), Listen::socket(unix.try_clone().unwrap())];
        start(options(setup), places)
    };
    for _ in 0..3 {
        let running = start();
        assert_eq!(running.address(), address);
        open(Box::new(TcpWire::connect(address))).close();
        open(place.wire()).close();
        running.shutdown();
        // Who comes between two servers waits for the next.
        let waiting: [Box<dyn Wire>; 2] = [Box::new(TcpWire::connect(address)), place.wire()];
        let next = start();
        for wire in waiting {
            open(wire).close();
        }
        drop(next);
    }
    assert!(place.0.exists(), "it is not ours");
}

fn behind_a_socket_file_the_proxy_names_the_peer(setup: Setup) {
    let place = Place::new(setup, "behind");
    let running = start(options(setup), [place.listen().behind([Network::UNIX])]);
    let head = request_head("/ws?name=c", &[]);
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n";
    let mut client = Client::open(place.wire(), &[&header[..], &head].concat()).unwrap();
    assert_eq!(peer_of(&mut client), "192.0.2.7:12345");
    let mut client = Client::open(place.wire(), &[&b"PROXY UNKNOWN\r\n"[..], &head].concat()).unwrap();
    assert_eq!(peer_of(&mut client), "0.0.0.0:0");
    assert_eq!(Response::to(place.wire(), &head).status, 400);
    assert_eq!(running.stats().total.refused_proxy_header, 1);
}

fn each_listener_has_its_own_rule(setup: Setup) {
    let place = Place::new(setup, "own");
    let places = [
        loopback(),
        loopback().behind(["127.0.0.1".parse().unwrap()]),
        loopback().behind(["10.0.0.0/8".parse().unwrap(), Network::UNIX]),
        place.listen().behind(["127.0.0.1".parse().unwrap()]),
    ];
    let running = start(options(setup), places);
    let head = request_head("/ws?name=c", &[]);
    let behind = [b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".as_slice(), &head].concat();
    let opens = |address: &ListenAddress, bytes: &[u8]| match Client::open(wire_to(address), bytes) {
        Ok(mut client) => Ok(peer_of(&mut client)),
        Err(response) => Err(response.status),
    };
    let addresses = running.addresses();
    assert!(opens(&addresses[0], &head).unwrap().starts_with("127.0.0.1:"));
    // A header is no request.
    assert_eq!(opens(&addresses[0], &behind), Err(400));
    assert_eq!(opens(&addresses[1], &behind), Ok("[2001:db8::7]:1".to_owned()));
    assert_eq!(opens(&addresses[1], &head), Err(400));
    for address in &addresses[2..] {
        assert_eq!((opens(address, &head), opens(address, &behind)), (Err(403), Err(403)), "{address}");
    }
    let total = running.stats().total;
    assert_eq!((total.refused_untrusted, total.refused_proxy_header, total.refused_malformed), (4, 1, 1));
}

fn connections_are_adopted_beside_listeners(setup: Setup) {
    let running = start(options(setup), [loopback().behind(["10.0.0.0/8".parse().unwrap()])]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    running.adopt(theirs, "adopted".to_owned(), Vec::new()).unwrap();
    let mut client = Client::on(Box::new(TcpWire::of_unix(ours)), Vec::new(), 0);
    // Whoever hands a connection over has asked for its peer: no header is expected there.
    assert_eq!(peer_of(&mut client), "0.0.0.0:0");
    client.close();
}

fn the_smallest_room_for_handshakes_serves_every_listener(setup: Setup) {
    let options = options(setup).accepts_armed_max(1).handshakes_max(3);
    let error = Server::bind_all([loopback(), loopback()], options.clone().handshakes_max(1)).unwrap_err();
    assert!(error.to_string().contains("handshakes_max: at least 2"), "{error}");
    let running = start(options, [loopback(), loopback(), loopback()]);
    // Each waits on the others' heads as long as there are three, and is served all the same.
    for round in 0..30 {
        let address = &running.addresses()[round % 3];
        let mut idle: Vec<Box<dyn Wire>> = (0..3).map(|_| wire_to(&running.addresses()[1])).collect();
        let waiting = wire_to(address);
        idle.iter_mut().for_each(|wire| wire.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"));
        open(waiting).close();
    }
}

#[test]
fn what_cannot_be_listened_on_says_why() {
    let many = (0..65).map(|_| loopback());
    let no_socket = Listen::socket(fs::File::open("/dev/null").unwrap());
    let cases = [
        (Server::bind_all(many, Options::default()), "listeners: one server has at most 64"),
        (Server::bind_all([loopback().behind([])], Options::default()), "behind: no proxy is named"),
        (Server::bind_all([no_socket], Options::default()), "is no socket: hand over"),
        (Server::bind_all([Listen::unix("/nowhere/s")], Options::default()), "the folder must be there"),
    ];
    for (result, wanted) in cases {
        let error = result.expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
    assert!(matches!(Listen::tcp("nowhere"), Err(Error::Address(_))));
}

/// Nobody is in a hurry, so that every shard sleeps when the next connection comes. On a busy machine one that does not
/// get a CPU misses its turns, and others rightly take them, so that not every round has to be fair.
fn connections_one_by_one_go_to_every_shard(setup: Setup) {
    const ROUNDS_MAX: usize = 20;
    const FAIR: usize = 3;
    let mut rounds: Vec<Vec<u64>> = Vec::new();
    while rounds.iter().filter(|on_each| is_fair(on_each)).count() < FAIR {
        assert!(rounds.len() < ROUNDS_MAX, "{rounds:?}");
        rounds.push(one_by_one(setup));
    }
}

/// How many of 64 are on each shard.
fn one_by_one(setup: Setup) -> Vec<u64> {
    // A ring takes as many as it has accepts armed before it is another's turn.
    let options = options(setup).accepts_armed_max(4);
    let running = start(options, [loopback(), loopback()]);
    let _clients: Vec<Client> = (0..64).map(|n| open(wire_to(&running.addresses()[n % 2]))).collect();
    running.stats().shards.iter().map(|shard| shard.sessions_opened).collect()
}

fn is_fair(on_each: &[u64]) -> bool {
    let fair = on_each.iter().sum::<u64>() / on_each.len() as u64;
    on_each.iter().all(|&opened| opened >= fair / 2)
}
