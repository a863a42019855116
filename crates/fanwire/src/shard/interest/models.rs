//! Every way in which subscribes on their way, subscribes that are done and publishers meet at the filter.

use std::collections::VecDeque;

use loom::thread;

use super::*;
use crate::{
    shard::{
        inbox::Inbox,
        parking::models::{parking_with_bed, sleep_unless},
    },
    sync::{atomic::AtomicBool, model::explore},
};

/// A thread subscribes on shard 1 and publishes, while shard 1 takes the subscribe in and shard 0 comes and goes
/// in the same mask.
#[test]
fn who_has_sent_a_subscribe_finds_its_shard_interested() {
    explore("interest: a subscribe on its way", 3, || {
        let interest = Interest::new(2);
        let (parking, bed) = parking_with_bed();
        let inbox = Arc::new(Inbox::<(u64, PendingSubscribe)>::new(1, Arc::clone(&parking)));
        let caller = {
            let (interest, inbox) = (Arc::clone(&interest), Arc::clone(&inbox));
            thread::spawn(move || {
                let pending = interest.begin_remote_subscribe();
                inbox.reserve(1).unwrap().push((TOPIC, pending));
                assert_ne!(interest.interested(TOPIC) & 0b10, 0);
            })
        };
        let neighbour = {
            let mut owner = InterestOwner::new(Arc::clone(&interest), 0);
            thread::spawn(move || {
                owner.add(SAME_MASK);
                owner.remove(SAME_MASK);
            })
        };
        let mut owner = InterestOwner::new(Arc::clone(&interest), 1);
        let mut commands = VecDeque::new();
        while inbox.take(&mut commands, 1) == 0 {
            sleep_unless(&parking, &bed, || inbox.has_items());
        }
        let (topic, pending) = commands.pop_front().unwrap();
        owner.add(topic);
        drop(pending);
        caller.join().unwrap();
        neighbour.join().unwrap();
        assert_eq!(interest.interested(TOPIC), 0b10, "nobody else's bit is touched");
    });
}

/// Shard 0 subscribes and says so; then it adds and removes another topic of the same mask, as shard 1 does. While
/// another subscribe comes and ends, whoever has heard of the first always finds it in force.
#[test]
fn an_acknowledged_subscribe_is_in_force_everywhere() {
    explore("interest: an acknowledged subscribe", 3, || {
        let interest = Interest::new(2);
        let acknowledged = Arc::new(AtomicBool::new(false));
        let subscriber = {
            let (mut owner, acknowledged) =
                (InterestOwner::new(Arc::clone(&interest), 0), Arc::clone(&acknowledged));
            thread::spawn(move || {
                owner.add(TOPIC);
                acknowledged.store(true, Ordering::Release);
                owner.add(SAME_MASK);
                owner.remove(SAME_MASK);
            })
        };
        let neighbour = {
            let mut owner = InterestOwner::new(Arc::clone(&interest), 1);
            let pending = interest.begin_remote_subscribe();
            thread::spawn(move || {
                owner.add(SAME_MASK);
                drop(pending);
                owner.remove(SAME_MASK);
            })
        };
        if acknowledged.load(Ordering::Acquire) {
            assert_ne!(interest.interested(TOPIC) & 0b01, 0);
            assert_ne!(interest.interested(TOPIC) & 0b01, 0);
        }
        subscriber.join().unwrap();
        neighbour.join().unwrap();
        assert_eq!(interest.interested(TOPIC), 0b01);
    });
}

/// Two hashes of one mask.
const TOPIC: u64 = 1;
const SAME_MASK: u64 = 3;
