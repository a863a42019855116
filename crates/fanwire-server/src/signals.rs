//! Signals: SIGINT and SIGTERM end the server, gently at first; SIGHUP reads the settings anew.
//!
//! In      signals
//! Out     a reload; a drain at the first signal to end, a stop at the second, and which of them it was
//! Bounds  two threads, one of them only while draining
//! Source  signal(7)

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::Duration,
};

use fanwire::Running;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals as Incoming,
};

use crate::{notify, reload::Reload, report, visitor::Visitor};

/// Signals that wait to be handled: from here on none kills the process by itself.
pub(crate) struct Signals(Incoming);

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    /// If the system refuses the handlers or the pipe they need.
    pub(crate) fn new() -> io::Result<Self> {
        Incoming::new([SIGHUP, SIGINT, SIGTERM]).map(Self)
    }

    /// Handles them in a thread of its own.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn watch(self, watched: Watched) -> io::Result<Stopped> {
        let stopped = Stopped::default();
        let seen = stopped.clone();
        let name = "signals".to_owned();
        thread::Builder::new().name(name).spawn(move || watch(self.0, watched, &seen))?;
        Ok(stopped)
    }
}

/// What signals act on.
pub(crate) struct Watched {
    pub(crate) running: Arc<Running<Visitor>>,
    pub(crate) reload: Reload,
    pub(crate) ending: Ending,
    pub(crate) drain_delay: Duration,
    pub(crate) drain_timeout: Duration,
}

/// Whether the server has been told to end, and how far it is with that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<Steps>);

impl Ending {
    pub(crate) fn has_begun(&self) -> bool {
        self.0.told.load(Ordering::Acquire)
    }

    /// The time to go on serving is over: sessions are closed.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }
}

#[derive(Debug, Default)]
struct Steps {
    told: AtomicBool,
    draining: AtomicBool,
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

fn watch(mut incoming: Incoming, mut watched: Watched, stopped: &Stopped) {
    let mut signals = incoming.forever();
    loop {
        match signals.next() {
            Some(SIGHUP) => {
                notify::reloading();
                watched.reload.run();
                notify::notify("READY=1");
            }
            Some(_) => break,
            None => return,
        }
    }
    watched.ending.0.told.store(true, Ordering::Release);
    notify::notify("STOPPING=1");
    let Watched { running, ending, drain_delay, drain_timeout, .. } = watched;
    let draining = running.clone();
    // `drain` returns at its end only, and the next signal must be heard meanwhile.
    let drain = move || {
        if !drain_delay.is_zero() {
            report::ending(drain_delay);
            thread::sleep(drain_delay);
        }
        ending.0.draining.store(true, Ordering::Release);
        report::draining(draining.publisher().session_count(), drain_timeout);
        draining.drain(drain_timeout);
    };
    if thread::Builder::new().name("drain".to_owned()).spawn(drain).is_err() {
        running.shutdown();
        return;
    }
    // Nothing is reloaded any more.
    if let Some(signal) = signals.find(|signal| *signal != SIGHUP) {
        stopped.0.store(signal, Ordering::SeqCst);
        running.shutdown();
    }
}
