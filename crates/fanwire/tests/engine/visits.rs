//! Visits from outside: each open session once, in steps; and what a server says of its own work.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use fanwire::{CloseKind, Options, Place, SendError, Session, TopicOrder};

use crate::{
    common::{Setup, World},
    in_every_world,
};

in_every_world!(
    each_open_session_is_visited_once_in_steps_of_any_length,
    a_visit_acts_on_sessions_like_a_hook,
    a_visit_that_panics_closes_that_session_alone,
    a_server_that_drains_is_not_visited,
    topics_are_listed_by_name_in_pages_and_by_subscribers,
    each_publish_with_subscribers_is_in_the_distributions_once,
);

type Found = Arc<Mutex<Vec<String>>>;

/// One visit, to its end: where the next begins.
fn visit(
    world: &World,
    from: Place,
    each: impl FnMut(&mut Session<'_, String>) -> ControlFlow<()> + Send + 'static,
) -> Option<Place> {
    let next = Arc::new(Mutex::new(None));
    let told = next.clone();
    world.sessions().visit(from, each, move |place| *told.lock().unwrap() = Some(place)).unwrap();
    world.until("the visit is over", || next.lock().unwrap().is_some());
    next.lock().unwrap().unwrap()
}

fn visit_all(
    world: &World,
    each: impl FnMut(&mut Session<'_, String>) -> ControlFlow<()> + Clone + Send + 'static,
) {
    let mut next = Some(Place::default());
    while let Some(from) = next {
        next = visit(world, from, each.clone());
    }
}

fn each_open_session_is_visited_once_in_steps_of_any_length(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients: Vec<_> = (0..10).map(|number| (number, world.client(&format!("c{number}")))).collect();
    let (left, stay): (Vec<_>, Vec<_>) = clients.drain(..).partition(|(number, _)| number % 3 == 0);
    left.into_iter().for_each(|(number, client)| {
        client.close();
        world.closed(&format!("c{number}"));
    });
    let open: BTreeSet<_> = stay.iter().map(|(number, _)| format!("c{number}")).collect();
    for step in [1, 2, 100] {
        let found = Found::default();
        let mut next = Some(Place::default());
        while let Some(from) = next {
            // A place survives being written down.
            let from = Place::from(u64::from(from));
            let (names, mut left) = (found.clone(), step);
            next = visit(&world, from, move |session| {
                names.lock().unwrap().push(session.value().clone());
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        let found = found.lock().unwrap();
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), open, "{step} at a time");
        assert_eq!(found.len(), open.len(), "{step} at a time: {found:?}");
    }
    let behind = Place::from(u64::MAX);
    assert_eq!(visit(&world, behind, |_| panic!("nobody is there")), None);
}

fn a_visit_acts_on_sessions_like_a_hook(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut ada = world.client("ada");
    let mut bob = world.client("bob");
    ada.script_and_wait("sub news\nsub more");
    bob.script_and_wait("sub news");
    let counts = Found::default();
    let found = counts.clone();
    visit_all(&world, move |session| {
        let count = session.topic_count();
        let topics = session.topics();
        let is_so = |topic: &&str| session.is_subscribed(topic) == topics.contains(topic);
        assert!(["news", "ada", "nobody's", ""].iter().all(is_so), "{topics:?}");
        found.lock().unwrap().push(format!("{} {count}", session.value()));
        if session.value() == "ada" {
            assert!(session.unsubscribe("news"));
            session.publish("news", "1").unwrap();
            session.send("own", "2").unwrap();
        } else {
            session.close_with(4_001, "out");
        }
        ControlFlow::Continue(())
    });
    counts.lock().unwrap().sort();
    assert_eq!(*counts.lock().unwrap(), ["ada 2", "bob 1"]);
    ada.expect("own", "2");
    let (_, close) = bob.messages_until_close();
    assert_eq!(close, Some((4_001, "out".to_owned())));
    assert_eq!(world.publisher().subscriber_count("news"), 0);
}

fn a_visit_that_panics_closes_that_session_alone(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut ada = world.client("ada");
    let mut bob = world.client("bob");
    visit_all(&world, |session| {
        assert!(session.value() != "bob", "expected by this test");
        ControlFlow::Continue(())
    });
    bob.expect_close(1011);
    assert_eq!(world.closed("bob").reason.kind(), CloseKind::Panic);
    ada.script("send still 1");
    ada.expect("still", "1");
    assert_eq!(world.stats().total.hook_panics, 1);
}

fn a_server_that_drains_is_not_visited(setup: Setup) {
    let world = World::start(setup, Options::default());
    let sessions = world.sessions();
    world.begin_drain(std::time::Duration::from_secs(1));
    world.until("the drain has begun", || {
        matches!(
            sessions.visit(Place::default(), |_| ControlFlow::Continue(()), |_| {}),
            Err(SendError::Closed)
        )
    });
    world.ended();
}

fn topics_are_listed_by_name_in_pages_and_by_subscribers(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients: Vec<_> = (0..4).map(|number| world.client(&format!("c{number}"))).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let topics = ["room:a", "room:b", "lobby", "room:c"];
        let lines: Vec<_> = topics[..=number].iter().map(|topic| format!("sub {topic}")).collect();
        client.script_and_wait(&lines.join("\n"));
    }
    let publisher = world.publisher();
    let owned = |topics: &[(&str, u64)]| -> Vec<(String, u64)> {
        topics.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
    };
    let by_name = |after| publisher.topics(TopicOrder::ByName { after }, "", 2);
    assert_eq!(by_name(None), owned(&[("lobby", 2), ("room:a", 4)]));
    assert_eq!(by_name(Some("room:a")), owned(&[("room:b", 3), ("room:c", 1)]));
    assert_eq!(by_name(Some("room:c")), []);
    let largest = |prefix, most| publisher.topics(TopicOrder::LargestFirst, prefix, most);
    assert_eq!(largest("", 3), owned(&[("room:a", 4), ("room:b", 3), ("lobby", 2)]));
    assert_eq!(largest("room:", 9), owned(&[("room:a", 4), ("room:b", 3), ("room:c", 1)]));
    assert_eq!(largest("", 0), []);
}

fn each_publish_with_subscribers_is_in_the_distributions_once(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients: Vec<_> = (0..3).map(|number| world.client(&format!("c{number}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    let before = sums(&world);
    for number in 0..50 {
        world.publisher().publish("t", number.to_string().as_str()).unwrap();
    }
    world.publisher().publish("nobody", "1").unwrap();
    clients.iter_mut().for_each(|client| client.expect_numbers("t", 0..50));
    // A shard without subscribers gets none of them.
    world.until("all is counted", || {
        let (_, deliveries, flushed, fan_outs) = sums(&world);
        deliveries - before.1 == 150 && flushed - before.2 == fan_outs - before.3
    });
    let (turns, _, _, fan_outs) = sums(&world);
    assert!(turns > before.0);
    assert!((50..=50 * setup.shards() as u64).contains(&(fan_outs - before.3)), "{fan_outs}");
    let stats = world.stats();
    assert_eq!(stats.distributions.len(), setup.shards());
    assert!(stats.distributions.iter().any(|shard| shard.queue_depth.count() > 0));
    assert_eq!((stats.total.frames_waiting, stats.total.inbox_waiting, stats.total.intake_bytes), (0, 0, 0));
}

/// Turns; deliveries; publishes that are flushed; publishes.
fn sums(world: &World) -> (u64, u64, u64, u64) {
    let stats = world.stats();
    stats.distributions.iter().fold((0, 0, 0, 0), |(turns, deliveries, flushed, fan_outs), shard| {
        (
            turns + shard.turn.count(),
            deliveries + shard.fan_out.sum(),
            flushed + shard.publish_to_flush.count(),
            fan_outs + shard.fan_out.count(),
        )
    })
}
