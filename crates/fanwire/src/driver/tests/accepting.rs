//! Accepting: as much as there is room for, and nothing lost beyond it.

use super::*;

pub(super) fn accept_room_is_respected<D: Make>() {
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

pub(super) fn room_that_was_taken_back_accepts_nothing<D: Make>() {
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

pub(super) fn connections_come_from_every_listener<D: Make>() {
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
    // Two clients of different listeners may have the same address.
    for (index, client) in clients.iter().enumerate() {
        let mut accepted = bench.accepted.iter().zip(&bench.listeners);
        let is_it = |((_, peer), listener): (&(_, SocketAddr), &u8)| {
            peer == client && usize::from(*listener) == index % 3
        };
        assert!(accepted.any(is_it), "it came by the listener it went to");
    }
}

/// Room for as many as there are listeners, and a crowd at one of them.
pub(super) fn little_room_is_shared_out_to_every_listener<D: Make>() {
    let options = ListenerOptions::default();
    let listeners: Vec<_> = (0..3)
        .map(|_| {
            let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), &options).unwrap();
            listener.listen(&options).unwrap();
            Arc::new(listener)
        })
        .collect();
    let few = DriverConfig { accepts_armed_max: 1, ..config() };
    let mut bench = Bench::of(D::make(&few, &listeners), listeners[0].local_addr());
    // The last has nobody in front of it, and must not wait for the crowd to go.
    for quiet in [2, 1, 0] {
        let loud = (quiet + 1) % 3;
        let crowd: Vec<_> =
            (0..200).map(|_| TcpStream::connect(listeners[loud].local_addr()).unwrap()).collect();
        bench.driver.accept(30);
        bench.until("some of the crowd", |bench| bench.accepted.len() >= 20);
        let single = TcpStream::connect(listeners[quiet].local_addr()).unwrap();
        let wanted = single.local_addr().unwrap();
        let before = bench.accepted.len();
        bench.until("the single one", |bench| {
            bench.driver.accept(3);
            bench.accepted.iter().any(|(_, peer)| *peer == wanted)
        });
        assert!(bench.accepted.len() < before + 60, "it had to wait for {}", bench.accepted.len() - before);
        bench.until("the rest", |bench| {
            bench.driver.accept(64);
            bench.accepted.len() == crowd.len() + 1
        });
        bench.driver.accept(0);
        bench.turn(Some(0));
        bench.accepted.clear();
        bench.listeners.clear();
    }
}

pub(super) fn connections_come_from_a_socket_file_without_an_address<D: Make>() {
    let options = ListenerOptions::default();
    let kind = std::any::type_name::<D>().rsplit(':').next().unwrap();
    let path = std::env::temp_dir().join(format!("fanwire-{}-{kind}", std::process::id()));
    let listener = Listener::bind_unix(&path, None, &options).unwrap();
    let config = DriverConfig { send_buffer_bytes: Some(40_000), ..config() };
    let mut bench = Bench::of(D::make(&config, &[Arc::new(listener)]), NO_ADDRESS);
    bench.driver.accept(2);
    let mut client = UnixStream::connect(&path).unwrap();
    // One that has a name of its own has no address either.
    let named = std::env::temp_dir().join(format!("fanwire-{}-{kind}-client", std::process::id()));
    let _ = std::fs::remove_file(&named);
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&named).unwrap()).unwrap();
    socket.connect(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    std::fs::remove_file(&named).unwrap();
    bench.until("both", |bench| bench.accepted.len() == 2);
    assert!(bench.accepted.iter().all(|(_, peer)| *peer == NO_ADDRESS));
    let (first, _) = bench.accepted.remove(0);
    bench.driver.register(key(0), first);
    client.write_all(b"hello").unwrap();
    assert_eq!(bench.received(key(0), 5), b"hello");
    client.set_nonblocking(true).unwrap();
    assert_eq!(bench.driver.send_now(key(0), &[IoSlice::new(b"hi")]), Ok(2));
    let mut read = [0; 2];
    client.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"hi");
    // The buffer is about as small as asked for (the kernel counts twice the figure); its default takes 200 KB.
    let sent = bench.driver.send_now(key(0), &[IoSlice::new(&vec![0; 1 << 20])]).unwrap();
    assert!(sent <= 128 << 10, "{sent}");
    bench.driver.stop_accepting();
    assert!(!path.exists());
}

pub(super) fn peer_of_ipv6_is_told_whole<D: Make>() {
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

pub(super) fn listener_that_is_stopped_refuses<D: Make>() {
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

/// Runs in a process of its own, because the descriptor limit is the process's.
pub(super) fn full_descriptor_table_loses_no_connection<D: Make>() {
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
