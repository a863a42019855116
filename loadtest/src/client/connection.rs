//! Connections: one WebSocket, client side.
//!
//! In      an endpoint and the number of the connection
//! Out     messages received, as slices of a buffer that many connections share
//! Bounds  `STEP_WAIT` for each step of opening; `MESSAGE_BYTES_MAX` per message
//! Source  RFC 6455 section 4.1 (client handshake), 5.3 (masking), 5.5.2 (ping)

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use fanwire_ws::{Budget, Decoder, Event, Kind, Opcode, Role, Rules, encode_frame};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use socket2::{Domain, Socket, Type};

use super::{
    address::Address,
    endpoint::{Endpoint, EndpointError, ports_per_source},
    error::{Ended, OpenError, STEP_WAIT},
    handshake::Handshake,
};
use crate::dialect::{Dialect, Role as Purpose};

/// Opens connections to one endpoint.
#[derive(Clone, Debug)]
pub struct Opener {
    address: Address,
    endpoint: Endpoint,
    dialect: Arc<Dialect>,
    ports_per_source: usize,
}

impl Opener {
    /// For this address, which is spoken to like this.
    ///
    /// # Errors
    /// Not a URL of a server, or the kernel's port range cannot be read.
    pub fn new(address: Address, dialect: Arc<Dialect>) -> Result<Self, EndpointError> {
        let endpoint = Endpoint::parse(&address.url)?;
        let endpoint = match &address.query {
            Some(query) => endpoint.with_query(query),
            None => endpoint,
        };
        let ports_per_source = ports_per_source().map_err(EndpointError::Ports)?;
        Ok(Self { address, endpoint, dialect, ports_per_source })
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How the server is spoken to.
    #[must_use]
    pub fn dialect(&self) -> &Arc<Dialect> {
        &self.dialect
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// Whatever the system or the server has against it.
    pub fn open(&self, number: usize, purpose: Purpose) -> Result<Connection, OpenError> {
        let mut stream = self.connect(number).map_err(|error| self.connect_error(number, error))?;
        let mut handshake = self.handshake(number, purpose)?;
        stream.write_all(handshake.request()).map_err(|error| self.connect_error(number, error))?;
        loop {
            let mut part = [0; 1024];
            let count = match stream.read(&mut part) {
                Ok(0) => return Err(OpenError::Ended(Ended::Eof)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(OpenError::Silent),
                Err(error) => return Err(self.connect_error(number, error)),
            };
            if let Some(early) = handshake.take(&part[..count])? {
                return Ok(Connection::new(stream, early));
            }
        }
    }

    /// The handshake of connection `number`.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn handshake(&self, number: usize, purpose: Purpose) -> Result<Handshake, OpenError> {
        let key = random().map_err(OpenError::Socket)?;
        let (path, query) = self.dialect.path_and_query(purpose);
        Ok(Handshake::new(&self.endpoint.host, &self.endpoint.target(number, path, query), key))
    }

    /// A socket for connection `number`, and the address to connect it to.
    ///
    /// # Errors
    /// The system has no more.
    pub fn socket(&self, number: usize) -> io::Result<(Socket, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(self.endpoint.address), Type::STREAM, None)?;
        if let Some(source) = self.endpoint.source(number, self.ports_per_source) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(STEP_WAIT))?;
        socket.set_write_timeout(Some(STEP_WAIT))?;
        Ok((socket, self.endpoint.address))
    }

    fn connect(&self, number: usize) -> io::Result<TcpStream> {
        let (socket, address) = self.socket(number)?;
        socket.connect_timeout(&address.into(), STEP_WAIT)?;
        Ok(socket.into())
    }

    /// What the system has against a connection, in words.
    #[must_use]
    pub fn connect_error(&self, number: usize, error: io::Error) -> OpenError {
        let address = self.endpoint.address;
        match error.kind() {
            io::ErrorKind::ConnectionRefused => OpenError::Refused { address },
            _ => OpenError::Connect { address, number, error },
        }
    }
}

/// An open WebSocket. Its socket blocks, except in `receive`.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    budget: Budget,
    /// Bytes that came with the handshake's answer, until `receive` decodes them.
    early: Vec<u8>,
    /// Bytes that the socket did not take yet.
    unsent: Vec<u8>,
    pings: u64,
    pongs: u64,
}

impl Connection {
    /// Of a socket whose handshake is done; `early` came with its answer.
    #[must_use]
    pub fn new(stream: TcpStream, early: Vec<u8>) -> Self {
        let (decoder, budget) = (Decoder::new(), Budget::new(MESSAGE_BYTES_MAX));
        Self { stream, decoder, budget, early, unsent: Vec::new(), pings: 0, pongs: 0 }
    }

    /// Its socket.
    #[must_use]
    pub fn into_socket(self) -> Socket {
        self.stream.into()
    }

