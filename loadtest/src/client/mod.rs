//! The client: connections, the threads that hold them, and the one that publishes.
//!
//! In      an endpoint, connection numbers, messages to publish
//! Out     what each receiving thread saw
//! Bounds  every wait ends; see each file
//! Source  RFC 6455, client role

pub mod address;
pub mod audience;
pub mod connection;
pub mod crew;
pub mod echo;
pub mod endpoint;
pub mod error;
pub mod handshake;
pub mod hearing;
pub mod hostile;
pub mod judge;
pub mod progress;
pub mod publisher;
pub mod remote;
pub mod share;
mod slow;
pub mod speaker;
pub mod storm;
pub mod talk;
pub mod together;
pub mod visitors;
pub mod worker;
