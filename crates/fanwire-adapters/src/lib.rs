//! Fanwire in programs that have an HTTP stack: they accept and answer, and the connection moves to Fanwire.
//!
//! In      requests and connections of tokio, hyper, axum, monoio or tokio-uring
//! Out     sessions of a running server; no task, thread or buffer stays behind
//! Bounds  the server's own `sessions_max`, `head_bytes_max` and `handshake_timeout`
//! Source  RFC 6455 section 4.2; the guide, docs/adapters.md
//!
//! Fanwire has no async runtime inside. A connection that it adopts is read, and written to, by one of its
//! shards; tasks of the program publish with a [`Publisher`](fanwire::Publisher), from any thread. Each stack
//! is a feature:
//!
//! | feature | how a connection comes in |
//! |---|---|
//! | `axum` | `axum::Upgrade` is an extractor: one `.route("/ws", get(ws))` |
//! | `hyper` | `hyper::Upgrade` in any service of hyper 1 |
//! | `tokio` | [`Incoming`] reads the request; or [`adopt`], where it is answered already |
//! | `monoio` | the same |
//! | `tokio-uring` | the same |
//!
//! All refuse what the server itself would, with its answers: RFC 6455 section 4.2.1, origins, room for
//! sessions, a drain. A connection inside TLS has no socket of its own to hand over: [`AdoptError::Wrapped`]
//! says what to do.
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(any(feature = "monoio", feature = "tokio-uring"))]
mod descriptor;
mod error;
#[cfg(feature = "hyper")]
pub mod hyper;
mod incoming;
#[cfg(feature = "monoio")]
mod monoio;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "tokio-uring")]
mod tokio_uring;
mod transport;

/// The guide's code is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/adapters.md")]
struct Guide;

/// So is that of the book's other pages: this crate's tests have all that they use.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../../docs/start/library.md")]
    struct Start;
    #[doc = include_str!("../../../docs/guides/back-pressure.md")]
    struct BackPressure;
    #[doc = include_str!("../../../docs/from/uwebsockets.md")]
    struct FromUwebsockets;
    #[doc = include_str!("../../../docs/from/tokio-tungstenite.md")]
    struct FromTokioTungstenite;
    #[doc = include_str!("../../../docs/from/go-live.md")]
    struct FromGo;
}

pub use error::AdoptError;
pub use incoming::{Admitted, Incoming};
pub use transport::{Transport, adopt};
