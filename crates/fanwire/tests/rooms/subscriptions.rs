//! Topics and rooms: who is on them, and from when to when.

use crate::{
    common::{Client, Setup},
    in_every_world,
    lobby::{
        RoomsWorld, enter, enter_and_init, enter_on, expect_silence, expect_text, open_default, subscribe,
    },
};

in_every_world!(
    an_acknowledged_subscription_is_in_force,
    after_an_acknowledged_unsubscribe_nothing_comes,
    unsubscribe_all_ends_every_subscription,
    private_topics_are_their_owners,
    rooms_tell_of_joins_messages_and_leaves,
    a_user_in_two_rooms_hears_each_once,
);

/// Has `from` publish, on both shards if there are two.
fn publish(from: &mut [Client], topic: &str, data: &str) {
    for client in from {
        client.say("publish", &format!(r#"{{"topic":"{topic}","data":{data}}}"#));
        expect_silence(client);
    }
}

fn two_publishers(world: &RoomsWorld) -> [Client; 2] {
    [enter(world, "pub0"), enter(world, "pub1")]
}

fn an_acknowledged_subscription_is_in_force(setup: Setup) {
    let world = open_default(setup);
    let mut publishers = two_publishers(&world);
    let mut ann = enter(&world, "ann");
    for topic in ["t0", "t1", "t2"] {
        subscribe(&mut ann, topic);
        subscribe(&mut ann, topic);
        publish(&mut publishers, topic, "1");
        ann.expect(topic, "1");
        ann.expect(topic, "1");
        expect_silence(&mut ann);
    }
}

fn after_an_acknowledged_unsubscribe_nothing_comes(setup: Setup) {
    let world = open_default(setup);
    let mut publishers = two_publishers(&world);
    let mut ann = enter_on(&world, "ann", "t");
    subscribe(&mut ann, "other");
    ann.say("unsubscribe", r#"{"topic":"t"}"#);
    expect_text(&mut ann, r#"{"topic":"unsubscribed","data":{"topic":"t"}}"#);
    publish(&mut publishers, "t", "1");
    publish(&mut publishers, "other", "2");
    ann.expect("other", "2");
    ann.expect("other", "2");
    ann.say("unsubscribe", r#"{"topic":"never \"had\""}"#);
    expect_text(&mut ann, r#"{"topic":"unsubscribed","data":{"topic":"never \"had\""}}"#);
}

fn unsubscribe_all_ends_every_subscription(setup: Setup) {
    let world = open_default(setup);
    let mut publishers = two_publishers(&world);
    let mut ann = enter_and_init(&world, "ann");
    subscribe(&mut ann, "t");
    ann.say("join_room", r#"{"room":"r"}"#);
    ann.expect("room:r", r#"{"type":"join","user":"ann"}"#);
    ann.text(r#"{"topic":"unsubscribe_all"}"#);
    expect_text(&mut ann, r#"{"topic":"unsubscribed","data":{"all":true}}"#);
    for topic in ["t", "global", "user:ann", "presence", "room:r"] {
        publish(&mut publishers, topic, "1");
    }
    subscribe(&mut ann, "t");
    publish(&mut publishers, "t", "2");
    ann.expect("t", "2");
    ann.expect("t", "2");
}

fn private_topics_are_their_owners(setup: Setup) {
    let world = open_default(setup);
    let mut publishers = two_publishers(&world);
    let mut ann = enter_on(&world, "ann", "private:ann");
    for topic in ["private:bob", "private:", "private:ann2", "private:an", "private:Ann"] {
        ann.say("subscribe", &format!(r#"{{"topic":"{topic}"}}"#));
        expect_text(&mut ann, r#"{"topic":"error","data":"not allowed"}"#);
        publish(&mut publishers, topic, "1");
    }
    publish(&mut publishers, "private:ann", "2");
    ann.expect("private:ann", "2");
    ann.expect("private:ann", "2");
    subscribe(&mut ann, "privates:bob");
}

fn rooms_tell_of_joins_messages_and_leaves(setup: Setup) {
    let world = open_default(setup);
    let mut ann = enter(&world, "ann");
    let mut bob = enter(&world, "bob");
    ann.say("join_room", r#"{"room":"den"}"#);
    expect_text(&mut ann, r#"{"topic":"room:den","data":{"type":"join","user":"ann"}}"#);
    bob.say("join_room", r#"{"room":"den"}"#);
    bob.say("room_message", r#"{"room":"den","text":"h\u00e9 \"you\""}"#);
    bob.say("leave_room", r#"{"room":"den"}"#);
    for client in [&mut ann, &mut bob] {
        expect_text(client, r#"{"topic":"room:den","data":{"type":"join","user":"bob"}}"#);
        expect_text(
            client,
            r#"{"topic":"room:den","data":{"type":"message","user":"bob","text":"hé \"you\""}}"#,
        );
        expect_text(client, r#"{"topic":"room:den","data":{"type":"leave","user":"bob"}}"#);
    }
    // Whoever has left may still speak, and hears nothing any more.
    bob.say("room_message", r#"{"room":"den","text":"out"}"#);
    ann.expect("room:den", r#"{"type":"message","user":"bob","text":"out"}"#);
    ann.say("room_message", r#"{"room":"den","text":"alone"}"#);
    ann.expect("room:den", r#"{"type":"message","user":"ann","text":"alone"}"#);
    expect_silence(&mut bob);
}

fn a_user_in_two_rooms_hears_each_once(setup: Setup) {
    let world = open_default(setup);
    let mut ann = enter(&world, "ann");
    let mut bob = enter(&world, "bob");
    for room in ["a", "b"] {
        ann.say("join_room", &format!(r#"{{"room":"{room}"}}"#));
        ann.expect(&format!("room:{room}"), r#"{"type":"join","user":"ann"}"#);
    }
    for room in ["b", "c", "a"] {
        bob.say("room_message", &format!(r#"{{"room":"{room}","text":"x"}}"#));
    }
    ann.expect("room:b", r#"{"type":"message","user":"bob","text":"x"}"#);
    ann.expect("room:a", r#"{"type":"message","user":"bob","text":"x"}"#);
    expect_silence(&mut ann);
}
