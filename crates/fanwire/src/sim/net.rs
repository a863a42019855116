//! The simulated network: connections, their bytes under way, and one clock.
//!
//! In      bytes and ends from both sides, time
//! Out     bytes in order, cut and delayed by chance; resets where TCP has them
//! Bounds  each direction holds `capacity` bytes, as socket buffers do; a connection goes when both its ends are closed
//! Source  tcp(7): unread bytes at close, or bytes after close, reset a connection and lose what is under way

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::IoSlice,
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::io::Errno;
use slab::Slab;

use super::{
    Faults,
    pages::PagePart,
    pipe::{Pipe, PipeEnd},
    rng::Rng,
    tokens::Tokens,
};

/// All connections of a simulation.
pub(super) struct Net {
    /// Nanoseconds.
    pub(super) now: u64,
    /// Who acts next. What befalls a connection is the choice of its own generator, so that a run without one of them
    /// is much like the run with it.
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) links: Slab<Link>,
    /// Connections that nobody has accepted yet.
    pub(super) backlog: VecDeque<Waiting>,
    pub(super) is_listening: bool,
    /// The next accepts fail so often, for want of descriptors.
    pub(super) accepts_failing: u32,
    seed: u64,
    links_made: u64,
    tokens: Tokens,
    closed_tokens: Vec<usize>,
    /// When something that is under way arrives.
    due: BinaryHeap<Reverse<u64>>,
}

/// A connection in the listen queue.
pub(super) struct Waiting {
    pub(super) link: usize,
    /// The only shard that may accept it, if the test wants a certain one.
    pub(super) shard: Option<usize>,
    pub(super) ready_at: u64,
}

/// One connection.
pub(super) struct Link {
    pub(super) peer: SocketAddr,
    /// From the client to the server.
    pub(super) up: Pipe,
    /// From the server to the client.
    pub(super) down: Pipe,
    pub(super) server_closed: bool,
    pub(super) client_closed: bool,
    /// A send of the server was refused or taken in part.
    pub(super) was_refused: bool,
    pub(super) rng: Rng,
}

