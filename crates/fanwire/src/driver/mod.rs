//! Drivers: how a shard reaches the kernel (or the simulator).
//!
//! In      requests on sockets that the shard has registered under a `Key`
//! Out     completions (`Event`), in order per socket; sends finish inside the call
//! Bounds  `SENDS_PER_BATCH_MAX` sends a call; receive buffers come from a fixed set
//! Source  io_uring(7), epoll(7); completion-shaped, because readiness can imitate it and not the reverse

pub(crate) mod epoll;
pub(crate) mod listener;
mod pages;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
#[allow(unsafe_code, reason = "the ring shares memory with the kernel; each block proves why it may")]
pub(crate) mod uring;

use std::{
    io::IoSlice,
    net::SocketAddr,
    ops::{DerefMut, Range},
    os::fd::OwnedFd,
    sync::Arc,
};

use rustix::io::Errno;

/// A shard's I/O backend. One value per shard, made on the shard's own thread and never moved off it.
///
/// A key is registered once, used, and closed (or taken); until its `Closed` (or `Taken`) event the slot
/// must not be registered again. Requests on a key that was closed or taken are misuse and panic.
pub(crate) trait Driver {
    /// A connected socket on its way into `register`.
    type Socket;
    /// One receive buffer, owned by whoever handles the event; goes back by `recycle`.
    type Buffer: DerefMut<Target = [u8]>;

    /// Monotonic nanoseconds, read anew by every `poll` (so a tick sees one time).
    fn now(&self) -> u64;

    /// The same clock at this moment: for measuring, once a turn. A driver whose time stands still during a turn says
    /// that time.
    fn clock(&self) -> u64 {
        self.now()
    }

    /// Random bytes: hash seeds, session ids, jitter.
    fn fill_random(&mut self, out: &mut [u8]);

    /// Ends a sleep of this shard's `poll` from any thread. Many wakes before one sleep count as one.
    fn waker(&self) -> Arc<dyn Wake>;

    /// One line for the operator: what drives this shard, and why.
    fn describe(&self) -> String;

    /// From now on at most `room` connections may be accepted beyond those already given out as
    /// `Accepted`. The shard calls it every tick; 0 pauses accepting (armed accepts are cancelled, and
    /// what they had already accepted still comes as `Accepted`). After `AcceptFailed` the driver accepts
    /// nothing until the next call with `room > 0` that follows a call with 0. Room for fewer connections than
    /// there are listeners cannot be shared out: the caller gives none then.
    fn accept(&mut self, room: usize);

    /// Closes the listening sockets for good (those that were handed over stay with whoever made them); `Accepted` may still come for what was already accepted.
    fn stop_accepting(&mut self);

    /// Makes a socket of a descriptor that somebody else accepted (`adopt`): sets its options, asks its peer.
    ///
    /// # Errors
    /// The descriptor is not a connected stream socket, or an option cannot be set.
    fn adopt(&mut self, descriptor: OwnedFd) -> Result<(Self::Socket, SocketAddr), Errno>;

    /// Puts a socket under `key` and starts to receive from it.
    fn register(&mut self, key: Key, socket: Self::Socket);

    /// Stops receiving. What has already been received still comes, in order. Idempotent.
    fn pause(&mut self, key: Key);

    /// Receives again after `pause`. Idempotent.
    fn resume(&mut self, key: Key);

    /// Asks for one `Writable` event. Idempotent until it comes.
    fn want_writable(&mut self, key: Key);

