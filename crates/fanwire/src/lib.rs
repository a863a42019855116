//! Fanwire moves one published message to very many WebSocket clients: topics, opaque payloads, best effort, explicit
//! back pressure. One thread per core, io_uring or epoll, no async runtime.
//!
//! In      WebSocket clients, and publishes from their hooks or from any thread
//! Out     each message encoded once and sent to every subscriber, in order, coalesced per socket
//! Bounds  every queue, buffer and table has one; `docs/limits.md` lists them
//! Source  RFC 6455; `docs/architecture.md` and `docs/protocol.md` say how it works and what goes over the wire
//!
//! A chat server:
//! ```no_run
//! use fanwire::{Message, Server, Session};
//!
//! fn main() -> Result<(), fanwire::Error> {
//!     Server::bind("127.0.0.1:9000")?.run_fn(on_message)?;
//!     Ok(())
//! }
//!
//! /// Everybody who has joined gets what anybody says.
//! fn on_message(session: &mut Session<'_, ()>, message: Message<'_>) {
//!     let done = match message.topic() {
//!         "join" => session.subscribe("room").is_ok(),
//!         "say" => session.publish("room", message.data()).is_ok(),
//!         _ => false,
//!     };
//!     if !done && session.send("error", r#""join or say""#).is_err() {
//!         session.close();
//!     }
//! }
//! ```
//!
//! From there:
//! - [`Handler`] has the hooks: `on_auth` lets a session in with a value of yours, [`Auth::later`] decides elsewhere
//!   without blocking; `on_open`, `on_message`, `on_close`, and `on_http` for plain requests.
//! - [`Session`] is what hooks act on; [`SessionHandle`] names a session from any thread, also after its end.
//! - [`Listen`] is one more place for connections to come in: an address, a Unix socket, a socket of systemd's, each for
//!   clients or for proxies that name them by the PROXY protocol.
//! - [`Server::start`] gives a [`Running`]: [`Publisher`], [`Sessions`], [`Stats`], an [`Adopter`] for connections that another
//!   HTTP stack has upgraded (`fanwire-adapters` does it for tokio, hyper, axum, monoio and tokio-uring),
//!   [`Running::drain`] and [`Running::shutdown`].
//! - [`Options`] says why each default is what it is; [`Codec`] is the form of messages, [`Json`] unless you choose.
#![deny(unsafe_code)]

mod adopt;
#[cfg(feature = "bench")]
pub mod bench;
mod close;
mod codec;
mod distribution;
mod driver;
mod error;
mod frame;
mod handler;
mod listen;
mod memory;
mod network;
mod options;
mod origin;
mod proxy;
mod publisher;
mod server;
mod session;
mod shard;
mod shared;
#[cfg(feature = "sim")]
pub mod sim;
mod stats;
mod sync;
mod visit;

pub use adopt::{Admission, Adopter, Stream};
pub use close::{CloseKind, CloseReason};
pub use codec::{Codec, Json, Message, Raw};
pub use distribution::{Distribution, Distributions};
pub use error::{Error, ListenAddress, ListenError, PublishError, SendError, SubscribeError};
pub use fanwire_ws::{Kind, Refusal, RequestHead};
pub use frame::{Frame, Payload};
pub use handler::{Auth, Handler, Http, Request, Ticket};
pub use listen::Listen;
pub use memory::MemoryBound;
pub use network::{Network, NetworkError};
pub use options::{DriverChoice, Options, Overflow, Pinning};
pub use publisher::{Publisher, TopicOrder};
pub use server::{DrainReport, Running, Server};
pub use session::{Queued, Session, SessionHandle, SessionId};
pub use stats::{ShardStats, Stats};
pub use visit::{Place, Sessions};
