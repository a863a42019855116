//! Speakers: connections that speak the server's dialect.
//!
//! In      an opener, topics to subscribe to
//! Out     what was received, by what it means
//! Bounds  `STEP_WAIT` for each step of opening and for each answer; `ANSWERS_MAX` requests that wait for theirs
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

    /// Subscribes to all of these, and waits until the subscriptions are in force; what comes with the answers
    /// goes to `on_incoming`.
    ///
    /// # Errors
    /// The server refuses one, ends the connection, or does not answer in time.
    pub fn subscribe<'t>(
        &mut self,
        topics: impl IntoIterator<Item = &'t Topic>,
        mut on_incoming: impl FnMut(Incoming<'_>),
    ) -> Result<(), OpenError> {
        let (mut frames, mut answers, mut is_answered_by_pong) = (Vec::new(), 0, false);
        for topic in topics {
            let mut message = Vec::new();
            let filling = Filling { subscription: self.subscriptions + 1, ..topic.filling(&[]) };
            self.subscriptions += 1;
            match self.dialect.subscribe(&filling, &mut message) {
                None => is_answered_by_pong = self.dialect.is_ready_by_pong(),
                Some(is_answered) => {
                    encode(&self.dialect, &message, &mut frames).map_err(OpenError::Socket)?;
                    answers += usize::from(is_answered);
                }
            }
            if answers == ANSWERS_MAX {
                self.ask(&std::mem::take(&mut frames), std::mem::take(&mut answers), &mut on_incoming)?;
            }
        }
        self.ask(&frames, answers, &mut on_incoming)?;
        if is_answered_by_pong { self.ping(on_incoming) } else { Ok(()) }
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
        let (mut message, mut frame) = (Vec::new(), Vec::new());
        let filling = Filling { subscription: self.subscriptions, ..topic.filling(&[]) };
        let Some(is_answered) = self.dialect.unsubscribe(&filling, &mut message) else { return Ok(false) };
        encode(&self.dialect, &message, &mut frame).map_err(OpenError::Socket)?;
        self.ask(&frame, usize::from(is_answered), on_incoming)?;
        Ok(true)
    }

    /// Sends requests, and waits for their answers.
    fn ask(
        &mut self,
        frames: &[u8],
        mut answers: usize,
        mut on_incoming: impl FnMut(Incoming<'_>),
    ) -> Result<(), OpenError> {
        self.connection.send_encoded(frames).map_err(OpenError::Socket)?;
        let (mut buffer, mut refused) = (vec![0; 4096], None);
        while answers > 0 && refused.is_none() {
            self.connection.wait_readable()?;
            self.receive(&mut buffer, |incoming| match incoming {
                Incoming::Answer => answers = answers.saturating_sub(1),
                Incoming::Error(text) => refused = Some(text),
                other => on_incoming(other),
            })?;
        }
        refused.map_or(Ok(()), |text| Err(OpenError::Subscribe { text }))
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

/// Subscriptions that wait for their answers at a time: one by one, a million of them takes longer than servers wait
/// for a pong of those who have subscribed already.
const ANSWERS_MAX: usize = 32;

fn kind(dialect: &Dialect) -> Kind {
    if dialect.is_binary() { Kind::Binary } else { Kind::Text }
}
