//! Full queues and full memory: who gives way, who does not, and what is left.

use super::*;

/// There is memory for two frames.
fn small(overflow: Overflow) -> World {
    let mut world = World::new(overflow, 8);
    world.outbox.limits.frame_bytes_max = 2 * FRAME_COST;
    world
}

fn blocked(outbox: &Outbox) -> Vec<u32> {
    let mut slots = outbox.blocked.clone();
    slots.sort_unstable();
    slots
}

#[test]
fn frames_fill_their_memory_to_the_last_byte_and_the_next_is_refused() {
    let mut world = small(Overflow::Close);
    let mut admit = || {
        let (_, frame) = world.frame(4);
        world.outbox.admit(&mut world.driver, frame)
    };
    assert!(admit().is_some() && admit().is_some());
    assert_eq!(admit(), None, "nobody has one of them queued who could give it up");
    assert_eq!(world.outbox.frames.live_bytes(), world.outbox.limits.frame_bytes_max);
    assert_eq!(world.outbox.counters().frames_refused_memory.read(), 1);
}

#[test]
fn a_full_queue_gives_up_its_oldest_frame_that_has_not_begun() {
    let mut world = World::new(Overflow::DropOldest, 8);
    let [begun, not_begun] = [0, 1];
    world.set_takes(begun, Takes::Bytes(1));
    world.set_takes(not_begun, Takes::Bytes(0));
    for _ in 0..8 {
        world.fan_out(&[begun, not_begun], None);
        world.flush();
    }
    assert_eq!(world.fan_out(&[begun, not_begun], None), 2);
    for slot in [begun, not_begun] {
        assert_eq!(world.outbox.dropped_count(slot), 1);
        world.set_takes(slot, Takes::All);
        world.writable(slot);
    }
    world.flush();
    assert_eq!(ids(world.stream(begun)), [0, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(ids(world.stream(not_begun)), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_full_queue_whose_socket_turns_out_to_have_failed_takes_nothing_more() {
    let mut world = World::new(Overflow::Close, 8);
    for _ in 0..8 {
        world.fan_out(&[0], None);
    }
    world.set_takes(0, Takes::Fails);
    assert_eq!(world.fan_out(&[0], None), 0);
    assert_eq!(world.events(), [Outcome::Failed(0)]);
    assert!(world.outbox.queue(0).is_empty());
    world.check_frames();
}

/// Four sockets have refused bytes. Two of their sessions hold the oldest frame; one has only a younger one; the last
/// takes bytes again and has nothing left.
#[test]
fn for_memory_those_that_hold_the_oldest_frame_drop_it_and_nobody_else_loses_anything() {
    let mut world = small(Overflow::DropOldest);
    let [one, other, younger, recovered] = [0, 1, 2, 3];
    (0..4).for_each(|slot| world.set_takes(slot, Takes::Bytes(0)));
    world.fan_out(&[recovered], None);
    world.flush();
    world.set_takes(recovered, Takes::All);
    world.writable(recovered);
    world.flush();
    world.fan_out(&[one, other], None);
    world.fan_out(&[one, other, younger], None);
    world.flush();
    assert_eq!(blocked(&world.outbox), [one, other, younger, recovered]);

    assert_eq!(world.fan_out(&[younger], None), 1);
    let dropped = [one, other, younger, recovered].map(|slot| world.outbox.dropped_count(slot));
    assert_eq!(dropped, [1, 1, 0, 0]);
    assert_eq!([one, other, younger].map(|slot| world.outbox.queue(slot).len()), [1, 1, 2]);
    assert_eq!(world.outbox.counters().frames_dropped_oldest.read(), 2);
    assert_eq!(world.events(), [], "nobody is closed");
    assert_eq!(blocked(&world.outbox), [one, other, younger], "who recovered is not looked at again");
    assert_eq!(world.driver.policies, BTreeSet::from([one, other]));
    world.check_lists();
    world.check_frames();
}

/// A frame cannot be dropped in its middle, so the connection is. The shard is told that the queue was the cause,
/// unless it has closed the session before.
#[test]
fn for_memory_those_that_have_begun_the_oldest_frame_are_cut() {
    let mut world = small(Overflow::DropNewest);
    let [open, closing, younger] = [0, 1, 2];
    world.set_takes(open, Takes::Bytes(1));
    world.set_takes(closing, Takes::Bytes(1));
    world.set_takes(younger, Takes::Bytes(0));
    world.fan_out(&[open, closing], None);
    world.fan_out(&[younger], None);
    world.flush();
    world.outbox.stop_intake(closing);

    assert_eq!(world.fan_out(&[younger], None), 1);
    let events = [Outcome::Overflowed(open), Outcome::Failed(open), Outcome::Failed(closing)];
    assert_eq!(world.events(), events);
    assert_eq!([open, closing, younger].map(|slot| world.outbox.queue(slot).len()), [0, 0, 2]);
    assert_eq!(world.driver.policies, BTreeSet::from([open, closing]));
    world.check_frames();
}
