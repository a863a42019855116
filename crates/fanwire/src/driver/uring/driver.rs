//! The state of sockets on a `Ring`.
//!
//! In      requests on registered sockets (`Driver`), completions of the ring
//! Out     events, in the kernel's order
//! Bounds  per key at most one receive, one wait for room and one close in the kernel;
//!         `accepts_armed_max` accepts
//! Source  io_uring(7); io_uring_prep_recv_multishot(3), io_uring_prep_cancel(3)
#![forbid(unsafe_code)]

use std::{
    collections::VecDeque,
    io::IoSlice,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    io::Errno,
    net::{self, Shutdown},
};

use super::{Completion, Ring, RingSize, Token, Unavailable, UringBuffer, accepts::Accepts};
use crate::driver::{
    Driver, DriverConfig, DriverCounts, DriverMemory, Event, GENERATION_MAX, Key, PARTS_PER_SEND_MAX,
    PageRange, SENDS_PER_BATCH_MAX, Send, Wake,
    listener::Listener,
    pages::PageFile,
    socket::{self, Admission, RandomBytes, WakeEvent},
};

/// See the module.
pub(crate) struct UringDriver {
    ring: Ring,
    /// Indexed by slot.
    entries: Vec<Entry>,
    /// Events made of completions, not fetched yet: one completion gives two at most.
    queued: VecDeque<Event<Self>>,
    /// Receives that ended for want of a buffer. May name keys that have gone since.
    starved: VecDeque<Key>,
    listeners: Vec<Arc<Listener>>,
    accepts: Accepts,
    pages: PageFile,
    config: DriverConfig,
    wake: Arc<WakeEvent>,
    random: RandomBytes,
    now: u64,
    counts: DriverCounts,
}

impl UringDriver {
    /// A driver that accepts from `listeners` (each already listening) once `accept` has given it room.
    pub(crate) fn new(config: &DriverConfig, listeners: &[Arc<Listener>]) -> Result<Self, Unavailable> {
        Self::with_queues(config, listeners, SUBMISSIONS, COMPLETIONS)
    }

    /// One whose queues overflow in tests.
    #[cfg(test)]
    pub(in crate::driver) fn tiny(config: &DriverConfig, listeners: &[Arc<Listener>]) -> Self {
        Self::with_queues(config, listeners, 4, 8).expect("tests of io_uring run where it is available")
    }

    fn with_queues(
        config: &DriverConfig,
        listeners: &[Arc<Listener>],
        submissions: u32,
        completions: u32,
    ) -> Result<Self, Unavailable> {
        let accepts = config.accepts_armed_max.clamp(1, ACCEPTS_ARMED_MAX);
        let accepts = u16::try_from(accepts).unwrap_or(u16::MAX);
        let listener_count = u8::try_from(listeners.len()).expect("there are at most 64 listeners");
        // Each is to have one at least.
        let accepts = accepts.max(listener_count.into());
        let (buffers, buffer_bytes) = (config.receive_buffers, config.receive_buffer_bytes);
        let mut ring = Ring::new(&RingSize { submissions, completions, accepts, buffers, buffer_bytes })?;
        let wake = WakeEvent::new().map_err(|error| Unavailable::Other(error.into()))?;
        ring.watch_wake(wake.as_fd());
        Ok(Self {
            ring,
            entries: Vec::new(),
            queued: VecDeque::new(),
            starved: VecDeque::new(),
            listeners: listeners.to_vec(),
            accepts: Accepts::new(accepts, listener_count),
            pages: PageFile::open(config.shares_pages),
            config: config.clone(),
            wake,
            random: RandomBytes::new(),
            now: socket::now_nanoseconds(),
            counts: DriverCounts::default(),
        })
    }

