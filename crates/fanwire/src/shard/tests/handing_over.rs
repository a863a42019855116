//! Handing over: a request that goes to somebody else, with all that came behind it.

use std::sync::Mutex;

use super::*;
use crate::Http;

/// Takes every connection over, and keeps what had been read of it.
#[derive(Clone, Default)]
struct Taker(Arc<Mutex<Vec<u8>>>);

impl Handler for Taker {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::reject(404, "")
    }

    fn on_message(&mut self, _session: &mut Session<'_, ()>, _message: Message<'_>) {}

    fn on_http(&mut self, _request: &Request<'_>) -> Http {
        let read = self.0.clone();
        Http::take_over(move |_stream, bytes, _peer| *read.lock().unwrap() = bytes)
    }
}

#[test]
fn bytes_that_come_while_a_socket_is_taken_out_go_with_it() {
    let taker = Taker::default();
    let mut slow = Faults::none();
    (slow.closed_late_per_mille, slow.closed_delay_ns_max) = (1_000, 1_000_000);
    let mut server = SimServer::new(1, Options::default(), slow, |_| taker.clone()).unwrap();
    let mut client = server.connect();
    client.send(b"GET /other HTTP/1.1\r\nHost: here\r\n\r\nbody");
    while server.shard(0).core.conns.get(0).is_none_or(|conn| conn.state != State::Leaving) {
        assert!(server.step());
    }
    server.shard(0).core.keep_leaving(0, b" and more");
    assert!(server.run_until(STEPS_MAX, |_| !taker.0.lock().unwrap().is_empty()));
    assert!(taker.0.lock().unwrap().ends_with(b"\r\n\r\nbody and more"));
}
