//! What a fan-out says about itself.

use super::*;

#[test]
fn a_fan_out_counts_those_for_whom_it_has_queued_the_frame() {
    let mut world = World::new(Overflow::DropNewest, 8);
    let [sender, ended, full] = [1, 2, 3];
    world.outbox.stop_intake(ended);
    world.set_takes(full, Takes::Bytes(0));
    (0..8).for_each(|_| assert_eq!(world.fan_out(&[full], None), 1));
    world.flush();
    assert_eq!(world.fan_out(&[0, sender, ended, full, 4, 5], Some(sender)), 3);
    assert_eq!(world.outbox.dropped_count(full), 1);
    let lengths = [0, sender, ended, full, 4, 5].map(|slot| world.outbox.queue(slot).len());
    assert_eq!(lengths, [1, 0, 0, 8, 1, 1]);
}
