//! Control frames: their place, their order, and sends of one session by itself.

use fanwire_ws::CONTROL_BYTES_MAX;

use super::*;
use crate::shard::control::PONG_BYTES_MAX;

/// RFC 6455 s5.5.3: whoever has not yet answered all pings may answer the latest only.
#[test]
fn pongs_fill_their_place_to_the_last_byte_and_then_only_the_latest_ping_is_answered() {
    let mut world = World::new(Overflow::Close, 8);
    let longest = [7; CONTROL_BYTES_MAX];
    let rest = PONG_BYTES_MAX % (FRAME_HEADER_BYTES + CONTROL_BYTES_MAX) - FRAME_HEADER_BYTES;
    for slot in [0, 1] {
        (0..8).for_each(|_| assert_eq!(world.outbox.pong(slot, &longest), 0));
        assert_eq!(world.outbox.pong(slot, &longest[..rest]), 0, "its place is full, and not overfull");
    }
    assert_eq!(world.outbox.pong(1, b""), 9);
    assert_eq!(world.outbox.pong(1, b"there is room again"), 0);
    world.flush();
    assert_eq!(world.stream(0).len(), PONG_BYTES_MAX);
    assert_eq!(opcodes(world.stream(0)), [Opcode::Pong; 9]);
    assert_eq!(opcodes(world.stream(1)), [Opcode::Pong; 2]);
    assert!(world.stream(1).starts_with(&[0x8A, 0]), "the latest of those ten");
}

#[test]
fn what_a_socket_takes_at_once_needs_no_flush_and_one_that_refuses_is_not_tried() {
    let mut world = World::new(Overflow::Close, 8);
    world.fan_out(&[0], None);
    world.outbox.try_flush(&mut world.driver, 0);
    assert_eq!(ids(world.stream(0)), [0]);

    world.set_takes(0, Takes::Bytes(0));
    world.fan_out(&[0], None);
    world.outbox.try_flush(&mut world.driver, 0);
    world.outbox.try_flush(&mut world.driver, 0);
    assert!(world.outbox.is_blocked(0));
    assert_eq!(world.tries(0), 2, "once for each frame");
    world.set_takes(0, Takes::All);
    world.writable(0);
    world.outbox.try_flush(&mut world.driver, 0);
    assert_eq!(ids(world.stream(0)), [0, 1]);
}

/// A send per frame would be a system call per frame.
#[test]
fn a_session_that_is_sent_to_alone_needs_one_send_up_to_the_next_control_frame() {
    let mut world = World::new(Overflow::Close, 8);
    let [begun, closing] = [0, 1];
    world.set_takes(begun, Takes::Bytes(1));
    for _ in 0..4 {
        world.fan_out(&[begun], None);
    }
    world.flush();
    world.set_takes(begun, Takes::All);
    world.writable(begun);
    world.outbox.try_flush(&mut world.driver, begun);
    assert_eq!(ids(world.stream(begun)), [0, 1, 2, 3]);
    assert_eq!(world.tries(begun), 2, "one byte, and all the others");

    for _ in 0..3 {
        world.fan_out(&[closing], None);
    }
    world.close(closing);
    world.outbox.try_flush(&mut world.driver, closing);
    let frames = [Opcode::Binary, Opcode::Binary, Opcode::Binary, Opcode::Close];
    assert_eq!(opcodes(world.stream(closing)), frames);
    assert_eq!(world.tries(closing), 2, "its queue, and the close frame behind it");
}