impl Net {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            now: START_NS,
            rng: Rng::new(seed),
            faults,
            links: Slab::new(),
            backlog: VecDeque::new(),
            is_listening: true,
            accepts_failing: 0,
            seed,
            links_made: 0,
            tokens: Tokens::default(),
            closed_tokens: Vec::new(),
            due: BinaryHeap::new(),
        }
    }

    /// A connection that is in no queue yet.
    pub(super) fn add_link(&mut self, down_capacity: usize) -> usize {
        self.links_made += 1;
        let port = u16::try_from(self.links_made % 60_000).expect("a port") + 1_024;
        self.links.insert(Link {
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            up: Pipe::new(UP_BYTES_MAX),
            down: Pipe::new(down_capacity),
            server_closed: false,
            client_closed: false,
            was_refused: false,
            rng: Rng::of(self.seed, self.links_made),
        })
    }

    // --- time ---

    /// When something that is sent now arrives.
    pub(super) fn arrival(&mut self, link: usize) -> u64 {
        self.later(link, self.faults.delayed_per_mille, self.faults.delay_ns_max)
    }

    /// Now, or by chance later.
    pub(super) fn later(&mut self, link: usize, per_mille: u32, delay_ns_max: u64) -> u64 {
        let rng = &mut self.links[link].rng;
        if delay_ns_max == 0 || !rng.happens(per_mille) {
            return self.now;
        }
        let at = self.now + rng.number() % delay_ns_max;
        if at > self.now {
            self.due.push(Reverse(at));
        }
        at
    }

    /// When the next thing under way arrives that has not arrived yet.
    pub(super) fn next_arrival(&mut self) -> Option<u64> {
        while let Some(&Reverse(at)) = self.due.peek() {
            if at > self.now {
                return Some(at);
            }
            self.due.pop();
        }
        None
    }

    // --- the server's end ---

    /// What the server's socket takes of `parts`.
    pub(super) fn send_down(&mut self, link: usize, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let count = self.take_down(link, parts.iter().map(|part| part.len()).sum())?;
        let (ready_at, mut left) = (self.arrival(link), count);
        for part in parts {
            let taken = left.min(part.len());
            self.links[link].down.push(ready_at, &part[..taken]);
            left -= taken;
        }
        Ok(count)
    }

    /// The same of pages, to which the socket then refers.
    pub(super) fn send_pages_down(&mut self, link: usize, parts: Vec<PagePart>) -> Result<usize, Errno> {
        let faults = self.faults;
        if self.links[link].rng.happens(faults.share_refused_per_mille) {
            return Err(Errno::INVAL);
        }
        let count = self.take_down(link, parts.iter().map(PagePart::len).sum())?;
        let (ready_at, mut left) = (self.arrival(link), count);
        for mut part in parts {
            part.truncate(left);
            left -= part.len();
            self.links[link].down.push_shared(ready_at, part);
        }
        Ok(count)
    }

    /// How many of `offered` bytes the server's socket takes.
    fn take_down(&mut self, link: usize, offered: usize) -> Result<usize, Errno> {
        let result = self.room_down(link, offered);
        self.links[link].was_refused |= result != Ok(offered);
        result
    }

    fn room_down(&mut self, index: usize, offered: usize) -> Result<usize, Errno> {
        let faults = self.faults;
        if self.links[index].rng.happens(faults.reset_per_mille) {
            self.break_link(index);
        }
        let link = &mut self.links[index];
        if link.up.is_reset() {
            return Err(Errno::CONNRESET);
        }
        if link.client_closed {
            return Err(Errno::PIPE);
        }
        if link.rng.happens(faults.send_refused_per_mille) {
            return Err(Errno::AGAIN);
        }
        if link.rng.happens(faults.send_starved_per_mille) {
            return Err(Errno::NOBUFS);
        }
        assert!(offered > 0, "an empty send says nothing");
        let mut count = offered.min(link.down.room());
        if count > 1 && link.rng.happens(faults.send_short_per_mille) {
            count = 1 + link.rng.below(count - 1);
        }
        if count == 0 { Err(Errno::AGAIN) } else { Ok(count) }
    }

    /// Moves up to `bytes_max` bytes that have arrived, or fewer by chance, to the end of `out`.
    pub(super) fn receive_up(&mut self, link: usize, bytes_max: usize, out: &mut Vec<u8>) {
        let (now, faults) = (self.now, self.faults);
        let link = &mut self.links[link];
        let short = link.rng.happens(faults.receive_short_per_mille);
        let bytes_max = if short { 1 + link.rng.below(bytes_max.min(SHORT_BYTES_MAX)) } else { bytes_max };
        link.up.pull(now, bytes_max, out);
    }

    pub(super) fn shutdown_down(&mut self, link: usize) {
        let ready_at = self.arrival(link);
        self.links[link].down.end(ready_at, PipeEnd::Fin);
    }

    /// Closing with unread input resets the connection, and what is under way to the client is lost.
    pub(super) fn close_server_end(&mut self, index: usize) {
        let ready_at = self.arrival(index);
        let link = &mut self.links[index];
        link.server_closed = true;
        let end = if link.up.bytes() > 0 { PipeEnd::Reset } else { PipeEnd::Fin };
        link.down.end(ready_at, end);
        link.up.forget();
        self.remove_if_closed(index);
    }

    /// A connection that was never accepted, and never will be.
    pub(super) fn refuse(&mut self, link: usize) {
        let ready_at = self.arrival(link);
        self.links[link].server_closed = true;
        self.links[link].down.end(ready_at, PipeEnd::Reset);
        self.links[link].up.forget();
        self.remove_if_closed(link);
    }

    /// The network breaks the connection for both ends.
    pub(super) fn break_link(&mut self, link: usize) {
        let now = self.now;
        self.links[link].up.end(now, PipeEnd::Reset);
        let ready_at = self.arrival(link);
        self.links[link].down.end(ready_at, PipeEnd::Reset);
    }

    // --- descriptors ---

    /// A descriptor that stands for a simulated socket where the engine's types ask for a real one.
    pub(super) fn token(&mut self, link: usize) -> OwnedFd {
        self.tokens.give(link)
    }

    /// The link that a descriptor stands for.
    pub(super) fn redeem(&mut self, token: &OwnedFd) -> Result<usize, Errno> {
        self.reap_tokens();
        self.tokens.redeem(token).ok_or(Errno::NOTSOCK)
    }

    /// Closes the connections whose descriptor was closed.
    pub(super) fn reap_tokens(&mut self) {
        if self.tokens.is_empty() {
            return;
        }
        let mut closed = std::mem::take(&mut self.closed_tokens);
        self.tokens.reap(&mut closed);
        closed.drain(..).for_each(|link| self.close_server_end(link));
        self.closed_tokens = closed;
    }

    // --- the client's end ---

    /// What the client's socket takes of `bytes`.
    pub(super) fn send_up(&mut self, link: usize, bytes: &[u8]) -> usize {
        let ready_at = self.arrival(link);
        if self.links[link].server_closed {
            self.links[link].down.end(ready_at, PipeEnd::Reset);
            return bytes.len();
        }
        let count = bytes.len().min(self.links[link].up.room());
        self.links[link].up.push(ready_at, &bytes[..count]);
        count
    }

    pub(super) fn end_up(&mut self, link: usize, end: PipeEnd) {
        let ready_at = self.arrival(link);
        self.links[link].up.end(ready_at, end);
    }

    /// The client's program is gone: as `close_server_end`, the other way round.
    pub(super) fn close_client_end(&mut self, link: usize) {
        let end = if self.links[link].down.bytes() > 0 { PipeEnd::Reset } else { PipeEnd::Fin };
        self.end_up(link, end);
        self.links[link].client_closed = true;
        self.links[link].down.forget();
        self.remove_if_closed(link);
    }

    fn remove_if_closed(&mut self, link: usize) {
        if self.links[link].server_closed && self.links[link].client_closed {
            self.links.remove(link);
        }
    }
}

