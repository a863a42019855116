//! Bad moments: the end of a server with work still under way, clocks that stand still, hooks that fail late.

use std::time::Duration;

use fanwire::{CloseKind, Options, Stats};

use crate::{
    common::{Client, Incoming, Setup, World},
    in_every_world, on_the_simulator,
};

in_every_world!(
    a_drain_first_delivers_what_other_threads_had_published,
    a_drain_first_delivers_what_other_shards_had_published,
    an_id_generator_that_panics_costs_the_id_alone,
);
on_the_simulator!(a_pause_shorter_than_the_ping_interval_closes_nobody, a_pause_without_pings_closes_nobody,);

/// More than a tick takes in: what was accepted before the drain reaches everybody before 1001.
fn a_drain_first_delivers_what_other_threads_had_published(setup: Setup) {
    let world = World::start(setup, Options::default().queue_size(QUEUE_SIZE));
    let mut clients: Vec<_> = (0..4).map(|i| world.client(&format!("c{i}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    let publisher = world.publisher();
    (0..MESSAGES).for_each(|number| publisher.publish("t", number.to_string()).expect("the inbox has room"));
    world.begin_drain(Duration::from_secs(60));
    for mut client in clients {
        client.expect_numbers("t", 0..MESSAGES);
        client.finish_close(1_001);
    }
    assert_eq!(world.ended().cut, 0);
}

fn a_drain_first_delivers_what_other_shards_had_published(setup: Setup) {
    let world = World::start(setup, Options::default().queue_size(QUEUE_SIZE));
    let mut clients: Vec<_> = (0..4).map(|i| world.client(&format!("c{i}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    let mut source = world.client("source");
    source.script(&format!("pub_n {MESSAGES} t"));
    let is_published = |stats: &Stats| stats.shards.iter().any(|shard| shard.publishes >= MESSAGES);
    world.until_stats("one shard has published all", is_published);
    world.begin_drain(Duration::from_secs(60));
    for mut client in clients {
        client.expect_numbers("t", 0..MESSAGES);
        client.finish_close(1_001);
    }
    source.finish_close(1_001);
    assert_eq!(world.ended().cut, 0);
}

fn an_id_generator_that_panics_costs_the_id_alone(setup: Setup) {
    let world = World::start(setup, Options::default().id_generator(|| panic!("asked to panic for an id")));
    for number in 1..=2 {
        let mut client = world.client(&format!("c{number}"));
        client.script("id");
        client.expect("id", "\"\"");
        client.close();
        assert_eq!(world.stats().total.hook_panics, number);
    }
}

/// A client that answers every ping may be one interval behind; a pause comes on top.
fn a_pause_shorter_than_the_ping_interval_closes_nobody(setup: Setup) {
    let second = Duration::from_secs(1);
    let world = World::start(setup, Options::default().ping_interval(10 * second).idle_timeout(12 * second));
    let mut clients: Vec<_> = (0..10).map(|i| world.client(&format!("c{i}"))).collect();
    for client in &mut clients {
        client.script_and_wait("");
    }
    world.sim().pass(4 * second);
    // They were last heard 4 s ago, and the next 9 s pass at once.
    world.sim().jump(9 * second);
    world.sim().pass(second / 10);
    assert_eq!(world.stats().total.closed(CloseKind::Idle), 0);
    answer_pings(&mut clients);
    assert_eq!(world.stats().total.sessions, 10);
    world.sim().pass(13 * second);
    assert_eq!(world.stats().total.closed(CloseKind::Idle), 10, "who stays silent is closed all the same");
}

/// Nobody is asked, so everybody has half of the time to be heard again.
fn a_pause_without_pings_closes_nobody(setup: Setup) {
    let second = Duration::from_secs(1);
    let world =
        World::start(setup, Options::default().ping_interval(Duration::ZERO).idle_timeout(12 * second));
    let clients: Vec<_> = (0..10).map(|i| world.client(&format!("c{i}"))).collect();
    world.sim().pass(second);
    world.sim().jump(3_600 * second);
    world.sim().pass(10 * second);
    assert_eq!(world.stats().total.closed(CloseKind::Idle), 0);
    world.sim().pass(3 * second);
    assert_eq!(world.stats().total.closed(CloseKind::Idle), 10);
    drop(clients);
}

fn answer_pings(clients: &mut [Client]) {
    for client in clients {
        match client.incoming() {
            Incoming::Ping(payload) => client.frame(true, fanwire_ws::Opcode::Pong, &payload),
            other => panic!("{other:?}"),
        }
    }
}

/// A tick takes 1,024 calls from the inbox and as many from the mesh, which holds 4,096.
const MESSAGES: u64 = 4_000;

const QUEUE_SIZE: u32 = 8_192;
