//! Sends for which the kernel has no memory are tried again, wherever they were made.

use fanwire::{
    Auth, Handler, Message, Options, Overflow, Request, Session,
    sim::{Faults, SimServer},
};
use fanwire_ws::{Opcode, encode_frame};

use crate::common::request_head;

/// Sends more than the queue holds, so that it is flushed inside the hook.
struct Talker;

impl Handler for Talker {
    type Value = ();

    fn on_auth(&mut self, _: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, _: Message<'_>) {
        for _ in 0..2 {
            // The second may be dropped.
            let _ = session.send("t", "1");
        }
    }
}

/// Found by the simulation, seed 211.
#[test]
fn a_send_inside_a_hook_is_tried_again() {
    let text = br#"{"topic":"go"}"#;
    for seed in 0..20 {
        let options = Options::default().queue_size(1).overflow(Overflow::DropNewest);
        let mut server = SimServer::new(seed, options, Faults::none(), |_| Talker).unwrap();
        let mut client = server.connect();
        client.send(&request_head("/ws", &[]));
        let mut received = Vec::new();
        assert!(server.run_until(1_000, |_| client.receive(&mut received)));
        let mut faults = Faults::none();
        faults.send_starved_per_mille = 700;
        server.set_faults(faults);
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, Opcode::Text, Some([1; 4]), text);
        client.send(&frame);
        assert!(server.run_until(1_000, |_| client.receive(&mut received)), "seed {seed}: nothing came");
    }
}
