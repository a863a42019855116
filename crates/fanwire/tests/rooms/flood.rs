//! Floods: many messages in one hook call.

use fanwire::{CloseKind, Options};

use crate::{
    common::{Client, Setup},
    in_every_world,
    lobby::{enter, enter_and_init, expect_silence, leave, open, open_default, open_faultless, read_until},
};

in_every_world!(
    a_flood_of_many_queues_reaches_a_reading_client_whole,
    a_flood_that_fits_the_queue_waits_for_a_slow_reader,
    a_client_that_does_not_read_is_closed_alone,
    floods_without_end_are_refused,
);

fn flood(client: &mut Client, count: u32, bytes: usize) {
    client.say("flood", &format!(r#"{{"count":{count},"bytes":{bytes}}}"#));
}

fn expect_flood(client: &mut Client, count: u32, bytes: usize) {
    let data = format!(r#""{}""#, "x".repeat(bytes));
    for _ in 0..count {
        client.expect("flood", &data);
    }
}

fn a_flood_of_many_queues_reaches_a_reading_client_whole(setup: Setup) {
    let world = open_faultless(setup, Options::default().queue_size(16));
    let mut ann = enter(&world, "ann");
    for (count, bytes) in [(1_000, 32), (17, 0), (0, 5), (1, 65_536), (2_000, 1)] {
        flood(&mut ann, count, bytes);
        expect_flood(&mut ann, count, bytes);
        expect_silence(&mut ann);
    }
    assert_eq!(world.stats().total.closed(CloseKind::QueueFull), 0);
}

/// 6 MB, far more than socket buffers take: what they refuse waits in the queue.
fn a_flood_that_fits_the_queue_waits_for_a_slow_reader(setup: Setup) {
    let world = open(setup, Options::default().queue_size(100_000));
    let mut ann = enter(&world, "ann");
    flood(&mut ann, 100_000, 32);
    expect_flood(&mut ann, 100_000, 32);
    expect_silence(&mut ann);
}

fn a_client_that_does_not_read_is_closed_alone(setup: Setup) {
    let world = open_faultless(setup, Options::default().queue_size(16));
    let mut bob = enter_and_init(&world, "bob");
    let mut eve = enter_and_init(&world, "eve");
    bob.expect("presence", r#"{"type":"join","user":"eve"}"#);
    let mut ann = enter(&world, "ann");
    flood(&mut ann, 1_000, 10_000);
    for client in [&mut bob, &mut eve] {
        client.expect("presence", &leave("ann", "queue_full"));
    }
    // It gets what had left whole, then the close frame that says why.
    let (messages, frame) = ann.messages_until_close();
    assert!((1..1_000).contains(&messages.len()), "{} messages", messages.len());
    assert_eq!(frame, Some((1013, "too slow".to_owned())));
    assert_eq!(world.stats().total.closed(CloseKind::QueueFull), 1);
    drop(ann);
    // Exactly once: the next that is heard is the next to leave.
    let carl = enter(&world, "carl");
    carl.close();
    for client in [&mut bob, &mut eve] {
        client.expect("presence", &leave("carl", "clean"));
        expect_silence(client);
    }
}

fn floods_without_end_are_refused(setup: Setup) {
    let world = open_default(setup);
    let mut ann = enter(&world, "ann");
    for (count, bytes) in [(1_000_001, 1), (1, (4 << 20) + 1), (300, 4 << 20)] {
        flood(&mut ann, count, bytes);
        let envelope = ann.envelope();
        assert_eq!(envelope.topic, "error");
        assert!(envelope.data.starts_with(r#""a flood has at most "#), "{envelope:?}");
    }
    flood(&mut ann, 1, 4 << 20);
    read_until(&mut ann, "flood", &format!(r#""{}""#, "x".repeat(4 << 20)));
}
