//! What a shard does at its limits, to the byte and to the nanosecond, in a simulated world without faults.
//!
//! In      clients of a server with one shard
//! Out     its counters, its state, and when things happen
//! Bounds  `STEPS_MAX` per wait
//! Source  docs/architecture.md, docs/limits.md

mod accepting;
mod counting;
mod draining;
mod ending;
mod handing_over;
mod reading;
mod sending;
mod subscribing;
mod waiting;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fanwire_ws::{Opcode, encode_frame};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::{
    Auth, Handler, Message, Options, Request, Session,
    shard::{Core, State},
    sim::{Faults, SimClient, SimDriver, SimServer},
    stats::ShardStats,
};

/// Does what a message's topic says.
struct Obedient;

impl Handler for Obedient {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        match message.topic() {
            "sub" => session.subscribe("t").unwrap(),
            "echo" => session.send("echo", message.data()).unwrap(),
            "close" => session.close(),
            _ => {}
        }
    }
}

/// A server with one shard.
struct Rig {
    server: SimServer<Obedient>,
}

impl Rig {
    fn new(options: Options) -> Self {
        Self { server: SimServer::new(1, options, Faults::none(), |_| Obedient).unwrap() }
    }

    fn core(&mut self) -> &mut Core<SimDriver> {
        &mut self.server.shard(0).core
    }

    fn stats(&self) -> ShardStats {
        self.server.stats().total
    }

    /// Until nothing is left to do now.
    fn settle(&mut self) {
        assert!(self.server.run_until(STEPS_MAX, SimServer::is_idle), "it comes to rest");
    }

    /// A session in the next slot, whose peer takes so many bytes until it reads.
    fn open(&mut self, receive_buffer_bytes: usize) -> SimClient {
        let before = self.stats().sessions_opened;
        let mut client = self.server.connect_with(None, receive_buffer_bytes);
        client.send(REQUEST.as_bytes());
        assert!(self.server.run_until(STEPS_MAX, |server| server.stats().total.sessions_opened > before));
        self.settle();
        client
    }

    fn state(&mut self, slot: usize) -> Option<State> {
        self.core().conns.get(slot).map(|conn| conn.state)
    }

    /// Time that a test looks at, with everything that is due in it.
    fn pass(&mut self, time: Duration) {
        self.server.pass(time);
    }
}

/// A message for `Obedient`, as bytes of a client.
fn told(topic: &str, data: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    let text = format!(r#"{{"topic":"{topic}","data":"{data}"}}"#);
    encode_frame(&mut frame, true, Opcode::Text, Some([1, 2, 3, 4]), text.as_bytes());
    frame
}

/// A message of so many bytes on the wire, of which nothing comes.
fn idle_talk(wire_bytes: usize) -> Vec<u8> {
    let frame = told("", &"x".repeat(wire_bytes - told("", "").len() - 2));
    assert_eq!(frame.len(), wire_bytes);
    frame
}

/// How many warnings are logged meanwhile.
fn warnings_of(what: impl FnOnce()) -> usize {
    let warnings = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::with_default(Warnings(warnings.clone()), what);
    warnings.load(Relaxed)
}

struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, _event: &Event<'_>) {
        self.0.fetch_add(1, Relaxed);
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

fn received(client: &mut SimClient) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.receive(&mut bytes);
    bytes
}

const MILLISECOND: Duration = Duration::from_millis(1);

const STEPS_MAX: usize = 10_000;

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
