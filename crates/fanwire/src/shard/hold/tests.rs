//! Held input: it waits, in order and within its bounds, and is not kept for whoever is gone.

use std::sync::{Arc, Mutex};

use fanwire_ws::{CloseCode, Opcode, encode_close, encode_frame};

use super::*;
use crate::{
    Auth, Message, Options, Raw, Request, Session,
    close::CloseKind,
    sim::{Faults, SimClient, SimDriver, SimServer},
};

/// Writes down what it hears.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<String>>>);

impl Handler for Listener {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, _session: &mut Session<'_, ()>, message: Message<'_>) {
        self.0.lock().unwrap().push(String::from_utf8(message.data().to_vec()).unwrap());
    }
}

/// A server with one session, to whose shard input is given as the driver would.
struct World {
    server: SimServer<Listener>,
    client: SimClient,
    listener: Listener,
}

impl World {
    fn new() -> Self {
        let listener = Listener::default();
        let options = Options::default().codec(Raw).queue_size(8).send_buffer_bytes(2_048);
        let mut server = SimServer::new(1, options, Faults::none(), |_| listener.clone()).unwrap();
        let mut client = server.connect_with(None, 0);
        client.send(REQUEST.as_bytes());
        assert!(server.run_until(1_000, SimServer::is_idle));
        client.receive(&mut Vec::new());
        let mut world = Self { server, client, listener };
        assert_eq!(world.core().state(SLOT), State::Open);
        world
    }

    /// Its reading is paused, as if it were ahead of its budget.
    fn paused() -> Self {
        let mut world = Self::new();
        world.core().pause_for_later(SLOT);
        world
    }

    fn shard(&mut self) -> &mut Shard<SimDriver, Listener> {
        self.server.shard(0)
    }

    fn core(&mut self) -> &mut Core<SimDriver> {
        &mut self.shard().core
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.shard().received_open(SLOT, &mut bytes.to_vec());
    }

    fn heard(&self) -> Vec<String> {
        self.listener.0.lock().unwrap().clone()
    }
}

fn message(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, Opcode::Text, Some([1, 2, 3, 4]), text.as_bytes());
    frame
}

#[test]
fn input_that_is_handled_to_its_end_pauses_nobody() {
    let mut world = World::new();
    world.receive(&message("a"));
    assert_eq!(world.heard(), ["a"]);
    let core = world.core();
    assert!(!core.conns[SLOT as usize].is_paused && core.paused.is_empty());
    assert_eq!((core.held_bytes, core.counters().reads_paused.read()), (0, 0));
}

#[test]
fn input_of_a_session_that_is_paused_waits_and_is_handled_in_order() {
    let mut world = World::paused();
    let (a, b) = (message("a"), message("b"));
    world.receive(&a);
    world.receive(&b);
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.core().held_bytes, a.len() + b.len() + 2 * CHUNK_BYTES);
    world.shard().resume_paused();
    assert_eq!(world.heard(), ["a", "b"]);
    let core = world.core();
    assert!(!core.conns[SLOT as usize].is_paused && core.paused.is_empty());
    assert_eq!(core.held_bytes, 0);
}

/// Reading goes on when we close, and the first half of the peer's close frame may still be held.
#[test]
fn input_behind_held_input_waits_behind_it_though_reading_goes_on() {
    let mut world = World::paused();
    let mut frame = Vec::new();
    encode_close(&mut frame, Some([0; 4]), CloseCode::NORMAL, "");
    let (begin, end) = frame.split_at(4);
    world.receive(begin);
    world.core().close_session(SLOT, CloseKind::Server, CloseCode::NORMAL, "");
    assert!(!world.core().conns[SLOT as usize].is_paused);
    world.receive(end);
    assert_eq!(world.core().state(SLOT), State::Closing);
    world.shard().resume_paused();
    assert_eq!(world.core().state(SLOT), State::Echoing);
    assert_eq!(world.core().held_bytes, 0);
}

#[test]
fn input_for_which_there_is_no_room_is_handled_at_once_behind_all_that_is_held() {
    let mut world = World::paused();
    let room = 2 * (message("a").len() + CHUNK_BYTES);
    world.core().bounds.held_bytes = room;
    world.receive(&message("a"));
    world.receive(&message("b"));
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.core().held_bytes, room, "its room is full to the last byte");
    world.receive(&message("c"));
    assert_eq!(world.heard(), ["a", "b", "c"]);
    assert_eq!(world.core().held_bytes, 0);
}

#[test]
fn a_session_whose_socket_is_full_stays_paused_until_its_queue_has_gone_down() {
    let mut world = World::new();
    for _ in 0..8 {
        world.server.publisher().broadcast("", "x".repeat(500)).unwrap();
    }
    assert!(world.server.run_until(1_000, SimServer::is_idle));
    assert!(!world.core().may_resume(SLOT));
    world.core().pause_for_later(SLOT);
    world.receive(&message("a"));
    world.shard().resume_paused();
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.core().paused, [SLOT]);
    let resumed = world.server.run_until(1_000, |_| {
        world.client.receive(&mut Vec::new());
        world.listener.0.lock().unwrap().len() == 1
    });
    assert!(resumed);
}

#[test]
fn what_is_held_is_handled_within_the_budget_of_each_turn() {
    let mut world = World::paused();
    world.receive(&message("a"));
    world.receive(&[message("b"), message("c"), message("d")].concat());
    world.core().read_budget = u32::try_from(2 * message("a").len()).unwrap();
    world.shard().resume_paused();
    assert_eq!(world.heard(), ["a", "b"]);
    assert_eq!(world.core().paused, [SLOT]);
    world.shard().resume_paused();
    assert_eq!(world.heard(), ["a", "b", "c", "d"]);
    assert_eq!(world.core().held_bytes, 0);
}

#[test]
fn nothing_is_held_for_a_session_that_is_over() {
    let mut world = World::new();
    world.core().close_violated(SLOT, CloseCode::TRY_AGAIN_LATER, "no memory");
    world.shard().hold_rest(SLOT, &mut message("a"));
    let core = world.core();
    assert!(core.held_bytes == 0 && core.paused.is_empty());
}

/// Its socket is closed at once, and its place is free when the driver and `on_close` are done with it.
#[test]
fn a_paused_session_that_is_gone_is_forgotten() {
    for is_free in [false, true] {
        let mut world = World::paused();
        world.receive(&message("a"));
        world.core().ended_by_peer(SLOT, CloseKind::Reset);
        assert_eq!((world.core().state(SLOT), world.core().held_bytes), (State::Gone, 0));
        if is_free {
            world.shard().run_close_hooks();
            world.core().closed(SLOT);
            assert!(!world.core().conns.contains(SLOT as usize));
        }
        world.shard().resume_paused();
        assert!(world.core().paused.is_empty());
        assert_eq!(world.heard(), [""; 0]);
    }
}

/// The only connection's.
const SLOT: u32 = 0;

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