    /// The entry of a key in use, or on its way out.
    fn known(&mut self, key: Key) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        (entry.generation == key.generation && entry.phase != Phase::Free).then_some(entry)
    }

    fn open(&mut self, key: Key) -> &mut Entry {
        let entry = self.known(key).filter(|entry| entry.phase == Phase::Open);
        entry.expect("requests name a key that is registered and neither closed nor taken")
    }

    /// Arms the receive, if it is wanted and not armed.
    fn arm_receive(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(key.slot as usize) else {
            return;
        };
        if (entry.phase, entry.reading, entry.receive) == (Phase::Open, Reading::Wanted, Receive::Idle) {
            entry.receive = Receive::Armed;
            let socket = entry.socket.as_ref().expect("an open entry has its socket");
            self.ring.receive(key, socket.as_fd());
        }
    }

    fn cancel_receive(&mut self, key: Key) {
        if let Some(entry) = self.known(key).filter(|entry| entry.receive == Receive::Armed) {
            entry.receive = Receive::Cancelled;
            self.ring.cancel(Token::Receive(key));
        }
    }

    /// Cancels all that is armed; the last completion of each still comes.
    fn cancel_all(&mut self, key: Key) {
        self.cancel_receive(key);
        if self.known(key).is_some_and(|entry| entry.writable_armed) {
            self.ring.cancel(Token::Writable(key));
        }
    }

    /// Ends a key on its way out, once nothing of it is left in the kernel.
    fn finish(&mut self, key: Key) {
        let Some(entry) = self.known(key) else {
            return;
        };
        let armed = matches!(entry.receive, Receive::Armed | Receive::Cancelled) || entry.writable_armed;
        let event = match entry.phase {
            _ if armed => return,
            Phase::Free | Phase::Open | Phase::Closing => return,
            Phase::Closed => Event::Closed { key },
            Phase::Taking => {
                let descriptor = entry.socket.take().expect("a socket that is being taken is open");
                Event::Taken { key, descriptor }
            }
        };
        entry.phase = Phase::Free;
        self.queued.push_back(event);
    }

    fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Receive { key, outcome, more } => self.complete_receive(key, outcome, more),
            Completion::Writable { key } => {
                if let Some(entry) = self.known(key) {
                    entry.writable_armed = false;
                    if entry.phase == Phase::Open {
                        self.queued.push_back(Event::Writable { key });
                    }
                    self.finish(key);
                }
            }
            Completion::Closed { key } => {
                if let Some(entry) = self.known(key) {
                    entry.phase = Phase::Closed;
                    self.finish(key);
                }
            }
            Completion::Accept { index, outcome } => self.complete_accept(index, outcome),
            Completion::Wake { more } => {
                self.counts.system_calls += 1;
                self.wake.clear();
                if !more {
                    self.ring.watch_wake(self.wake.as_fd());
                }
            }
        }
    }

    fn complete_receive(&mut self, key: Key, outcome: Result<Option<UringBuffer>, Errno>, more: bool) {
        // A key of an older use: dropping the outcome returns its buffer.
        let Some(entry) = self.known(key) else {
            return;
        };
        if !more {
            entry.receive = Receive::Idle;
        }
        if matches!(entry.phase, Phase::Open | Phase::Taking) {
            let event = match outcome {
                Ok(Some(buffer)) => Some(Event::Received { key, buffer }),
                Ok(None) => Some(Event::Eof { key }),
                // Cancelled, or to be tried again: armed anew below if it is still wanted.
                Err(Errno::CANCELED | Errno::AGAIN | Errno::INTR) => None,
                Err(Errno::NOBUFS) => {
                    // Armed again only when a buffer has come back, or it would spin.
                    entry.receive = Receive::Starved;
                    self.starved.push_back(key);
                    self.counts.receive_buffers_exhausted += 1;
                    None
                }
                Err(error) => Some(Event::Failed { key, error }),
            };
            if let Some(event) = event {
                if !matches!(event, Event::Received { .. }) {
                    self.entries[key.slot as usize].reading = Reading::Ended;
                }
                self.queued.push_back(event);
            }
        }
        // A multishot also ends when the completion ring is full; and a pause may have been taken back.
        self.arm_receive(key);
        self.finish(key);
    }

    fn complete_accept(&mut self, index: u16, outcome: Result<(OwnedFd, SocketAddr), Errno>) {
        let listener = self.accepts.end(index);
        let outcome = outcome.and_then(|(socket, peer)| {
            // There is none any more if this came while accepting was stopped; then the connection is refused.
            if let Some(listener) = self.listeners.get(usize::from(listener)) {
                listener.prepare(socket.as_fd(), self.config.send_buffer_bytes)?;
            }
            Ok((socket, peer))
        });
        match outcome {
            Ok((socket, peer)) => {
                self.accepts.room = self.accepts.room.saturating_sub(1);
                self.queued.push_back(Event::Accepted { socket, peer, listener });
            }
            Err(Errno::CANCELED | Errno::AGAIN | Errno::INTR) => {}
            Err(error) if socket::accept_error_is_of_connection(error) => self.counts.accepts_aborted += 1,
            // The kernel looks for a descriptor before it takes a connection, so none is lost. All armed
            // accepts fail alike: one report is enough.
            Err(error) if self.accepts.admission == Admission::Open && !self.listeners.is_empty() => {
                self.accepts.admission = Admission::Failed;
                self.queued.push_back(Event::AcceptFailed { error });
            }
            Err(_) => {}
        }
    }

    /// Arms as many accepts as there is room for, or cancels what is too many, evenly over the listeners.
    fn arm_accepts(&mut self) {
        let wanted = if self.listeners.is_empty() { 0 } else { self.accepts.wanted() };
        while self.accepts.in_kernel() < wanted {
            let Some((index, listener)) = self.accepts.begin() else {
                return;
            };
            self.ring.accept(index, self.listeners[usize::from(listener)].as_fd());
        }
        while self.accepts.armed > wanted || self.accepts.leaves_one_out() {
            let Some(index) = self.accepts.cancel() else {
                return;
            };
            self.ring.cancel(Token::Accept(index));
        }
    }

    /// Arms receives that waited for a buffer, one per buffer that the kernel has.
    fn arm_starved(&mut self) {
        self.ring.provided.publish();
        let mut free = self.ring.provided.free();
        while free > 0
            && let Some(key) = self.starved.pop_front()
        {
            // Those that were closed or paused meanwhile take no buffer.
            if let Some(entry) = self.known(key).filter(|entry| entry.receive == Receive::Starved) {
                entry.receive = Receive::Idle;
                self.arm_receive(key);
                free -= 1;
            }
        }
    }

    fn socket(&self, key: Key) -> BorrowedFd<'_> {
        socket_of(&self.entries, key)
    }
}

