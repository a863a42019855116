//! What a shard's tables hold, for an oracle to compare.
//!
//! In      a simulated server between two steps
//! Out     its open sessions and its topics, sorted, so that the same state gives the same value
//! Bounds  allocates for all it names: for now and then, not for every step

use super::SimServer;
use crate::{
    handler::Handler,
    session::{Queued, SessionId},
};

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSnapshot {
    /// Its open sessions, by slot.
    pub sessions: Vec<SessionSnapshot>,
    /// Topics with a subscriber on it, by name.
    pub topics: Vec<TopicSnapshot>,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSnapshot {
    /// Its id.
    pub id: SessionId,
    /// What waits for it, and whether its socket refuses bytes.
    pub queued: Queued,
    /// Whether its reading is paused.
    pub is_paused: bool,
    /// The topics that it is subscribed to, by name.
    pub topics: Vec<String>,
}

/// A topic, as one shard sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSnapshot {
    /// Its name.
    pub name: String,
    /// Its subscribers on this shard, by slot.
    pub subscribers: Vec<SessionId>,
}

impl<H: Handler> SimServer<H> {
    /// What each shard holds; nothing for one that has ended.
    pub fn snapshot(&self) -> Vec<ShardSnapshot> {
        let shards = self.bodies.iter().map(|body| body.as_ref().map(|body| body.shard.snapshot()));
        shards.map(Option::unwrap_or_default).collect()
    }
}
