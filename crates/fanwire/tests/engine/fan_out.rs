//! Fan-out: who gets a publish, and in which order.

use std::time::Duration;

use fanwire::{Options, PublishError, SubscribeError, sim::Faults};

use crate::{
    common::{Client, Setup, World, payload_32},
    in_every_world, on_real_sockets, on_the_simulator,
};

in_every_world!(
    publishes_reach_every_subscriber_and_nobody_else,
    a_session_is_where_the_test_wants_it,
    each_subscriber_sees_publishes_of_one_session_in_order,
    each_subscriber_sees_publishes_of_one_thread_in_order,
    subscribing_by_handle_and_then_publishing_delivers,
    nothing_is_delivered_after_an_acknowledged_unsubscribe,
    a_publish_before_an_unsubscribe_reaches_the_leaver,
    subscribing_twice_delivers_once,
    the_publisher_can_be_left_out,
    a_broadcast_reaches_everybody_once,
    bursts_in_one_hook_call_reach_every_reading_subscriber,
    sends_to_one_session_in_one_hook_call_all_arrive,
    messages_to_another_session_arrive_on_any_shard,
    a_shard_without_a_subscriber_gets_nothing,
    a_hundred_thousand_messages_to_fifty_sessions_all_arrive,
    topics_have_their_limits,
    counts_of_sessions_and_subscribers_follow,
    payloads_that_fit_nowhere_are_refused,
);
on_the_simulator!(a_full_inbox_refuses_a_publish_and_nobody_gets_it);
on_real_sockets!(a_full_ring_refuses_a_publish_and_nobody_gets_it);

fn publishes_reach_every_subscriber_and_nobody_else(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients = subscribers(&world, 10, "t");
    let mut other = world.client("other");
    other.script_and_wait("sub u");
    clients[3].script("pub t {\"a\" : 1}\npub u 2");
    for client in &mut clients {
        client.expect("t", "{\"a\" : 1}");
    }
    other.expect("u", "2");
    clients.into_iter().for_each(Client::close);
    other.close();
}

fn a_session_is_where_the_test_wants_it(setup: Setup) {
    let world = World::start(setup, Options::default());
    for shard in 0..setup.shards() {
        let mut client = world.client_on(shard, &format!("on{shard}"));
        client.script("shard");
        client.expect("shard", &shard.to_string());
    }
}

/// Two publishers on each shard, a subscriber on each shard: per publisher, order.
fn each_subscriber_sees_publishes_of_one_session_in_order(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut readers: Vec<_> =
        (0..setup.shards()).map(|shard| world.client_on(shard, &format!("reader{shard}"))).collect();
    for reader in &mut readers {
        reader.script_and_wait("sub t");
    }
    let mut writers: Vec<_> =
        (0..setup.shards() * 2).map(|i| world.client_on(i % setup.shards(), &format!("writer{i}"))).collect();
    for round in 0..ROUNDS {
        for (index, writer) in writers.iter_mut().enumerate() {
            let [one, two] = [2 * round, 2 * round + 1].map(|number| index * 10_000 + number);
            writer.script(&format!("pub t {one}\npub t {two}"));
        }
    }
    for reader in &mut readers {
        let mut next = vec![0; writers.len()];
        for _ in 0..writers.len() * ROUNDS * 2 {
            let number: usize = reader.data_of("t").parse().unwrap();
            let (index, number) = (number / 10_000, number % 10_000);
            assert_eq!(number, next[index], "of writer {index}");
            next[index] += 1;
        }
    }
}

fn each_subscriber_sees_publishes_of_one_thread_in_order(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut readers = subscribers(&world, 4, "t");
    let publisher = world.publisher();
    for number in 0..200 {
        publisher.publish("t", payload_32(number)).unwrap();
    }
    for reader in &mut readers {
        reader.expect_numbers("t", 0..200);
    }
}

