//! The contract of `Driver`, as far as chance can bend it.

use super::*;
use crate::sim::pipe::PipeEnd;

impl SimDriver {
    /// Loses all last completions, as no driver may.
    pub(crate) fn forget_ends(&mut self) {
        self.ends.clear();
        self.found.retain(|found| !matches!(found, Found::End(_)));
    }

    /// A buffer that never comes back.
    pub(crate) fn lose_buffer(&mut self) {
        self.buffers.free -= 1;
        self.buffers.outstanding += 1;
    }
}

const ONE: Key = Key { slot: 0, generation: 1 };
const TWO: Key = Key { slot: 0, generation: 2 };

/// A driver with so many buffers of 4 bytes, and one registered socket.
fn driver(faults: Faults, buffers: u16) -> (SimDriver, usize) {
    let net = Rc::new(RefCell::new(Net::new(1, faults)));
    let config = DriverConfig {
        accepts_armed_max: 4,
        shares_listeners: false,
        receive_buffer_bytes: 4,
        receive_buffers: buffers,
        send_buffer_bytes: None,
        shares_pages: true,
    };
    let mut driver = SimDriver::new(net, 1, 0, config);
    let link = driver.net.borrow_mut().add_link(8);
    register(&mut driver, ONE, link);
    (driver, link)
}

fn register(driver: &mut SimDriver, key: Key, link: usize) {
    let socket = SimSocket { net: driver.net.clone(), link: Some(link) };
    driver.register(key, socket);
}

/// Always posted, as far as that goes.
fn posting() -> Faults {
    Faults { received_after_pause_per_mille: 1_000, ..Faults::none() }
}

fn send_up(driver: &SimDriver, link: usize, bytes: &[u8]) {
    assert_eq!(driver.net.borrow_mut().send_up(link, bytes), bytes.len());
}

/// All that is there to fetch: bytes received, and names of other events. Buffers go back.
fn fetch(driver: &mut SimDriver) -> (Vec<u8>, Vec<&'static str>) {
    let (mut bytes, mut others) = (Vec::new(), Vec::new());
    while let Some(event) = driver.next_event() {
        match event {
            Event::Received { buffer, .. } => {
                bytes.extend_from_slice(&buffer);
                driver.recycle(buffer);
            }
            Event::Accepted { .. } => others.push("accepted"),
            Event::AcceptFailed { .. } => others.push("accept failed"),
            Event::Eof { .. } => others.push("eof"),
            Event::Failed { .. } => others.push("failed"),
            Event::Writable { .. } => others.push("writable"),
            Event::Closed { .. } => others.push("closed"),
            Event::Taken { .. } => others.push("taken"),
        }
    }
    (bytes, others)
}

/// Polls until nothing is found any more.
fn poll_all(driver: &mut SimDriver) -> (Vec<u8>, Vec<&'static str>) {
    let (mut bytes, mut others) = (Vec::new(), Vec::new());
    while driver.has_events() {
        driver.poll(Some(0));
        let found = fetch(driver);
        bytes.extend(found.0);
        others.extend(found.1);
    }
    (bytes, others)
}

#[test]
fn what_was_posted_before_a_pause_comes_after_it_and_in_order() {
    let (mut driver, link) = driver(posting(), 8);
    let mut is_seen = false;
    for _ in 0..20 {
        send_up(&driver, link, b"abcdefgh");
        driver.poll(Some(0));
        driver.pause(ONE);
        let (mut bytes, _) = fetch(&mut driver);
        is_seen |= !bytes.is_empty();
        assert!(!driver.has_events(), "a paused socket is not read");
        driver.resume(ONE);
        bytes.extend(poll_all(&mut driver).0);
        assert_eq!(bytes, b"abcdefgh");
    }
    assert!(is_seen);
}

#[test]
fn what_was_posted_for_a_closed_key_is_swallowed_and_its_buffer_comes_back() {
    let (mut driver, link) = driver(posting(), 2);
    send_up(&driver, link, b"abcdefgh");
    while driver.buffers.free == 2 {
        driver.poll(Some(0));
    }
    driver.close(ONE);
    assert_eq!(fetch(&mut driver), (Vec::new(), vec!["closed"]));
    assert_eq!((driver.buffers.free, driver.buffers_outstanding()), (2, 0));
    let next = driver.net.borrow_mut().add_link(8);
    register(&mut driver, TWO, next);
    send_up(&driver, next, b"new");
    assert_eq!(poll_all(&mut driver).0, b"new");
}

#[test]
fn a_late_closed_keeps_the_slot() {
    let late = Faults { closed_late_per_mille: 1_000, closed_delay_ns_max: 1_000, ..Faults::none() };
    let (mut driver, _) = driver(late, 2);
    driver.close(ONE);
    assert!(driver.is_ending(0));
    let at = driver.net.borrow_mut().next_arrival().expect("it comes later");
    assert!(!driver.has_events());
    driver.net.borrow_mut().now = at;
    assert_eq!(poll_all(&mut driver).1, ["closed"]);
    assert!(!driver.is_ending(0));
}

