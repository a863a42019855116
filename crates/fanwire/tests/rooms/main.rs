//! The `rooms` example: every row of its contract, with exact texts, in every world; and the binary itself.
#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../examples/rooms/mod.rs"]
mod rooms;

mod binary;
mod direct;
mod ends;
mod flood;
mod lobby;
mod requests;
mod subscriptions;
