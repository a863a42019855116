//! What the simulated driver keeps of each socket, and its receive buffers.
//!
//! In      the network
//! Out     whether a socket is ready; buffers, as long as there are any
//! Bounds  `receive_buffers`

use std::{
    cell::RefCell,
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering},
};

use super::Net;
use crate::driver::{Key, Wake};

/// A socket on its way from `Accepted` to `register`.
pub(crate) struct SimSocket {
    pub(super) net: Rc<RefCell<Net>>,
    pub(super) link: Option<usize>,
}

/// A registered socket.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) link: usize,
    pub(super) is_paused: bool,
    /// Eof or Failed was found.
    pub(super) has_ended: bool,
    /// `take` was called: it leaves with `Taken`.
    pub(super) is_leaving: bool,
    /// It did not take all of the last send, and `Writable` has not come since.
    pub(super) is_refusing: bool,
    /// Since when `Writable` may come.
    pub(super) writable_at: Option<u64>,
    /// Events of it that were posted and not fetched.
    pub(super) posted: u32,
}

impl Entry {
    pub(super) fn is_ready(&self, net: &Net) -> bool {
        !self.is_leaving && (self.is_writable(net) || self.has_input(net))
    }

    pub(super) fn has_input(&self, net: &Net) -> bool {
        let up = &net.links[self.link].up;
        let is_armed = !self.is_paused && !self.has_ended && !self.is_leaving;
        is_armed && (up.has_arrived(net.now) || up.arrived_end(net.now).is_some())
    }

    pub(super) fn is_writable(&self, net: &Net) -> bool {
        let link = &net.links[self.link];
        let takes = link.down.room() > 0 || link.client_closed || link.up.is_reset();
        !self.is_leaving && self.writable_at.is_some_and(|at| at <= net.now) && takes
    }
}

/// Receive buffers: `free`, posted or outstanding.
pub(super) struct Buffers {
    pub(super) free: usize,
    /// Handed to the shard and not yet recycled.
    pub(super) outstanding: usize,
    pub(super) spare: Vec<Vec<u8>>,
}

impl Buffers {
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.free = self.free.checked_sub(1)?;
        Some(self.spare.pop().unwrap_or_default())
    }

    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        self.free += 1;
        buffer.clear();
        self.spare.push(buffer);
    }
}

/// Remembers that it was called, until the next poll.
#[derive(Default)]
pub(super) struct SimWaker {
    pub(super) is_woken: AtomicBool,
}

impl Wake for SimWaker {
    fn wake(&self) {
        self.is_woken.store(true, Ordering::SeqCst);
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if let Some(link) = self.link {
            self.net.borrow_mut().close_server_end(link);
        }
    }
}
