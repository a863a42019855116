//! Draining: its pace, its report, and what had been published before.

use super::*;
use crate::{CloseKind, server::DrainReport, sim::Bounds};

fn rig_with(sessions: usize) -> (Rig, Vec<SimClient>) {
    let mut rig = Rig::new(Options::default());
    let clients = (0..sessions).map(|_| rig.open(1 << 16)).collect();
    (rig, clients)
}

/// How many sessions the drain has closed, so long after it began.
fn closed_after(rig: &mut Rig, began: Duration, time: Duration) -> u64 {
    let passed = rig.server.now() - began;
    rig.pass(time - passed);
    rig.stats().closed(CloseKind::Server)
}

#[test]
fn many_sessions_are_closed_over_four_fifths_of_the_time() {
    let (mut rig, _clients) = rig_with(100);
    let began = rig.server.now();
    rig.server.begin_drain(100 * MILLISECOND);
    // One every 0.8 ms, the first at once.
    for millisecond in [1, 8, 40, 60, 79] {
        let closed = closed_after(&mut rig, began, millisecond * MILLISECOND + MILLISECOND / 10);
        assert_eq!(closed, u64::from(millisecond * 10 / 8 + 1), "after {millisecond} ms");
    }
    assert_eq!(closed_after(&mut rig, began, 81 * MILLISECOND), 100);
}

#[test]
fn few_sessions_are_closed_a_hundred_in_a_second() {
    let (mut rig, _clients) = rig_with(5);
    let began = rig.server.now();
    rig.server.begin_drain(Duration::from_secs(60));
    for (millisecond, closed) in [(1, 1), (9, 1), (11, 2), (29, 3), (31, 4), (41, 5)] {
        assert_eq!(
            closed_after(&mut rig, began, millisecond * MILLISECOND),
            closed,
            "after {millisecond} ms"
        );
    }
}

#[test]
fn a_shard_that_comes_late_closes_what_was_due_meanwhile() {
    let (mut rig, _clients) = rig_with(50);
    let began = rig.server.now();
    rig.server.begin_drain(Duration::from_secs(60));
    assert_eq!(closed_after(&mut rig, began, MILLISECOND), 1);
    rig.server.jump(99 * MILLISECOND + MILLISECOND / 2);
    assert!(rig.server.run_until(STEPS_MAX, |server| server.stats().total.closed(CloseKind::Server) > 1));
    assert_eq!(rig.stats().closed(CloseKind::Server), 11);
    assert_eq!(closed_after(&mut rig, began, 109 * MILLISECOND), 11);
    assert_eq!(closed_after(&mut rig, began, 111 * MILLISECOND), 12);
}

#[test]
fn a_drain_reports_whom_it_closed_and_whom_it_cut() {
    let (mut rig, mut clients) = rig_with(5);
    rig.server.begin_drain(Duration::from_secs(1));
    rig.pass(100 * MILLISECOND);
    assert_eq!(rig.stats().closed(CloseKind::Server), 5);
    // Two leave in time; the others never answer the close frame.
    clients.truncate(3);
    assert!(rig.server.run_until(STEPS_MAX, |server| server.ended().is_some()));
    assert_eq!(rig.server.ended(), Some(DrainReport { drained: 5, cut: 3 }));
}

#[test]
fn what_is_published_between_two_closes_reaches_whom_the_next_one_closes() {
    let (mut rig, mut clients) = rig_with(2);
    for client in &mut clients {
        client.send(&told("sub", ""));
    }
    rig.settle();
    rig.server.set_bounds(Bounds { commands: 1, ..Bounds::default() });
    rig.server.begin_drain(Duration::from_secs(60));
    rig.pass(9 * MILLISECOND);
    assert_eq!(rig.stats().closed(CloseKind::Server), 1);
    clients.iter_mut().for_each(|client| drop(received(client)));
    // The next close is due before they are all taken in: that is 64 in a tick.
    rig.server.jump(2 * MILLISECOND);
    (0..100).for_each(|_| rig.server.publisher().publish("t", "1").unwrap());
    rig.pass(MILLISECOND);
    assert_eq!(rig.stats().closed(CloseKind::Server), 2);
    let message = br#"{"topic":"t","data":1}"#;
    let streams = clients.iter_mut().map(received);
    let counts = streams.map(|stream| stream.windows(message.len()).filter(|part| part == message).count());
    assert_eq!(counts.collect::<Vec<_>>(), [0, 100]);
}

#[test]
fn a_drain_does_not_wait_for_the_end_of_connections_that_have_said_nothing() {
    let options = Options::default();
    let close_time = options.close_timeout;
    let ended_after = |said: &[u8]| {
        let mut rig = Rig::new(Options::default());
        let mut client = rig.server.connect();
        client.send(said);
        rig.settle();
        let began = rig.server.now();
        rig.server.begin_drain(Duration::from_secs(60));
        rig.pass(MILLISECOND);
        assert!(received(&mut client).starts_with(b"HTTP/1.1 503 "));
        assert!(rig.server.run_until(STEPS_MAX, |server| server.ended().is_some()));
        (rig.server.now() - began, rig.stats().close_timeouts)
    };
    let (silent, timeouts) = ended_after(b"");
    assert!(silent < Duration::from_millis(300), "{silent:?}");
    assert_eq!(timeouts, 1);
    let (speaking, _) = ended_after(b"GET /ws");
    assert!(speaking >= close_time, "{speaking:?}");
}
