//! Reading: budgets, pauses, and what is still read of a connection that ends.

use super::*;
use crate::sim::Bounds;

const BUDGET: usize = 2_048;

fn budgeted() -> Rig {
    Rig::new(Options::default().read_budget_bytes(2_048).receive_buffer_bytes(4_096))
}

#[test]
fn a_session_may_send_its_budget_in_a_tick_and_is_paused_for_a_byte_more() {
    for (wire_bytes, pauses) in [(BUDGET, 0), (BUDGET + 1, 1)] {
        let mut rig = budgeted();
        let mut client = rig.open(1 << 16);
        client.send(&idle_talk(wire_bytes));
        rig.settle();
        assert_eq!(rig.stats().reads_paused, pauses, "after {wire_bytes} bytes");
        assert_eq!(rig.stats().messages_received, 1);
    }
}

#[test]
fn each_tick_has_its_own_budget() {
    let mut rig = budgeted();
    let mut client = rig.open(1 << 16);
    for _ in 0..3 {
        client.send(&idle_talk(BUDGET));
        rig.settle();
    }
    assert_eq!((rig.stats().reads_paused, rig.stats().messages_received), (0, 3));
}

#[test]
fn what_comes_in_several_pieces_in_a_tick_is_added_up() {
    let mut rig = budgeted();
    let _client = rig.open(1 << 16);
    for (bytes, pauses) in [(BUDGET - 1, 0), (1, 0), (1, 1)] {
        rig.core().account_read(0, bytes);
        assert_eq!(rig.stats().reads_paused, pauses);
    }
    rig.settle();
}

#[test]
fn a_tick_reads_no_more_events_once_it_has_read_its_bytes() {
    let mut rig = Rig::new(Options::default());
    let mut clients: Vec<_> = (0..4).map(|_| rig.open(1 << 16)).collect();
    rig.server.set_bounds(Bounds { event_bytes: 300, ..Bounds::default() });
    for client in &mut clients {
        client.send(&idle_talk(150));
    }
    assert!(rig.server.run_until(STEPS_MAX, |server| server.stats().total.messages_received > 0));
    assert_eq!(rig.stats().messages_received, 3);
    rig.settle();
    assert_eq!(rig.stats().messages_received, 4);
}

/// A session that is blocked with so many messages of 64 bytes in its queue.
fn blocked(rig: &mut Rig, client: &mut SimClient, messages: u32) {
    received(client);
    let envelope_bytes = r#"{"topic":"t","data":""}"#.len();
    let data = format!("\"{}\"", "x".repeat(64 - 2 - envelope_bytes));
    client.send(&told("sub", ""));
    rig.settle();
    while rig.core().out().queue(0).len() < messages {
        rig.server.publisher().publish("t", data.as_str()).unwrap();
        rig.settle();
    }
    assert!(rig.core().out().is_blocked(0));
    assert_eq!(
        rig.core().out().queue(0).bytes(),
        u64::from(messages) * 64,
        "it is blocked between two messages"
    );
}

#[test]
fn a_blocked_session_is_read_until_more_than_half_of_its_queue_is_full() {
    let by_messages = Options::default().queue_size(16).queue_bytes(1 << 20);
    let by_bytes = Options::default().queue_size(100).queue_bytes(1_024);
    for options in [by_messages, by_bytes] {
        let mut rig = Rig::new(options.send_buffer_bytes(2_048));
        let mut client = rig.open(0);
        for messages in 1..=16 {
            blocked(&mut rig, &mut client, messages);
            assert_eq!(rig.core().is_half_full(0), messages > 8, "with {messages} of 16 messages");
            assert_eq!(rig.core().may_resume(0), messages <= 4, "with {messages} of 16 messages");
        }
    }
}

#[test]
fn a_session_whose_socket_takes_bytes_is_read_whatever_its_queue() {
    let mut rig = Rig::new(Options::default().queue_size(4).flush_delay(MILLISECOND));
    let mut client = rig.open(1 << 16);
    client.send(&told("sub", ""));
    rig.settle();
    let before = rig.stats().frames_queued;
    (0..4).for_each(|_| rig.server.publisher().publish("t", "1").unwrap());
    assert!(rig.server.run_until(STEPS_MAX, |server| server.stats().total.frames_queued == before + 4));
    assert_eq!(rig.core().out().queue(0).len(), 4);
    assert!(!rig.core().is_half_full(0) && rig.core().may_resume(0));
}

#[test]
fn a_fragment_for_which_all_memory_is_too_little_ends_its_session_and_is_counted() {
    let mut rig = Rig::new(Options::default().assembly_bytes_max(1 << 20).read_limit(1 << 20));
    let _clients = [rig.open(1 << 16), rig.open(1 << 16)];
    for (slot, bytes) in [(0, 1 << 20), (1, (256 << 10) + 1)] {
        let mut fragment = Vec::new();
        encode_frame(&mut fragment, false, Opcode::Text, Some([0; 4]), &vec![b'x'; bytes]);
        rig.server.shard(0).received_frames(slot, &mut fragment, true);
    }
    assert_eq!(rig.stats().assemblies_refused, 1);
    assert_eq!((rig.state(0), rig.state(1)), (Some(State::Open), Some(State::Finishing)));
    rig.settle();
}

#[test]
fn what_is_no_message_is_not_counted_as_one_too_large_for_memory() {
    let mut rig = Rig::new(Options::default());
    let mut client = rig.open(1 << 16);
    client.send(&[0xff; 20]);
    rig.settle();
    assert_eq!((rig.stats().assemblies_refused, rig.state(0)), (0, Some(State::Lingering)));
}
