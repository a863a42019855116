//! Choices: settings that have a few named values.
//!
//! In      the names that an operator writes
//! Out     the engine's own types, and what an operator reads of them
//! Bounds  none
//! Source  `fanwire::Options`

use clap::ValueEnum;
use fanwire::{DriverChoice, Overflow, Pinning};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// io_uring where it works, else epoll
    Auto,
    /// io_uring, or an error
    #[value(alias = "io_uring")]
    Uring,
    /// epoll
    Epoll,
}

impl From<Driver> for DriverChoice {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Auto => Self::Auto,
            Driver::Uring => Self::Uring,
            Driver::Epoll => Self::Epoll,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pin {
    /// if there are exactly as many CPUs as shards
    Auto,
    /// round and round over the CPUs of the process
    On,
    /// never
    Off,
}

impl From<Pin> for Pinning {
    fn from(pin: Pin) -> Self {
        match pin {
            Pin::Auto => Self::Auto,
            Pin::On => Self::On,
            Pin::Off => Self::Off,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverflowPolicy {
    /// it is closed with 1013 and may connect again
    Close,
    /// it misses the newest message
    DropNewest,
    /// it misses the oldest message
    DropOldest,
}

impl OverflowPolicy {
    pub(crate) fn effect(self) -> &'static str {
        match self {
            Self::Close => "closed with 1013",
            Self::DropNewest => "skipped: it misses the newest message",
            Self::DropOldest => "skipped: it misses the oldest message",
        }
    }
}

impl From<OverflowPolicy> for Overflow {
    fn from(policy: OverflowPolicy) -> Self {
        match policy {
            OverflowPolicy::Close => Self::Close,
            OverflowPolicy::DropNewest => Self::DropNewest,
            OverflowPolicy::DropOldest => Self::DropOldest,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// lines for people
    Human,
    /// one JSON object a line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthKind {
    /// whoever comes is let in
    None,
    /// who shows a JSON Web Token
    Jwt,
    /// whom the program at auth_webhook_url lets in
    Webhook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenPlace {
    /// `Authorization: Bearer TOKEN`
    Header,
    /// `fanwire.token.TOKEN` among the subprotocols
    Protocol,
    /// `?token=TOKEN`
    Query,
}
