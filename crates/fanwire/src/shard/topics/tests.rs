//! Topics against maps and sets of std: random subscribes and unsubscribes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Subscribe { table: usize, slot: u32, topic: u8 },
    Unsubscribe { table: usize, slot: u32, topic: u8 },
    UnsubscribeAll { table: usize, slot: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let place = || (0..TABLES, 0..SLOTS, 0..TOPICS);
    prop_oneof![
        5 => place().prop_map(|(table, slot, topic)| Op::Subscribe { table, slot, topic }),
        3 => place().prop_map(|(table, slot, topic)| Op::Unsubscribe { table, slot, topic }),
        1 => (0..TABLES, 0..SLOTS).prop_map(|(table, slot)| Op::UnsubscribeAll { table, slot }),
    ]
}

/// Two shards of one process, and what they should hold.
struct World {
    counts: Arc<TopicCounts>,
    tables: Vec<TopicTable>,
    subscribers: Vec<BTreeMap<String, BTreeSet<u32>>>,
}

impl World {
    fn new() -> Self {
        let counts = Arc::new(TopicCounts::new(SEEDS));
        let tables = (0..TABLES).map(|_| TopicTable::new(SEEDS, Arc::clone(&counts))).collect();
        Self { counts, tables, subscribers: vec![BTreeMap::new(); TABLES] }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Subscribe { table, slot, topic } => {
                let name = name_of(topic);
                let oracle = self.subscribers[table].entry(name.clone()).or_default();
                let first = oracle.is_empty();
                let expected =
                    if oracle.insert(slot) { Subscribed::Added { first } } else { Subscribed::Already };
                assert_eq!(self.tables[table].subscribe(slot, &name), expected);
            }
            Op::Unsubscribe { table, slot, topic } => {
                let name = name_of(topic);
                let expected = self
                    .forget(table, slot, &name)
                    .then(|| Unsubscribed { last: !self.subscribers[table].contains_key(&name) });
                assert_eq!(self.tables[table].unsubscribe(slot, &name), expected);
            }
            Op::UnsubscribeAll { table, slot } => {
                let mut left = BTreeMap::new();
                self.tables[table].unsubscribe_all(slot, |name, last| {
                    assert!(left.insert(name.to_owned(), last).is_none());
                });
                let mut expected = BTreeMap::new();
                for name in (0..TOPICS).map(name_of) {
                    if self.forget(table, slot, &name) {
                        expected.insert(name.clone(), !self.subscribers[table].contains_key(&name));
                    }
                }
                assert_eq!(left, expected);
            }
        }
    }

    fn forget(&mut self, table: usize, slot: u32, name: &str) -> bool {
        let Some(oracle) = self.subscribers[table].get_mut(name) else { return false };
        let found = oracle.remove(&slot);
        if oracle.is_empty() {
            self.subscribers[table].remove(name);
        }
        found
    }

    fn check(&self) {
        for (table, oracle) in self.tables.iter().zip(&self.subscribers) {
            check_links(table);
            assert_eq!(table.topic_count(), oracle.len());
            for name in (0..TOPICS).map(name_of) {
                let expected = oracle.get(&name).cloned().unwrap_or_default();
                assert_eq!(table.subscriber_count(&name), expected.len());
                assert_eq!(table.subscribers(&name).iter().copied().collect::<BTreeSet<_>>(), expected);
            }
            for slot in 0..SLOTS {
                let expected: BTreeSet<&str> = oracle
                    .iter()
                    .filter(|(_, slots)| slots.contains(&slot))
                    .map(|(name, _)| &**name)
                    .collect();
                assert_eq!(table.count_of(slot), expected.len());
                assert_eq!(table.topics_of(slot).collect::<BTreeSet<_>>(), expected);
            }
        }
        for name in (0..TOPICS).map(name_of) {
            let expected: usize =
                self.subscribers.iter().map(|oracle| oracle.get(&name).map_or(0, BTreeSet::len)).sum();
            assert_eq!(self.counts.count(&name), expected);
        }
    }
}

/// Each link of the two ways must lead back.
fn check_links(table: &TopicTable) {
    for (slot, session) in table.sessions.iter().enumerate() {
        for (place, membership) in session.iter().enumerate() {
            let topic = &table.topics[membership.topic as usize];
            assert_eq!(topic.subscribers[membership.position as usize] as usize, slot);
            assert_eq!(topic.places[membership.position as usize] as usize, place);
        }
    }
    assert!(table.topics.iter().all(|(_, topic)| topic.subscribers.len() == topic.places.len()));
}

