//! A server of `rooms`, and its guests.

use std::sync::Arc;

use fanwire::{Options, Stats, sim::Faults};

use crate::{
    common::{Client, Setup, World},
    rooms::{Lobby, Rooms},
};

pub(crate) type RoomsWorld = World<Rooms>;

/// A server with these options.
pub(crate) fn open(setup: Setup, options: Options) -> RoomsWorld {
    open_on(setup, options, Faults::default(), &new_lobby())
}

/// One on which, if it is simulated, nothing goes wrong.
pub(crate) fn open_faultless(setup: Setup, options: Options) -> RoomsWorld {
    open_on(setup, options, Faults::none(), &new_lobby())
}

/// One whose lobby the test can look into.
pub(crate) fn open_with_lobby(setup: Setup) -> (RoomsWorld, Arc<Lobby>) {
    let lobby = new_lobby();
    (open_on(setup, Options::default(), Faults::default(), &lobby), lobby)
}

fn new_lobby() -> Arc<Lobby> {
    Lobby::open().expect("a thread can be started")
}

fn open_on(setup: Setup, options: Options, faults: Faults, lobby: &Arc<Lobby>) -> RoomsWorld {
    World::start_with(setup, options, faults, |_| Rooms::new(lobby))
}

pub(crate) fn open_default(setup: Setup) -> RoomsWorld {
    open(setup, Options::default())
}

/// A session that is known to be open and has said nothing. One after the other they are dealt to the shards in
/// turn, so that two guests are on different shards where there are two.
pub(crate) fn enter(world: &RoomsWorld, name: &str) -> Client {
    let mut client = Client::on(world.adopt(name.to_owned()), Vec::new(), 0);
    client.text(r#"{"topic":"count"}"#);
    client.data_of("count");
    client
}

/// A session that has said `init`, and has got what comes of that.
pub(crate) fn enter_and_init(world: &RoomsWorld, name: &str) -> Client {
    let mut client = enter(world, name);
    client.text(r#"{"topic":"init"}"#);
    client.data_of("welcome");
    client.expect("presence", &join(name));
    client
}

/// A session on this topic alone.
pub(crate) fn enter_on(world: &RoomsWorld, name: &str, topic: &str) -> Client {
    let mut client = enter(world, name);
    subscribe(&mut client, topic);
    client
}

/// Subscribes and waits for the acknowledgement.
pub(crate) fn subscribe(client: &mut Client, topic: &str) {
    client.say("subscribe", &format!(r#"{{"topic":"{topic}"}}"#));
    expect_text(client, &format!(r#"{{"topic":"subscribed","data":{{"topic":"{topic}"}}}}"#));
}

/// The next message must be exactly this text.
#[track_caller]
pub(crate) fn expect_text(client: &mut Client, text: &str) {
    let payload = String::from_utf8(client.payload()).expect("text is UTF-8");
    assert_eq!(payload, text);
}

/// Nothing is on its way to this client from what its own shard has done before.
#[track_caller]
pub(crate) fn expect_silence(client: &mut Client) {
    client.text(r#"{"topic":"silence"}"#);
    client.expect("error", r#""unknown topic""#);
}

/// Reads until this message comes.
#[track_caller]
pub(crate) fn read_until(client: &mut Client, topic: &str, data: &str) {
    loop {
        let envelope = client.envelope();
        if envelope.topic == topic && envelope.data == data {
            return;
        }
    }
}

pub(crate) fn join(name: &str) -> String {
    format!(r#"{{"type":"join","user":"{name}"}}"#)
}

/// The data of a `presence` message about the end of a session.
pub(crate) fn leave(name: &str, reason: &str) -> String {
    format!(r#"{{"type":"leave","user":"{name}","reason":"{reason}"}}"#)
}

pub(crate) fn sessions_are(count: u64) -> impl Fn(&Stats) -> bool {
    move |stats| stats.total.sessions == count
}
