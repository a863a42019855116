//! Counting: what the printed sum of memory says of a session.

use crate::shard::{
    CONTROL_BYTES, Conn, SESSION_BYTES, outbox::Control, queue::Queue, topics::SessionTopics,
};

/// Beside its three structures: a generation, the state of its handle, an entry of the timer wheel, a place in a topic.
#[test]
fn an_idle_session_is_counted_with_all_that_it_has_in_tables() {
    let structures = size_of::<Queue>() + size_of::<Conn>() + size_of::<SessionTopics>();
    assert_eq!(SESSION_BYTES, structures as u64 + 36);
}

/// Pongs for 1 KiB, in a vector that doubles; a ping and a close frame; what the map takes.
#[test]
fn a_session_whose_pongs_do_not_leave_is_counted_with_all_that_waits() {
    assert_eq!(CONTROL_BYTES, (size_of::<Control>() + PONGS_AND_CLOSE_BYTES) as u64);
}

const PONGS_AND_CLOSE_BYTES: usize = 4_096 + 2 + 125 + 32;
