//! Rings against queues of std: random pushes, drains and full rings; threads that sleep and wake.

use std::{collections::VecDeque, sync::atomic::AtomicBool};

use proptest::prelude::*;

use super::*;
use crate::{
    driver::Wake,
    shard::parking::tests::{EndFlag, TestWaker, sleep_unless},
};

#[derive(Clone, Debug)]
enum Op {
    TryPush { from: usize, mask: u64 },
    Drain { to: usize, entries_max: usize, stop_after: usize },
    Mark { to: usize },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..SHARDS, 0..1u64 << SHARDS).prop_map(|(from, mask)| Op::TryPush { from, mask }),
        1 => (0..SHARDS, 0..12usize, 1..12usize)
            .prop_map(|(to, entries_max, stop_after)| Op::Drain { to, entries_max, stop_after }),
        1 => (0..SHARDS).prop_map(|to| Op::Mark { to }),
    ]
}

/// Rings as the oracle sees them: `rings[from][to]`.
type Rings = Vec<Vec<Ring>>;

#[derive(Clone, Default)]
struct Ring {
    waiting: VecDeque<u64>,
    drained: usize,
}

/// A horizon of one end, and how many entries of each ring must be drained to reach it.
struct Mark {
    to: usize,
    horizon: Vec<u64>,
    behind: Vec<usize>,
}

impl Mark {
    fn new(ends: &[MeshEnd<u64>], rings: &Rings, to: usize) -> Self {
        let behind = rings.iter().map(|row| row[to].drained + row[to].waiting.len()).collect();
        Self { to, horizon: ends[to].horizon(), behind }
    }

    fn check(&self, ends: &[MeshEnd<u64>], rings: &Rings) {
        let is_reached = rings.iter().zip(&self.behind).all(|(row, &behind)| row[self.to].drained >= behind);
        assert_eq!(ends[self.to].has_reached(&self.horizon), is_reached);
    }
}

fn push(ends: &mut [MeshEnd<u64>], rings: &mut Rings, from: usize, mask: u64, entry: u64) {
    let others: Vec<usize> = (0..SHARDS).filter(|&to| to != from && mask >> to & 1 == 1).collect();
    let room = others.iter().all(|&to| rings[from][to].waiting.len() < RING_ENTRIES);
    let least = others.iter().map(|&to| RING_ENTRIES - rings[from][to].waiting.len()).min();
    assert!(least.is_none_or(|least| ends[from].room(mask, least) && !ends[from].room(mask, least + 1)));
    let mut made = Vec::new();
    let result = ends[from].try_push_all(mask, |to| {
        made.push(to);
        entry + to as u64
    });
    assert_eq!(result, if room { Ok(()) } else { Err(Full) });
    assert_eq!(made, if room { others } else { Vec::new() }, "all or none");
    for to in made {
        rings[from][to].waiting.push_back(entry + to as u64);
    }
}

fn drain(ends: &mut [MeshEnd<u64>], rings: &mut Rings, to: usize, entries_max: usize, stop_after: usize) {
    let waiting: usize = rings.iter().map(|row| row[to].waiting.len()).sum();
    let mut count = 0;
    let reported = ends[to].drain(entries_max, |from, entry| {
        assert_eq!(Some(entry), rings[from][to].waiting.pop_front());
        rings[from][to].drained += 1;
        count += 1;
        count < stop_after
    });
    assert_eq!(reported, count);
    assert_eq!(count, waiting.min(entries_max).min(stop_after));
    if count < waiting {
        assert!(ends[to].has_entries(), "what is left stays announced");
    }
}

proptest! {
    #[test]
    fn behaves_like_a_deque_per_pair(ops in prop::collection::vec(op(), 1..200)) {
        let (_, mut ends) = MeshShared::build(SHARDS, RING_ENTRIES);
        let mut rings: Rings = vec![vec![Ring::default(); SHARDS]; SHARDS];
        let mut marks: Vec<Mark> = Vec::new();
        for (step, op) in (0u64..).zip(ops) {
            match op {
                Op::TryPush { from, mask } => push(&mut ends, &mut rings, from, mask, step << 8),
                Op::Drain { to, entries_max, stop_after } => {
                    drain(&mut ends, &mut rings, to, entries_max, stop_after);
                }
                Op::Mark { to } => marks.push(Mark::new(&ends, &rings, to)),
            }
            marks.iter().for_each(|mark| mark.check(&ends, &rings));
        }
        for to in 0..SHARDS {
            drain(&mut ends, &mut rings, to, usize::MAX, usize::MAX);
            drain(&mut ends, &mut rings, to, usize::MAX, usize::MAX);
            prop_assert!(!ends[to].has_entries());
        }
    }
}

