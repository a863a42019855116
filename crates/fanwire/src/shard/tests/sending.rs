//! Sending: when what is queued leaves.

use super::*;
use crate::sim::Bounds;

const DELAY: Duration = Duration::from_millis(10);

/// No send takes longer to arrive.
const UNDER_WAY: Duration = Duration::from_micros(10);

fn subscribed(rig: &mut Rig, count: usize) -> Vec<SimClient> {
    let mut clients: Vec<_> = (0..count).map(|_| rig.open(1 << 16)).collect();
    for client in &mut clients {
        client.send(&told("sub", ""));
    }
    rig.settle();
    clients.iter_mut().for_each(|client| drop(received(client)));
    clients
}

#[test]
fn a_message_waits_for_the_flush_delay_and_no_longer() {
    let mut rig = Rig::new(Options::default().flush_delay(DELAY));
    let mut clients = subscribed(&mut rig, 1);
    // Each wait begins anew, also right after a flush.
    for _ in 0..2 {
        rig.server.publisher().publish("t", "1").unwrap();
        let began = rig.server.now();
        assert!(rig.server.run_until(STEPS_MAX, |_| !received(&mut clients[0]).is_empty()));
        let waited = rig.server.now() - began;
        assert!((DELAY..DELAY + UNDER_WAY).contains(&waited), "it waited for {waited:?}");
    }
}

#[test]
fn who_is_not_in_the_first_round_after_the_delay_does_not_wait_for_another() {
    let mut rig = Rig::new(Options::default().flush_delay(DELAY));
    let mut clients = subscribed(&mut rig, 3);
    rig.server.set_bounds(Bounds { sends: 1, ..Bounds::default() });
    rig.server.publisher().publish("t", "1").unwrap();
    rig.pass(DELAY + UNDER_WAY);
    clients.iter_mut().for_each(|client| assert!(!received(client).is_empty()));
}

#[test]
fn a_send_without_kernel_memory_is_tried_again_after_five_milliseconds() {
    let mut rig = Rig::new(Options::default());
    let mut clients = subscribed(&mut rig, 1);
    let mut starving = Faults::none();
    starving.send_starved_per_mille = 1_000;
    rig.server.set_faults(starving);
    rig.server.publisher().publish("t", "1").unwrap();
    rig.pass(Duration::from_micros(14_999));
    assert_eq!(rig.stats().sends_starved, 3);
    rig.server.set_faults(Faults::none());
    rig.pass(MILLISECOND);
    assert!(!received(&mut clients[0]).is_empty());
}
