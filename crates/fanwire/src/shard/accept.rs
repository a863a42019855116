//! Accepting: as many connections as there is room for; the others wait in the listen backlog.
//!
//! In      places for handshakes, descriptors, accepted sockets, errors of the listening socket
//! Out     what the driver may accept; connections whose head is awaited
//! Bounds  `handshakes_max` that are being read; the limit of open files
//! Source  docs/architecture.md, docs/limits.md

use std::net::SocketAddr;

use rustix::io::Errno;

use super::{Core, conn::State, greeting::Greeting};
use crate::{driver::Driver, shared::Phase};

impl<D: Driver> Core<D> {
    /// Tells the driver how many more connections there is room for; the others wait in the listen backlog.
    pub(super) fn accept_room(&mut self) {
        let is_open = self.drain.is_none() && self.accept_again_ns <= self.driver.now();
        let reading = self.handshakes - self.parked;
        let places = (self.options.handshakes_max as usize).saturating_sub(reading);
        let free = self.shared.connections_free();
        // With less room than listeners, one of them would wait for as long as nobody comes to the others.
        let least = self.shared.listeners.count();
        if self.drain.is_none() {
            self.note_full(free < least);
        }
        let room = places.min(free);
        self.driver.accept(if is_open && room >= least { room } else { 0 });
    }

    /// Counts each time that descriptors have run out, and says it the first time.
    pub(super) fn note_full(&mut self, is_full: bool) {
        if is_full && !self.is_full {
            if self.counters().accepts_paused.read() == 0 {
                tracing::warn!(
                    shard = self.index,
                    connections = self.shared.limits.connections_max,
                    "accepting pauses: the limit of open files allows no more connections, and new ones wait in the \
                     backlog (said once)"
                );
            }
            self.counters().accepts_paused.add(1);
        }
        self.is_full = is_full;
    }

    pub(super) fn accepted(&mut self, socket: D::Socket, peer: SocketAddr, listener: u8) {
        self.counters().connections_accepted.add(1);
        self.shared.take_connection();
        let greeting = self.greeting(listener, peer);
        let state = if greeting == Greeting::ProxyHeader { State::Proxied } else { State::Head };
        let key = self.add_conn(socket, peer, state);
        self.set_timer(key.slot, self.handshake_ns);
        if self.drain.is_some() {
            self.refuse_draining(key.slot);
        } else if greeting == Greeting::Untrusted {
            self.refuse_untrusted(key.slot);
        }
    }

    /// No descriptor or no memory: connections wait in the backlog until some may be free again.
    pub(super) fn accept_failed(&mut self, error: Errno) {
        if self.shared.phase() != Phase::Running {
            // Another shard was first to stop the listening socket that all share.
            return;
        }
        if self.counters().accepts_failed.read() == 0 {
            tracing::warn!(
                shard = self.index,
                %error,
                "accepting pauses; connections wait in the backlog (raise the limit of open files if it is that)"
            );
        }
        self.counters().accepts_failed.add(1);
        self.accept_again_ns = self.now_ns + ACCEPT_PAUSE_NS;
        self.driver.accept(0);
    }
}

/// Accepting pauses for so long after it failed, unless a connection goes before.
const ACCEPT_PAUSE_NS: u64 = 100_000_000;
