//! Every way in which two shards gain and lose a topic while a third thread asks for its count.

use loom::thread;

use super::*;
use crate::sync::model::explore;

#[test]
fn a_topic_is_counted_as_long_as_a_shard_has_it() {
    explore("topic counts: two shards and a reader", 3, || {
        let counts = Arc::new(TopicCounts::new([1, 2, 3, 4]));
        let shards: Vec<_> = (0..2)
            .map(|_| {
                let counts = Arc::clone(&counts);
                thread::spawn(move || {
                    let name: Arc<str> = "topic".into();
                    let count = counts.take(&name);
                    count.fetch_add(1, Ordering::Relaxed);
                    assert!(counts.count(&name) >= 1, "its own subscriber is counted");
                    count.fetch_sub(1, Ordering::Relaxed);
                    counts.give_back(&name, count);
                })
            })
            .collect();
        assert!(counts.count("topic") <= 2);
        shards.into_iter().for_each(|shard| shard.join().unwrap());
        assert_eq!(counts.stripes.iter().map(|stripe| stripe.lock().unwrap().len()).sum::<usize>(), 0);
    });
}
