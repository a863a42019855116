//! Cursors: everybody sees where everybody points, in a few bytes each.
//!
//! In      binary messages of 4 bytes: x and y from 0 to 65,535, big-endian; others are ignored
//! Out     to the others binary messages of 8 bytes: the cursor's number (4 bytes), x, y; and of 4 bytes, the
//!         number, when it has gone
//! Bounds  QUEUE_SIZE moves wait for one client: of more, the oldest are dropped
//!
//! With the codec `Raw` a message is the payload alone: no envelope, no JSON. Topics stay on the server.
//!
//! `cargo run --release -p fanwire --example cursors`

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use fanwire::{
    Auth, CloseReason, Handler, Http, Kind, Message, Overflow, Payload, Raw, Request, Server, Session,
};

#[path = "common/local.rs"]
mod local;

/// Everybody's cursor.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    local: local::Local,
}

/// One per shard.
struct Cursors {
    last_number: Arc<AtomicU32>,
}

impl Handler for Cursors {
    /// The cursor's number.
    type Value = u32;

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<u32> {
        Auth::accept(self.last_number.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn on_open(&mut self, session: &mut Session<'_, u32>) {
        if session.subscribe(PAGE).is_err() {
            session.close();
        }
    }

    fn on_message(&mut self, session: &mut Session<'_, u32>, message: Message<'_>) {
        let (Kind::Binary, &[x1, x0, y1, y0]) = (message.kind(), message.data()) else { return };
        let [n3, n2, n1, n0] = session.value().to_be_bytes();
        // A move that finds no way to another shard is lost: the next one says where the cursor is.
        let _ = session.publish_except_self(PAGE, Payload::binary(&[n3, n2, n1, n0, x1, x0, y1, y0]));
    }

    fn on_close(&mut self, session: &mut Session<'_, u32>, _why: &CloseReason) {
        let number = session.value().to_be_bytes();
        let _ = session.publish(PAGE, Payload::binary(&number));
    }

    fn on_http(&mut self, request: &Request<'_>) -> Http {
        local::page(request, include_str!("pages/cursors.html"))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let options = local::Local::options()
        .codec(Raw)
        .overflow(Overflow::DropOldest)
        .queue_size(QUEUE_SIZE)
        .read_limit(READ_LIMIT_BYTES)
        // No screen shows more than a hundred pictures a second; moves that come together leave together.
        .flush_delay(Duration::from_millis(10));
    let last_number = Arc::new(AtomicU32::new(0));
    let running = Server::bind_with(&args.local.listen, options)?
        .start(|_| Cursors { last_number: last_number.clone() })?;
    args.local.wait(&running, "in a second window, side by side; move the mouse")
}

/// The one topic.
const PAGE: &str = "page";
const QUEUE_SIZE: u32 = 1_024;
const READ_LIMIT_BYTES: u32 = 1 << 10;
