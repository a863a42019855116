//! Shared pages: what sockets refer to stays as it was.

use super::*;

/// Bytes put into pages at `offset`.
fn write_pages<D: Make>(bench: &mut Bench<D>, offset: u64, bytes: &[u8]) -> PageRange {
    bench.driver.write_pages(offset, bytes).unwrap();
    PageRange { offset, bytes: u32::try_from(bytes.len()).unwrap() }
}

pub(super) fn pages_go_to_many_sockets_in_order_with_what_is_sent_otherwise<D: Make>() {
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

pub(super) fn pages_fill_a_socket_in_part_and_go_on_when_it_is_writable<D: Make>() {
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

pub(super) fn pages_to_a_socket_that_has_ended_are_an_error<D: Make>() {
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

pub(super) fn pages_that_nobody_wants_are_refused<D: Make>() {
    let plain = DriverConfig { shares_pages: false, ..config() };
    let mut bench = Bench::<D>::with(&plain, &ListenerOptions::default());
    assert_eq!(bench.driver.write_pages(0, b"x"), Err(Errno::NOSYS));
}

/// Readers who stall keep what they were sent while far more than all their buffers is written, sent and
/// given back.
pub(super) fn stalled_sockets_keep_their_pages_as_they_were<D: Make>() {
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

/// 240 MB; FANWIRE_PAGE_TURNS=40000 for 2.4 GB.
const PAGE_TURNS: u32 = 4_000;
