//! Signals: SIGINT and SIGTERM end the server, gently at first.
//!
//! In      signals
//! Out     a drain at the first one, a stop at the second, and which of them it was
//! Bounds  two threads, one of them only while draining
//! Source  signal(7)

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread,
    time::Duration,
};

use fanwire::Running;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals as Incoming,
};

use crate::report;

/// Signals that wait to be handled: from here on none kills the process by itself.
pub(crate) struct Signals(Incoming);

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    /// If the system refuses the handlers or the pipe they need.
    pub(crate) fn new() -> io::Result<Self> {
        Incoming::new([SIGINT, SIGTERM]).map(Self)
    }

    /// Handles them in a thread of its own.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn watch(self, running: Arc<Running<()>>, drain_timeout: Duration) -> io::Result<Stopped> {
        let stopped = Stopped::default();
        let seen = stopped.clone();
        let name = "signals".to_owned();
        thread::Builder::new().name(name).spawn(move || watch(self.0, &running, drain_timeout, &seen))?;
        Ok(stopped)
    }
}

/// The signal that stopped the server at once, if one did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopped(Arc<AtomicI32>);

impl Stopped {
    /// Its number.
    pub(crate) fn signal(&self) -> Option<i32> {
        Some(self.0.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}

fn watch(mut incoming: Incoming, running: &Arc<Running<()>>, drain_timeout: Duration, stopped: &Stopped) {
    let mut signals = incoming.forever();
    if signals.next().is_none() {
        return;
    }
    report::draining(running.publisher().session_count(), drain_timeout);
    let draining = running.clone();
    // `drain` returns at its end only, and the next signal must be heard meanwhile.
    let drain = move || {
        draining.drain(drain_timeout);
    };
    if thread::Builder::new().name("drain".to_owned()).spawn(drain).is_err() {
        running.shutdown();
        return;
    }
    if let Some(signal) = signals.next() {
        stopped.0.store(signal, Ordering::SeqCst);
        running.shutdown();
    }
}
