//! Accepting: pauses, and what counts them.

use super::*;
use crate::sim::Bounds;

#[test]
fn after_a_failed_accept_connections_wait_a_tenth_of_a_second() {
    let mut rig = Rig::new(Options::default());
    rig.pass(MILLISECOND);
    rig.server.fail_accepts(1);
    let mut client = rig.server.connect();
    client.send(REQUEST.as_bytes());
    assert!(rig.server.run_until(STEPS_MAX, |server| server.stats().total.accepts_failed == 1));
    rig.pass(Duration::from_millis(99));
    assert_eq!(rig.stats().connections_accepted, 0);
    rig.pass(Duration::from_millis(2));
    assert_eq!((rig.stats().connections_accepted, rig.stats().accepts_failed), (1, 1));
}

#[test]
fn each_time_that_descriptors_run_out_is_counted_and_the_first_is_said() {
    let mut rig = Rig::new(Options::default());
    rig.open(1 << 16);
    assert_eq!(rig.stats().accepts_paused, 0);
    for (is_full, said, paused) in
        [(false, 0, 0), (true, 1, 1), (true, 0, 1), (false, 0, 1), (true, 0, 2), (false, 0, 2)]
    {
        assert_eq!(warnings_of(|| rig.core().note_full(is_full)), said);
        assert_eq!(rig.stats().accepts_paused, paused);
    }
}

#[test]
fn each_accept_that_fails_is_counted_and_the_first_is_said() {
    let mut rig = Rig::new(Options::default());
    for (failures, said) in [(1, 1), (2, 0), (3, 0)] {
        rig.server.fail_accepts(1);
        let client = rig.server.connect();
        let warnings = warnings_of(|| {
            assert!(rig.server.run_until(STEPS_MAX, |server| {
                let total = server.stats().total;
                (total.accepts_failed, total.connections_accepted) == (failures, failures)
            }));
        });
        assert_eq!(warnings, said);
        drop(client);
        rig.settle();
    }
}

#[test]
fn a_client_that_speaks_tls_is_refused_and_the_first_is_said() {
    let mut rig = Rig::new(Options::default());
    let hello = b"\x16\x03\x01\x02\x00\x01";
    for (number, (head, said)) in (1..).zip([(&b"nonsense\r\n\r\n"[..], 0), (hello, 1), (hello, 0)]) {
        let warnings = warnings_of(|| {
            rig.server.connect().send(head);
            rig.settle();
        });
        assert_eq!((rig.stats().refused_malformed, warnings), (number, said));
    }
}

#[test]
fn the_limit_of_handshakes_leaves_the_next_ones_in_the_backlog() {
    let mut rig = Rig::new(Options::default().handshakes_max(2));
    let mut clients: Vec<_> = (0..3).map(|_| rig.server.connect()).collect();
    clients[0].send(b"GET ");
    rig.settle();
    assert_eq!(rig.stats().connections_accepted, 2);
    clients[0].send(&REQUEST.as_bytes()[4..]);
    rig.settle();
    assert_eq!(rig.stats().connections_accepted, 3);
}

#[test]
fn who_leaves_before_its_head_is_whole_is_counted() {
    let mut rig = Rig::new(Options::default());
    let mut client = rig.server.connect();
    client.send(b"GET /");
    rig.settle();
    drop(client);
    rig.settle();
    assert_eq!((rig.stats().handshakes_abandoned, rig.stats().handshakes), (1, 0));
}

#[test]
#[should_panic(expected = "counts.iter().all")]
fn a_bound_of_nothing_is_refused() {
    Rig::new(Options::default()).server.set_bounds(Bounds { timers: 0, ..Bounds::default() });
}

#[test]
#[should_panic(expected = "a driver takes no more at once")]
fn more_sends_than_a_driver_takes_are_refused() {
    Rig::new(Options::default()).server.set_bounds(Bounds { sends: 257, ..Bounds::default() });
}