    /// Sends up to `SENDS_PER_BATCH_MAX` runs of bytes, at most one per socket, and waits for none of
    /// them: `results[i]` is what the kernel took of `sends[i]` (all, a short count, or `AGAIN`).
    /// Nothing of `parts` is referenced after the call. Each send has 1 to `PARTS_PER_SEND_MAX` parts.
    /// `results` is cleared first.
    fn send_batch(&mut self, sends: &[Send], parts: &[IoSlice<'_>], results: &mut Vec<Result<usize, Errno>>);

    /// One send at once, outside any batch.
    fn send_now(&mut self, key: Key, parts: &[IoSlice<'_>]) -> Result<usize, Errno>;

    /// Puts bytes into pages that many sends may refer to. None of them, from that of `offset` on, was ever
    /// written before.
    ///
    /// # Errors
    /// There is no memory for them, or no such pages on this system; nothing stays of what was written.
    fn write_pages(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Errno>;

    /// One send at once of bytes in pages: the socket refers to them and has no copy. As with the others, all,
    /// a short count, or `AGAIN`; any other error may be of the pages and not of the socket, and then nothing
    /// was taken.
    fn send_pages(&mut self, key: Key, range: PageRange) -> Result<usize, Errno>;

    /// Gives all pages of a range back. What sockets have not yet sent of them stays as it is.
    fn free_pages(&mut self, range: PageRange);

    /// A session's overflow policy acts. A simulated driver knows whether its socket does refuse bytes.
    #[cfg(feature = "sim")]
    fn check_refuses(&mut self, _key: Key) {}

    /// Ends our direction of the stream (FIN after what was sent).
    fn shutdown_write(&mut self, key: Key);

    /// Cancels what is armed and closes the socket; `Closed` says when the slot may be used again.
    /// Events that were already on their way for this key are swallowed (their buffers come back).
    fn close(&mut self, key: Key);

    /// Stops receiving, then gives the descriptor away by a `Taken` event; `Received` events may come
    /// before it and are part of the stream. After `Taken` the key is free.
    fn take(&mut self, key: Key);

    /// Collects events; waits up to `wait` nanoseconds for the first one (`None`: without end, 0: not at
    /// all). Returns early on a wake. Events not yet fetched when `poll` is called are kept, in order, and
    /// make it return at once.
    fn poll(&mut self, wait: Option<u64>);

    /// The next event. Lazy drivers do the read here, so fetch until `None` or until the tick's budget is spent.
    fn next_event(&mut self) -> Option<Event<Self>>;

    /// Gives a receive buffer back.
    fn recycle(&mut self, buffer: Self::Buffer);

    /// Bytes of user memory that this driver holds at most, and bytes per registered socket.
    fn memory(&self) -> DriverMemory;

    /// Takes what happened since the last call: events an operator counts.
    fn take_counts(&mut self) -> DriverCounts;
}

/// What a driver reports. Per key: `Received*`, then at most one of `Eof` and `Failed`; `Writable` at any
/// time before; `Closed` or `Taken` last.
pub(crate) enum Event<D: Driver + ?Sized> {
    /// A connection came in on that listener. The shard registers the socket, or drops it (which closes it).
    Accepted { socket: D::Socket, peer: SocketAddr, listener: u8 },
    /// Accepting failed for want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM) or because
    /// the listener broke. No connection was lost: it waits in the backlog.
    AcceptFailed { error: Errno },
    /// Bytes came in (at least one).
    Received { key: Key, buffer: D::Buffer },
    /// The peer has ended its direction.
    Eof { key: Key },
    /// The socket failed (reset, time-out of the kernel); nothing more can be read or written.
    Failed { key: Key, error: Errno },
    /// The socket takes bytes again, or has failed (the next send tells).
    Writable { key: Key },
    /// The socket is closed and no request of this key is left: the slot may be used again.
    Closed { key: Key },
    /// The socket is out of the driver, still open.
    Taken { key: Key, descriptor: OwnedFd },
}

/// Which use of which slot. `generation` has 24 bits and is never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// One send of a batch: `parts[range]` of the slices given with it, to `key`.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) key: Key,
    pub(crate) parts: Range<u32>,
}

/// Bytes in pages that sockets share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageRange {
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

impl PageRange {
    /// What is left after so many bytes.
    pub(crate) fn after(self, bytes: u32) -> Self {
        Self { offset: self.offset + u64::from(bytes), bytes: self.bytes - bytes }
    }

    /// Memory of all pages that it has a part in.
    pub(crate) fn page_bytes(self) -> u64 {
        self.end().next_multiple_of(page_bytes()) - self.first_page()
    }

    /// Where the first of them begins.
    pub(crate) fn first_page(self) -> u64 {
        self.offset / page_bytes() * page_bytes()
    }

    pub(crate) fn end(self) -> u64 {
        self.offset + u64::from(self.bytes)
    }
}

/// Length of a page.
pub(crate) fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Ends a shard's sleep. Cheap to hold, safe to call from any thread, never blocks.
pub(crate) trait Wake: std::marker::Send + Sync {
    fn wake(&self);
}

/// What a driver needs to know at start.
#[derive(Clone, Debug)]
pub(crate) struct DriverConfig {
    /// Accepts armed at once (io_uring) or taken per turn (epoll), at most.
    pub(crate) accepts_armed_max: u32,
    /// Whether other shards accept from the same listeners.
    pub(crate) shares_listeners: bool,
    /// Length of one receive buffer.
    pub(crate) receive_buffer_bytes: u32,
    /// Receive buffers of this shard (io_uring: a power of two).
    pub(crate) receive_buffers: u16,
    /// Each socket's SO_SNDBUF, for adopted sockets (the listener's are inherited). `None`: the kernel's.
    pub(crate) send_buffer_bytes: Option<u32>,
    /// Whether there will be sends from pages.
    pub(crate) shares_pages: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DriverMemory {
    pub(crate) fixed_bytes: u64,
    pub(crate) bytes_per_socket: u64,
}

/// Counts since the last `take_counts`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DriverCounts {
    /// Receives that found no free buffer and were put off until one came back.
    pub(crate) receive_buffers_exhausted: u64,
    /// Completions the kernel had to queue beyond the completion ring.
    pub(crate) completions_overflowed: u64,
    /// Accepts of connections that had already gone (ECONNABORTED and the like); nothing was lost.
    pub(crate) accepts_aborted: u64,
    /// System calls made (enter, or epoll_wait, recv, send…), so that coalescing shows.
    pub(crate) system_calls: u64,
}

/// Sends per `send_batch`: about 2 ms of kernel time, then events are looked at again.
pub(crate) const SENDS_PER_BATCH_MAX: usize = 256;

/// Parts of one send: the kernel's UIO_FASTIOV is 8; 64 stay on its fast path for small allocations.
pub(crate) const PARTS_PER_SEND_MAX: usize = 64;

/// `Key::generation` wraps here; 0 is skipped, so that a zeroed key is never live.
pub(crate) const GENERATION_MAX: u32 = (1 << 24) - 1;
