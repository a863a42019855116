//! Ending: what a peer still gets when its connection comes to an end.

use fanwire_ws::{CloseCode, encode_close};

use super::*;
use crate::sim::{Bounds, SimEnd};

/// A close frame of a client.
fn farewell() -> Vec<u8> {
    let mut frame = Vec::new();
    encode_close(&mut frame, Some([5, 6, 7, 8]), CloseCode::NORMAL, "");
    frame
}

/// A session that is blocked with some messages, and with the room that its peer has not read.
fn blocked(rig: &mut Rig) -> SimClient {
    let mut client = rig.open(0);
    client.send(&told("sub", ""));
    rig.settle();
    let data = format!("\"{}\"", "x".repeat(500));
    while rig.core().out().queue(0).len() < 4 {
        rig.server.publisher().publish("t", data.as_str()).unwrap();
        rig.settle();
    }
    client
}

fn narrow() -> Rig {
    Rig::new(Options::default().send_buffer_bytes(2_048))
}

/// Reads until the end, and says how the stream ended and with what bytes.
fn read_out(rig: &mut Rig, client: &mut SimClient) -> (Vec<u8>, Option<SimEnd>) {
    let mut bytes = Vec::new();
    for _ in 0..100 {
        client.receive(&mut bytes);
        rig.settle();
    }
    (bytes, client.end())
}

/// How many of the messages of `blocked` are in a stream.
fn messages_in(stream: &[u8]) -> usize {
    stream
        .windows(502)
        .filter(|window| window[0] == b'"' && window[1..501].iter().all(|&byte| byte == b'x'))
        .count()
}

#[test]
fn a_peer_that_half_closes_while_we_close_gets_the_rest_and_the_close_frame() {
    let mut rig = narrow();
    let mut client = blocked(&mut rig);
    let published = usize::try_from(rig.stats().publishes).unwrap();
    client.send(&told("close", ""));
    rig.settle();
    assert_eq!(rig.state(0), Some(State::Closing));
    client.shutdown_write();
    rig.settle();
    assert_eq!(rig.state(0), Some(State::Echoing));
    let (stream, end) = read_out(&mut rig, &mut client);
    assert_eq!((messages_in(&stream), end), (published, Some(SimEnd::Fin)));
    assert_eq!(stream[stream.len() - 4..], [0x88, 2, 3, 0xe8]);
}

#[test]
fn a_peer_that_half_closes_after_a_violation_gets_the_rest_and_the_close_frame() {
    let mut rig = narrow();
    let mut client = blocked(&mut rig);
    let published = usize::try_from(rig.stats().publishes).unwrap();
    client.send(&[0xff; 10]);
    rig.settle();
    assert_eq!(rig.state(0), Some(State::Finishing));
    client.shutdown_write();
    rig.settle();
    let (stream, end) = read_out(&mut rig, &mut client);
    assert_eq!((messages_in(&stream), end), (published, Some(SimEnd::Fin)));
}

#[test]
fn a_peer_that_half_closes_behind_its_close_frame_gets_ours() {
    let mut rig = narrow();
    let mut client = blocked(&mut rig);
    let published = usize::try_from(rig.stats().publishes).unwrap();
    client.send(&farewell());
    rig.settle();
    assert_eq!(rig.state(0), Some(State::Echoing));
    client.shutdown_write();
    rig.settle();
    assert_eq!(rig.state(0), Some(State::Echoing));
    let (stream, end) = read_out(&mut rig, &mut client);
    assert_eq!((messages_in(&stream), end), (published, Some(SimEnd::Fin)));
    assert_eq!(stream[stream.len() - 4..], [0x88, 2, 3, 0xe8]);
}

#[test]
fn a_peer_that_breaks_the_protocol_while_we_close_is_not_waited_for() {
    let mut rig = narrow();
    let mut client = rig.open(1 << 16);
    client.send(&told("close", ""));
    rig.settle();
    client.send(&[0xff; 10]);
    rig.settle();
    received(&mut client);
    assert_eq!((rig.state(0), client.end()), (Some(State::Lingering), Some(SimEnd::Fin)));
}

#[test]
fn who_goes_on_sending_after_its_last_response_is_cut_beyond_the_limit() {
    for (bytes, is_cut) in [(100, false), (101, true)] {
        let mut rig = narrow();
        rig.server.set_bounds(Bounds { discard_bytes: 100, ..Bounds::default() });
        let mut client = rig.open(1 << 16);
        client.send(&[0xff; 10]);
        rig.settle();
        // Over several ticks: what was thrown away before counts.
        for part in [60, bytes - 60] {
            client.send(&vec![0; part]);
            rig.settle();
        }
        assert_eq!(rig.stats().discards_exceeded, u64::from(is_cut), "after {bytes} bytes");
        assert_eq!(rig.state(0).is_none(), is_cut, "after {bytes} bytes");
    }
}
