//! The simulated driver: `Driver` over `Net`, with nothing that blocks.
//!
//! In      requests of one shard
//! Out     events, in an order chosen by chance between sockets and in order on each
//! Bounds  `receive_buffers` receives between their read and their recycling, `receive_buffer_bytes` each
//! Source  the contract of `Driver`: found when fetched, as epoll does, or posted when found, as io_uring does

mod find;
mod parts;
mod probe;

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::IoSlice,
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use rustix::io::Errno;

pub(crate) use self::parts::SimSocket;
use self::{
    find::LATE_PER_MILLE_MAX,
    parts::{Buffers, Entry, SimWaker},
};
use super::{
    Faults,
    net::{Net, Waiting},
    pages::SimPages,
    pipe::PipeEnd,
    rng::Rng,
};
use crate::{
    driver::{
        Driver, DriverConfig, DriverCounts, DriverMemory, Event, Key, PARTS_PER_SEND_MAX, PageRange,
        SENDS_PER_BATCH_MAX, Send, Wake,
    },
    shard::audit::Probe,
};

/// One shard's view of the simulated network.
pub(crate) struct SimDriver {
    net: Rc<RefCell<Net>>,
    shard: usize,
    config: DriverConfig,
    /// By slot.
    entries: Vec<Option<Entry>>,
    /// What polls have found and nobody has fetched.
    found: VecDeque<Found>,
    /// Last completions that come late, with their time. Each key has at most one.
    ends: Vec<(u64, End)>,
    buffers: Buffers,
    pages: SimPages,
    accept_room: usize,
    accepts_posted: usize,
    admission: Admission,
    waker: Arc<SimWaker>,
    random: Rng,
    now: u64,
    counts: DriverCounts,
}

enum Found {
    /// To be looked at when it is fetched.
    Socket(usize),
    Listener,
    Posted(Event<SimDriver>),
    End(End),
}

#[derive(Clone, Copy)]
enum End {
    Closed(Key),
    Taken(Key),
}

/// As in the epoll driver: after a failure accepting goes on once it was paused and resumed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Admission {
    Open,
    Failed,
    Paused,
}

impl SimDriver {
    pub(super) fn new(net: Rc<RefCell<Net>>, seed: u64, shard: usize, config: DriverConfig) -> Self {
        let now = net.borrow().now;
        let buffers = Buffers { free: config.receive_buffers.into(), outstanding: 0, spare: Vec::new() };
        Self {
            net,
            shard,
            config,
            entries: Vec::new(),
            found: VecDeque::new(),
            ends: Vec::new(),
            buffers,
            pages: SimPages::default(),
            accept_room: 0,
            accepts_posted: 0,
            admission: Admission::Open,
            waker: Arc::default(),
            random: Rng::of(seed, !(shard as u64)),
            now,
            counts: DriverCounts::default(),
        }
    }

    // --- for the world ---

    /// Whether a poll at this moment finds something.
    pub(crate) fn has_events(&self) -> bool {
        let net = self.net.borrow();
        !self.found.is_empty()
            || self.ends.iter().any(|(at, _)| *at <= net.now)
            || self.may_accept(&net)
            || self.entries.iter().flatten().any(|entry| entry.is_ready(&net))
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.waker.is_woken.load(Ordering::SeqCst)
    }

    // --- accepting ---

    fn may_accept(&self, net: &Net) -> bool {
        net.is_listening
            && self.accept_room > self.accepts_posted
            && self.admission == Admission::Open
            && net.backlog.iter().any(|waiting| self.may_have(waiting, net))
    }

    fn may_have(&self, waiting: &Waiting, net: &Net) -> bool {
        waiting.ready_at <= net.now && waiting.shard.is_none_or(|shard| shard == self.shard)
    }

    // --- entries ---

    fn entry(&mut self, key: Key) -> &mut Entry {
        let entry = self.entries.get_mut(key.slot as usize).and_then(Option::as_mut);
        entry
            .filter(|entry| entry.key == key)
            .expect("requests name a key that is registered and neither closed nor taken")
    }

    fn remove(&mut self, key: Key) -> usize {
        let link = self.entry(key).link;
        self.entries[key.slot as usize] = None;
        link
    }

    /// Says `end` once nothing posted is ahead of it, at once or late.
    fn end(&mut self, link: usize, end: End) {
        let mut net = self.net.borrow_mut();
        let faults = net.faults;
        let at = net.later(link, faults.closed_late_per_mille, faults.closed_delay_ns_max);
        if at > net.now {
            self.ends.push((at, end));
        } else {
            self.found.push_back(Found::End(end));
        }
    }
}

impl Driver for SimDriver {
    type Socket = SimSocket;
    type Buffer = Vec<u8>;

    fn now(&self) -> u64 {
        self.now
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.random.fill(out);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.waker.clone()
    }

    fn describe(&self) -> String {
        "simulated".to_owned()
    }

    fn accept(&mut self, room: usize) {
        self.accept_room = room;
        self.admission = match (self.admission, room) {
            (Admission::Failed, 0) => Admission::Paused,
            (Admission::Paused, 1..) => Admission::Open,
            (unchanged, _) => unchanged,
        };
    }

    fn stop_accepting(&mut self) {
        self.accept_room = 0;
        let mut net = self.net.borrow_mut();
        net.is_listening = false;
        // A listening socket that is closed resets what waits in its queue.
        while let Some(waiting) = net.backlog.pop_front() {
            net.refuse(waiting.link);
        }
    }

    fn adopt(&mut self, descriptor: OwnedFd) -> Result<(SimSocket, SocketAddr), Errno> {
        let mut net = self.net.borrow_mut();
        let link = net.redeem(&descriptor)?;
        let peer = net.links[link].peer;
        Ok((SimSocket { net: self.net.clone(), link: Some(link) }, peer))
    }

