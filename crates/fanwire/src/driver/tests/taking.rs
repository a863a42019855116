//! Taking and adopting: sockets that leave with what was not read, and sockets that others accepted.

use super::*;

pub(super) fn taken_descriptor_keeps_its_unread_bytes<D: Make>() {
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

pub(super) fn adopted_socket_is_served_like_an_accepted_one<D: Make>() {
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
