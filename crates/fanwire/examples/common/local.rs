//! What examples with a page share: they listen on loopback, let in their own page, and end by Ctrl-C.
//!
//! In      `--listen ADDR`, `--for-seconds N`
//! Out     the address and what to try, on stdout
//! Bounds  a drain takes DRAIN_TIME at most

use std::{
    error::Error,
    io::{Write, stdout},
    sync::mpsc,
    thread,
    time::Duration,
};

use fanwire::{Http, Options, Request, Running};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// The options that all have.
#[derive(clap::Args)]
pub(crate) struct Local {
    /// Address to listen on; port 0 asks for a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9003")]
    pub(crate) listen: String,
    /// End after so many seconds; otherwise Ctrl-C does it.
    #[arg(long, value_name = "N")]
    pub(crate) for_seconds: Option<u64>,
}

impl Local {
    /// Only the page that this server itself shows may connect: any other that its visitor has open could reach
    /// loopback as well. Behind a name of your own, use `Options::origins`.
    pub(crate) fn options() -> Options {
        Options::default().check_origin(|request| {
            let host = request.header("Host").unwrap_or_default();
            request.header("Origin").is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
        })
    }

    /// Says where it listens, waits for the end, and closes all sessions with 1001.
    pub(crate) fn wait<V: Send + 'static>(
        self,
        running: &Running<V>,
        to_try: &str,
    ) -> Result<(), Box<dyn Error>> {
        let address = running.address();
        writeln!(stdout(), "listening on ws://{address}/ws\nopen http://{address}/ and {to_try}")?;
        stdout().flush()?;

        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let (told, ending) = mpsc::channel();
        thread::spawn(move || signals.forever().next().map(|_| told.send(())));
        // Both ways out of it are the end.
        let _ = match self.for_seconds {
            Some(seconds) => ending.recv_timeout(Duration::from_secs(seconds)).is_ok(),
            None => ending.recv().is_ok(),
        };
        let report = running.drain(DRAIN_TIME);
        println!("closed {} sessions, cut {}", report.drained, report.cut);
        Ok(())
    }
}

/// The page at `/`.
pub(crate) fn page(request: &Request<'_>, html: &str) -> Http {
    match request.path() {
        "/" => Http::html(html).header("Cache-Control", "no-store"),
        _ => Http::not_found(),
    }
}

const DRAIN_TIME: Duration = Duration::from_secs(5);
