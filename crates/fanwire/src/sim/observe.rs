//! What an oracle must see beside the hooks: the moment at which a shard takes in what others have asked of it.
//!
//! In      commands from the mesh and from the inbox, as a shard carries them out; drains
//! Out     one `Taken` each, in the order of their effects; whether a drain waits to close sessions
//! Bounds  nothing is kept
//! Source  docs/testing.md

use super::SimServer;
use crate::{frame::Frame, handler::Handler, shared::Command};

/// A command that a shard has just carried out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Taken {
    /// Which shard.
    pub shard: usize,
    /// Which command.
    pub request: Asked,
    /// `false`: the frame found no room under `frame_bytes_max`, the subscription or the socket was refused.
    pub is_done: bool,
}

/// What was asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Asked {
    /// A frame for this shard's subscribers of its topic.
    Publish(Frame),
    /// A frame for all sessions of this shard.
    Broadcast(Frame),
    /// A frame for one session.
    Send(Frame),
    /// A subscription to this topic.
    Subscribe(Box<str>),
    /// The end of a subscription to this topic.
    Unsubscribe(Box<str>),
    /// A close with this code.
    Close(u16),
    /// A ticket's answer.
    Answer,
    /// A socket whose handshake somebody else has done.
    Adopt,
    /// A look at its sessions.
    Visit,
}

impl<H: Handler> SimServer<H> {
    /// Whether a shard's drain is to close sessions, as of its last turn, once the shard has taken in what
    /// others have asked of it.
    pub fn is_closing_due(&self, shard: usize) -> bool {
        self.bodies[shard].as_ref().is_some_and(|body| body.shard.is_closing_due())
    }
}

/// Hears of every command.
pub(crate) type Observer = std::rc::Rc<std::cell::RefCell<dyn FnMut(Taken)>>;

impl Asked {
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::Publish { frame, .. } => Self::Publish(frame.clone()),
            Command::Broadcast { frame } => Self::Broadcast(frame.clone()),
            Command::Send { frame, .. } => Self::Send(frame.clone()),
            Command::Subscribe { topic, .. } => Self::Subscribe(topic.clone()),
            Command::Unsubscribe { topic, .. } => Self::Unsubscribe(topic.clone()),
            Command::Close { code, .. } => Self::Close(*code),
            Command::Answer { .. } => Self::Answer,
            Command::Adopt { .. } => Self::Adopt,
            Command::Visit { .. } => Self::Visit,
        }
    }
}
