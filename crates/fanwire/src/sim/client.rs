//! The ends of simulated connections that are not the engine's: clients, and sockets it has handed over.
//!
//! In      what the client's program does: send, receive or not, half close, reset, go away
//! Out     what the server has sent, in order, and its end
//! Bounds  a connection holds so many bytes in each direction as it was made with

use std::{
    cell::RefCell,
    fmt,
    net::{SocketAddr, TcpStream},
    rc::Rc,
};

use super::{
    net::Net,
    pipe::{Pipe, PipeEnd},
};

/// The client's end of a simulated connection. Dropping it closes it.
pub struct SimClient {
    net: Rc<RefCell<Net>>,
    link: usize,
}

/// How the other end has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimEnd {
    /// In order, behind its last byte.
    Fin,
    /// By a reset; what was under way is lost.
    Reset,
}

impl SimClient {
    pub(super) fn new(net: Rc<RefCell<Net>>, link: usize) -> Self {
        Self { net, link }
    }

    /// Whether the server has accepted it, or was given it by somebody who had, or never will.
    pub fn is_accepted(&self) -> bool {
        self.net.borrow().backlog.iter().all(|waiting| waiting.link != self.link)
    }

    /// Sends what the connection takes at once, and says how much that is. A client that does not `receive` holds
    /// bytes until the server's sends are refused.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        self.net.borrow_mut().send_up(self.link, bytes)
    }

    /// How many bytes `send` would take.
    pub fn send_room(&self) -> usize {
        let net = self.net.borrow();
        let link = &net.links[self.link];
        if link.server_closed { usize::MAX } else { link.up.room() }
    }

    /// Bytes that it has sent and the server has not yet read.
    pub fn sent_unread_bytes(&self) -> usize {
        self.net.borrow().links[self.link].up.bytes()
    }

    /// Whether it has ended its own direction.
    pub fn has_ended(&self) -> bool {
        self.net.borrow().links[self.link].up.is_ended()
    }

    /// Moves what has arrived to the end of `into`; whether that was anything.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> bool {
        self.receive_some(usize::MAX, into) > 0
    }

    /// `receive`, but at most so many bytes; how many it was.
    pub fn receive_some(&mut self, bytes_max: usize, into: &mut Vec<u8>) -> usize {
        let mut net = self.net.borrow_mut();
        let (now, before) = (net.now, into.len());
        net.links[self.link].down.pull(now, bytes_max, into);
        into.len() - before
    }

    /// Bytes under way to it: sent by the server, arrived or not, and not received.
    pub fn in_flight_bytes(&self) -> usize {
        self.net.borrow().links[self.link].down.bytes()
    }

    /// Whether a send of the server to it was ever refused or taken in part: whether its session was ever blocked.
    pub fn was_refused(&self) -> bool {
        self.net.borrow().links[self.link].was_refused
    }

    /// How the server has ended, once everything before that has been received.
    pub fn end(&self) -> Option<SimEnd> {
        let net = self.net.borrow();
        end_of(&net.links[self.link].down, net.now)
    }

    /// Ends the client's direction.
    pub fn shutdown_write(&mut self) {
        self.net.borrow_mut().end_up(self.link, PipeEnd::Fin);
    }

    /// Breaks the connection.
    pub fn reset(&mut self) {
        self.net.borrow_mut().end_up(self.link, PipeEnd::Reset);
    }

    /// Its address, as `peer` of the server's side.
    pub fn address(&self) -> SocketAddr {
        self.net.borrow().links[self.link].peer
    }
}

impl Drop for SimClient {
    fn drop(&mut self) {
        self.net.borrow_mut().close_client_end(self.link);
    }
}

impl fmt::Debug for SimClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimClient").field("link", &self.link).finish_non_exhaustive()
    }
}

/// The server's end of a connection that the engine has handed over. Dropping it closes it.
pub struct SimStream {
    net: Rc<RefCell<Net>>,
    link: usize,
    is_handed_on: bool,
}

impl SimStream {
    pub(super) fn new(net: Rc<RefCell<Net>>, link: usize) -> Self {
        Self { net, link, is_handed_on: false }
    }

    /// Moves what has arrived from the client to the end of `into`; whether that was anything.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> bool {
        let mut net = self.net.borrow_mut();
        let (now, before) = (net.now, into.len());
        net.links[self.link].up.pull(now, usize::MAX, into);
        into.len() > before
    }

    /// Sends what the connection takes at once, and says how much that is.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let mut net = self.net.borrow_mut();
        let ready_at = net.arrival(self.link);
        let down = &mut net.links[self.link].down;
        let count = bytes.len().min(down.room());
        down.push(ready_at, &bytes[..count]);
        count
    }

    /// How the client has ended, once everything before that has been received.
    pub fn end(&self) -> Option<SimEnd> {
        let net = self.net.borrow();
        end_of(&net.links[self.link].up, net.now)
    }

    /// What stands for the connection where a real program has a socket, for
    /// [`SimServer::adopt_stream`](super::SimServer::adopt_stream).
    pub fn into_socket(mut self) -> TcpStream {
        self.is_handed_on = true;
        TcpStream::from(self.net.borrow_mut().token(self.link))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if !self.is_handed_on {
            self.net.borrow_mut().close_server_end(self.link);
        }
    }
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStream").field("link", &self.link).finish_non_exhaustive()
    }
}

fn end_of(pipe: &Pipe, now: u64) -> Option<SimEnd> {
    pipe.arrived_end(now).map(|end| match end {
        PipeEnd::Fin => SimEnd::Fin,
        PipeEnd::Reset => SimEnd::Reset,
    })
}
