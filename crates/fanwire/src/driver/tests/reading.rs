//! Reading: what comes in, whole and in order, however often it is paused.

use super::*;

pub(super) fn received_bytes_come_back_whole<D: Make>() {
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

pub(super) fn end_of_stream_comes_after_the_bytes_and_leaves_writing_open<D: Make>() {
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

pub(super) fn pause_stops_and_resume_loses_nothing<D: Make>() {
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

pub(super) fn pause_and_resume_at_once_changes_nothing<D: Make>() {
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

pub(super) fn end_of_a_paused_peer_does_not_spin<D: Make>() {
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

pub(super) fn few_receive_buffers_lose_nothing<D: Make>() {
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

/// Events that a batch meets while it waits for its results are kept, in order.
pub(super) fn receiving_goes_on_between_batches<D: Make>() {
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
