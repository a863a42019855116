//! The epoll driver: readiness made to look like completion.
//!
//! In      requests on registered sockets (`Driver`)
//! Out     events; the read happens lazily, when the event is fetched
//! Bounds  one epoll_wait per poll into `READY_EVENTS_MAX` entries, one recv per socket and poll,
//!         `accepts_armed_max` (at most `ACCEPTS_PER_TURN_MAX`) accepts per poll
//! Source  epoll(7); level-triggered, because lazy reads then need no memory of what is left to read

mod buffers;
mod entry;

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
    net::{self, RecvFlags, Shutdown, SocketFlags},
};

use self::{
    buffers::{Buffers, EpollBuffer},
    entry::{Entry, WAKE_TOKEN, key_of, token},
};
use super::{
    Driver, DriverConfig, DriverCounts, DriverMemory, Event, GENERATION_MAX, Key, PARTS_PER_SEND_MAX,
    PageRange, SENDS_PER_BATCH_MAX, Send, Wake,
    listener::Listener,
    pages::PageFile,
    socket::{self, Admission, RandomBytes, WakeEvent},
};

/// See the module.
pub(crate) struct EpollDriver {
    epoll: OwnedFd,
    /// Indexed by slot.
    entries: Vec<Entry>,
    /// What the last epoll_wait found; `ready_next` is the first one that has not been dealt with.
    ready: Vec<epoll::Event>,
    ready_next: usize,
    /// Events that need no epoll to come.
    queued: VecDeque<Queued>,
    listeners: Vec<Arc<Listener>>,
    /// INVARIANT: the listeners are in the epoll set exactly if this is true.
    listeners_watched: bool,
    /// A connection was accepted since the listeners came into the set, and others wait for connections, too.
    has_had_its_turn: bool,
    admission: Admission,
    accept_room: usize,
    /// The listener that is being accepted from, and how much it still may give in this turn.
    accepting: Option<u8>,
    accepts_left: usize,
    /// What each listener may give in this turn.
    accepts_each: usize,
    accepts_per_turn: u32,
    buffers: Buffers,
    pages: PageFile,
    config: DriverConfig,
    wake: Arc<WakeEvent>,
    random: RandomBytes,
    now: u64,
    counts: DriverCounts,
}

