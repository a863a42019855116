//! Wires: a client's end of a connection, byte by byte.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    rc::Rc,
    time::Duration,
};

use fanwire::{
    Handler,
    sim::{SimClient, SimEnd, SimServer},
};
use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;

/// A client's end of a connection. What does not happen within `PATIENCE` panics.
pub trait Wire {
    /// Sends all of `bytes`; what the other end no longer takes is lost.
    fn send(&mut self, bytes: &[u8]);

    /// Sends what the other end takes at once, and says how much that was.
    fn send_some(&mut self, bytes: &[u8]) -> usize;

    /// Waits for bytes (appended to `into`) or for the end.
    fn receive(&mut self, into: &mut Vec<u8>) -> Received;

    /// Ends our direction.
    fn shutdown_write(&mut self);

    /// Breaks the connection: the other end sees a reset.
    fn reset(&mut self);
}

/// What `Wire::receive` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    Bytes,
    End(End),
}

/// How the other end ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order, after all its bytes.
    Fin,
    Reset,
}

/// A wire over TCP.
pub struct TcpWire {
    stream: Option<TcpStream>,
}

impl TcpWire {
    pub fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).expect("the server listens"))
    }

    /// With a receive buffer that small (the kernel rounds up to its own minimum).
    pub fn connect_with_receive_buffer(address: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        // Before connecting, for the window that is offered then.
        socket.set_recv_buffer_size(bytes).unwrap();
        socket.connect(&address.into()).expect("the server listens");
        Self::of(socket.into())
    }

    pub fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self::patient(stream)
    }

    /// Over a Unix stream, whose calls are the same but for options of TCP.
    pub fn of_unix(stream: UnixStream) -> Self {
        Self::patient(OwnedFd::from(stream).into())
    }

    fn patient(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Some(stream) }
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.stream.as_ref().unwrap().local_addr().unwrap()
    }

    fn stream(&mut self) -> &mut TcpStream {
        self.stream.as_mut().expect("the wire was not reset")
    }
}

impl Wire for TcpWire {
    fn send(&mut self, bytes: &[u8]) {
        match self.stream().write_all(bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server took no bytes for {PATIENCE:?}")
            }
            // The reader finds out how the connection ended.
            Ok(()) | Err(_) => {}
        }
    }

    fn send_some(&mut self, bytes: &[u8]) -> usize {
        let stream = self.stream();
        stream.set_nonblocking(true).unwrap();
        let sent = stream.write(bytes);
        stream.set_nonblocking(false).unwrap();
        match sent {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("the connection broke: {error}"),
        }
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> Received {
        let mut bytes = [0; 64 << 10];
        loop {
            return match self.stream().read(&mut bytes) {
                Ok(0) => Received::End(End::Fin),
                Ok(count) => {
                    into.extend_from_slice(&bytes[..count]);
                    Received::Bytes
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!("nothing came for {PATIENCE:?}"),
                    _ => Received::End(End::Reset),
                },
            };
        }
    }

    fn shutdown_write(&mut self) {
        // It may have been reset already, which `receive` tells.
        let _ = self.stream().shutdown(Shutdown::Write);
    }

    fn reset(&mut self) {
        let stream = self.stream.take().expect("a wire is reset once");
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A wire of a simulation: waiting is letting the simulation go on.
pub struct SimWire<H: Handler> {
    server: Rc<RefCell<SimServer<H>>>,
    client: Option<SimClient>,
}

impl<H: Handler> SimWire<H> {
    pub fn new(server: Rc<RefCell<SimServer<H>>>, client: SimClient) -> Self {
        Self { server, client: Some(client) }
    }

    fn client(&mut self) -> &mut SimClient {
        self.client.as_mut().expect("the wire was not reset")
    }
}

impl<H: Handler> Wire for SimWire<H> {
    fn send(&mut self, mut bytes: &[u8]) {
        for _ in 0..STEPS_MAX {
            let count = self.client().send(bytes);
            bytes = &bytes[count..];
            if bytes.is_empty() {
                return;
            }
            assert!(self.server.borrow_mut().step(), "the server will never take these bytes");
        }
        panic!("the server took no bytes for {STEPS_MAX} steps");
    }

    fn send_some(&mut self, bytes: &[u8]) -> usize {
        self.client().send(bytes)
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> Received {
        for _ in 0..STEPS_MAX {
            let client = self.client();
            if client.receive(into) {
                return Received::Bytes;
            }
            match client.end() {
                Some(SimEnd::Fin) => return Received::End(End::Fin),
                Some(SimEnd::Reset) => return Received::End(End::Reset),
                None => assert!(self.server.borrow_mut().step(), "nothing will ever come"),
            }
        }
        panic!("nothing came for {STEPS_MAX} steps");
    }

    fn shutdown_write(&mut self) {
        self.client().shutdown_write();
    }

    fn reset(&mut self) {
        self.client.take().expect("a wire is reset once").reset();
    }
}

pub const STEPS_MAX: usize = 2_000_000;
