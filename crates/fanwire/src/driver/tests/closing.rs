//! Closing: each key ends once, and a slot is not mixed up with its next use.

use super::*;

pub(super) fn peer_sees_end_after_close_while_receiving<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    bench.turn(Some(0));
    assert_eq!(bench.send(key(0), b"last words"), Ok(10));
    bench.close(key(0));
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"last words");
}

pub(super) fn close_while_waiting_to_write_ends_both<D: Make>() {
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

pub(super) fn reset_by_the_peer_fails<D: Make>() {
    let mut bench = Bench::<D>::new();
    let client = bench.connect(key(0));
    sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    bench.until("Failed", |bench| bench.seen(key(0)).failed.is_some());
    assert_eq!(bench.seen(key(0)).failed, Some(Errno::CONNRESET));
    assert!(bench.send(key(0), b"x").is_err());
    bench.close(key(0));
}

pub(super) fn slot_used_again_gets_no_event_of_its_former_key<D: Make>() {
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

pub(super) fn close_with_unread_bytes_resets<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    bench.driver.pause(key(0));
    bench.settle();
    client.write_all(b"never read").unwrap();
    bench.close(key(0));
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

pub(super) fn a_thousand_closes_give_a_thousand_closed<D: Make>() {
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

pub(super) fn last_generation_is_told_from_the_first<D: Make>() {
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

pub(super) fn dropped_driver_closes_its_sockets<D: Make>() {
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