/// Not 0, which some code might take for "never".
const START_NS: u64 = 1_000_000_000;

/// What a client's send buffer and a server's receive buffer hold.
pub(super) const UP_BYTES_MAX: usize = 256 << 10;

/// A short receive gives at most so many bytes.
const SHORT_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn net() -> (Net, usize) {
        let mut net = Net::new(1, Faults::none());
        let link = net.add_link(100);
        (net, link)
    }

    #[test]
    fn a_connection_takes_what_it_has_room_for_and_remembers_that_it_refused() {
        let (mut net, link) = net();
        let send = |net: &mut Net, bytes: &[u8]| net.send_down(link, &[IoSlice::new(bytes)]);
        assert_eq!(send(&mut net, &[1; 70]), Ok(70));
        assert!(!net.links[link].was_refused);
        assert_eq!(send(&mut net, &[2; 70]), Ok(30));
        assert!(net.links[link].was_refused);
        assert_eq!(send(&mut net, &[3; 70]), Err(Errno::AGAIN));
        let mut out = Vec::new();
        net.links[link].down.pull(net.now, 80, &mut out);
        assert_eq!((out.len(), &out[69..72]), (80, &[1, 2, 2][..]));
        assert_eq!(net.links[link].down.room(), 80);
    }

    #[test]
    fn what_is_under_way_is_known_by_its_time() {
        let (mut net, link) = net();
        net.faults.delayed_per_mille = 1_000;
        net.faults.delay_ns_max = 50;
        let (first, second) = (net.arrival(link), net.arrival(link));
        let future: Vec<_> = [first, second].into_iter().filter(|&at| at > net.now).collect();
        assert_eq!(net.next_arrival(), future.iter().min().copied());
        net.now += 50;
        assert_eq!(net.next_arrival(), None);
    }

    #[test]
    fn closing_with_unread_input_loses_what_is_under_way() {
        let (mut net, link) = net();
        net.send_down(link, &[IoSlice::new(b"b"), IoSlice::new(b"ye")]).unwrap();
        net.send_up(link, b"unread");
        net.close_server_end(link);
        assert!(!net.links[link].down.has_arrived(net.now));
        assert_eq!(net.links[link].down.arrived_end(net.now), Some(PipeEnd::Reset));
    }

    #[test]
    fn closing_in_order_delivers_everything_first() {
        let (mut net, link) = net();
        net.send_down(link, &[IoSlice::new(b"b"), IoSlice::new(b"ye")]).unwrap();
        net.close_server_end(link);
        assert_eq!(net.links[link].down.arrived_end(net.now), None);
        let mut out = Vec::new();
        net.links[link].down.pull(net.now, 9, &mut out);
        assert_eq!(out, b"bye");
        assert_eq!(net.links[link].down.arrived_end(net.now), Some(PipeEnd::Fin));
        net.send_up(link, b"too late");
        assert_eq!(net.links[link].down.arrived_end(net.now), Some(PipeEnd::Reset));
    }

    #[test]
    fn a_broken_connection_is_broken_for_both_ends() {
        let (mut net, link) = net();
        net.faults.reset_per_mille = 1_000;
        net.send_up(link, b"lost");
        assert_eq!(net.send_down(link, &[IoSlice::new(b"x")]), Err(Errno::CONNRESET));
        let link = &net.links[link];
        assert_eq!(link.up.arrived_end(net.now), Some(PipeEnd::Reset));
        assert_eq!(link.down.arrived_end(net.now), Some(PipeEnd::Reset));
    }

    #[test]
    fn a_connection_is_forgotten_once_both_its_ends_are_closed() {
        let (mut net, link) = net();
        let other = net.add_link(100);
        net.close_server_end(link);
        assert_eq!(net.links.len(), 2);
        net.close_client_end(link);
        net.close_client_end(other);
        assert_eq!(net.links.len(), 1);
        net.close_server_end(other);
        assert!(net.links.is_empty());
    }
}