impl Driver for UringDriver {
    type Socket = OwnedFd;
    type Buffer = UringBuffer;

    fn now(&self) -> u64 {
        self.now
    }

    fn clock(&self) -> u64 {
        socket::now_nanoseconds()
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.random.fill(out);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.wake) as Arc<dyn Wake>
    }

    fn describe(&self) -> String {
        format!(
            "io_uring, {SUBMISSIONS} submissions, {COMPLETIONS} completions, {} receive buffers of {} bytes",
            self.config.receive_buffers, self.config.receive_buffer_bytes
        )
    }

    fn accept(&mut self, room: usize) {
        self.accepts.room = room;
        self.accepts.admission = self.accepts.admission.given(room);
        self.arm_accepts();
    }

    fn stop_accepting(&mut self) {
        self.accepts.room = 0;
        self.arm_accepts();
        // Requests name descriptors by number: the kernel must have seen them before the numbers are free.
        self.ring.submit();
        self.listeners.drain(..).for_each(|listener| listener.stop());
    }

    fn adopt(&mut self, descriptor: OwnedFd) -> Result<(OwnedFd, SocketAddr), Errno> {
        let peer = socket::adopt(descriptor.as_fd(), self.config.send_buffer_bytes)?;
        Ok((descriptor, peer))
    }

    fn register(&mut self, key: Key, socket: OwnedFd) {
        assert!((1..=GENERATION_MAX).contains(&key.generation), "generations have 24 bits and are never 0");
        let slot = key.slot as usize;
        if self.entries.len() <= slot {
            self.entries.resize_with(slot + 1, Entry::default);
        }
        let entry = &mut self.entries[slot];
        assert!(entry.phase == Phase::Free, "a slot is registered again only after Closed or Taken");
        *entry = Entry {
            socket: Some(socket),
            generation: key.generation,
            phase: Phase::Open,
            ..Entry::default()
        };
        self.arm_receive(key);
    }

    fn pause(&mut self, key: Key) {
        let entry = self.open(key);
        if entry.reading == Reading::Wanted {
            entry.reading = Reading::Paused;
            self.cancel_receive(key);
        }
    }

    fn resume(&mut self, key: Key) {
        let entry = self.open(key);
        if entry.reading == Reading::Paused {
            entry.reading = Reading::Wanted;
            // If the cancelled receive has not ended yet, its last completion arms the next one.
            self.arm_receive(key);
        }
    }

    fn want_writable(&mut self, key: Key) {
        let entry = self.open(key);
        if !std::mem::replace(&mut entry.writable_armed, true) {
            self.ring.wait_writable(key, socket_of(&self.entries, key));
        }
    }

    fn send_batch(&mut self, sends: &[Send], parts: &[IoSlice<'_>], results: &mut Vec<Result<usize, Errno>>) {
        assert!(sends.len() <= SENDS_PER_BATCH_MAX);
        let entries = &self.entries;
        self.ring.send_batch(sends, parts, results, |key| socket_of(entries, key).as_raw_fd());
    }

    fn send_now(&mut self, key: Key, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        assert!((1..=PARTS_PER_SEND_MAX).contains(&parts.len()));
        self.counts.system_calls += 1;
        socket::send(self.socket(key), parts)
    }

    fn write_pages(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.counts.system_calls += 1;
        self.pages.write(offset, bytes)
    }

    /// Not by the ring: SPLICE is its only way to do this, and that runs on a worker thread.
    fn send_pages(&mut self, key: Key, range: PageRange) -> Result<usize, Errno> {
        self.counts.system_calls += 1;
        self.pages.send(socket_of(&self.entries, key), range)
    }

    fn free_pages(&mut self, range: PageRange) {
        self.counts.system_calls += 1;
        self.pages.free(range);
    }

    fn shutdown_write(&mut self, key: Key) {
        self.counts.system_calls += 1;
        // A socket that is no longer connected has nothing to end.
        let _ = net::shutdown(self.socket(key), Shutdown::Write);
    }

    /// A request that is armed on a socket keeps it alive, so CLOSE alone would send no FIN: first the
    /// cancels, then CLOSE, in that order in one batch.
    fn close(&mut self, key: Key) {
        let entry = self.open(key);
        entry.phase = Phase::Closing;
        let socket = entry.socket.take().expect("an open entry has its socket");
        self.cancel_all(key);
        self.ring.close(key, socket);
    }

    fn take(&mut self, key: Key) {
        self.open(key).phase = Phase::Taking;
        self.cancel_all(key);
        self.finish(key);
    }

    fn poll(&mut self, wait: Option<u64>) {
        self.arm_starved();
        self.arm_accepts();
        let idle = self.queued.is_empty() && !self.ring.has_completion();
        if idle {
            self.ring.wait(wait);
        } else {
            self.ring.submit();
        }
        self.now = socket::now_nanoseconds();
    }

    fn next_event(&mut self) -> Option<Event<Self>> {
        loop {
            if let Some(event) = self.queued.pop_front() {
                return Some(event);
            }
            let completion = self.ring.next_completion()?;
            self.complete(completion);
        }
    }

    fn recycle(&mut self, buffer: UringBuffer) {
        drop(buffer);
    }

    fn memory(&self) -> DriverMemory {
        DriverMemory {
            fixed_bytes: self.ring.memory_bytes(),
            // The table doubles when it grows, so up to half of it is spare.
            bytes_per_socket: 2 * size_of::<Entry>() as u64,
        }
    }

    fn take_counts(&mut self) -> DriverCounts {
        let mut counts = std::mem::take(&mut self.counts);
        counts.system_calls += std::mem::take(&mut self.ring.system_calls);
        counts.completions_overflowed += std::mem::take(&mut self.ring.completions_overflowed);
        counts
    }
}

