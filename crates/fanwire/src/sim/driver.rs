//! The simulated driver: `Driver` over `Net`, with nothing that blocks.
//!
//! In      requests of one shard
//! Out     events, one receive per socket and poll, in an order chosen by chance
//! Bounds  as the real drivers: one read per socket and poll, `receive_buffer_bytes` each
//! Source  the contract of `Driver`

use std::{cell::RefCell, io::IoSlice, net::SocketAddr, os::fd::OwnedFd, rc::Rc, sync::Arc};

use rustix::io::Errno;

use super::net::{Net, PipeEnd};
use crate::driver::{
    Driver, DriverConfig, DriverCounts, DriverMemory, Event, Key, PARTS_PER_SEND_MAX, SENDS_PER_BATCH_MAX,
    Send, Wake,
};

/// One shard's view of the simulated network.
pub(crate) struct SimDriver {
    net: Rc<RefCell<Net>>,
    shard: usize,
    config: DriverConfig,
    /// By slot.
    entries: Vec<Option<Entry>>,
    /// Slots that the last poll found ready and that have not been dealt with.
    ready: Vec<usize>,
    /// Ends of keys, with their time. Each key has at most one, and their order does not matter.
    ends: Vec<(u64, Ended)>,
    accept_room: usize,
    admission: Admission,
    now: u64,
    counts: DriverCounts,
}

/// A socket on its way from `Accepted` to `register`.
pub(crate) struct SimSocket {
    net: Rc<RefCell<Net>>,
    link: Option<usize>,
}

/// A registered socket.
struct Entry {
    key: Key,
    link: usize,
    paused: bool,
    /// Eof or Failed was reported.
    ended: bool,
    /// Since when `Writable` may come.
    writable_at: Option<u64>,
}

enum Ended {
    Closed(Key),
    Taken(Key, OwnedFd),
}

/// As in the epoll driver: after a failure accepting goes on once it was paused and resumed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Admission {
    Open,
    Failed,
    Paused,
}

/// The world looks at the inboxes itself: nobody sleeps here.
struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

impl SimDriver {
    pub(super) fn new(net: Rc<RefCell<Net>>, shard: usize, config: DriverConfig) -> Self {
        let now = net.borrow().now;
        Self {
            net,
            shard,
            config,
            entries: Vec::new(),
            ready: Vec::new(),
            ends: Vec::new(),
            accept_room: 0,
            admission: Admission::Open,
            now,
            counts: DriverCounts::default(),
        }
    }

    /// Whether a poll at this moment finds something.
    pub(crate) fn has_events(&self) -> bool {
        let net = self.net.borrow();
        self.ends.iter().any(|(at, _)| *at <= net.now)
            || self.may_accept(&net)
            || self.entries.iter().flatten().any(|entry| entry.is_ready(&net))
    }

    /// When something that is certain to happen happens.
    pub(crate) fn next_event_at(&self) -> Option<u64> {
        let ends = self.ends.iter().map(|(at, _)| *at);
        let now = self.net.borrow().now;
        ends.chain(self.entries.iter().flatten().filter_map(|entry| entry.writable_at))
            .filter(|&at| at > now)
            .min()
    }

    fn may_accept(&self, net: &Net) -> bool {
        let waits = net.backlog.iter().any(|waiting| self.may_have(waiting, net));
        net.is_listening && self.accept_room > 0 && self.admission == Admission::Open && waits
    }

    fn may_have(&self, waiting: &super::net::Waiting, net: &Net) -> bool {
        waiting.ready_at <= net.now && waiting.shard.is_none_or(|shard| shard == self.shard)
    }

    fn accept_one(&mut self) -> Option<Event<Self>> {
        let mut net = self.net.borrow_mut();
        if !self.may_accept(&net) {
            return None;
        }
        if net.accepts_failing > 0 {
            net.accepts_failing -= 1;
            self.admission = Admission::Failed;
            return Some(Event::AcceptFailed { error: Errno::MFILE });
        }
        let index = net.backlog.iter().position(|waiting| self.may_have(waiting, &net))?;
        let link = net.backlog.remove(index)?.link;
        self.accept_room -= 1;
        let peer = net.links[link].peer;
        Some(Event::Accepted { socket: SimSocket { net: self.net.clone(), link: Some(link) }, peer })
    }

