//! The client: connections, the threads that hold them, and the one that publishes.
//!
//! In      an endpoint, connection numbers, messages to publish
//! Out     what each receiving thread saw
//! Bounds  every wait ends; see each file
//! Source  RFC 6455, client role

pub mod connection;
pub mod crew;
pub mod echo;
pub mod endpoint;
pub mod envelope;
pub mod error;
pub mod form;
pub mod handshake;
pub mod progress;
pub mod publisher;
pub mod storm;
pub mod worker;
