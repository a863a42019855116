//! The server: its beginning, its end, and connections that come from or go to somebody else.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use fanwire::{
    CloseKind, DriverChoice, Error, ListenError, Options, PublishError, SendError, Server, sim::Faults,
};

use crate::{
    common::{
        Backend, Client, End, Gates, Incoming, Log, Received, Script, Setup, TcpWire, World, request_head,
    },
    in_every_world, on_real_sockets,
};

in_every_world!(
    an_adopted_connection_becomes_a_session,
    adopting_beyond_the_session_limit_closes_the_connection,
    a_drain_closes_all_sessions_with_1001,
    a_drain_cuts_who_does_not_answer_at_its_deadline,
    a_drain_refuses_handshakes_under_way,
    a_shutdown_ends_a_drain,
    nothing_is_published_after_the_end,
);
on_real_sockets!(
    a_connection_is_taken_over,
    an_adopted_unix_stream_becomes_a_session,
    adopted_unix_streams_share_pages_and_may_stall,
    a_server_that_only_adopts_serves_and_drains,
    an_adopter_outlives_its_server_and_closes_what_it_gets,
    adopting_what_is_no_connection_is_refused,
    dropping_a_server_ends_it,
    a_server_says_what_it_runs_on,
    a_second_server_on_the_port_is_refused,
);

fn an_adopted_connection_becomes_a_session(setup: Setup) {
    let world = World::start(setup, Options::default());
    let bytes = world.client("bytes").script_bytes("send n 1");
    for round in 0..6 {
        let name = format!("adopted{round}");
        let mut client = Client::on(world.adopt_with(name.clone(), bytes.clone()), Vec::new(), 0);
        client.expect("n", "1");
        client.script_and_wait("sub t");
        world.publisher().publish("t", "2").unwrap();
        client.expect("t", "2");
        client.close();
        assert_eq!(world.closed(&name).reason.kind(), CloseKind::Peer);
    }
    assert_eq!(world.stats().total.connections_adopted, 6);
}

fn adopting_beyond_the_session_limit_closes_the_connection(setup: Setup) {
    let world = World::start(setup, Options::default().sessions_max(1));
    let only = world.client("only");
    let mut wire = world.adopt("too many".to_owned());
    assert!(matches!(wire.receive(&mut Vec::new()), Received::End(_)));
    assert_eq!(world.stats().total.refused_capacity, 1);
    only.close();
}