impl EpollDriver {
    /// A driver that accepts from `listeners` (each already listening) once `accept` has given it room.
    pub(crate) fn new(config: &DriverConfig, listeners: &[Arc<Listener>]) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = WakeEvent::new()?;
        epoll::add(&epoll, &*wake, EventData::new_u64(WAKE_TOKEN), EventFlags::IN)?;
        Ok(Self {
            epoll,
            entries: Vec::new(),
            ready: Vec::with_capacity(READY_EVENTS_MAX),
            ready_next: 0,
            queued: VecDeque::new(),
            listeners: listeners.to_vec(),
            listeners_watched: false,
            has_had_its_turn: false,
            admission: Admission::Open,
            accept_room: 0,
            accepting: None,
            accepts_left: 0,
            accepts_each: 0,
            accepts_per_turn: config.accepts_armed_max.clamp(1, ACCEPTS_PER_TURN_MAX),
            buffers: Buffers::new(config.receive_buffers, config.receive_buffer_bytes),
            pages: PageFile::open(config.shares_pages),
            config: config.clone(),
            wake,
            random: RandomBytes::new(),
            now: socket::now_nanoseconds(),
            counts: DriverCounts::default(),
        })
    }

    fn entry(&self, key: Key) -> &Entry {
        entry_of(&self.entries, key)
    }

    fn socket(&self, key: Key) -> BorrowedFd<'_> {
        socket_of(&self.entries, key)
    }

    /// Changes an entry and brings the kernel's set in line with it.
    ///
    /// A socket without interest is out of the set: the kernel reports EPOLLERR and EPOLLHUP unasked, so a
    /// paused socket whose peer has gone would otherwise end every wait at once.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Entry)) {
        self.entry(key);
        let entry = &mut self.entries[key.slot as usize];
        let before = entry.interest();
        change(entry);
        let after = entry.interest();
        if before == after {
            return;
        }
        self.counts.system_calls += 1;
        let data = EventData::new_u64(token(key));
        let socket = self.socket(key);
        let outcome = if after.is_empty() {
            epoll::delete(&self.epoll, socket)
        } else if before.is_empty() {
            epoll::add(&self.epoll, socket, data, after)
        } else {
            epoll::modify(&self.epoll, socket, data, after)
        };
        if let Err(error) = outcome {
            // ENOMEM, or ENOSPC at fs.epoll.max_user_watches: this socket cannot be waited for.
            let entry = &mut self.entries[key.slot as usize];
            entry.ended = true;
            entry.writable_wanted = false;
            self.queued.push_back(Queued::Failed(key, error));
        }
    }

    /// Takes the socket out of its entry and out of the set.
    ///
    /// The set holds open files, not descriptors: one that was duplicated would stay in it after close.
    fn remove(&mut self, key: Key) -> OwnedFd {
        self.change(key, |entry| {
            entry.ended = true;
            entry.writable_wanted = false;
        });
        let entry = &mut self.entries[key.slot as usize];
        entry.socket.take().expect("a live entry has its socket")
    }

    /// Brings the listeners into the set or out of it, as room and failures ask.
    fn watch_listeners(&mut self) {
        if self.has_had_its_turn {
            // The kernel wakes the first in a listener's queue that sleeps, and who leaves it and comes back is
            // the last. Without this one shard would have all connections of a quiet server.
            self.set_listeners_watched(false);
        }
        let wanted = self.accept_room > 0 && self.admission == Admission::Open && !self.listeners.is_empty();
        self.set_listeners_watched(wanted);
    }

    fn set_listeners_watched(&mut self, wanted: bool) {
        self.has_had_its_turn = false;
        if wanted == self.listeners_watched {
            return;
        }
        for (index, listener) in (0u64..).zip(&self.listeners) {
            self.counts.system_calls += 1;
            let outcome = if wanted {
                // EXCLUSIVE: one connection wakes one shard, not all.
                let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
                epoll::add(&self.epoll, &**listener, EventData::new_u64(index), flags)
            } else {
                epoll::delete(&self.epoll, &**listener)
            };
            if let Err(error) = outcome {
                self.queued.push_back(Queued::AcceptFailed(error));
            }
        }
        self.listeners_watched = wanted;
    }

    fn next_queued(&mut self) -> Option<Event<Self>> {
        loop {
            return Some(match self.queued.pop_front()? {
                Queued::Closed(key) => Event::Closed { key },
                Queued::Taken(key, descriptor) => Event::Taken { key, descriptor },
                // Closed meanwhile: nobody wants to know any more.
                Queued::Failed(key, _) if !self.is_live(key) => continue,
                Queued::Failed(key, error) => Event::Failed { key, error },
                Queued::AcceptFailed(error) => self.fail_accept(error),
            });
        }
    }

    fn is_live(&self, key: Key) -> bool {
        self.entries.get(key.slot as usize).is_some_and(|entry| entry.is(key))
    }

    fn fail_accept(&mut self, error: Errno) -> Event<Self> {
        self.admission = Admission::Failed;
        Event::AcceptFailed { error }
    }

    /// The next event of `ready[ready_next]`, or `None` when that entry has no more to give.
    fn next_of_ready(&mut self, token: u64, flags: EventFlags) -> Step {
        if token == WAKE_TOKEN {
            self.counts.system_calls += 1;
            self.wake.clear();
            return Step::Done(None);
        }
        let Some(key) = key_of(token) else {
            return self.next_accept(token);
        };
        // The key was closed (and its slot perhaps registered anew) after epoll_wait reported it.
        if !self.is_live(key) {
            return Step::Done(None);
        }
        // HUP and ERR count as both: the send or the recv then tells what happened.
        let over = EventFlags::HUP | EventFlags::ERR;
        if self.entry(key).writable_wanted && flags.intersects(EventFlags::OUT | over) {
            self.change(key, |entry| entry.writable_wanted = false);
            return Step::More(Event::Writable { key });
        }
        if self.entry(key).receives() && flags.intersects(EventFlags::IN | over) {
            return self.receive(key);
        }
        Step::Done(None)
    }

    fn receive(&mut self, key: Key) -> Step {
        let Some(mut bytes) = self.buffers.take() else {
            return Step::OutOfBuffers;
        };
        let outcome = loop {
            self.counts.system_calls += 1;
            match net::recv(self.socket(key), &mut *bytes, RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                Ok((count, _)) => break Ok(count),
                Err(error) => break Err(error),
            }
        };
        let event = match outcome {
            Ok(0) => Event::Eof { key },
            Ok(count) => {
                return Step::Done(Some(Event::Received { key, buffer: EpollBuffer { bytes, count } }));
            }
            Err(Errno::AGAIN) => {
                self.buffers.give_back(bytes);
                return Step::Done(None);
            }
            Err(error) => Event::Failed { key, error },
        };
        self.buffers.give_back(bytes);
        // Level-triggered: a socket at its end stays readable for ever.
        self.change(key, |entry| entry.ended = true);
        Step::Done(Some(event))
    }

    fn next_accept(&mut self, token: u64) -> Step {
        let index = u8::try_from(token).expect("tokens of listeners are their indices");
        if self.accepting.replace(index) != Some(index) {
            self.accepts_left = self.accepts_each;
        }
        loop {
            if self.admission != Admission::Open || self.accept_room == 0 || self.accepts_left == 0 {
                return Step::Done(None);
            }
            // Listeners that were closed for good may still stand in what epoll_wait reported before.
            let Some(listener) = self.listeners.get(usize::from(index)) else {
                return Step::Done(None);
            };
            self.counts.system_calls += 1;
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let accepted = net::acceptfrom_with(&**listener, flags).and_then(|(socket, peer)| {
                // No address: the connection was reset before it was accepted.
                let peer = socket::peer_of(peer).ok_or(Errno::CONNABORTED)?;
                listener.prepare(socket.as_fd(), self.config.send_buffer_bytes)?;
                Ok((socket, peer))
            });
            let error = match accepted {
                Ok((socket, peer)) => {
                    self.accept_room -= 1;
                    self.accepts_left -= 1;
                    self.has_had_its_turn = self.config.shares_listeners;
                    return Step::More(Event::Accepted { socket, peer, listener: index });
                }
                Err(error) => error,
            };
            match error {
                Errno::AGAIN => return Step::Done(None),
                Errno::INTR => {}
                error if socket::accept_error_is_of_connection(error) => {
                    self.accepts_left -= 1;
                    self.counts.accepts_aborted += 1;
                }
                // EMFILE comes before the connection leaves the backlog: it is not lost.
                error => return Step::Done(Some(self.fail_accept(error))),
            }
        }
    }
}

