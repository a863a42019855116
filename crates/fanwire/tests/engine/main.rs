//! The engine end to end: every test runs on each driver, with 1 and 2 shards.
#![cfg(test)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../common/mod.rs"]
mod common;

mod descriptors;
mod ends;
mod fan_out;
mod frames;
mod handles;
mod handshake;
mod heads;
mod listeners;
mod pages;
mod pressure;
mod proxied;
mod response;
mod server;
mod starved;
mod time;
mod unlucky;
mod visits;
