//! Every way in which shards push to each other while the receiver drains, stops half way and sleeps.
//!
//! The ring is `sync::model::RingBuffer`, since loom cannot see into rtrb's.

use loom::thread;

use super::*;
use crate::{
    driver::Wake,
    shard::parking::models::sleep_unless,
    sync::model::{Bed, explore},
};

/// Takes entries, at most `at_once` a turn, until `count` have come, and sleeps between. In order per sender.
fn receive(end: &mut MeshEnd<usize>, shared: &MeshShared, bed: &Bed, count: usize, at_once: usize) {
    let mut next = [0; SHARDS_MAX_MODELLED];
    let mut received = 0;
    while received < count {
        let taken = end.drain(at_once, |from, entry| {
            assert_eq!(entry, next[from], "in push order");
            next[from] += 1;
            true
        });
        received += taken;
        if taken == 0 {
            sleep_unless(shared.parking(end.shard), bed, || end.has_entries());
        }
    }
    assert_eq!(received, count, "nothing comes twice");
}

fn bed_of(shared: &MeshShared, shard: usize) -> Arc<Bed> {
    let bed = Arc::new(Bed::default());
    shared.parking(shard).set_waker(Arc::clone(&bed) as Arc<dyn Wake>);
    bed
}

/// One sender, three entries, a ring with room for them; the receiver takes two a turn, so that entries stay
/// behind, and comes back to them without a new announcement.
#[test]
fn nothing_is_lost_on_one_ring() {
    explore("mesh: one sender and a sleeping receiver", 3, || {
        let (shared, mut ends) = MeshShared::build(2, 3);
        let mut sender = ends.remove(0);
        let pushes = thread::spawn(move || {
            (0..3).for_each(|entry| sender.push(0b10, |_| entry));
        });
        let bed = bed_of(&shared, 1);
        receive(&mut ends[0], &shared, &bed, 3, 2);
        pushes.join().unwrap();
    });
}

#[test]
fn nothing_is_lost_between_two_senders() {
    explore("mesh: two senders and a sleeping receiver", 3, || {
        let (shared, mut ends) = MeshShared::build(3, 2);
        let mut receiver = ends.pop().unwrap();
        let senders: Vec<_> = ends
            .into_iter()
            .enumerate()
            .map(|(index, mut sender)| {
                thread::spawn(move || (0..=index).for_each(|entry| sender.push(0b100, |_| entry)))
            })
            .collect();
        let bed = bed_of(&shared, 2);
        receive(&mut receiver, &shared, &bed, 3, 1);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

/// Rings of one place to two shards that drain meanwhile: room that was found is still there at the push, and
/// both shards get the same entries.
#[test]
fn all_get_an_entry_or_none() {
    explore("mesh: one sender, full rings, two receivers", 3, || {
        let (_, mut ends) = MeshShared::build(3, 1);
        let mut sender = ends.remove(0);
        let receivers = [0, 1].map(|_| {
            let mut end = ends.remove(0);
            thread::spawn(move || {
                let mut received = Vec::new();
                drain_into(&mut received, &mut end);
                (received, end)
            })
        });
        let accepted: Vec<usize> =
            (0..3).filter(|&entry| sender.try_push_all(0b110, |_| entry).is_ok()).collect();
        assert_eq!(accepted[0], 0, "there was room at first");
        for receiver in receivers {
            let (mut received, mut end) = receiver.join().unwrap();
            drain_into(&mut received, &mut end);
            assert_eq!(received, accepted);
        }
        assert!(sender.room(0b110, 1), "room comes back");
    });
}

fn drain_into(received: &mut Vec<usize>, end: &mut MeshEnd<usize>) {
    end.drain(usize::MAX, |_, entry| {
        received.push(entry);
        true
    });
}

const SHARDS_MAX_MODELLED: usize = 3;
