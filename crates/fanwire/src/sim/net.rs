//! The simulated network: connections, their bytes under way, and one clock.
//!
//! In      bytes and ends from both sides, time
//! Out     bytes in order, cut and delayed by chance; resets where TCP has them
//! Bounds  each direction holds `capacity` bytes, as socket buffers do
//! Source  tcp(7): unread bytes at close, or bytes after close, reset a connection and lose what is under way

use std::{
    collections::{HashMap, VecDeque},
    io::{IoSlice, Read},
    net::{Ipv4Addr, SocketAddr},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use rustix::io::Errno;

use super::{Faults, rng::Rng};

/// All connections of a simulation.
pub(super) struct Net {
    /// Nanoseconds.
    pub(super) now: u64,
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) links: Vec<Link>,
    /// Connections that nobody has accepted yet.
    pub(super) backlog: VecDeque<Waiting>,
    pub(super) is_listening: bool,
    /// The next accepts fail so often, for want of descriptors.
    pub(super) accepts_failing: u32,
    /// Descriptors that stand for a link on their way through `adopt` and `take`, by number.
    tokens: HashMap<RawFd, Token>,
}

/// A connection in the listen queue.
pub(super) struct Waiting {
    pub(super) link: usize,
    /// The only shard that may accept it, if the test wants a certain one.
    pub(super) shard: Option<usize>,
    pub(super) ready_at: u64,
}

/// The other end of a descriptor that was given out.
struct Token {
    link: usize,
    kept: UnixStream,
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
}

