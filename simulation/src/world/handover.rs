//! Handovers: connections that leave the engine for another program, and may come back.
//!
//! In      what `Http::take_over` gives
//! Out     a plain answer and the end; or the handshake's answer and, some turns later, a session
//! Bounds  as many as there are peers
//! Source  docs/architecture.md, `fanwire::Running::adopt`

use std::net::TcpStream;

use fanwire::sim::SimStream;
use fanwire_ws::{HeadLimits, RequestHead, write_accept};

use super::World;
use crate::{
    actor::{Value, lock},
    plan::Door,
};

/// A connection that another program has.
#[derive(Debug)]
pub(super) struct Handover {
    peer: usize,
    stream: SimStream,
    /// What has come behind the head.
    received: Vec<u8>,
}

impl World {
    /// Another program has a connection now: it answers, and ends it or keeps it for a while.
    pub(super) fn take(&mut self, peer: usize, stream: TcpStream, mut read: Vec<u8>) {
        let Some(mut stream) = self.server.redeem(stream) else {
            return lock(&self.oracle).fail("a take-over hands over the connection", format!("peer {peer}"));
        };
        let start = format!("GET /take?peer={peer} HTTP/1.1\r\n");
        let limits = HeadLimits::default();
        let Some((head, head_bytes)) =
            RequestHead::parse(&read, &limits).ok().flatten().filter(|_| read.starts_with(start.as_bytes()))
        else {
            let text = String::from_utf8_lossy(&read).into_owned();
            return lock(&self.oracle).fail("a take-over hands over all that was read", text);
        };
        if self.peers[peer].door() == Door::TakeOver {
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        let mut response = Vec::new();
        let key = head.upgrade().expect("it asks for a WebSocket").key();
        write_accept(&mut response, key, None, &[]);
        // A client without room for so little is given up.
        if stream.send(&response) == response.len() {
            let received = read.split_off(head_bytes);
            self.handovers.push(Handover { peer, stream, received });
        }
    }

    /// One of these programs has the engine adopt its connection, with all that it has read.
    pub(super) fn hand_back(&mut self) {
        if self.handovers.is_empty() {
            return;
        }
        let chosen = self.rng.usize(..self.handovers.len());
        let Handover { peer, mut stream, mut received } = self.handovers.swap_remove(chosen);
        stream.receive(&mut received);
        let value = Value::new(peer, &self.oracle);
        let shard = self.rng.usize(..usize::from(self.settings.shards));
        let bytes = received.len();
        let result = self.server.adopt_stream(shard, stream.into_socket(), value, received);
        let mut oracle = lock(&self.oracle);
        oracle.note(|| format!("peer {peer} is handed back, {bytes} bytes read"));
        oracle.adopted(peer, shard, result);
    }
}