#[test]
fn no_ring_starves_behind_one_that_is_always_full() {
    let (_, mut ends) = MeshShared::build(3, 8);
    let to_first = 0b001;
    ends[2].push(to_first, |_| "patient");
    let mut turns = 0;
    let mut seen = false;
    while !seen {
        while ends[1].try_push_all(to_first, |_| "busy").is_ok() {}
        ends[0].drain(4, |_, entry| {
            seen |= entry == "patient";
            true
        });
        turns += 1;
        assert!(turns <= 2, "each ring has its turn");
    }
}

#[test]
fn behind_the_last_of_64_rings_comes_the_first_again() {
    let (_, mut ends) = MeshShared::build(64, 4);
    let mut senders = Vec::new();
    for from in [1, 63, 1, 63] {
        ends[from].push(1, |_| ());
    }
    while ends[0].has_entries() {
        ends[0].drain(1, |from, ()| {
            senders.push(from);
            true
        });
    }
    assert_eq!(senders, [1, 63, 1, 63]);
}

#[test]
fn a_lone_shard_has_no_ring_and_room_for_everything() {
    let (_, mut ends) = MeshShared::build::<u8>(1, 4);
    assert_eq!(ends[0].try_push_all(1, |_| 0), Ok(()));
    assert!(ends[0].room(1, 1_000));
    assert_eq!(ends[0].drain(10, |_, _| true), 0);
}

#[test]
fn only_shards_of_the_mask_that_sleep_are_woken() {
    let (shared, mut ends) = MeshShared::build(3, 4);
    let wakers: Vec<Arc<TestWaker>> = (0..3).map(|_| Arc::default()).collect();
    for (shard, waker) in wakers.iter().enumerate() {
        shared.parking(shard).set_waker(Arc::clone(waker) as Arc<dyn Wake>);
        shared.parking(shard).prepare_sleep();
    }
    shared.parking(1).awake();
    ends[0].push(0b011, |_| ());
    let wakes = || wakers.iter().map(|waker| waker.wakes.load(Ordering::SeqCst)).collect::<Vec<_>>();
    assert_eq!(wakes(), [0, 0, 0]);
    ends[0].push(0b110, |_| ());
    ends[0].push(0b110, |_| ());
    assert_eq!(wakes(), [0, 0, 1]);
}

#[test]
fn nothing_is_lost_between_threads_that_sleep() {
    let (shared, mut ends) = MeshShared::build(3, 16);
    let waker = Arc::new(TestWaker::default());
    shared.parking(0).set_waker(Arc::clone(&waker) as Arc<dyn Wake>);
    let mut receiver = ends.remove(0);
    let ended = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for sender in ends {
            scope.spawn(move || send_all(sender, ended));
        }
        let _flag = EndFlag(ended);
        let mut expected = [0; 3];
        while expected[1] < ENTRIES_SENT || expected[2] < ENTRIES_SENT {
            let count = receiver.drain(8, |from, entry| {
                assert_eq!(entry, expected[from]);
                expected[from] += 1;
                true
            });
            if count == 0 {
                sleep_unless(shared.parking(0), &waker, || receiver.has_entries());
            }
        }
    });
}

fn send_all(mut sender: MeshEnd<u32>, ended: &AtomicBool) {
    for entry in 0..ENTRIES_SENT {
        while sender.try_push_all(1, |_| entry).is_err() && !ended.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // Now and then the receiver gets time to fall asleep.
        if entry % 64 == 0 {
            std::thread::yield_now();
        }
    }
}

const SHARDS: usize = 4;
const RING_ENTRIES: usize = 5;
const ENTRIES_SENT: u32 = 50_000;