fn subscribing_by_handle_and_then_publishing_delivers(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients: Vec<_> = (0..4).map(|i| world.client(&format!("c{i}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait(""));
    let publisher = world.publisher();
    for round in 0..ROUNDS {
        let topic = format!("t{round}");
        for i in 0..clients.len() {
            world.log.handle(&format!("c{i}")).subscribe(&topic).unwrap();
        }
        publisher.publish(&topic, round.to_string()).unwrap();
        for client in &mut clients {
            client.expect(&topic, &round.to_string());
        }
    }
}

fn nothing_is_delivered_after_an_acknowledged_unsubscribe(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut leaver = world.client_on(0, "leaver");
    let mut writer = world.client_on(setup.shards() - 1, "writer");
    leaver.script_and_wait("sub t");
    for round in 0..ROUNDS {
        writer.script_and_wait(&format!("pub t {round}"));
        leaver.expect("t", &round.to_string());
        leaver.script_and_wait("unsub t");
        writer.script_and_wait("pub t -1");
        world.publisher().publish("t", "-2").unwrap();
        leaver.script_and_wait("sub t");
    }
    leaver.script_and_wait("unsub t");
    leaver.script("unsub t");
    leaver.expect("error", "\"NotSubscribed\"");
}

fn a_publish_before_an_unsubscribe_reaches_the_leaver(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("leaver");
    client.script("sub t\nsub u\npub t 1\nunsub t\npub t 2\nunsub_all\npub u 3\nmark 4");
    client.expect("t", "1");
    client.expect("unsub_all", "1");
    client.expect("mark", "4");
}

fn subscribing_twice_delivers_once(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut client = world.client("twice");
    client.script_and_wait("sub t\nsub t");
    world.log.handle("twice").subscribe("t").unwrap();
    world.publisher().publish("t", "1").unwrap();
    client.expect("t", "1");
    assert_eq!(world.publisher().subscriber_count("t"), 1);
    client.script_and_wait("unsub t");
    client.script_and_wait("pub t 2");
}

fn the_publisher_can_be_left_out(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients: Vec<_> =
        (0..setup.shards() + 1).map(|i| world.client_on(i % setup.shards(), &format!("c{i}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    clients[0].script_and_wait("pub_others t 1");
    clients[1..].iter_mut().for_each(|client| client.expect("t", "1"));
    for i in 0..clients.len() {
        world.publisher().publish_except(&world.log.handle(&format!("c{i}")), "t", "2").unwrap();
        for (other, client) in clients.iter_mut().enumerate() {
            if other != i {
                client.expect("t", "2");
            }
        }
    }
    clients.iter_mut().for_each(|client| client.script_and_wait(""));
}

fn a_broadcast_reaches_everybody_once(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients: Vec<_> = (0..6).map(|i| world.client_on(i % setup.shards(), &format!("c{i}"))).collect();
    clients[0].script("sub news\nbroadcast news 1");
    clients.iter_mut().for_each(|client| client.expect("news", "1"));
    world.publisher().broadcast("news", "2").unwrap();
    clients.iter_mut().for_each(|client| client.expect("news", "2"));
    clients.iter_mut().for_each(|client| client.script_and_wait(""));
}

/// More than the queue takes, with sockets that take everything: only a socket that refuses makes a session slow.
fn bursts_in_one_hook_call_reach_every_reading_subscriber(setup: Setup) {
    let world = World::start_faulty(setup, Options::default().queue_size(256), Faults::none());
    let mut clients: Vec<_> = (0..6).map(|i| world.client_on(i % setup.shards(), &format!("c{i}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    for count in [257, 1_000] {
        clients[0].script(&format!("pub_n {count} t"));
        for number in 0..count {
            clients.iter_mut().for_each(|client| client.expect("t", &number.to_string()));
        }
    }
    clients.into_iter().for_each(Client::close);
}

fn sends_to_one_session_in_one_hook_call_all_arrive(setup: Setup) {
    let world = World::start_faulty(setup, Options::default().queue_size(16), Faults::none());
    let mut client = world.client("flooded");
    client.script("send_n 1000 flood");
    client.expect_numbers("flood", 0..1_000);
    client.close();
}

fn messages_to_another_session_arrive_on_any_shard(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut sender = world.client_on(0, "sender");
    for shard in 0..setup.shards() {
        let name = format!("on{shard}");
        let mut receiver = world.client_on(shard, &name);
        sender.script_and_wait(&format!("send_to {name} dm 1\nsend_to {name} dm 2"));
        receiver.expect("dm", "1");
        receiver.expect("dm", "2");
        let handle = world.log.handle(&name);
        handle.send("dm", "3").unwrap();
        handle.send_frame(&world.publisher().frame("dm", "4").unwrap()).unwrap();
        receiver.expect("dm", "3");
        receiver.expect("dm", "4");
        receiver.close();
    }
}

fn a_shard_without_a_subscriber_gets_nothing(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut reader = world.client_on(0, "reader");
    reader.script_and_wait("sub t");
    for number in 0..100 {
        world.publisher().publish("t", number.to_string()).unwrap();
        reader.expect("t", &number.to_string());
    }
    reader.script_and_wait("unsub t");
    world.publisher().publish("t", "nobody").unwrap_or_else(|error| panic!("{error}"));
    reader.script_and_wait("sub u");
    let publishes: Vec<_> = world.stats().shards.iter().map(|shard| shard.publishes).collect();
    let expected: Vec<_> = (0..setup.shards()).map(|shard| if shard == 0 { 100 } else { 0 }).collect();
    assert_eq!(publishes, expected);
}

fn a_hundred_thousand_messages_to_fifty_sessions_all_arrive(setup: Setup) {
    // No pings among the messages, however long a busy machine takes.
    let options = Options::default().ping_interval(Duration::ZERO).idle_timeout(Duration::ZERO);
    let world = World::start_faulty(setup, options, Faults::none());
    let mut readers = subscribers(&world, 50, "t");
    let publisher = world.publisher();
    let (total, chunk) = if setup.is_sim() { (20_000, 200) } else { (100_000, 200) };
    for first in (0..total).step_by(chunk) {
        let numbers = first as u64..(first + chunk) as u64;
        for number in numbers.clone() {
            publisher.publish("t", payload_32(number)).unwrap();
        }
        for reader in &mut readers {
            for number in numbers.clone() {
                let payload = reader.payload();
                let found = payload[payload.len() - 33..payload.len() - 1].trim_ascii_start();
                assert_eq!(found, number.to_string().as_bytes());
            }
        }
    }
    readers.into_iter().for_each(Client::close);
}

fn topics_have_their_limits(setup: Setup) {
    let world = World::start(setup, Options::default().topics_per_session_max(2).topic_bytes_max(8));
    let mut client = world.client("many");
    client.script("sub a\nsub b\nsub c\nsub a\nsub aaaaaaaaa\ntopics");
    client.expect("error", "\"TooManyTopics\"");
    client.expect("error", "\"TopicTooLong\"");
    client.expect("topics", "\"a b\"");
    let handle = world.log.handle("many");
    assert_eq!(handle.subscribe("aaaaaaaaa"), Err(SubscribeError::TopicTooLong));
    assert_eq!(world.publisher().publish("aaaaaaaaa", "1"), Err(PublishError::TopicTooLong));
    handle.subscribe("d").unwrap();
    world.until_stats("the third topic is refused", |stats| stats.total.subscribes_refused == 3);
    client.close();
}

fn counts_of_sessions_and_subscribers_follow(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients = subscribers(&world, 5, "t");
    assert_eq!(world.publisher().session_count(), 5);
    assert_eq!(world.publisher().subscriber_count("t"), 5);
    clients[0].script_and_wait("unsub t");
    assert_eq!(world.publisher().subscriber_count("t"), 4);
    clients.into_iter().for_each(Client::close);
    world.until_stats("all have left", |stats| stats.total.sessions == 0 && stats.total.topics == 0);
    assert_eq!(world.publisher().session_count(), 0);
    assert_eq!(world.publisher().subscriber_count("t"), 0);
}

fn payloads_that_fit_nowhere_are_refused(setup: Setup) {
    let world = World::start(setup, Options::default().queue_bytes(2_000));
    let mut client = world.client("small");
    client.script_and_wait("sub t");
    let publisher = world.publisher();
    assert_eq!(publisher.publish("t", "1".repeat(2_000)), Err(PublishError::PayloadTooLarge));
    assert_eq!(publisher.publish("t", &b"\xff"[..]), Err(PublishError::NotUtf8));
    publisher.publish("t", "1".repeat(1_900)).unwrap();
    assert_eq!(client.data_of("t").len(), 1_900);
}

/// Nothing takes commands out while the simulation stands still.
fn a_full_inbox_refuses_a_publish_and_nobody_gets_it(setup: Setup) {
    let world = World::start(setup, Options::default().inbox_size(10));
    let mut readers: Vec<_> =
        (0..setup.shards()).map(|shard| world.client_on(shard, &format!("c{shard}"))).collect();
    readers.iter_mut().for_each(|reader| reader.script_and_wait("sub t"));
    // One shard's inbox has a place less than the others'.
    world.log.handle("c0").send("first", "1").unwrap();
    let publisher = world.publisher();
    for number in 0..9 {
        publisher.publish("t", number.to_string()).unwrap();
    }
    assert_eq!(publisher.publish("t", "9"), Err(PublishError::Full));
    assert_eq!(publisher.publish("t", "10"), Err(PublishError::Full));
    readers[0].expect("first", "1");
    for reader in &mut readers {
        reader.expect_numbers("t", 0..9);
    }
    assert_eq!(world.stats().total.inbox_full, 2);
    publisher.publish("t", "11").unwrap();
    readers.iter_mut().for_each(|reader| reader.expect("t", "11"));
}

/// One shard is held in a hook; what another publishes to it fills the ring between them.
fn a_full_ring_refuses_a_publish_and_nobody_gets_it(setup: Setup) {
    let world = World::start(setup, Options::default().mesh_size(10));
    let mut writer = world.client_on(0, "writer");
    writer.script_and_wait("sub t");
    if setup.shards == 1 {
        writer.script("pub_n 11 t");
        return writer.expect_numbers("t", 0..11);
    }
    let mut held = world.client_on(1, "held");
    held.script_and_wait("sub t");
    held.script("hold gate");
    world.until("the other shard is held", || world.gates.is_reached("gate"));
    writer.script("pub_n 11 t\nmark 0");
    writer.expect_numbers("t", 0..10);
    writer.expect("error", "\"Full\"");
    writer.expect("mark", "0");
    assert_eq!(world.stats().total.mesh_full, 1);
    world.gates.open("gate");
    held.expect_numbers("t", 0..10);
    writer.script("pub t 12");
    writer.expect("t", "12");
    held.expect("t", "12");
}

/// Clients that are subscribed, on whatever shard.
fn subscribers(world: &World, count: usize, topic: &str) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|i| world.client(&format!("c{i}"))).collect();
    for client in &mut clients {
        client.script_and_wait(&format!("sub {topic}"));
    }
    clients
}

const ROUNDS: usize = 30;
