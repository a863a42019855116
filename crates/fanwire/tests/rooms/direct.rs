//! Direct messages: to the newest session of a user, wherever it is.

use fanwire::Options;

use crate::{
    common::{Client, Setup},
    in_every_world,
    lobby::{enter, enter_and_init, expect_silence, expect_text, leave, open, open_default},
};

in_every_world!(
    a_direct_message_goes_to_the_newest_session,
    an_older_session_takes_over_when_the_newest_ends,
    an_older_session_takes_over_when_the_newest_does_not_read,
    a_direct_message_to_oneself_arrives,
);

fn dm(from: &mut Client, to: &str, text: &str) {
    from.say("dm", &format!(r#"{{"to":"{to}","text":"{text}"}}"#));
}

fn a_direct_message_goes_to_the_newest_session(setup: Setup) {
    let world = open_default(setup);
    let mut bob = enter(&world, "bob");
    let mut sessions: Vec<Client> = Vec::new();
    // Four sessions: on two shards, the newest is in turn on the sender's and on the other.
    for number in 0..4 {
        sessions.push(enter(&world, "ann"));
        dm(&mut bob, "ann", &format!("to {number}"));
        let newest = sessions.last_mut().expect("it was pushed");
        expect_text(newest, &format!(r#"{{"topic":"dm","data":{{"from":"bob","text":"to {number}"}}}}"#));
    }
    sessions.iter_mut().for_each(expect_silence);
    expect_silence(&mut bob);
}

fn an_older_session_takes_over_when_the_newest_ends(setup: Setup) {
    let world = open_default(setup);
    let mut bob = enter_and_init(&world, "bob");
    dm(&mut bob, "ann", "nobody");
    expect_text(&mut bob, r#"{"topic":"error","data":"not online"}"#);
    let mut sessions: Vec<Client> = (0..4).map(|_| enter(&world, "ann")).collect();
    // One in the middle ends first: the newest stays the newest.
    drop(sessions.remove(1));
    bob.expect("presence", &leave("ann", "error"));
    while let Some(newest) = sessions.last_mut() {
        dm(&mut bob, "ann", "still there?");
        newest.expect("dm", r#"{"from":"bob","text":"still there?"}"#);
        sessions.pop().expect("it is there").close();
        bob.expect("presence", &leave("ann", "clean"));
    }
    dm(&mut bob, "ann", "gone");
    expect_text(&mut bob, r#"{"topic":"error","data":"not online"}"#);
}

/// The message that is one too many for the newest session goes to the older one at once, if its shard is the
/// sender's; from another shard the sender hears of it a little later.
fn an_older_session_takes_over_when_the_newest_does_not_read(setup: Setup) {
    let world = open(setup, Options::default().queue_size(4));
    let mut bob = enter_and_init(&world, "bob");
    let mut older = enter(&world, "ann");
    let newest = enter(&world, "ann");
    let padding = "x".repeat(64 << 10);
    let mut sent = 0;
    let mut is_gone = false;
    while !is_gone {
        assert!(sent < DMS_MAX, "the newest session takes everything unread");
        dm(&mut bob, "ann", &format!("{sent} {padding}"));
        sent += 1;
        bob.text(r#"{"topic":"silence"}"#);
        is_gone = heard_before_silence(&mut bob, &leave("ann", "queue_full"));
    }
    dm(&mut bob, "ann", &format!("{sent} {padding}"));
    expect_silence(&mut bob);
    let first = number_of(&older.data_of("dm"));
    assert!((1..=sent).contains(&first), "{first} of {sent}");
    for number in first + 1..=sent {
        assert_eq!(number_of(&older.data_of("dm")), number);
    }
    drop(newest);
}

/// Reads to the answer to `silence`, and says whether `presence` told this before.
fn heard_before_silence(client: &mut Client, told: &str) -> bool {
    let mut is_heard = false;
    loop {
        let envelope = client.envelope();
        if envelope.topic == "error" {
            assert_eq!(envelope.data, r#""unknown topic""#);
            return is_heard;
        }
        assert_eq!((envelope.topic.as_str(), envelope.data.as_str()), ("presence", told));
        is_heard = true;
    }
}

fn number_of(data: &str) -> u32 {
    let text = data.strip_prefix(r#"{"from":"bob","text":""#).expect("bob sent it");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("the text begins with a number")
}

fn a_direct_message_to_oneself_arrives(setup: Setup) {
    let world = open_default(setup);
    let mut ann = enter(&world, "ann");
    dm(&mut ann, "ann", "me");
    ann.expect("dm", r#"{"from":"ann","text":"me"}"#);
    dm(&mut ann, "", "nobody");
    ann.expect("error", r#""not online""#);
}

/// Of 64 KiB: more than sockets buffer.
const DMS_MAX: u32 = 1_000;
