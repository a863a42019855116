//! What decides whether a frame is acceptable, beside the protocol itself.
//!
//! Source  RFC 6455 section 5.1

/// Which end of the connection we are. A server requires masked frames, a client requires unmasked ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We accepted the connection.
    Server,
    /// We opened the connection.
    Client,
}

/// What all decoders of a shard have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Which end we are.
    pub role: Role,
    /// Length of the longest message that is accepted, all its fragments together.
    pub message_bytes_max: u64,
}
