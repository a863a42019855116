//! The memory promise: every limit as a term of one sum.
//!
//! In      options, what the drivers hold
//! Out     the terms, user and kernel parts apart, and their sum
//! Bounds  it is the bound
//! Source  docs/architecture.md

use std::fmt;

use crate::{options::Options, server::StartedShard, shard};

/// How much memory a server may use at most, over all shards, in bytes.
///
/// Its parts are limits, not what is in use: an idle session uses a few hundred bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryBound {
    /// Frames that wait in queues, and the pages that sockets are to share of them: `frame_bytes_max` of each shard.
    pub frames: u64,
    /// Messages being received in pieces: `assembly_bytes_max` of each shard, and 256 KiB for the piece that passes it.
    pub assembly: u64,
    /// Receive buffers and rings of the drivers.
    pub receive_buffers: u64,
    /// Input of paused sessions: 16 MiB of each shard.
    pub held: u64,
    /// Subscriptions and topics: `topic_memory_max` of each shard.
    pub topics: u64,
    /// Frames on their way into shards: `intake_bytes_max` of each.
    pub intake: u64,
    /// Entries of the rings between shards.
    pub mesh: u64,
    /// Entries of the inboxes.
    pub inbox: u64,
    /// Heads of the requests being read and of those parked, and what came behind the latter.
    pub handshakes: u64,
    /// Sessions that can be open: `sessions_max`, or what the limit of open files allows.
    pub sessions: u64,
    /// Sockets that the limit of open files allows, sessions or not.
    pub connections: u64,
    /// Bytes of each idle session, without the handler's value and topics beyond the second.
    pub bytes_per_session: u64,
    /// Entries of a full queue.
    pub queue_bytes_per_session: u64,
    /// Pongs and a close frame of each session whose socket takes none.
    pub control_bytes_per_session: u64,
    /// Kernel memory of each connection whose buffers are full: twice `send_buffer_bytes`, and about 4 KiB for
    /// the socket itself. What a peer sends ahead (up to `net.ipv4.tcp_rmem`) comes on top.
    pub kernel_bytes_per_connection: u64,
}

impl MemoryBound {
    pub(crate) fn new(options: &Options, shards: &[StartedShard], connections_max: u32) -> Self {
        let count = shards.len() as u64;
        let per_socket = shards.iter().map(|shard| shard.memory.bytes_per_socket).max().unwrap_or(0);
        let queue_ids = u64::from(options.queue_size) * shard::QUEUED_FRAME_BYTES;
        Self {
            frames: count * options.frame_bytes_max,
            assembly: count * (options.assembly_bytes_max + shard::ASSEMBLY_SLACK),
            receive_buffers: shards.iter().map(|shard| shard.memory.fixed_bytes).sum(),
            held: count * shard::HELD_BYTES,
            topics: count * options.topic_memory_max,
            intake: count * options.intake_bytes_max,
            mesh: count * (count - 1) * u64::from(options.mesh_size) * shard::COMMAND_BYTES,
            inbox: count * u64::from(options.inbox_size) * shard::COMMAND_BYTES,
            handshakes: count
                * u64::from(options.handshakes_max)
                * (2 * u64::from(options.head_bytes_max) + shard::EARLY_BYTES),
            sessions: options.sessions_max.min(connections_max).into(),
            connections: connections_max.into(),
            bytes_per_session: shard::SESSION_BYTES + per_socket,
            queue_bytes_per_session: queue_ids,
            control_bytes_per_session: shard::CONTROL_BYTES,
            kernel_bytes_per_connection: 2 * u64::from(options.send_buffer_bytes) + KERNEL_SOCKET_BYTES,
        }
    }

    /// All that the process itself may use, every queue full.
    pub fn user_bytes(&self) -> u64 {
        self.frames
            + self.assembly
            + self.receive_buffers
            + self.held
            + self.topics
            + self.intake
            + self.mesh
            + self.inbox
            + self.handshakes
            + self.sessions
                * (self.bytes_per_session + self.queue_bytes_per_session + self.control_bytes_per_session)
    }

    /// All that the kernel may use for send buffers and sockets.
    pub fn kernel_bytes(&self) -> u64 {
        self.connections * self.kernel_bytes_per_connection
    }
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        write!(
            f,
            "at most {} MiB of user memory = frames and shared pages {} + assembly {} + receive buffers {} + held input {} + topics {} + intake {} + mesh {} + inbox {} + \
             handshakes {} + {} sessions x ({} B idle, {} B more with a full queue, {} B more with unsent pongs); at most {} MiB of kernel \
             send memory = {} connections x {} KiB",
            mib(self.user_bytes()),
            mib(self.frames),
            mib(self.assembly),
            mib(self.receive_buffers),
            mib(self.held),
            mib(self.topics),
            mib(self.intake),
            mib(self.mesh),
            mib(self.inbox),
            mib(self.handshakes),
            self.sessions,
            self.bytes_per_session,
            self.queue_bytes_per_session,
            self.control_bytes_per_session,
            mib(self.kernel_bytes()),
            self.connections,
            self.kernel_bytes_per_connection >> 10,
        )
    }
}

/// A TCP socket without data: `struct tcp_sock`, inode, file (seen in slabinfo, Linux 6.18).
const KERNEL_SOCKET_BYTES: u64 = 4096;