/// One direction.
pub(super) struct Pipe {
    segments: VecDeque<Segment>,
    bytes: usize,
    capacity: usize,
    end: Option<(u64, PipeEnd)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PipeEnd {
    Fin,
    Reset,
}

/// Bytes that arrive together.
struct Segment {
    ready_at: u64,
    bytes: Vec<u8>,
    read: usize,
}

impl Net {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            now: START_NS,
            rng: Rng::new(seed),
            faults,
            links: Vec::new(),
            backlog: VecDeque::new(),
            is_listening: true,
            accepts_failing: 0,
            tokens: HashMap::new(),
        }
    }

    /// A connection that is in no queue yet.
    pub(super) fn add_link(&mut self, down_capacity: usize) -> usize {
        let port = u16::try_from(self.links.len() % 60_000).expect("a port") + 1_024;
        self.links.push(Link {
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            up: Pipe::new(UP_BYTES_MAX),
            down: Pipe::new(down_capacity),
            server_closed: false,
            client_closed: false,
        });
        self.links.len() - 1
    }

    /// When something that is sent now arrives.
    pub(super) fn arrival(&mut self) -> u64 {
        let delay_max = self.faults.delay_ns_max;
        if delay_max > 0 && self.rng.happens(self.faults.delayed_per_mille) {
            self.now + self.rng.number() % delay_max
        } else {
            self.now
        }
    }

    // --- the server's end ---

    /// What the server's socket takes of `parts`.
    pub(super) fn send_down(&mut self, link: usize, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        if self.links[link].up.is_reset() {
            return Err(Errno::CONNRESET);
        }
        if self.links[link].client_closed {
            return Err(Errno::PIPE);
        }
        if self.rng.happens(self.faults.send_refused_per_mille) {
            return Err(Errno::AGAIN);
        }
        let offered: usize = parts.iter().map(|part| part.len()).sum();
        assert!(offered > 0, "an empty send says nothing");
        let mut count = offered.min(self.links[link].down.room());
        if count > 1 && self.rng.happens(self.faults.send_short_per_mille) {
            count = 1 + self.rng.below(count - 1);
        }
        if count == 0 {
            return Err(Errno::AGAIN);
        }
        let ready_at = self.arrival();
        let mut left = count;
        for part in parts {
            let taken = left.min(part.len());
            self.links[link].down.push(ready_at, &part[..taken]);
            left -= taken;
        }
        Ok(count)
    }

    /// Up to `bytes_max` bytes that have arrived, or fewer by chance.
    pub(super) fn receive_up(&mut self, link: usize, bytes_max: usize) -> Vec<u8> {
        let short = self.rng.happens(self.faults.receive_short_per_mille);
        let bytes_max = if short { 1 + self.rng.below(bytes_max.min(SHORT_BYTES_MAX)) } else { bytes_max };
        let mut out = Vec::new();
        self.links[link].up.pull(self.now, bytes_max, &mut out);
        out
    }

    pub(super) fn shutdown_down(&mut self, link: usize) {
        let ready_at = self.arrival();
        self.links[link].down.end(ready_at, PipeEnd::Fin);
    }

    /// Closing with unread input resets the connection, and what is under way to the client is lost.
    pub(super) fn close_server_end(&mut self, link: usize) {
        let ready_at = self.arrival();
        let link = &mut self.links[link];
        link.server_closed = true;
        if link.up.bytes > 0 {
            link.down.end(ready_at, PipeEnd::Reset);
        } else {
            link.down.end(ready_at, PipeEnd::Fin);
        }
    }

    /// A connection that was never accepted, and never will be.
    pub(super) fn refuse(&mut self, link: usize) {
        let ready_at = self.arrival();
        self.links[link].server_closed = true;
        self.links[link].down.end(ready_at, PipeEnd::Reset);
    }

    // --- descriptors ---

    /// A descriptor that stands for a simulated socket where the engine's types ask for a real one.
    pub(super) fn token(&mut self, link: usize) -> OwnedFd {
        let (given, kept) = UnixStream::pair().expect("the process has descriptors left");
        kept.set_nonblocking(true).expect("a socket can be made not to block");
        self.tokens.insert(given.as_raw_fd(), Token { link, kept });
        given.into()
    }

    /// The link that a descriptor stands for.
    pub(super) fn redeem(&mut self, token: &OwnedFd) -> Result<usize, Errno> {
        self.tokens.remove(&token.as_raw_fd()).map(|token| token.link).ok_or(Errno::NOTSOCK)
    }

    /// Closes the connections whose descriptor was closed.
    pub(super) fn reap_tokens(&mut self) {
        let is_closed = |token: &mut Token| matches!(token.kept.read(&mut [0]), Ok(0));
        let closed: Vec<_> = self.tokens.extract_if(|_, token| is_closed(token)).collect();
        for (_, token) in closed {
            self.close_server_end(token.link);
        }
    }

    // --- the client's end ---

    /// What the client's socket takes of `bytes`.
    pub(super) fn send_up(&mut self, link: usize, bytes: &[u8]) -> usize {
        if self.links[link].server_closed {
            let ready_at = self.arrival();
            self.links[link].down.end(ready_at, PipeEnd::Reset);
            return bytes.len();
        }
        let count = bytes.len().min(self.links[link].up.room());
        let ready_at = self.arrival();
        self.links[link].up.push(ready_at, &bytes[..count]);
        count
    }

    pub(super) fn end_up(&mut self, link: usize, end: PipeEnd) {
        let ready_at = self.arrival();
        self.links[link].up.end(ready_at, end);
    }

    /// The client's program is gone: as `close_server_end`, the other way round.
    pub(super) fn close_client_end(&mut self, link: usize) {
        self.links[link].client_closed = true;
        let end = if self.links[link].down.bytes > 0 { PipeEnd::Reset } else { PipeEnd::Fin };
        self.end_up(link, end);
    }

    /// When the next thing under way arrives that has not arrived yet.
    pub(super) fn next_arrival(&self) -> Option<u64> {
        let pipes = self.links.iter().flat_map(|link| [&link.up, &link.down]);
        let under_way = pipes.filter_map(|pipe| pipe.next_arrival(self.now));
        let waiting = self.backlog.iter().map(|waiting| waiting.ready_at).filter(|&at| at > self.now);
        under_way.chain(waiting).min()
    }
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self { segments: VecDeque::new(), bytes: 0, capacity, end: None }
    }

    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes)
    }

    pub(super) fn is_reset(&self) -> bool {
        matches!(self.end, Some((_, PipeEnd::Reset)))
    }

    fn push(&mut self, ready_at: u64, bytes: &[u8]) {
        if bytes.is_empty() || self.end.is_some() {
            return;
        }
        // Nothing overtakes what was sent before.
        let ready_at = self.segments.back().map_or(ready_at, |last| last.ready_at.max(ready_at));
        self.segments.push_back(Segment { ready_at, bytes: bytes.to_vec(), read: 0 });
        self.bytes += bytes.len();
    }

    /// Moves what has arrived to the end of `out`.
    pub(super) fn pull(&mut self, now: u64, bytes_max: usize, out: &mut Vec<u8>) {
        let mut left = bytes_max;
        while left > 0
            && let Some(segment) = self.segments.front_mut().filter(|segment| segment.ready_at <= now)
        {
            let count = left.min(segment.bytes.len() - segment.read);
            out.extend_from_slice(&segment.bytes[segment.read..segment.read + count]);
            segment.read += count;
            left -= count;
            self.bytes -= count;
            if segment.read == segment.bytes.len() {
                self.segments.pop_front();
            }
        }
    }

    /// A reset loses what is under way; after any end nothing follows, but a reset may still overtake a FIN.
    fn end(&mut self, ready_at: u64, end: PipeEnd) {
        match (self.end, end) {
            (None, PipeEnd::Fin) => {
                let ready_at = self.segments.back().map_or(ready_at, |last| last.ready_at.max(ready_at));
                self.end = Some((ready_at, PipeEnd::Fin));
            }
            (None | Some((_, PipeEnd::Fin)), PipeEnd::Reset) => {
                self.segments.clear();
                self.bytes = 0;
                self.end = Some((ready_at, PipeEnd::Reset));
            }
            (Some(_), _) => {}
        }
    }

    pub(super) fn has_arrived(&self, now: u64) -> bool {
        self.segments.front().is_some_and(|segment| segment.ready_at <= now)
    }

    /// The end, if it has arrived and everything before it has been read.
    pub(super) fn arrived_end(&self, now: u64) -> Option<PipeEnd> {
        self.end.filter(|&(at, _)| at <= now && self.segments.is_empty()).map(|(_, end)| end)
    }

    fn next_arrival(&self, now: u64) -> Option<u64> {
        let first = self.segments.front().map(|segment| segment.ready_at);
        first.or(self.end.map(|(at, _)| at)).filter(|&at| at > now)
    }
}

