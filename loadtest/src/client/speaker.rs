//! Speakers: connections that speak the server's dialect.
//!
//! In      an opener, topics to subscribe to
//! Out     what was received, by what it means
//! Bounds  `STEP_WAIT` for each step of opening and for each answer
//! Source  none

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use fanwire_ws::{Kind, encode_frame};
use socket2::Socket;

use super::{
    connection::{Connection, Opener, random},
    error::{Ended, OpenError},
};
use crate::dialect::{Dialect, Filling, Incoming, Role, Stream, topic::Topic};

/// An open connection, and what it is for.
#[derive(Debug)]
pub struct Speaker {
    connection: Connection,
    dialect: Arc<Dialect>,
    role: Role,
    stream: Stream,
    subscriptions: usize,
}

impl Speaker {
    /// Opens connection `number`.
    ///
    /// # Errors
    /// Whatever the system or the server has against it.
    pub fn open(opener: &Opener, number: usize, role: Role) -> Result<Self, OpenError> {
        Self::greet(opener.open(number, role)?, opener.dialect(), role)
    }

    /// Of a connection that is open already; says what the dialect says first.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn greet(connection: Connection, dialect: &Arc<Dialect>, role: Role) -> Result<Self, OpenError> {
        let dialect = Arc::clone(dialect);
        let mut speaker = Self { connection, dialect, role, stream: Stream::default(), subscriptions: 0 };
        if let Some(greeting) = speaker.dialect.greeting() {
            speaker.connection.send(kind(&speaker.dialect), greeting).map_err(OpenError::Socket)?;
        }
        Ok(speaker)
    }

    /// Subscribes, and waits until the subscription is in force; what comes with the answer goes to
    /// `on_incoming`.
    ///
    /// # Errors
    /// The server refuses, ends the connection, or does not answer in time.
    pub fn subscribe(
        &mut self,
        topic: &Topic,
        on_incoming: impl FnMut(Incoming<'_>),
    ) -> Result<(), OpenError> {
        let mut message = Vec::new();
        let filling = Filling { subscription: self.subscriptions + 1, ..topic.filling(&[]) };
        let is_answered = self.dialect.subscribe(&filling, &mut message);
        self.subscriptions += 1;
        match is_answered {
            None if self.dialect.is_ready_by_pong() => self.ping(on_incoming),
            _ => self.ask(&message, is_answered, on_incoming),
        }
    }

    /// Waits until the server has answered a ping, and so has done all that came before.
    fn ping(&mut self, mut on_incoming: impl FnMut(Incoming<'_>)) -> Result<(), OpenError> {
        let pongs_before = self.connection.pongs();
        self.connection.ping().map_err(OpenError::Socket)?;
        let mut buffer = vec![0; 4096];
        while self.connection.pongs() == pongs_before {
            self.connection.wait_readable()?;
            self.receive(&mut buffer, &mut on_incoming)?;
        }
        Ok(())
    }

    /// Unsubscribes its only topic, and waits until that is in force; what still came goes to `on_incoming`.
    /// False: the dialect has no such request, and nothing was sent.
    ///
    /// # Errors
    /// As `subscribe`.
    pub fn unsubscribe(
        &mut self,
        topic: &Topic,
        on_incoming: impl FnMut(Incoming<'_>),
    ) -> Result<bool, OpenError> {
        let mut message = Vec::new();
        let filling = Filling { subscription: self.subscriptions, ..topic.filling(&[]) };
        let is_answered = self.dialect.unsubscribe(&filling, &mut message);
        self.ask(&message, is_answered, on_incoming)?;
        Ok(is_answered.is_some())
    }

    /// Sends a request, if there is one, and waits for its answer, if it has one.
    fn ask(
        &mut self,
        message: &[u8],
        is_answered: Option<bool>,
        mut on_incoming: impl FnMut(Incoming<'_>),
    ) -> Result<(), OpenError> {
        let Some(is_answered) = is_answered else { return Ok(()) };
        self.connection.send(kind(&self.dialect), message).map_err(OpenError::Socket)?;
        let mut buffer = vec![0; 4096];
        let mut answer = None;
        while is_answered && answer.is_none() {
            self.connection.wait_readable()?;
            self.receive(&mut buffer, |incoming| match incoming {
                Incoming::Answer => answer = Some(Ok(())),
                Incoming::Error(text) => answer = Some(Err(OpenError::Subscribe { text })),
                other => on_incoming(other),
            })?;
        }
        answer.unwrap_or(Ok(()))
    }

    /// Reads once, without waiting, and hands over what is now whole. Pings of both kinds are answered.
    ///
    /// # Errors
    /// The connection has ended, or what came is no WebSocket.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        mut on_incoming: impl FnMut(Incoming<'_>),
    ) -> Result<(), Ended> {
        let Self { connection, dialect, role, stream, .. } = self;
        let (mut replies, mut is_bounded) = (Vec::new(), true);
        let received = connection.receive(buffer, |message| {
            is_bounded &= stream.take(dialect, *role, message, |incoming| match incoming {
                Incoming::Asks(reply) => replies.extend_from_slice(reply),
                incoming => on_incoming(incoming),
            });
        });
        if !replies.is_empty() {
            let mut frame = Vec::new();
            encode_frame(&mut frame, true, kind(dialect).opcode(), Some(random()?), &replies);
            connection.send_soon(&frame)?;
        }
        if is_bounded { received } else { Err(Ended::Endless) }
    }

    /// The bare socket, for who wants to misbehave.
    #[must_use]
    pub fn into_socket(self) -> Socket {
        self.connection.into_socket()
    }

    /// The connection itself.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection itself, to send frames that `encode` made.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Appends a message as a frame.
///
/// # Errors
/// The system has no randomness for its mask.
pub fn encode(dialect: &Dialect, message: &[u8], frames: &mut Vec<u8>) -> io::Result<()> {
    encode_frame(frames, true, kind(dialect).opcode(), Some(random()?), message);
    Ok(())
}

impl AsFd for Speaker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

fn kind(dialect: &Dialect) -> Kind {
    if dialect.is_binary() { Kind::Binary } else { Kind::Text }
}