impl Driver for EpollDriver {
    type Socket = OwnedFd;
    type Buffer = EpollBuffer;

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
            "epoll, level-triggered, {} receive buffers of {} bytes",
            self.config.receive_buffers, self.config.receive_buffer_bytes
        )
    }

    fn accept(&mut self, room: usize) {
        self.accept_room = room;
        self.admission = self.admission.given(room);
    }

    fn stop_accepting(&mut self) {
        self.accept_room = 0;
        self.watch_listeners();
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
        assert!(self.entries[slot].socket.is_none(), "a slot is registered again only after Closed or Taken");
        let unwatched = Entry { paused: true, ..Entry::default() };
        self.entries[slot] = Entry { socket: Some(socket), generation: key.generation, ..unwatched };
        self.change(key, |entry| entry.paused = false);
    }

    fn pause(&mut self, key: Key) {
        self.change(key, |entry| entry.paused = true);
    }

    fn resume(&mut self, key: Key) {
        self.change(key, |entry| entry.paused = false);
    }

    fn want_writable(&mut self, key: Key) {
        self.change(key, |entry| entry.writable_wanted = true);
    }

    fn send_batch(&mut self, sends: &[Send], parts: &[IoSlice<'_>], results: &mut Vec<Result<usize, Errno>>) {
        assert!(sends.len() <= SENDS_PER_BATCH_MAX);
        results.clear();
        for send in sends {
            let range = send.parts.start as usize..send.parts.end as usize;
            results.push(self.send_now(send.key, &parts[range]));
        }
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

    fn close(&mut self, key: Key) {
        drop(self.remove(key));
        self.counts.system_calls += 1;
        self.queued.push_back(Queued::Closed(key));
    }

    fn take(&mut self, key: Key) {
        let descriptor = self.remove(key);
        self.queued.push_back(Queued::Taken(key, descriptor));
    }

    fn poll(&mut self, wait: Option<u64>) {
        // Shares, so that a listener on which very many come does not keep the others waiting.
        self.accepts_each =
            self.accept_room.min(self.accepts_per_turn as usize) / self.listeners.len().max(1);
        self.accepts_each = self.accepts_each.max(1);
        self.accepting = None;
        self.watch_listeners();
        if self.queued.is_empty() && self.ready_next == self.ready.len() {
            self.ready.clear();
            self.ready_next = 0;
            self.counts.system_calls += 1;
            let timeout = wait.map(timespec);
            // EINTR ends the wait early, as a wake does; other errors would be ours (bad set, bad buffer).
            match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("epoll_wait on our own set cannot fail: {error}"),
            }
        }
        self.now = socket::now_nanoseconds();
    }

    fn next_event(&mut self) -> Option<Event<Self>> {
        if let Some(event) = self.next_queued() {
            return Some(event);
        }
        while let Some(ready) = self.ready.get(self.ready_next) {
            let (token, flags) = (ready.data.u64(), ready.flags);
            match self.next_of_ready(token, flags) {
                Step::More(event) => return Some(event),
                Step::Done(event) => {
                    self.ready_next += 1;
                    if event.is_some() {
                        return event;
                    }
                }
                Step::OutOfBuffers => {
                    self.counts.receive_buffers_exhausted += 1;
                    return None;
                }
            }
        }
        // A failed epoll_ctl on the way may have queued an event.
        self.next_queued()
    }

    fn recycle(&mut self, buffer: EpollBuffer) {
        self.buffers.give_back(buffer.bytes);
    }

    fn memory(&self) -> DriverMemory {
        let ready = READY_EVENTS_MAX * size_of::<epoll::Event>();
        DriverMemory {
            fixed_bytes: self.buffers.memory_bytes() + ready as u64,
            // The table doubles when it grows, so up to half of it is spare.
            bytes_per_socket: 2 * size_of::<Entry>() as u64,
        }
    }

    fn take_counts(&mut self) -> DriverCounts {
        std::mem::take(&mut self.counts)
    }
}

