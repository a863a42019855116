//! Peers: the servers that are compared.
//!
//! In      a name
//! Out     a server in this process, or a name for the table
//! Bounds  each runs one thread that serves, but for the rows that say 2
//! Source  same socket options (`listen`), same command, same client for all

use std::io;

use fanwire::DriverChoice;

use crate::{
    floor::{self, Way},
    ours::{self, Sharing},
    tungstenite,
};

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The floor, sending in a plain loop.
    FloorLoop,
    /// The floor, with epoll for full sockets.
    FloorEpoll,
    /// Fanwire on io_uring.
    FanwireUring,
    /// Fanwire on epoll.
    FanwireEpoll,
    /// Fanwire on io_uring with two shards, which share the server's CPU: what the mesh costs.
    FanwireUringTwoShards,
    /// The same on epoll.
    FanwireEpollTwoShards,
    /// Fanwire on io_uring without shared pages.
    FanwireUringCopies,
    /// The same on epoll.
    FanwireEpollCopies,
    /// tokio-tungstenite.
    Tungstenite,
}

impl Peer {
    /// All of the table, in its order.
    pub const ALL: [Self; 7] = [
        Self::FloorLoop,
        Self::FloorEpoll,
        Self::FanwireUring,
        Self::FanwireEpoll,
        Self::FanwireUringTwoShards,
        Self::FanwireEpollTwoShards,
        Self::Tungstenite,
    ];

    /// Those that only `--peers` asks for.
    pub const MORE: [Self; 2] = [Self::FanwireUringCopies, Self::FanwireEpollCopies];

    /// As the table and `--peers` call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FloorLoop => "floor-loop",
            Self::FloorEpoll => "floor-epoll",
            Self::FanwireUring => "fanwire-uring",
            Self::FanwireEpoll => "fanwire-epoll",
            Self::FanwireUringTwoShards => "fanwire-uring-2",
            Self::FanwireEpollTwoShards => "fanwire-epoll-2",
            Self::FanwireUringCopies => "fanwire-uring-copies",
            Self::FanwireEpollCopies => "fanwire-epoll-copies",
            Self::Tungstenite => "tokio-tungstenite",
        }
    }

    /// The peer with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::MORE).find(|peer| peer.name() == name)
    }

    /// Whether ratios may be taken to it.
    #[must_use]
    pub fn is_floor(self) -> bool {
        matches!(self, Self::FloorLoop | Self::FloorEpoll)
    }

    /// Serves in this process until the parent ends.
    ///
    /// # Errors
    /// Those of the server.
    pub fn serve(self) -> io::Result<()> {
        match self {
            Self::FloorLoop => floor::serve(Way::Loop),
            Self::FloorEpoll => floor::serve(Way::Epoll),
            Self::FanwireUring => ours::serve(DriverChoice::Uring, 1, Sharing::Pages),
            Self::FanwireEpoll => ours::serve(DriverChoice::Epoll, 1, Sharing::Pages),
            Self::FanwireUringTwoShards => ours::serve(DriverChoice::Uring, 2, Sharing::Pages),
            Self::FanwireEpollTwoShards => ours::serve(DriverChoice::Epoll, 2, Sharing::Pages),
            Self::FanwireUringCopies => ours::serve(DriverChoice::Uring, 1, Sharing::Copies),
            Self::FanwireEpollCopies => ours::serve(DriverChoice::Epoll, 1, Sharing::Copies),
            Self::Tungstenite => tungstenite::serve(),
        }
    }
}
