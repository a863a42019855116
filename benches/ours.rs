//! Fanwire itself, through its public API as any program would use it.
//!
//! In      sessions, which subscribe when they open; bursts from the control session
//! Out     each burst published from the hook that got the command
//! Bounds  one shard or two, the default options, except that idle clients of other rows are not pinged
//! Source  the Raw codec: a frame has as many bytes as the payload, as the peers' have

use std::{io, time::Duration};

use fanwire::{Auth, DriverChoice, Handler, Message, Options, Payload, Raw, Request, Server, Session};

use crate::{
    command::{Burst, is_control_query, payload},
    listen::announce,
};

/// Serves until the parent ends.
///
/// # Errors
/// The server cannot start, as when io_uring is asked for and forbidden.
pub fn serve(driver: DriverChoice, shards: u16, sharing: Sharing) -> io::Result<()> {
    let options = Options::default()
        .codec(Raw)
        .driver(driver)
        .shards(shards)
        // The client reads only while its row is measured, so it answers no pings in between.
        .ping_interval(Duration::ZERO)
        .idle_timeout(Duration::ZERO);
    let options = if sharing == Sharing::Copies { options.page_share_bytes_min(0) } else { options };
    let server = Server::bind_with("127.0.0.1:0", options).map_err(io::Error::other)?;
    let running = server.start(|_| Publish).map_err(io::Error::other)?;
    announce(running.address())?;
    running.wait();
    Ok(())
}

/// Where messages for several subscribers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Large ones in pages that their sockets share, as by default.
    Pages,
    /// Copied into each socket.
    Copies,
}

struct Publish;

impl Handler for Publish {
    /// Whether the session gives commands.
    type Value = bool;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<bool> {
        Auth::accept(is_control_query(request.query_string()))
    }

    fn on_open(&mut self, session: &mut Session<'_, bool>) {
        if !*session.value() && session.subscribe(TOPIC).is_err() {
            session.close();
        }
    }

    fn on_message(&mut self, session: &mut Session<'_, bool>, message: Message<'_>) {
        let Some(Ok(burst)) = message.text().map(str::parse::<Burst>) else { return session.close() };
        let payload = payload(burst.payload_bytes);
        for _ in 0..burst.messages {
            // The client misses what was refused, and says so.
            let _ = session.publish(TOPIC, Payload::binary(&payload));
        }
    }
}

const TOPIC: &str = "fanout";
