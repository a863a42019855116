//! Rooms: the patterns of a chat service, each as one request.
//!
//! In      `rooms --listen ADDR [--driver auto|uring|epoll] [--shards N] [--queue-size N] [--read-limit BYTES]
//!         [--origin ORIGIN]...`
//! Out     `listening on ws://ADDR/ws` on stdout when ready, then what `rooms/mod.rs` says
//! Bounds  queues and memory grow with `--read-limit`, so that what was received can also be published

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use clap::Parser;
use fanwire::{Options, Server};

#[path = "common/driver.rs"]
mod driver;
#[path = "rooms/mod.rs"]
mod rooms;

/// Chat rooms, presence, direct messages and announcements over WebSocket.
#[derive(Parser)]
struct Args {
    /// Address to listen on; port 0 asks for a free one.
    #[arg(long, default_value = "127.0.0.1:9002")]
    listen: String,
    /// How to reach the kernel.
    #[arg(long, value_enum, default_value = "auto")]
    driver: driver::Driver,
    /// Threads; 0: one per CPU.
    #[arg(long, default_value_t = 0)]
    shards: u16,
    /// Messages that may wait for one session.
    #[arg(long, default_value_t = 256)]
    queue_size: u32,
    /// Largest message taken from a client.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20)]
    read_limit: u32,
    /// A web page's origin that is let in, as scheme://host[:port]; none: all are.
    #[arg(long)]
    origin: Vec<String>,
}

impl Args {
    fn options(&self) -> Options {
        // What was received is published in a larger envelope, and chat wraps it once more.
        let queue_bytes = self.read_limit.saturating_mul(2).clamp(QUEUE_BYTES_MIN, QUEUE_BYTES_MAX);
        Options::default()
            .driver(self.driver.into())
            .shards(self.shards)
            .queue_size(self.queue_size)
            .read_limit(self.read_limit)
            .queue_bytes(queue_bytes)
            .frame_bytes_max(u64::from(queue_bytes).max(FRAME_BYTES_MAX_MIN))
            .intake_bytes_max(u64::from(queue_bytes).max(INTAKE_BYTES_MAX_MIN))
            .assembly_bytes_max(u64::from(self.read_limit).max(ASSEMBLY_BYTES_MAX_MIN))
            .origins(&self.origin)
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rooms: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let lobby = rooms::Lobby::open()?;
    let running = Server::bind_with(&args.listen, args.options())?.start(|_| rooms::Rooms::new(&lobby))?;
    let mut out = stdout().lock();
    writeln!(out, "listening on ws://{}/ws", running.address())?;
    out.flush()?;
    drop(out);
    running.wait();
    Ok(())
}

/// The engine's defaults, which a large `--read-limit` raises.
const QUEUE_BYTES_MIN: u32 = 16 << 20;
const FRAME_BYTES_MAX_MIN: u64 = 256 << 20;
const INTAKE_BYTES_MAX_MIN: u64 = 64 << 20;
const ASSEMBLY_BYTES_MAX_MIN: u64 = 64 << 20;

/// What the engine allows at most.
const QUEUE_BYTES_MAX: u32 = 1 << 31;