    fn register(&mut self, key: Key, mut socket: SimSocket) {
        let slot = key.slot as usize;
        if self.entries.len() <= slot {
            self.entries.resize_with(slot + 1, || None);
        }
        assert!(
            self.entries[slot].is_none() && !self.is_ending(key.slot),
            "a slot is registered again only after Closed or Taken"
        );
        let link = socket.link.take().expect("a socket is registered once");
        self.entries[slot] = Some(Entry {
            key,
            link,
            is_paused: false,
            has_ended: false,
            is_leaving: false,
            is_refusing: false,
            writable_at: None,
            posted: 0,
        });
    }

    fn pause(&mut self, key: Key) {
        self.entry(key).is_paused = true;
    }

    fn resume(&mut self, key: Key) {
        self.entry(key).is_paused = false;
    }

    fn want_writable(&mut self, key: Key) {
        let link = self.entry(key).link;
        let at = self.net.borrow_mut().arrival(link);
        self.entry(key).writable_at.get_or_insert(at);
    }

    fn send_batch(&mut self, sends: &[Send], parts: &[IoSlice<'_>], results: &mut Vec<Result<usize, Errno>>) {
        assert!(sends.len() <= SENDS_PER_BATCH_MAX);
        results.clear();
        for (index, send) in sends.iter().enumerate() {
            assert!(
                sends[..index].iter().all(|other| other.key != send.key),
                "one send per socket and batch"
            );
            let range = send.parts.start as usize..send.parts.end as usize;
            results.push(self.send_now(send.key, &parts[range]));
        }
    }

    fn send_now(&mut self, key: Key, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        assert!((1..=PARTS_PER_SEND_MAX).contains(&parts.len()));
        self.counts.system_calls += 1;
        let link = self.entry(key).link;
        let result = self.net.borrow_mut().send_down(link, parts);
        let offered = parts.iter().map(|part| part.len()).sum();
        self.entry(key).is_refusing = result.is_ok_and(|taken| taken < offered) || result.is_err();
        result
    }

    fn write_pages(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        assert!(self.config.shares_pages, "no pages were asked for");
        let refused_per_mille = self.net.borrow().faults.share_refused_per_mille;
        if self.random.happens(refused_per_mille) {
            return Err(Errno::NOSPC);
        }
        self.pages.write(offset, bytes);
        Ok(())
    }

    fn send_pages(&mut self, key: Key, range: PageRange) -> Result<usize, Errno> {
        self.counts.system_calls += 1;
        let (link, parts) = (self.entry(key).link, self.pages.parts(range));
        let result = self.net.borrow_mut().send_pages_down(link, parts);
        self.entry(key).is_refusing = result != Ok(range.bytes as usize);
        result
    }

    fn free_pages(&mut self, range: PageRange) {
        self.pages.free(range);
    }

    fn check_refuses(&mut self, key: Key) {
        assert!(
            self.entry(key).is_refusing,
            "slot {}: its policy acts, and its socket takes bytes",
            key.slot
        );
    }

    fn shutdown_write(&mut self, key: Key) {
        let link = self.entry(key).link;
        self.net.borrow_mut().shutdown_down(link);
    }

    fn close(&mut self, key: Key) {
        assert!(!self.entry(key).is_leaving, "a key is closed or taken, not both");
        let link = self.remove(key);
        self.end(link, End::Closed(key));
        self.net.borrow_mut().close_server_end(link);
    }

    fn take(&mut self, key: Key) {
        let entry = self.entry(key);
        assert!(!entry.is_leaving, "a key is taken once");
        let (link, slot) = (entry.link, key.slot as usize);
        let per_mille = self.net.borrow().faults.received_after_pause_per_mille;
        // What arrives before the receive is cancelled still comes.
        self.post_socket(slot, per_mille.min(LATE_PER_MILLE_MAX));
        self.entry(key).is_leaving = true;
        self.end(link, End::Taken(key));
    }

    fn poll(&mut self, _wait: Option<u64>) {
        let (now, faults) = {
            let net = self.net.borrow();
            (net.now, net.faults)
        };
        self.now = now;
        self.waker.is_woken.store(false, Ordering::SeqCst);
        if self.found.is_empty() {
            self.find(faults);
            self.post(faults);
        }
        self.counts.system_calls += 1;
    }

    fn next_event(&mut self) -> Option<Event<Self>> {
        while let Some(found) = self.found.pop_front() {
            let event = match found {
                Found::Socket(slot) => self.next_of(slot),
                Found::Listener => {
                    let event = self.accept_one();
                    if event.is_some() {
                        self.found.push_back(Found::Listener);
                    }
                    event
                }
                Found::Posted(event) => self.fetch_posted(event),
                Found::End(end) => Some(self.finish(end)),
            };
            match &event {
                Some(Event::Accepted { .. }) => {
                    self.accepts_posted -= 1;
                    self.accept_room = self.accept_room.saturating_sub(1);
                }
                Some(Event::Received { .. }) => self.buffers.outstanding += 1,
                Some(Event::Writable { key }) => self.entry(*key).is_refusing = false,
                _ => {}
            }
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        assert!(self.buffers.outstanding > 0, "a buffer is recycled once");
        self.buffers.outstanding -= 1;
        self.buffers.give_back(buffer);
    }

    fn memory(&self) -> DriverMemory {
        let buffers = u64::from(self.config.receive_buffers);
        DriverMemory {
            fixed_bytes: buffers * u64::from(self.config.receive_buffer_bytes),
            bytes_per_socket: size_of::<Option<Entry>>() as u64,
        }
    }

    fn take_counts(&mut self) -> DriverCounts {
        std::mem::take(&mut self.counts)
    }
}

#[cfg(test)]
mod tests;
