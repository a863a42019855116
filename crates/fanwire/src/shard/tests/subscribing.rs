//! Subscribing: memory of topics, counted to the byte.

use super::*;
use crate::{SubscribeError, session::Ops, sim::Bounds};

#[test]
fn a_topic_may_be_as_long_as_the_limit_says() {
    let mut rig = Rig::new(Options::default().topic_bytes_max(10));
    let _client = rig.open(1 << 16);
    assert_eq!(Ops::subscribe(rig.core(), 0, &"t".repeat(10)), Ok(()));
    assert_eq!(Ops::subscribe(rig.core(), 0, &"t".repeat(11)), Err(SubscribeError::TopicTooLong));
}

/// A subscription takes 32 bytes; the first of a topic 320 more, and the topic's name.
#[test]
fn memory_for_topics_is_used_to_the_last_byte() {
    let mut rig = Rig::new(Options::default().topic_memory_max(1_024));
    let _clients = [rig.open(1 << 16), rig.open(1 << 16)];
    let (long, short) = ("l".repeat(200), "s".repeat(88));
    assert_eq!(Ops::subscribe(rig.core(), 0, &long), Ok(()));
    assert_eq!(rig.core().topic_bytes, 552);
    assert_eq!(Ops::subscribe(rig.core(), 1, &long), Ok(()));
    assert_eq!(rig.core().topic_bytes, 584);
    assert_eq!(Ops::subscribe(rig.core(), 1, &short), Ok(()));
    assert_eq!(rig.core().topic_bytes, 1_024);
    assert_eq!(Ops::subscribe(rig.core(), 0, &short), Err(SubscribeError::Full));
    assert!(Ops::unsubscribe(rig.core(), 1, &long));
    assert_eq!(Ops::subscribe(rig.core(), 0, &short), Ok(()));
    assert_eq!(Ops::unsubscribe_all(rig.core(), 0) + Ops::unsubscribe_all(rig.core(), 1), 3);
    assert_eq!(rig.core().topic_bytes, 0);
}

#[test]
fn a_subscription_beyond_the_memory_is_refused_by_a_byte() {
    let mut rig = Rig::new(Options::default().topic_memory_max(1_024));
    let _client = rig.open(1 << 16);
    assert_eq!(Ops::subscribe(rig.core(), 0, &"a".repeat(200)), Ok(()));
    assert_eq!(Ops::subscribe(rig.core(), 0, &"b".repeat(121)), Err(SubscribeError::Full));
    assert_eq!(Ops::subscribe(rig.core(), 0, &"b".repeat(120)), Ok(()));
}

/// Commands are taken from the inbox 64 at a time.
#[test]
fn broadcasts_count_for_open_sessions_and_end_the_intake_of_a_tick() {
    let mut rig = Rig::new(Options::default());
    let mut clients: Vec<_> = (0..4).map(|_| rig.open(1 << 20)).collect();
    clients[1].send(&told("close", ""));
    rig.settle();
    rig.server.set_bounds(Bounds { deliveries: 3 * 64, ..Bounds::default() });
    let before = rig.stats().frames_queued;
    (0..65).for_each(|_| rig.server.publisher().broadcast("all", "1").unwrap());
    assert!(rig.server.run_until(STEPS_MAX, |server| server.stats().total.frames_queued > before));
    assert_eq!(rig.stats().frames_queued, before + 3 * 64);
    rig.settle();
    assert_eq!(rig.stats().frames_queued, before + 3 * 65);
}

#[test]
fn publishes_end_the_intake_of_a_tick_by_what_they_queue() {
    let mut rig = Rig::new(Options::default());
    let mut clients: Vec<_> = (0..3).map(|_| rig.open(1 << 20)).collect();
    for client in &mut clients {
        client.send(&told("sub", ""));
    }
    rig.settle();
    rig.server.set_bounds(Bounds { deliveries: 3 * 64, ..Bounds::default() });
    let before = rig.stats().frames_queued;
    (0..65).for_each(|_| rig.server.publisher().publish("t", "1").unwrap());
    assert!(rig.server.run_until(STEPS_MAX, |server| server.stats().total.frames_queued > before));
    assert_eq!(rig.stats().frames_queued, before + 3 * 64);
    rig.settle();
    assert_eq!(rig.stats().frames_queued, before + 3 * 65);
}

#[test]
fn what_nobody_subscribes_to_needs_no_memory() {
    let mut rig = Rig::new(Options::default());
    let _client = rig.open(1 << 16);
    rig.core().out().limits.frame_bytes_max = 10;
    let (core, payload) = (rig.core(), crate::Payload::from("1"));
    assert_eq!(Ops::publish(core, None, "t", &payload), Ok(()));
    assert_eq!(core.counters().frames_refused_memory.read(), 0);
    Ops::subscribe(core, 0, "t").unwrap();
    assert_eq!(Ops::publish(core, None, "t", &payload), Err(crate::PublishError::Full));
    assert_eq!(core.counters().frames_refused_memory.read(), 1);
}