/// Not 0, which some code might take for "never".
const START_NS: u64 = 1_000_000_000;

/// What a client's send buffer and a server's receive buffer hold.
const UP_BYTES_MAX: usize = 256 << 10;

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
    fn a_pipe_takes_what_it_has_room_for() {
        let (mut net, link) = net();
        let mut send = |bytes: &[u8]| net.send_down(link, &[IoSlice::new(bytes)]);
        assert_eq!(send(&[1; 70]), Ok(70));
        assert_eq!(send(&[2; 70]), Ok(30));
        assert_eq!(send(&[3; 70]), Err(Errno::AGAIN));
        let mut out = Vec::new();
        net.links[link].down.pull(net.now, 80, &mut out);
        assert_eq!((out.len(), &out[69..72]), (80, &[1, 2, 2][..]));
        assert_eq!(net.links[link].down.room(), 80);
    }

    #[test]
    fn nothing_overtakes_what_was_sent_before() {
        let (mut net, link) = net();
        let now = net.now;
        net.links[link].up.push(now + 10, b"a");
        net.links[link].up.push(now, b"b");
        net.links[link].up.end(now, PipeEnd::Fin);
        assert!(net.receive_up(link, 9).is_empty());
        assert_eq!(net.next_arrival(), Some(now + 10));
        net.now += 10;
        assert_eq!(net.links[link].up.arrived_end(net.now), None);
        assert_eq!(net.receive_up(link, 9), b"ab");
        assert_eq!(net.links[link].up.arrived_end(net.now), Some(PipeEnd::Fin));
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
}