/// One slot. Dense, because an idle connection costs nothing else here.
#[derive(Default)]
struct Entry {
    socket: Option<OwnedFd>,
    generation: u32,
    phase: Phase,
    reading: Reading,
    receive: Receive,
    writable_armed: bool,
}

const _: () = assert!(size_of::<Entry>() <= 12);

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Free,
    Open,
    /// CLOSE has not completed.
    Closing,
    /// CLOSE has completed; other requests may not.
    Closed,
    Taking,
}

/// What the user wants.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Reading {
    #[default]
    Wanted,
    Paused,
    /// Eof or Failed was reported.
    Ended,
}

/// What the kernel has.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Receive {
    #[default]
    Idle,
    Armed,
    /// A cancel is on its way; the last completion has not been seen.
    Cancelled,
    /// It waits in `starved` for a buffer.
    Starved,
}

fn socket_of(entries: &[Entry], key: Key) -> BorrowedFd<'_> {
    let entry = entries.get(key.slot as usize);
    let entry = entry.filter(|entry| entry.generation == key.generation && entry.phase == Phase::Open);
    let socket = entry.and_then(|entry| entry.socket.as_ref());
    socket.expect("requests name a key that is registered and neither closed nor taken").as_fd()
}

/// Requests that one enter can hand over.
const SUBMISSIONS: u32 = 4096;

/// Completions before the kernel has to queue them by itself, and ends multishot receives.
const COMPLETIONS: u32 = 16_384;

const ACCEPTS_ARMED_MAX: u32 = 1024;