fn a_drain_closes_all_sessions_with_1001(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients: Vec<_> = (0..30).map(|i| world.client(&format!("c{i}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    world.publisher().publish("t", "\"last\"").unwrap();
    world.begin_drain(Duration::from_secs(60));
    for mut client in clients {
        client.expect("t", "\"last\"");
        client.finish_close(1_001);
    }
    let report = world.ended();
    assert_eq!((report.drained, report.cut), (30, 0));
    let log = world.log.lock();
    assert_eq!(log.closed.len(), 30);
    assert!(log.closed.iter().all(|closed| closed.reason.kind() == CloseKind::Server));
}

fn a_drain_cuts_who_does_not_answer_at_its_deadline(setup: Setup) {
    let world = World::start(setup, Options::default());
    let silent: Vec<_> = (0..3).map(|i| world.client(&format!("silent{i}"))).collect();
    let polite = world.client("polite");
    world.begin_drain(Duration::from_millis(500));
    polite.finish_close(1_001);
    let report = world.ended();
    assert_eq!((report.drained, report.cut), (4, 3));
    for mut client in silent {
        client.expect_close(1_001);
        assert!(matches!(client.incoming(), Incoming::End(_)));
    }
}

fn a_drain_refuses_handshakes_under_way(setup: Setup) {
    let world = World::start_faulty(setup, Options::default(), Faults::none());
    let client = world.client("c");
    let mut half = world.wire();
    let head = request_head("/ws?name=late", &[]);
    half.send(&head[..20]);
    let parked = world.begin_connect("/ws?name=later&auth=later");
    world.until_stats("both are read", |stats| {
        stats.total.handshakes == 2 && stats.total.handshakes_parked == 1
    });
    world.begin_drain(Duration::from_secs(60));
    for wire in [half, parked] {
        let response = Client::await_open(wire).err().unwrap();
        assert_eq!((response.status, response.end), (503, End::Fin), "{response:?}");
        assert!(response.header("Retry-After").is_some());
    }
    client.finish_close(1_001);
    assert_eq!(world.ended().drained, 1);
}

fn a_shutdown_ends_a_drain(setup: Setup) {
    let world = World::start(setup, Options::default());
    let clients: Vec<_> = (0..3).map(|i| world.client(&format!("c{i}"))).collect();
    world.begin_drain(Duration::from_secs(3_600));
    world.until_stats("all are closing", |stats| stats.total.closed(CloseKind::Server) == 3);
    world.begin_shutdown();
    assert_eq!(world.ended().drained, 3);
    drop(clients);
    assert_eq!(world.log.lock().closed.len(), 3);
}

fn nothing_is_published_after_the_end(setup: Setup) {
    let world = World::start(setup, Options::default());
    let client = world.client("c");
    world.begin_shutdown();
    world.ended();
    assert_eq!(world.publisher().publish("t", "1"), Err(PublishError::Stopped));
    assert_eq!(world.log.handle("c").send("t", "1"), Err(SendError::Closed));
    drop(client);
}

fn a_connection_is_taken_over(setup: Setup) {
    let world = World::start(setup, Options::default());
    for _ in 0..5 {
        let mut stream = TcpStream::connect(world.address()).unwrap();
        stream.set_read_timeout(Some(crate::common::PATIENCE)).unwrap();
        stream.write_all(b"GET /take HTTP/1.1\r\nHost: test\r\n\r\nmore").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let expected = format!("taken {} GET /take HTTP/1.1", stream.local_addr().unwrap());
        assert_eq!(answer, expected);
    }
    world.until_stats("no connection is left", |stats| stats.total.handshakes == 0);
    world.client("next").close();
}

fn adopt_unix(world: &World, name: &str, received: Vec<u8>) -> Client {
    let (ours, theirs) = UnixStream::pair().unwrap();
    world.running().adopter().adopt(theirs, name.to_owned(), received).unwrap();
    Client::on(Box::new(TcpWire::of_unix(ours)), Vec::new(), 0)
}

fn an_adopted_unix_stream_becomes_a_session(setup: Setup) {
    let world = World::start(setup, Options::default());
    let bytes = world.client("bytes").script_bytes("send n 1");
    for round in 0..4 {
        let name = format!("unix{round}");
        let mut client = adopt_unix(&world, &name, bytes.clone());
        client.expect("n", "1");
        client.script("peer");
        client.expect("peer", "\"0.0.0.0:0\"");
        if round % 2 == 0 {
            client.close();
            assert_eq!(world.closed(&name).reason.kind(), CloseKind::Peer);
        } else {
            client.shutdown_write();
            assert_eq!(world.closed(&name).reason.kind(), CloseKind::Eof);
        }
    }
    assert_eq!(world.stats().total.connections_adopted, 4);
}

fn adopted_unix_streams_share_pages_and_may_stall(setup: Setup) {
    let world = World::start(setup, Options::default().queue_size(64));
    let mut clients: Vec<_> =
        (0..4).map(|index| adopt_unix(&world, &format!("unix{index}"), Vec::new())).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    let sent: Vec<String> =
        ('a'..='z').map(|one| format!("\"{}\"", one.to_string().repeat(100_000))).collect();
    sent.iter().for_each(|payload| world.publisher().publish("t", payload).unwrap());
    world.until_stats("they are blocked", |stats| stats.total.sessions_blocked == 4);
    for client in &mut clients {
        sent.iter().for_each(|payload| client.expect("t", payload));
    }
    let stats = world.stats().total;
    assert!(stats.pages_filled > 0 && stats.shares_refused == 0, "{stats:#?}");
    clients.into_iter().for_each(Client::close);
    world.until_stats("no page is left", |stats| stats.total.page_bytes_live == 0);
}

fn a_server_that_only_adopts_serves_and_drains(setup: Setup) {
    let driver = if setup.backend == Backend::Epoll { DriverChoice::Epoll } else { DriverChoice::Uring };
    let options = Options::default().driver(driver).shards(setup.shards);
    let (log, gates) = (Log::default(), Gates::default());
    let make = |shard| Script { shard, log: log.clone(), gates: gates.clone() };
    let running = Server::adopting(options).unwrap().start(make).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    running.adopt(theirs, "only".to_owned(), Vec::new()).unwrap();
    let mut client = Client::on(Box::new(TcpWire::of_unix(ours)), Vec::new(), 0);
    client.script_and_wait("sub t");
    running.publisher().publish("t", "1").unwrap();
    client.expect("t", "1");
    let drained = std::thread::spawn(move || running.drain(Duration::from_secs(20)));
    client.finish_close(1_001);
    assert_eq!(drained.join().unwrap().drained, 1);
}

fn an_adopter_outlives_its_server_and_closes_what_it_gets(setup: Setup) {
    let world = World::start(setup, Options::default());
    let adopter = world.running().adopter();
    world.begin_shutdown();
    world.ended();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    assert_eq!(adopter.adopt(theirs, "late".to_owned(), Vec::new()), Err(SendError::Closed));
    assert_eq!(ours.read(&mut [0; 1]).unwrap(), 0);
    drop(world);
}

fn adopting_what_is_no_connection_is_refused(setup: Setup) {
    let world = World::start(setup, Options::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    for descriptor in [OwnedFd::from(listener), OwnedFd::from(datagrams)] {
        world.running().adopt(TcpStream::from(descriptor), "none".to_owned(), Vec::new()).unwrap();
    }
    world.until_stats("both are refused", |stats| stats.total.handshakes_abandoned == 2);
    assert_eq!(world.stats().total.sessions_opened, 0);
    world.client("next").close();
}

fn dropping_a_server_ends_it(setup: Setup) {
    let world = World::start(setup, Options::default());
    let address = world.address();
    let mut client = world.client("c");
    let log = world.log.clone();
    drop(world);
    assert_eq!(log.closed("c").len(), 1, "on_close has run when drop returns");
    client.expect_close(1_001);
    // The kernel ends accepts that were armed on a ring a moment after the ring itself.
    let start = std::time::Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < crate::common::PATIENCE, "somebody still listens");
    }
}

fn a_server_says_what_it_runs_on(setup: Setup) {
    let world = World::start(setup, Options::default());
    let drivers = world.running().drivers();
    assert_eq!(drivers.len(), setup.shards());
    assert!(drivers.iter().all(|line| !line.is_empty()));
    assert_ne!(world.address().port(), 0);
}

fn a_second_server_on_the_port_is_refused(setup: Setup) {
    let world = World::start(setup, Options::default());
    let second = Server::bind(world.address()).and_then(|server| server.start(|_| Script::default()));
    let error = second.expect_err("one server has the port");
    assert!(matches!(error, Error::Listen(ListenError::PortInUse { .. })), "{error:?}");
    assert!(error.to_string().contains("stop the program that listens there"), "{error}");
}

/// Each error says what to do.
#[test]
fn what_cannot_be_bound_says_why() {
    let cases: [(&str, Options, &str); 5] = [
        ("127.0.0.1:0", Options::default().queue_size(0), "queue_size"),
        ("127.0.0.1:0", Options::default().frame_bytes_max(1), "at least queue_bytes"),
        ("nowhere", Options::default(), "HOST:PORT"),
        ("192.0.2.1:0", Options::default(), "not an address of this machine"),
        ("127.0.0.1:0", Options::default().congestion_control("no-such"), "choose one of ["),
    ];
    for (address, options, expected) in cases {
        let result = Server::bind_with(address, options.driver(DriverChoice::Epoll))
            .and_then(|server| server.start(|_| Script::default()));
        let error = result.err().unwrap_or_else(|| panic!("{address} works; expected {expected:?}"));
        assert!(error.to_string().contains(expected), "{error}");
    }
}
