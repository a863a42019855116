//! Handles: harmless once their session has gone, also when its slot has another.

use fanwire::{CloseKind, Options, SendError, SubscribeError};

use crate::{
    common::{Client, Setup, World},
    in_every_world,
};

in_every_world!(
    a_handle_tells_how_its_session_ended_until_the_slot_goes_on,
    a_stale_handle_never_reaches_the_slots_next_session,
    handles_are_equal_if_they_name_the_same_session,
    ids_are_made_by_the_generator_or_are_random,
);

fn a_handle_tells_how_its_session_ended_until_the_slot_goes_on(setup: Setup) {
    let world = World::start(setup, Options::default());
    let first = world.client_on(0, "first");
    let handle = world.log.handle("first");
    first.close();
    world.closed("first");
    assert_eq!(handle.close_error(), Some(CloseKind::Peer));
    // They stay open: the place that was free last is taken first, so one that is given back would be taken again
    // for as long as the first session's place is late.
    let mut next = Vec::new();
    world.until("the slot has another session", || {
        next.push(world.client_on(0, "next"));
        handle.close_error().is_none()
    });
    assert!(handle.is_closed());
    next.into_iter().for_each(Client::close);
}

fn a_stale_handle_never_reaches_the_slots_next_session(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut stale = Vec::new();
    for round in 0..20 {
        let name = format!("c{round}");
        let mut client = world.client_on(0, &name);
        for handle in &stale {
            let handle: &fanwire::SessionHandle = handle;
            assert!(handle.is_closed());
            assert_eq!(handle.send("ghost", "1"), Err(SendError::Closed));
            assert_eq!(handle.subscribe("ghost"), Err(SubscribeError::Closed));
            assert_eq!(handle.unsubscribe("t"), Err(SendError::Closed));
            assert_eq!(handle.close(), Err(SendError::Closed));
            world.publisher().publish_except(handle, "t", "0").unwrap();
        }
        // Commands that were on their way when their session ended find another one in its slot.
        let handle = world.log.handle(&name);
        client.script_and_wait("sub t");
        handle.send("last", "1").unwrap();
        handle.close_with(4_000, "").unwrap();
        let _ = handle.subscribe("ghost");
        let _ = handle.send("ghost", "2");
        let (messages, _) = client.messages_until_close();
        assert!(messages.iter().all(|message| message.topic != "ghost"), "{messages:?}");
        client.send_close(4_000, "");
        client.expect_end();
        world.closed(&name);
        stale.push(handle);
    }
}

fn handles_are_equal_if_they_name_the_same_session(setup: Setup) {
    let world = World::start(setup, Options::default());
    let clients = [world.client("a"), world.client("b")];
    assert_eq!(world.log.handle("a"), world.log.handle("a").clone());
    assert_ne!(world.log.handle("a"), world.log.handle("b"));
    drop(clients);
}

fn ids_are_made_by_the_generator_or_are_random(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..10 {
        let mut client = world.client("c");
        client.script("id");
        let id = client.data_of("id");
        let hex = id.trim_matches('"');
        assert!(hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10);
    let world = World::start(setup, Options::default().id_generator(|| "custom".to_owned()));
    let mut client = world.client("c");
    client.script("id");
    client.expect("id", "\"custom\"");
}
