//! Echo: every message goes back as it came. For conformance suites and echo measurements.
//!
//! In      `echo --listen ADDR [--driver auto|uring|epoll] [--shards N] [--message-bytes-max N]`
//! Out     `listening on ws://ADDR/ws` on stdout, then echoes
//! Bounds  messages of 4 MiB unless another limit is given; queues of four times as much

use clap::Parser;
use fanwire::{Auth, Handler, Kind, Message, Options, Payload, Raw, Request, Server, Session};

#[path = "common/driver.rs"]
mod driver;

/// Sends every WebSocket message back.
#[derive(Parser)]
struct Args {
    /// Address to listen on; port 0 asks for a free one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: String,
    /// How to reach the kernel.
    #[arg(long, value_enum, default_value = "auto")]
    driver: driver::Driver,
    /// Threads; 0: one per CPU.
    #[arg(long, default_value_t = 0)]
    shards: u16,
    /// Length of the longest message that is taken: 1 KiB to 16 MiB.
    #[arg(long, default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(1 << 10..=16 << 20))]
    message_bytes_max: u32,
}

#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        let payload = match (message.kind(), message.text()) {
            (Kind::Text, Some(text)) => Payload::text(text),
            _ => Payload::binary(message.data()),
        };
        // A session that cannot be sent to is closed by that, and `on_close` would tell.
        let _ = session.send("", payload);
    }
}

fn main() -> Result<(), fanwire::Error> {
    let args = Args::parse();
    let options = Options::default()
        .codec(Raw)
        .driver(args.driver.into())
        .shards(args.shards)
        .read_limit(args.message_bytes_max)
        .queue_bytes(4 * args.message_bytes_max);
    let running = Server::bind_with(&args.listen, options)?.start(|_| Echo)?;
    println!("listening on ws://{}/ws", running.address());
    running.wait();
    Ok(())
}
