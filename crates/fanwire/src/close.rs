//! Why a session ended.
//!
//! In      what happened on either side
//! Out     a kind that fits in one word, and for `on_close` the code and text as well
//! Bounds  the text is a close reason: at most 123 bytes
//! Source  RFC 6455 sections 5.5.1, 7.1.5 and 7.4

use std::fmt;

/// Which end of a session it was. Fits in one word beside its close code, so that handles can tell it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum CloseKind {
    /// The peer sent a valid close frame.
    Peer = 1,
    /// The server closed it on request (`close`, `close_with`, or a drain).
    Server = 2,
    /// Its socket took nothing and its queue was full.
    QueueFull = 3,
    /// The stream ended without a close frame.
    Eof = 4,
    /// The connection was reset or failed.
    Reset = 5,
    /// The peer broke the protocol or passed a limit.
    Violation = 6,
    /// Nothing was heard from the peer for `idle_timeout`.
    Idle = 7,
    /// A hook panicked.
    Panic = 8,
    /// The server was shut down before the session could be drained.
    Shutdown = 9,
}

impl CloseKind {
    /// All kinds, for statistics.
    pub const ALL: [Self; 9] = [
        Self::Peer,
        Self::Server,
        Self::QueueFull,
        Self::Eof,
        Self::Reset,
        Self::Violation,
        Self::Idle,
        Self::Panic,
        Self::Shutdown,
    ];

    /// Whether both sides could know what the other had received: a valid close frame came, or the server closed
    /// on request.
    pub fn is_clean(self) -> bool {
        matches!(self, Self::Peer | Self::Server)
    }

    /// A stable name for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Server => "server",
            Self::QueueFull => "queue_full",
            Self::Eof => "eof",
            Self::Reset => "reset",
            Self::Violation => "violation",
            Self::Idle => "idle",
            Self::Panic => "panic",
            Self::Shutdown => "shutdown",
        }
    }

    pub(crate) fn from_word(word: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == word)
    }
}

impl fmt::Display for CloseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer => "the peer closed the session",
            Self::Server => "the server closed the session",
            Self::QueueFull => "the queue was full and the socket took nothing",
            Self::Eof => "the stream ended without a close frame",
            Self::Reset => "the connection failed",
            Self::Violation => "the peer broke the protocol or passed a limit",
            Self::Idle => "nothing was heard from the peer",
            Self::Panic => "a hook panicked",
            Self::Shutdown => "the server was shut down",
        })
    }
}

/// Why a session ended, with the close code and text that went over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    kind: CloseKind,
    code: u16,
    text: Box<str>,
}

impl CloseReason {
    pub(crate) fn new(kind: CloseKind, code: u16, text: &str) -> Self {
        Self { kind, code, text: text.into() }
    }

    /// Which end it was.
    pub fn kind(&self) -> CloseKind {
        self.kind
    }

    /// The close code of the peer's frame if it sent one first, else of ours. 1005 if the peer's frame had none,
    /// 1006 if there was no frame at all (RFC 6455 section 7.4.1).
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reason text that came or went with the code, or what was wrong with the peer's input.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// See [`CloseKind::is_clean`].
    pub fn is_clean(&self) -> bool {
        self.kind.is_clean()
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.code)?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_word() {
        for kind in CloseKind::ALL {
            assert_eq!(CloseKind::from_word(kind as u32), Some(kind));
        }
        assert_eq!(CloseKind::from_word(0), None);
    }
}
