//! What the fuzz targets check, as plain functions: libFuzzer runs them on new inputs, a test on the committed ones.
//!
//! In      the bytes of one input
//! Out     nothing, or a panic that says which promise was broken
//! Bounds  each check is bounded by its input's length; no clock, no I/O, no threads
//! Source  RFC 6455, RFC 7230, and the documents of the crates under test

pub mod close;
pub mod encoder;
pub mod envelope;
pub mod frame_decoder;
pub mod handshake_head;
mod head_rules;
mod head_twin;
mod input;
pub mod proxy_header;
mod rfc6455;
pub mod seeds;
pub mod session;
mod strict;
pub mod utf8;

/// A target: its name, which is also its corpus' and its dictionary's, and its check.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 8] = [
    ("handshake_head", handshake_head::check),
    ("frame_decoder", frame_decoder::check),
    ("encoder", encoder::check),
    ("utf8", utf8::check),
    ("envelope", envelope::check),
    ("close", close::check),
    ("proxy_header", proxy_header::check),
    ("session", session::check),
];
