//! Rounds of a flush: who shares a batch, where a round ends, and who waits for its socket.

use super::*;

const EVERYBODY: [u32; SLOTS as usize] = [0, 1, 2, 3, 4, 5];

#[test]
fn all_share_a_batch_but_those_that_have_control_frames() {
    let mut world = World::new(Overflow::Close, 8);
    world.fan_out(&EVERYBODY, None);
    world.outbox.ping(2);
    world.flush();
    assert_eq!(world.driver.batches, [5]);
    assert_eq!(opcodes(world.stream(2)), [Opcode::Ping, Opcode::Binary]);
    assert!(EVERYBODY.iter().all(|&slot| ids(world.stream(slot)) == [0]));
    assert!(!world.outbox.has_dirty());
}

#[test]
fn a_socket_that_takes_less_than_it_is_offered_is_waited_for_and_not_tried_again() {
    let mut world = World::new(Overflow::Close, 8);
    world.set_takes(0, Takes::Bytes(FRAME_BYTES - 1));
    world.fan_out(&[0], None);
    world.flush();
    assert!(world.outbox.is_blocked(0) && world.driver.sockets[&0].is_wanted);
    assert!(!world.outbox.has_dirty());
    world.flush();
    assert_eq!(world.tries(0), 1);
    assert_eq!(world.outbox.counters().sends_blocked.read(), 1);
}

#[test]
fn a_round_ends_after_so_many_sends_and_the_next_one_goes_on_there() {
    let mut world = World::new(Overflow::Close, 8);
    world.outbox.set_sends_max(4);
    world.fan_out(&EVERYBODY, None);
    world.flush();
    assert!(world.outbox.has_dirty());
    assert_eq!(world.driver.batches, [4]);
    world.flush();
    assert!(!world.outbox.has_dirty());
    assert_eq!(world.driver.batches, [4, 2]);
}

#[test]
fn sessions_that_always_have_more_to_send_take_turns() {
    let mut world = World::new(Overflow::Close, 8);
    world.outbox.set_sends_max(1);
    for round in 1..=6u32 {
        world.fan_out(&[0, 1], None);
        world.flush();
        let tries = world.tries(0) + world.tries(1);
        assert_eq!((tries, world.tries(0)), (round, round.div_ceil(2)));
    }
}

#[test]
fn the_list_of_slices_keeps_its_memory_from_one_round_to_the_next() {
    let parts = Vec::with_capacity(100);
    assert_eq!(crate::shard::flush::recycle(parts).capacity(), 100);
}
