//! Sessions that take no more, and say when their last byte has left.

use super::*;

/// Room is made by flushing others, and by their policy: not for a frame that nobody will get.
#[test]
fn a_session_whose_intake_has_ended_is_sent_nothing_more_and_nobody_gives_way_for_it() {
    let mut world = World::new(Overflow::Close, 8);
    world.outbox.limits.frame_bytes_max = FRAME_COST;
    world.fan_out(&[1], None);
    world.outbox.stop_intake(0);
    let (_, frame) = world.frame(4);
    assert_eq!(world.outbox.send(&mut world.driver, 0, frame), Some(Delivery::Closed));
    assert_eq!([0, 1].map(|slot| world.outbox.queue(slot).len()), [0, 1]);
    assert_eq!(world.tries(1), 0);
    world.check_frames();
}

/// As when the peer ends its side while our last words are on their way: all is asked for again.
#[test]
fn who_is_to_finish_says_once_that_all_has_left_however_often_it_is_asked() {
    let mut world = World::new(Overflow::Close, 8);
    world.fan_out(&[0], None);
    for slot in [0, 1] {
        world.outbox.stop_intake(slot);
        world.outbox.finish(slot);
        world.outbox.finish(slot);
    }
    assert_eq!(world.events(), [], "one has a frame to send, and the other is asked at the next flush");
    world.flush();
    assert_eq!(world.events(), [Outcome::Drained(1), Outcome::Drained(0)]);
    assert_eq!(world.stream(0).len(), FRAME_BYTES);
    world.flush();
    assert_eq!(world.events(), []);
}

#[test]
fn frames_that_have_not_begun_are_dropped_and_counted_and_the_one_that_has_begun_stays() {
    let mut world = World::new(Overflow::Close, 8);
    world.set_takes(0, Takes::Bytes(FRAME_BYTES + 1));
    for _ in 0..5 {
        world.fan_out(&[0], None);
    }
    world.flush();
    world.outbox.drop_unbegun(0);
    assert_eq!(world.outbox.counters().frames_dropped_closed.read(), 3);
    let queue = world.outbox.queue(0);
    assert_eq!((queue.len(), queue.bytes()), (1, FRAME_BYTES as u64 - 1));
    world.check_frames();
    world.set_takes(0, Takes::All);
    world.writable(0);
    world.flush();
    assert_eq!(ids(world.stream(0)), [0, 1]);
}
