//! The handshake's response comes first and whole, however long the socket refuses it.

use std::time::Duration;

use fanwire::{
    Auth, Handler, Message, Options, Overflow, Request, Session,
    sim::{Faults, SimServer},
};

use crate::common::request_head;

/// Sends so many messages as soon as a session opens.
struct Eager(usize);

impl Handler for Eager {
    type Value = ();

    fn on_auth(&mut self, _: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_open(&mut self, session: &mut Session<'_, ()>) {
        for _ in 0..self.0 {
            // Whether it is taken is the overflow policy's matter.
            let _ = session.send("t", "1");
        }
    }

    fn on_message(&mut self, _: &mut Session<'_, ()>, _: Message<'_>) {}
}

/// What a client gets first from a server whose sockets mostly refuse to send.
fn first_bytes(seed: u64, options: Options, messages: usize) -> Vec<u8> {
    let mut faults = Faults::none();
    faults.send_refused_per_mille = 900;
    faults.delayed_per_mille = 900;
    faults.delay_ns_max = 50_000_000;
    let mut server = SimServer::new(seed, options, faults, |_| Eager(messages)).unwrap();
    let mut client = server.connect();
    client.send(&request_head("/ws", &[]));
    let mut received = Vec::new();
    assert!(server.run_until(100_000, |_| client.receive(&mut received)));
    received
}

fn assert_response_comes_first(options: &Options, messages: usize) {
    for seed in 0..50 {
        let received = first_bytes(seed, options.clone(), messages);
        assert!(
            received.starts_with(b"HTTP/1.1 101 "),
            "seed {seed}: {:?}",
            received.escape_ascii().to_string()
        );
    }
}

/// Found by the simulation, seed 5.
#[test]
fn pings_do_not_overtake_the_response() {
    let options = Options::default().ping_interval(Duration::from_millis(1));
    assert_response_comes_first(&options, 0);
}

/// Found by the simulation, seed 34.
#[test]
fn the_oldest_frame_to_be_dropped_is_not_the_response() {
    assert_response_comes_first(&Options::default().queue_size(1).overflow(Overflow::DropOldest), 3);
}

/// Found by the simulation, seed 12.
#[test]
fn a_session_that_is_too_slow_at_once_still_gets_its_response() {
    assert_response_comes_first(&Options::default().queue_size(1), 3);
}