#[test]
#[should_panic(expected = "only after Closed or Taken")]
fn a_slot_is_not_used_again_before_its_last_completion() {
    let (mut driver, _) = driver(Faults::none(), 2);
    driver.close(ONE);
    let link = driver.net.borrow_mut().add_link(8);
    register(&mut driver, TWO, link);
}

#[test]
fn a_receive_without_a_buffer_waits_for_one_and_is_counted() {
    let (mut driver, link) = driver(Faults::none(), 2);
    send_up(&driver, link, b"abcdefghijkl");
    let mut held = Vec::new();
    for _ in 0..2 {
        driver.poll(Some(0));
        let Some(Event::Received { buffer, .. }) = driver.next_event() else { panic!("there is a buffer") };
        held.push(buffer);
    }
    driver.poll(Some(0));
    assert!(driver.next_event().is_none());
    assert_eq!((driver.take_counts().receive_buffers_exhausted, driver.buffers_outstanding()), (1, 2));
    driver.recycle(held.pop().unwrap());
    assert_eq!(poll_all(&mut driver).0, b"ijkl");
    driver.recycle(held.pop().unwrap());
    assert_eq!(driver.buffers_outstanding(), 0);
}

#[test]
fn late_events_are_late_and_not_lost() {
    let (mut driver, link) = driver(Faults { event_late_per_mille: 1_000, ..Faults::none() }, 2);
    send_up(&driver, link, b"abc");
    driver.net.borrow_mut().end_up(link, PipeEnd::Fin);
    let mut polls_in_vain = 0;
    let (mut bytes, mut others) = (Vec::new(), Vec::new());
    while driver.has_events() {
        driver.poll(Some(0));
        let found = fetch(&mut driver);
        polls_in_vain += u32::from(found.0.is_empty() && found.1.is_empty());
        bytes.extend(found.0);
        others.extend(found.1);
    }
    assert_eq!((bytes.as_slice(), others.as_slice()), (&b"abc"[..], &["eof"][..]));
    assert!(polls_in_vain > 0);
}

#[test]
fn writable_comes_once_for_each_time_that_it_is_asked_for() {
    let (mut driver, link) = driver(Faults::none(), 2);
    assert_eq!(driver.send_now(ONE, &[IoSlice::new(b"123456789")]), Ok(8));
    driver.want_writable(ONE);
    driver.want_writable(ONE);
    assert!(!driver.has_events());
    driver.net.borrow_mut().links[link].down.pull(u64::MAX, 1, &mut Vec::new());
    assert_eq!(poll_all(&mut driver).1, ["writable"]);
    driver.net.borrow_mut().faults.writable_spurious_per_mille = 1_000;
    assert_eq!(driver.send_now(ONE, &[IoSlice::new(b"9")]), Ok(1));
    driver.want_writable(ONE);
    driver.poll(Some(0));
    assert_eq!(fetch(&mut driver).1, ["writable"], "though it is not");
}

#[test]
fn a_taken_socket_leaves_behind_what_was_received() {
    for seed in 0..50 {
        let (mut driver, link) = driver(posting(), 8);
        driver.net.borrow_mut().links[link].rng = Rng::new(seed);
        send_up(&driver, link, b"abcdefgh");
        driver.net.borrow_mut().end_up(link, PipeEnd::Fin);
        driver.poll(Some(0));
        driver.take(ONE);
        let mut bytes = Vec::new();
        let descriptor = loop {
            match driver.next_event() {
                Some(Event::Received { buffer, .. }) => {
                    bytes.extend_from_slice(&buffer);
                    driver.recycle(buffer);
                }
                Some(Event::Taken { descriptor, .. }) => break descriptor,
                Some(_) => panic!("nothing else is said of a key that leaves"),
                None => driver.poll(Some(0)),
            }
        };
        let mut net = driver.net.borrow_mut();
        assert_eq!(net.redeem(&descriptor), Ok(link));
        net.links[link].up.pull(u64::MAX, 99, &mut bytes);
        assert_eq!(bytes, b"abcdefgh");
    }
}

#[test]
fn a_failed_accept_stops_accepting_until_it_was_paused_and_loses_nobody() {
    let (mut driver, _) = driver(Faults::none(), 2);
    driver.net.borrow_mut().accepts_failing = 1;
    let link = driver.net.borrow_mut().add_link(8);
    driver.net.borrow_mut().backlog.push_back(Waiting { link, shard: None, ready_at: 0 });
    driver.accept(1);
    assert_eq!(poll_all(&mut driver).1, ["accept failed"]);
    driver.accept(1);
    assert!(!driver.has_events());
    driver.accept(0);
    driver.accept(1);
    assert_eq!(poll_all(&mut driver).1, ["accepted"]);
}
