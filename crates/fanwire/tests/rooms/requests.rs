//! Who is let in, and what single requests answer.

use crate::{
    common::{Response, Setup},
    in_every_world,
    lobby::{enter, enter_and_init, enter_on, expect_silence, expect_text, join, open_default, sessions_are},
};

in_every_world!(
    names_are_checked_before_a_session_opens,
    init_welcomes_then_tells_everybody,
    init_subscribes_to_three_topics,
    publish_keeps_every_byte_of_data,
    chat_wraps_data_with_the_user,
    announcements_reach_everybody,
    count_counts_the_sessions_of_all_shards,
    requests_of_a_wrong_form_are_answered_with_the_right_one,
    what_is_no_envelope_is_ignored_and_counted,
);

fn names_are_checked_before_a_session_opens(setup: Setup) {
    let world = open_default(setup);
    let long = "a".repeat(33);
    let refused = ["/ws", "/ws?token=", "/ws?token=Ann", "/ws?token=a_b", "/ws?token=%C3%A4", "/ws?name=ann"];
    for target in refused.map(str::to_owned).into_iter().chain([format!("/ws?token={long}")]) {
        assert_eq!(status_of(world.try_connect(&target, &[])), 401, "{target}");
    }
    assert_eq!(status_of(world.try_connect("/elsewhere?token=ann", &[])), 404);
    assert_eq!(world.request("GET / HTTP/1.1\r\nHost: test\r\n\r\n").status, 404);
    for name in ["a", "z9", &long[1..]] {
        let mut client = world.connect(&format!("/ws?token={name}"));
        client.text(r#"{"topic":"init"}"#);
        assert!(client.data_of("welcome").ends_with(&format!(r#","user":"{name}"}}"#)));
        client.expect("presence", &join(name));
        client.close();
        world.until_stats("the session has ended", sessions_are(0));
    }
}

fn status_of(refused: Result<crate::common::Client, Response>) -> u16 {
    refused.err().expect("it is refused").status
}

fn init_welcomes_then_tells_everybody(setup: Setup) {
    let world = open_default(setup);
    let mut bob = enter_and_init(&world, "bob");
    let mut ann = enter(&world, "ann");
    ann.text(r#"{"topic":"init"}"#);
    let welcome = ann.data_of("welcome");
    let id = welcome.strip_prefix(r#"{"status":"connected","session":""#).expect("the session's id follows");
    let id = id.strip_suffix(r#"","user":"ann"}"#).expect("the user is last");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{welcome}");
    expect_text(&mut ann, r#"{"topic":"presence","data":{"type":"join","user":"ann"}}"#);
    expect_text(&mut bob, r#"{"topic":"presence","data":{"type":"join","user":"ann"}}"#);
}

fn init_subscribes_to_three_topics(setup: Setup) {
    let world = open_default(setup);
    let mut ann = enter_and_init(&world, "ann");
    let mut bob = enter(&world, "bob");
    for topic in ["user:ann", "global", "presence"] {
        bob.say("publish", &format!(r#"{{"topic":"{topic}","data":1}}"#));
        ann.expect(topic, "1");
    }
    bob.say("publish", r#"{"topic":"user:bob","data":1}"#);
    bob.say("publish", r#"{"topic":"global","data":2}"#);
    ann.expect("global", "2");
}

fn publish_keeps_every_byte_of_data(setup: Setup) {
    let world = open_default(setup);
    let mut ann = enter_on(&world, "ann", "t");
    let mut bob = enter(&world, "bob");
    for data in
        [r#"{"b" : 1.50e+2 , "a":[ ],"a":"\u00e4\/ä"}"#, "null", "-0.0", r#""""#, "true", r#"[ 1,  2 ]"#]
    {
        bob.text(&format!(r#" {{ "data" : {{ "data" :  {data} , "topic":"t","x":1}},"topic":"publish"}}"#));
        expect_text(&mut ann, &format!(r#"{{"topic":"t","data":{data}}}"#));
    }
    bob.text(r#"{"topic":"publish","data":{"topic":"t"}}"#);
    expect_text(&mut bob, r#"{"topic":"error","data":"publish needs {\"topic\":T,\"data\":D}"}"#);
}

fn chat_wraps_data_with_the_user(setup: Setup) {
    let world = open_default(setup);
    let mut ann = enter_on(&world, "ann", "chat:general");
    let mut bob = enter(&world, "bob");
    bob.text(r#"{"topic":"chat","data": { "text" : "h\u00e9" } }"#);
    expect_text(&mut ann, r#"{"topic":"chat:general","data":{"user":"bob","data":{ "text" : "h\u00e9" }}}"#);
    ann.say("chat", "null");
    expect_text(&mut ann, r#"{"topic":"chat:general","data":{"user":"ann","data":null}}"#);
}

fn announcements_reach_everybody(setup: Setup) {
    let world = open_default(setup);
    let mut clients: Vec<_> = (0..4).map(|i| enter(&world, &format!("u{i}"))).collect();
    clients[2].say("announce", r#"{"at" : "noon"}"#);
    for client in &mut clients {
        expect_text(client, r#"{"topic":"announcement","data":{"at" : "noon"}}"#);
        expect_silence(client);
    }
}

fn count_counts_the_sessions_of_all_shards(setup: Setup) {
    let world = open_default(setup);
    let mut clients: Vec<_> = (0..3).map(|i| enter(&world, &format!("u{i}"))).collect();
    for client in &mut clients {
        client.text(r#"{"topic":"count"}"#);
        expect_text(client, r#"{"topic":"count","data":{"sessions":3}}"#);
    }
    clients.pop().expect("there are three").close();
    world.until_stats("one has left", sessions_are(2));
    clients[0].say("count", "{}");
    expect_text(&mut clients[0], r#"{"topic":"count","data":{"sessions":2}}"#);
}

fn requests_of_a_wrong_form_are_answered_with_the_right_one(setup: Setup) {
    let world = open_default(setup);
    let mut ann = enter(&world, "ann");
    for (topic, usage) in [
        ("subscribe", r#"{"topic":T}"#),
        ("unsubscribe", r#"{"topic":T}"#),
        ("publish", r#"{"topic":T,"data":D}"#),
        ("join_room", r#"{"room":R}"#),
        ("leave_room", r#"{"room":R}"#),
        ("room_message", r#"{"room":R,"text":X}"#),
        ("dm", r#"{"to":U,"text":X}"#),
        ("close", r#"{"code":C,"reason":R}"#),
        ("flood", r#"{"count":N,"bytes":B}"#),
    ] {
        ann.text(&format!(r#"{{"topic":"{topic}"}}"#));
        for data in ["null", "1", r#""x""#, "{}", r#"["a","b"]"#, r#"{"topic":1,"room":1,"to":1,"code":"x"}"#]
        {
            ann.say(topic, data);
        }
        let error = serde_json::to_string(&format!("{topic} needs {usage}")).expect("text is JSON");
        for _ in 0..7 {
            ann.expect("error", &error);
        }
    }
    for topic in ["chat", "announce"] {
        ann.text(&format!(r#"{{"topic":"{topic}"}}"#));
        ann.expect("error", &format!(r#""{topic} needs data""#));
    }
    for topic in ["", "Init", "nonsense", "room:a"] {
        ann.say(topic, "1");
        expect_text(&mut ann, r#"{"topic":"error","data":"unknown topic"}"#);
    }
    let long = "t".repeat(257);
    ann.say("subscribe", &format!(r#"{{"topic":"{long}"}}"#));
    ann.expect("error", r#""the topic is too long: shorten it or raise topic_bytes_max""#);
    ann.close();
}

fn what_is_no_envelope_is_ignored_and_counted(setup: Setup) {
    let world = open_default(setup);
    let mut ann = enter(&world, "ann");
    let nonsense = ["hello", "", "[]", "{}", r#"["init",1]"#, r#"{"topic":1}"#, r#"{"topic":"init"} x"#];
    for text in nonsense {
        ann.text(text);
    }
    ann.binary(b"\xff\xff");
    expect_silence(&mut ann);
    assert_eq!(world.stats().total.messages_ignored, nonsense.len() as u64 + 1);
    ann.close();
}