    /// Sends one message, masked; blocks until the kernel has it.
    ///
    /// # Errors
    /// The connection has ended, or the server does not read.
    pub fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, kind.opcode(), Some(random()?), payload);
        self.send_encoded(&frame)
    }

    /// Sends frames that are encoded already.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_encoded(&mut self, frames: &[u8]) -> io::Result<()> {
        // What is kept comes first, or else a frame would stand inside another.
        self.stream.write_all(&self.unsent)?;
        self.unsent.clear();
        self.stream.write_all(frames)
    }

    /// Sends what the socket takes without waiting, and keeps the rest for `flush`.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send_soon(&mut self, frames: &[u8]) -> io::Result<()> {
        self.flush()?;
        let sent_bytes = if self.unsent.is_empty() { self.send_some(frames)? } else { 0 };
        self.unsent.extend_from_slice(&frames[sent_bytes..]);
        Ok(())
    }

    /// Sends what was kept, as far as the socket takes it.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn flush(&mut self) -> io::Result<()> {
        let sent_bytes = self.send_some(&self.unsent)?;
        self.unsent.drain(..sent_bytes);
        Ok(())
    }

    /// How many of these bytes the socket takes without waiting.
    fn send_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent_bytes = 0;
        while sent_bytes < bytes.len() {
            match send(&self.stream, &bytes[sent_bytes..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => sent_bytes += count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sent_bytes)
    }

    /// Bytes that the socket did not take yet.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Whether bytes came with the handshake's answer: `receive` has them, and no poller tells of them.
    #[must_use]
    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Pings of ours that the server has answered.
    #[must_use]
    pub fn pongs(&self) -> u64 {
        self.pongs
    }

    /// Asks the server for a pong.
    ///
    /// # Errors
    /// As `send`.
    pub fn ping(&mut self) -> io::Result<()> {
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, Opcode::Ping, Some(random()?), b"");
        self.send_encoded(&frame)
    }

    /// Pings that were answered.
    #[must_use]
    pub fn pings(&self) -> u64 {
        self.pings
    }

    /// Reads once, without waiting, and hands over each message that is now whole. Pings are answered.
    ///
    /// # Errors
    /// The connection has ended, or what came is no WebSocket.
    pub fn receive(&mut self, buffer: &mut [u8], mut on_message: impl FnMut(&[u8])) -> Result<(), Ended> {
        self.flush()?;
        if !self.early.is_empty() {
            let mut early = std::mem::take(&mut self.early);
            self.decode(&mut early, &mut on_message)?;
        }
        match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Ended::Eof),
            Ok((count, _)) => self.decode(&mut buffer[..count], &mut on_message),
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(Ended::Socket(error.into())),
        }
    }

    fn decode(&mut self, mut bytes: &mut [u8], on_message: &mut impl FnMut(&[u8])) -> Result<(), Ended> {
        loop {
            let (consumed, event) = self.decoder.decode(&RULES, &mut self.budget, bytes);
            match event? {
                Event::Partial => return Ok(()),
                Event::Message { payload, .. } => on_message(payload),
                Event::Ping(payload) => {
                    let mut pong = Vec::new();
                    encode_frame(&mut pong, true, Opcode::Pong, Some(random()?), payload);
                    self.pings += 1;
                    // Behind what is kept: a pong inside another frame would end the connection.
                    self.send_soon(&pong)?;
                }
                Event::Pong(_) => self.pongs += 1,
                Event::Close(frame) => return Err(Ended::closed(frame)),
            }
            bytes = &mut bytes[consumed..];
        }
    }

    /// Waits until `receive` has something to do.
    ///
    /// # Errors
    /// Nothing came in time, or the socket has failed.
    pub fn wait_readable(&self) -> Result<(), OpenError> {
        if !self.early.is_empty() {
            return Ok(());
        }
        match self.stream.peek(&mut [0]) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(OpenError::Silent),
            Err(error) => Err(OpenError::Socket(error)),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Random bytes: a handshake key, a mask.
///
/// # Errors
/// The system has none.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

const RULES: Rules = Rules { role: Role::Client, message_bytes_max: MESSAGE_BYTES_MAX };

/// Room for the largest payload and its envelope.
const MESSAGE_BYTES_MAX: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_the_socket_does_not_take_is_kept_in_order_and_pongs_stand_behind_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        stream.set_write_timeout(Some(STEP_WAIT)).unwrap();
        peer.set_read_timeout(Some(STEP_WAIT)).unwrap();
        let mut ping = Vec::new();
        encode_frame(&mut ping, true, Opcode::Ping, None, b"p");
        let mut connection = Connection::new(stream, ping);
        let frames: Vec<u8> = (0..8u32 << 20).map(|index| index.to_le_bytes()[1]).collect();
        connection.send_soon(&frames).unwrap();
        assert!(connection.unsent_bytes() > 0);
        connection.receive(&mut [0; 64], |_| panic!("nothing was sent")).unwrap();
        assert_eq!(connection.pings(), 1);

        // Two bytes of header, four of mask, one of payload.
        let mut received = vec![0; frames.len() + 7];
        let mut filled = 0;
        while filled < received.len() {
            filled += peer.read(&mut received[filled..]).unwrap();
            connection.flush().unwrap();
        }
        assert!(received[..frames.len()] == frames);
        assert_eq!(received[frames.len()..][..2], [0x8a, 0x81]);
        assert_eq!(connection.unsent_bytes(), 0);
    }
}