fn name_of(topic: u8) -> String {
    format!("topic:{topic}")
}

fn table() -> TopicTable {
    TopicTable::new(SEEDS, Arc::new(TopicCounts::new(SEEDS)))
}

proptest! {
    #[test]
    fn behaves_like_a_map_of_sets(ops in prop::collection::vec(op(), 1..200)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
    }
}

#[test]
fn a_topic_without_subscribers_leaves_nothing_behind() {
    let mut table = table();
    for topic in 0..1_000 {
        let name = format!("room:{topic}");
        assert_eq!(table.subscribe(3, &name), Subscribed::Added { first: true });
        assert_eq!(table.counts.count(&name), 1);
        assert_eq!(table.unsubscribe(3, &name), Some(Unsubscribed { last: true }));
        assert_eq!(table.counts.count(&name), 0);
    }
    assert_eq!((table.topics.len(), table.ids.len()), (0, 0));
    assert!(table.topics.capacity() <= 4, "the place of one topic is used again");
    assert_eq!(table.counts.topic_count(), 0);
}

#[test]
fn the_room_for_subscribers_shrinks_with_them() {
    let mut table = table();
    for slot in 0..10_000 {
        table.subscribe(slot, "all");
    }
    for slot in 0..9_900 {
        table.unsubscribe(slot, "all");
    }
    assert!(table.topics[0].subscribers.capacity() <= 400);
    assert!(table.topics[0].places.capacity() <= 400);
    assert_eq!(table.subscriber_count("all"), 100);
}

#[test]
fn the_room_for_subscribers_stays_while_a_quarter_of_it_is_used_or_it_is_small() {
    for (subscribers, left, kept) in [(16, 1, 16), (32, 8, 32), (32, 7, 14), (64, 16, 64), (64, 15, 30)] {
        let mut table = table();
        for slot in 0..subscribers {
            table.subscribe(slot, "all");
        }
        for slot in left..subscribers {
            table.unsubscribe(slot, "all");
        }
        let topic = &table.topics[0];
        let held = (topic.subscribers.capacity(), topic.places.capacity());
        assert_eq!(held, (kept, kept), "{left} of {subscribers} are left");
    }
}

#[test]
fn the_room_for_topics_is_given_back_with_the_last_if_it_was_large() {
    for (topics, kept) in [(TOPICS_KEPT_MAX, TOPICS_KEPT_MAX), (TOPICS_KEPT_MAX + 1, 0), (5_000, 0)] {
        let mut table = table();
        for topic in 0..topics {
            table.subscribe(0, &format!("room:{topic}"));
        }
        table.unsubscribe_all(0, |_, last| assert!(last));
        assert_eq!(table.topics.capacity(), kept);
        assert!(table.ids.capacity() <= TOPICS_KEPT_MAX * 2);
    }
}

#[test]
fn the_room_for_names_shrinks_to_twice_the_topics_and_only_below_a_quarter() {
    let mut table = table();
    let names: Vec<_> = (0..896).map(|topic| format!("room:{topic}")).collect();
    for name in &names {
        table.subscribe(0, name);
    }
    for name in &names {
        let before = table.ids.capacity();
        table.unsubscribe(0, name);
        let (room, topics) = (table.ids.capacity(), table.topic_count());
        assert!(room <= TOPICS_KEPT_MAX || topics >= room / 4, "{topics} topics hold {room} places");
        // A map loses a place to some removals, too.
        let has_shrunk = room + 1 < before;
        assert!(!has_shrunk || topics < before / 4 && room >= 2 * topics, "{before} to {room}");
    }
}

#[test]
fn a_slot_never_seen_has_no_topics() {
    let mut table = table();
    assert_eq!(table.count_of(7), 0);
    assert_eq!(table.unsubscribe(7, "x"), None);
    table.unsubscribe_all(7, |_, _| panic!("it has none"));
}

const TABLES: usize = 2;
const SLOTS: u32 = 9;
const TOPICS: u8 = 6;
const SEEDS: [u64; 4] = [1, 2, 3, 4];
