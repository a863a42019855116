//! Every way in which threads publish, subscribe and end a server while its shards take in what came.

use loom::thread;

use super::*;
use crate::{
    codec::Raw,
    driver::Wake,
    shard::{interest::InterestOwner, parking::models::sleep_unless},
    sync::model::{Bed, explore},
};

fn shared(inbox_size: usize, frames_waiting_max: usize) -> Arc<Shared> {
    let limits = Limits {
        queue_bytes: 1_000,
        topic_bytes_max: 10,
        intake_bytes_max: frames_waiting_max as u64 * u64::from(frame().len()),
        sessions_max: 1,
        connections_max: 1,
    };
    let parkings = (0..SHARDS).map(|_| Parking::new()).collect();
    Arc::new(Shared::new(Arc::new(Raw::default()), limits, [1, 2, 3, 4], inbox_size, parkings))
}

fn frame() -> Frame {
    Frame::encode(&Raw::default(), TOPIC, &Payload::from("x"), &mut Vec::new()).unwrap()
}

fn bed_of(shared: &Shared, shard: usize) -> Arc<Bed> {
    let bed = Arc::new(Bed::default());
    shared.shards[shard].parking.set_waker(Arc::clone(&bed) as Arc<dyn Wake>);
    bed
}

/// Takes in what waits for a shard, as `Shard::take_commands` does, and says how much that was.
fn take_in(shared: &Shared, shard: usize, mut handle: impl FnMut(Command)) -> usize {
    let side = &shared.shards[shard];
    let mut batch = VecDeque::new();
    let count = side.inbox.take(&mut batch, usize::MAX);
    for command in batch {
        side.give_intake_back(command.frame_bytes());
        handle(command);
    }
    side.inbox.release(count);
    count
}

/// Places for two commands in each inbox, bytes for one frame: what is refused for its bytes gives its places back.
#[test]
fn a_publish_reaches_all_shards_or_none_within_places_and_bytes() {
    explore("shared: two publishers, two shards", 2, || {
        let shared = shared(2, FRAMES_WAITING_MAX);
        let publishers = [(); 2].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || match shared.broadcast(&frame()) {
                Ok(()) => 1,
                Err(error) => {
                    assert_eq!(error, PublishError::Full);
                    0
                }
            })
        });
        let taken = [1, 0].map(|shard| take_in(&shared, shard, |_| ()));
        assert!(taken.iter().all(|&taken| taken <= FRAMES_WAITING_MAX), "more bytes waited than may");
        let accepted: usize = publishers.into_iter().map(|publisher| publisher.join().unwrap()).sum();
        assert!(accepted >= 1, "the first finds room everywhere");
        for (shard, taken) in [1, 0].into_iter().zip(taken) {
            let rest = take_in(&shared, shard, |_| ());
            assert!(rest <= FRAMES_WAITING_MAX, "more bytes waited than may");
            assert_eq!(taken + rest, accepted, "all or none");
            assert_eq!(shared.shards[shard].intake_bytes.load(Ordering::Relaxed), 0);
            assert!(shared.shards[shard].inbox.reserve(2).is_ok(), "every place is back");
        }
    });
}

/// `handle.subscribe(t); publisher.publish(t)` from one thread, while the shard of the session sleeps or takes in, and
/// the other shard comes and goes in the same filter.
#[test]
fn a_subscribe_and_then_a_publish_from_one_thread_deliver() {
    explore("shared: subscribe, then publish", 2, || {
        let shared = shared(2, 2);
        let to = SessionRef { shard: 1, key: Key { slot: 0, generation: 1 } };
        shared.shards[1].handles.set(0, 1, 0);
        let caller = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.subscribe(to, TOPIC).unwrap();
                shared.publish(&frame(), None).unwrap();
            })
        };
        let neighbour = {
            let mut owner = InterestOwner::new(Arc::clone(&shared.interest), 0);
            let topic = shared.hasher.hash(TOPIC);
            thread::spawn(move || {
                owner.add(topic);
                owner.remove(topic);
            })
        };
        let bed = bed_of(&shared, 1);
        let mut owner = InterestOwner::new(Arc::clone(&shared.interest), 1);
        let (mut is_subscribed, mut is_delivered) = (false, false);
        while !is_delivered {
            let taken = take_in(&shared, 1, |command| match command {
                Command::Subscribe { topic, pending, .. } => {
                    owner.add(shared.hasher.hash(&topic));
                    is_subscribed = true;
                    drop(pending);
                }
                Command::Publish { .. } => is_delivered = is_subscribed,
                _ => unreachable!("nothing else was sent"),
            });
            if taken == 0 {
                sleep_unless(&shared.shards[1].parking, &bed, || shared.shards[1].inbox.has_items());
            }
        }
        caller.join().unwrap();
        neighbour.join().unwrap();
    });
}

/// A shard that sleeps without end hears of a drain and of a stop; the phase never goes back.
#[test]
fn a_shard_that_sleeps_hears_of_the_end() {
    explore("shared: drain and stop", 2, || {
        let shared = shared(1, 1);
        let ends: Vec<_> = [(Phase::Draining, DRAIN), (Phase::Stopping, Duration::ZERO)]
            .into_iter()
            .map(|(phase, time)| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.enter_phase(phase, time))
            })
            .collect();
        let bed = bed_of(&shared, 0);
        let mut phase = Phase::Running;
        while phase != Phase::Stopping {
            sleep_unless(&shared.shards[0].parking, &bed, || shared.phase() != phase);
            let next = shared.phase();
            assert!(next >= phase, "back from {phase:?} to {next:?}");
            phase = next;
        }
        ends.into_iter().for_each(|end| end.join().unwrap());
        assert_eq!(shared.phase(), Phase::Stopping);
    });
}

#[test]
fn who_sees_a_drain_sees_its_time() {
    explore("shared: the time of a drain", 3, || {
        let shared = shared(1, 1);
        let drain = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.enter_phase(Phase::Draining, DRAIN))
        };
        if shared.phase() == Phase::Draining {
            assert_eq!(shared.drain_time(), DRAIN);
        }
        drain.join().unwrap();
    });
}

#[test]
fn one_place_is_taken_by_one_session() {
    explore("shared: places for sessions", 3, || {
        let shared = shared(1, 1);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.take_session_place())
        };
        let mine = shared.take_session_place();
        assert!(mine != other.join().unwrap(), "one of the two gets it");
        shared.give_session_place_back();
        assert!(shared.take_session_place());
    });
}

const SHARDS: usize = 2;
const FRAMES_WAITING_MAX: usize = 1;
const TOPIC: &str = "topic";
const DRAIN: Duration = Duration::from_secs(5);