fn entry_of(entries: &[Entry], key: Key) -> &Entry {
    let entry = entries.get(key.slot as usize).filter(|entry| entry.is(key));
    entry.expect("requests name a key that is registered and neither closed nor taken")
}

fn socket_of(entries: &[Entry], key: Key) -> BorrowedFd<'_> {
    entry_of(entries, key).socket.as_ref().expect("a live entry has its socket").as_fd()
}

enum Queued {
    Closed(Key),
    Taken(Key, OwnedFd),
    Failed(Key, Errno),
    AcceptFailed(Errno),
}

/// What became of one entry of `ready`.
enum Step {
    /// It may have more to give.
    More(Event<EpollDriver>),
    Done(Option<Event<EpollDriver>>),
    /// It waits for a buffer; it stays first, so nothing overtakes it.
    OutOfBuffers,
}

/// Whole milliseconds, rounded up: a wait that ends too early would be repeated at once.
fn timespec(nanoseconds: u64) -> Timespec {
    let milliseconds = nanoseconds.div_ceil(1_000_000).min(WAIT_MILLISECONDS_MAX);
    let [seconds, rest] = [milliseconds / 1000, milliseconds % 1000]
        .map(|part| i64::try_from(part).expect("a wait is capped at WAIT_MILLISECONDS_MAX"));
    Timespec { tv_sec: seconds, tv_nsec: rest * 1_000_000 }
}

/// Entries that one epoll_wait may fill.
const READY_EVENTS_MAX: usize = 1024;

/// Accepts of one turn: the others of a storm are left to the other shards.
const ACCEPTS_PER_TURN_MAX: u32 = 16;

/// epoll_wait takes an `int` of milliseconds.
const WAIT_MILLISECONDS_MAX: u64 = i32::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up_to_milliseconds() {
        let milliseconds = |wait| {
            let time = timespec(wait);
            time.tv_sec * 1000 + time.tv_nsec / 1_000_000
        };
        assert_eq!([0, 1, 999_999, 1_000_000, 1_000_001].map(milliseconds), [0, 1, 1, 1, 2]);
        assert_eq!(milliseconds(2_500_000_000), 2_500);
        assert_eq!(milliseconds(u64::MAX), i64::from(i32::MAX));
    }
}
