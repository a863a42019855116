//! What is sent from pages, and for how long they stay.

use super::*;

impl World {
    /// With room for many pages, from `bytes_min` bytes on.
    fn with_pages(bytes_min: u32) -> Self {
        Self::sharing(Overflow::DropNewest, 100, bytes_min, 99)
    }

    /// A frame of so many payload bytes to the first `count` sessions.
    fn publish_to(&mut self, count: u32, bytes: usize) {
        self.publish(u8::try_from((1u32 << count) - 1).unwrap(), bytes, None);
    }

    /// Copies into pages, sends from them, times that it did not come to that.
    fn shared(&self) -> [u64; 3] {
        let counters = self.outbox.counters();
        [&counters.pages_filled, &counters.sends_shared, &counters.shares_refused]
            .map(|counter| counter.read())
    }

    /// Everybody got all, and no page is left.
    fn is_over(&mut self) {
        (0..SLOTS).for_each(|slot| self.collect(slot));
        self.finish();
    }
}

#[test]
fn one_frame_is_copied_once_for_all_its_sessions_and_rounds() {
    let mut world = World::with_pages(100);
    world.outbox.set_sends_max(2);
    world.publish_to(6, 98);
    for _ in 0..3 {
        assert!(world.outbox.has_dirty());
        world.flush();
    }
    assert_eq!(world.shared(), [1, 6, 0]);
    assert_eq!(world.outbox.frames.pages.live_bytes(), 0, "it has gone with its last send");
    world.is_over();
}

#[test]
fn shorter_frames_and_frames_of_one_session_are_sent_from_where_they_are() {
    let mut world = World::with_pages(100);
    world.publish_to(6, 97);
    world.flush();
    world.publish_to(1, 120);
    world.flush();
    assert_eq!(world.shared(), [0, 0, 0]);
    world.is_over();
}

#[test]
fn a_begun_frame_goes_on_from_its_pages_until_little_is_left() {
    let mut world = World::with_pages(50);
    world.set_takes(0, Takes::Bytes(40));
    world.publish_to(2, 118);
    world.flush();
    assert_eq!(world.shared(), [1, 2, 0]);
    assert_eq!(world.outbox.frames.pages.live_bytes(), page_bytes(), "one session still needs it");
    world.set_takes(0, Takes::Bytes(40));
    world.writable(0);
    world.flush();
    assert_eq!(world.shared(), [1, 3, 0], "the last of its sessions has pages too");
    world.set_takes(0, Takes::Bytes(0));
    world.writable(0);
    world.flush();
    assert_eq!(world.shared(), [1, 3, 0], "40 bytes are not worth it");
    world.is_over();
}

#[test]
fn a_batch_is_copied_once_for_all_rounds_and_given_back_after_them() {
    let mut world = World::with_pages(100);
    world.outbox.set_sends_max(2);
    (0..4).for_each(|_| world.publish_to(6, 40));
    world.flush();
    assert_eq!(world.shared(), [1, 2, 0]);
    world.flush();
    assert_eq!(world.outbox.frames.pages.live_bytes(), page_bytes());
    world.flush();
    assert_eq!((world.shared(), world.outbox.frames.pages.live_bytes()), ([1, 6, 0], 0));
    world.is_over();
}

#[test]
fn a_large_frame_is_sent_by_itself_and_once_copied() {
    let mut world = World::with_pages(4);
    // 16 bytes are 4 times the least.
    (0..3).for_each(|_| world.publish_to(2, 14));
    world.publish_to(2, 10);
    for _ in 0..4 {
        world.flush();
    }
    assert_eq!(world.shared(), [4, 8, 0]);
    world.is_over();
}

#[test]
fn a_control_frame_between_shared_frames_goes_out_at_a_boundary() {
    let mut world = World::with_pages(4);
    (0..2).for_each(|_| world.publish_to(2, 62));
    world.set_takes(0, Takes::Bytes(30));
    world.flush();
    world.apply(&Op::Ping { slot: 0 });
    world.set_takes(0, Takes::All);
    world.writable(0);
    world.flush();
    world.collect(0);
    assert_eq!(opcodes(&world.clients[0].stream), [Opcode::Binary, Opcode::Ping, Opcode::Binary]);
    assert_eq!(world.shared()[0], 2);
    world.is_over();
}

#[test]
fn where_there_are_no_pages_everything_is_sent_all_the_same_and_it_is_counted() {
    for refuses in [Refuses::Writes, Refuses::Sends] {
        let mut world = World::with_pages(50);
        world.driver.refuses = refuses;
        for bytes in [60, 20, 30] {
            world.publish_to(6, bytes);
        }
        world.flush();
        let [_, sends_shared, shares_refused] = world.shared();
        assert_eq!(sends_shared, 0);
        // One failed write for all sessions of a round, but each send from pages fails for itself.
        assert_eq!(shares_refused, if refuses == Refuses::Writes { 1 } else { 6 });
        let streams: Vec<_> = (0..SLOTS).map(|slot| ids(world.stream(slot))).collect();
        assert_eq!(streams, vec![vec![0, 1, 2]; SLOTS as usize]);
        world.is_over();
    }
}

#[test]
fn where_there_are_no_pages_large_frames_leave_together() {
    let mut world = World::with_pages(4);
    world.driver.refuses = Refuses::Writes;
    (0..5).for_each(|_| world.publish_to(6, 62));
    world.flush();
    assert!((0..SLOTS).all(|slot| world.tries(slot) == 1 && ids(world.stream(slot)).len() == 5));
    assert_eq!(world.shared(), [0, 0, 1]);
    world.is_over();
}

#[test]
fn pages_give_way_before_anybody_meets_a_policy() {
    // Three frames have room, or one of them and its page.
    let mut world = World::sharing(Overflow::Close, 20, 50, 1);
    (0..2).for_each(|slot| world.set_takes(slot, Takes::Bytes(10)));
    world.publish_to(2, 60);
    world.flush();
    assert_eq!((world.shared(), world.outbox.frames.pages.live_bytes()), ([1, 2, 0], page_bytes()));
    let limit = world.outbox.limits.frame_bytes_max;
    for slot in [0, 1].into_iter().cycle() {
        if world.outbox.frames.pages.live_bytes() == 0 {
            break;
        }
        assert!(world.outbox.frames.live_bytes() < limit, "the page is given back in time");
        let (_, frame) = world.frame(60);
        let id = world.outbox.admit(&mut world.driver, frame).unwrap();
        let mut memo = world.outbox.memo(id);
        world.outbox.deliver(&mut world.driver, slot, &mut memo);
        world.outbox.release(id);
    }
    assert!(world.driver.policies.is_empty() && world.driver.pages.is_empty());
}