    fn next_of(&mut self, slot: usize) -> Option<Event<Self>> {
        let mut net = self.net.borrow_mut();
        let now = net.now;
        let entry = self.entries[slot].as_mut()?;
        let key = entry.key;
        if entry.is_writable(&net) {
            entry.writable_at = None;
            // The rest of this entry is looked at next.
            self.ready.push(slot);
            return Some(Event::Writable { key });
        }
        if entry.paused || entry.ended {
            return None;
        }
        if net.links[entry.link].up.has_arrived(now) {
            let buffer = net.receive_up(entry.link, self.config.receive_buffer_bytes as usize);
            return Some(Event::Received { key, buffer });
        }
        let end = net.links[entry.link].up.arrived_end(now)?;
        entry.ended = true;
        Some(match end {
            PipeEnd::Fin => Event::Eof { key },
            PipeEnd::Reset => Event::Failed { key, error: Errno::CONNRESET },
        })
    }

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
}

impl Driver for SimDriver {
    type Socket = SimSocket;
    type Buffer = Vec<u8>;

    fn now(&self) -> u64 {
        self.now
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.net.borrow_mut().rng.fill(out);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(NoWake)
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
        let is_ending = |ended: &Ended| match ended {
            Ended::Closed(other) | Ended::Taken(other, _) => other.slot == key.slot,
        };
        assert!(
            self.entries[slot].is_none() && !self.ends.iter().any(|(_, ended)| is_ending(ended)),
            "a slot is registered again only after Closed or Taken"
        );
        let link = socket.link.take().expect("a socket is registered once");
        self.entries[slot] = Some(Entry { key, link, paused: false, ended: false, writable_at: None });
    }

    fn pause(&mut self, key: Key) {
        self.entry(key).paused = true;
    }

    fn resume(&mut self, key: Key) {
        self.entry(key).paused = false;
    }

    fn want_writable(&mut self, key: Key) {
        let at = self.net.borrow_mut().arrival();
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
        self.net.borrow_mut().send_down(link, parts)
    }

    fn shutdown_write(&mut self, key: Key) {
        let link = self.entry(key).link;
        self.net.borrow_mut().shutdown_down(link);
    }

    fn close(&mut self, key: Key) {
        let link = self.remove(key);
        let mut net = self.net.borrow_mut();
        net.close_server_end(link);
        let at = net.arrival();
        self.ends.push((at, Ended::Closed(key)));
    }

    fn take(&mut self, key: Key) {
        let link = self.remove(key);
        let mut net = self.net.borrow_mut();
        let token = net.token(link);
        let at = net.arrival();
        self.ends.push((at, Ended::Taken(key, token)));
    }

    fn poll(&mut self, _wait: Option<u64>) {
        let mut net = self.net.borrow_mut();
        self.now = net.now;
        if self.ready.is_empty() {
            let entries = self.entries.iter().enumerate();
            let found = entries.filter(|(_, entry)| entry.as_ref().is_some_and(|entry| entry.is_ready(&net)));
            self.ready = found.map(|(slot, _)| slot).collect();
            for index in (1..self.ready.len()).rev() {
                let other = net.rng.below(index + 1);
                self.ready.swap(index, other);
            }
        }
        self.counts.system_calls += 1;
    }

    fn next_event(&mut self) -> Option<Event<Self>> {
        if let Some(index) = self.ends.iter().position(|(at, _)| *at <= self.now) {
            return Some(match self.ends.swap_remove(index).1 {
                Ended::Closed(key) => Event::Closed { key },
                Ended::Taken(key, descriptor) => Event::Taken { key, descriptor },
            });
        }
        if let Some(event) = self.accept_one() {
            return Some(event);
        }
        while let Some(slot) = self.ready.pop() {
            if let Some(event) = self.next_of(slot) {
                return Some(event);
            }
        }
        None
    }

    fn recycle(&mut self, _buffer: Vec<u8>) {}

    fn memory(&self) -> DriverMemory {
        DriverMemory::default()
    }

    fn take_counts(&mut self) -> DriverCounts {
        std::mem::take(&mut self.counts)
    }
}

impl Entry {
    fn is_ready(&self, net: &Net) -> bool {
        let up = &net.links[self.link].up;
        let has_input = up.has_arrived(net.now) || up.arrived_end(net.now).is_some();
        self.is_writable(net) || has_input && !self.paused && !self.ended
    }

    fn is_writable(&self, net: &Net) -> bool {
        let link = &net.links[self.link];
        let takes = link.down.room() > 0 || link.client_closed || link.up.is_reset();
        self.writable_at.is_some_and(|at| at <= net.now) && takes
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if let Some(link) = self.link {
            self.net.borrow_mut().close_server_end(link);
        }
    }
}
