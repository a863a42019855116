//! Sending: one socket at a time and in batches, to sockets that are full or gone.

use super::*;

pub(super) fn full_socket_takes_a_part_then_nothing_then_is_writable<D: Make>() {
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

pub(super) fn writable_comes_while_paused_and_again_when_asked_again<D: Make>() {
    let mut bench = Bench::<D>::new();
    let _client = bench.connect(key(0));
    bench.driver.pause(key(0));
    for wish in 1..=3 {
        bench.driver.want_writable(key(0));
        bench.until("Writable", |bench| bench.seen(key(0)).writable == wish);
    }
}

pub(super) fn shutdown_of_writing_still_receives<D: Make>() {
    let mut bench = Bench::<D>::new();
    let mut client = bench.connect(key(0));
    bench.driver.shutdown_write(key(0));
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    client.write_all(b"still here").unwrap();
    assert_eq!(bench.received(key(0), 10), b"still here");
    assert_eq!(bench.send(key(0), b"x"), Err(Errno::PIPE));
}

pub(super) fn batches_keep_the_order_of_each_socket<D: Make>() {
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

pub(super) fn sends_of_a_batch_fail_each_for_itself<D: Make>() {
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
