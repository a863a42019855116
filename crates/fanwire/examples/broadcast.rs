//! Broadcast: what one client publishes, all subscribers get. How Fanwire takes part in comparisons with
//! other servers.
//!
//! In      `broadcast [--port N] [--driver auto|uring|epoll] [--shards N] [--flush-delay-ms MS] [--ping S]
//!         [--page-share-min BYTES]`, or `--version`; clients that name their role in the request
//! Out     `listening on ws://127.0.0.1:PORT/ws?role=` on stdout; that with `/sub` behind it gets every
//!         message from those with `/pub`, unchanged, and with `/echo` gets its own messages back. Ends when
//!         its input does
//! Bounds  messages of 2 MiB; a subscriber that reads nothing is closed when 64 MiB or 65,536 messages wait
//!         for it

use std::{io, time::Duration};

use clap::Parser;
use fanwire::{Auth, Handler, Kind, Message, Options, Payload, Raw, Request, Server, Session};

#[path = "common/driver.rs"]
mod driver;

/// Sends what one client publishes to all subscribers.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Port on 127.0.0.1; 0 asks for a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How to reach the kernel.
    #[arg(long, value_enum, default_value = "auto")]
    driver: driver::Driver,
    /// Threads; 0: one per CPU.
    #[arg(long, default_value_t = 1)]
    shards: u16,
    /// How long a message may wait for others to leave with it.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    flush_delay_ms: u64,
    /// Seconds between pings; 0: no pings, and no session is closed for its silence.
    #[arg(long, value_name = "S", default_value_t = 0)]
    ping: u64,
    /// From so many bytes on, what several sockets get lies in memory once; 0: it is always copied.
    #[arg(long, value_name = "BYTES")]
    page_share_min: Option<u32>,
}

impl Args {
    fn options(&self) -> Options {
        let ping_interval = Duration::from_secs(self.ping);
        let options = match self.page_share_min {
            Some(bytes) => Options::default().page_share_bytes_min(bytes),
            None => Options::default(),
        };
        options
            .codec(Raw)
            .driver(self.driver.into())
            .shards(self.shards)
            .flush_delay(Duration::from_millis(self.flush_delay_ms))
            .ping_interval(ping_interval)
            .idle_timeout(ping_interval.saturating_mul(3))
            .read_limit(MESSAGE_BYTES_MAX)
            // As much memory as by default, in fewer pieces: a burst that is read at once leaves at once.
            .receive_buffer_bytes(64 << 10)
            .receive_buffers(64)
            .queue_size(QUEUE_MESSAGES_MAX)
            .queue_bytes(QUEUE_BYTES_MAX)
    }
}

/// What a session is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Subscriber,
    Publisher,
    Echo,
}

struct Broadcast;

impl Handler for Broadcast {
    type Value = Role;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<Role> {
        match request.query("role").as_deref() {
            Some("/sub") => Auth::accept(Role::Subscriber),
            Some("/pub") => Auth::accept(Role::Publisher),
            Some("/echo") => Auth::accept(Role::Echo),
            _ => Auth::reject(404, "the role is /sub, /pub or /echo"),
        }
    }

    fn on_open(&mut self, session: &mut Session<'_, Role>) {
        if *session.value() == Role::Subscriber
            && let Err(error) = session.subscribe(TOPIC)
        {
            session.close_with(TRY_AGAIN_LATER, &error.to_string());
        }
    }

    fn on_message(&mut self, session: &mut Session<'_, Role>, message: Message<'_>) {
        let payload = match (message.kind(), message.text()) {
            (Kind::Text, Some(text)) => Payload::text(text),
            _ => Payload::binary(message.data()),
        };
        match *session.value() {
            Role::Subscriber => {}
            Role::Publisher => {
                // Nobody got it then, so its publisher must know.
                if let Err(error) = session.publish(TOPIC, payload) {
                    session.close_with(TRY_AGAIN_LATER, &error.to_string());
                }
            }
            // A session that cannot be sent to is closed by that, and `on_close` would tell.
            Role::Echo => drop(session.send("", payload)),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let server = Server::bind_with(("127.0.0.1", args.port), args.options())?;
    let running = server.start(|_| Broadcast)?;
    println!("listening on ws://{}/ws?role=", running.address());
    // Whoever started this holds the other end of its input, and lets go of it at the latest by ending.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    running.shutdown();
    Ok(())
}

const TOPIC: &str = "broadcast";

const MESSAGE_BYTES_MAX: u32 = 2 << 20;

const QUEUE_MESSAGES_MAX: u32 = 65_536;

const QUEUE_BYTES_MAX: u32 = 64 << 20;

/// RFC 6455 s7.4, its registry.
const TRY_AGAIN_LATER: u16 = 1013;
