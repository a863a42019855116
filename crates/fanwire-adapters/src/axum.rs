//! axum: an extractor whose handler makes the session's value.
//!
//! In      requests of a route, with all that layers and other extractors make of them
//! Out     the response to return; when it has been sent, the connection becomes a session
//! Bounds  those of [`crate::hyper`]
//! Source  RFC 6455 section 4.2; `axum_core::extract::FromRequestParts`
//!
//! ```
//! # mod example {
//! use axum::{Router, extract::Query, response::Response, routing::get};
//! use fanwire::Adopter;
//! use fanwire_adapters::axum::Upgrade;
//!
//! #[derive(serde::Deserialize)]
//! struct Login {
//!     name: String,
//! }
//!
//! async fn ws(Query(login): Query<Login>, upgrade: Upgrade<String>) -> Response {
//!     upgrade.adopt(login.name)
//! }
//!
//! fn router(adopter: Adopter<String>) -> Router {
//!     Router::new().route("/ws", get(ws)).with_state(adopter)
//! }
//! # }
//! ```
//! Serve it with `axum::serve` on tokio's `TcpListener` or `UnixListener`. A state of more than an
//! [`Adopter`] derives axum's `FromRef`. Where `check_origin` looks at the peer, serve with
//! `into_make_service_with_connect_info::<SocketAddr>()`; without it, the peer there is `0.0.0.0:0`.

use std::net::SocketAddr;

use ::axum::{
    body::Body,
    extract::{ConnectInfo, FromRef, FromRequestParts},
    response::{IntoResponse, Response},
};
use fanwire::Adopter;

use crate::{
    AdoptError,
    hyper::{self, Refused},
};

/// A WebSocket request that the server would take: an extractor. `V` is the handler's value type.
///
/// It refuses with the server's own answers what is no WebSocket request (405, 400, 426), comes from an
/// origin that is not let in (403), or finds no room or a drain (503). Extractors before it in the handler's
/// arguments refuse first.
#[derive(Debug)]
pub struct Upgrade<V: Send + 'static>(hyper::Upgrade<V>);

impl<V: Send + 'static> Upgrade<V> {
    /// The subprotocols that the client offers, the one it likes best first.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.0.protocols()
    }

    /// Chooses one of the subprotocols that the client offered; another is not sent.
    #[must_use]
    pub fn protocol(self, name: &str) -> Self {
        Self(self.0.protocol(name))
    }

    /// What to do if the connection does not become a session after all, instead of a line in the log.
    #[must_use]
    pub fn on_failure(self, act: impl FnOnce(AdoptError) + Send + 'static) -> Self {
        Self(self.0.on_failure(act))
    }

    /// The response to return. When it has been sent, the session opens with `value`; what the client has
    /// sent ahead comes first. Drop this value instead to refuse with a response of your own.
    pub fn adopt(self, value: V) -> Response {
        self.0.accept::<Body>(value)
    }
}

impl<S, V> FromRequestParts<S> for Upgrade<V>
where
    S: Send + Sync,
    V: Send + 'static,
    Adopter<V>: FromRef<S>,
{
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut ::hyper::http::request::Parts,
        state: &S,
    ) -> Result<Self, Refused> {
        let peer = parts.extensions.get().map(|ConnectInfo::<SocketAddr>(peer)| *peer);
        hyper::Upgrade::from_parts(parts, &Adopter::from_ref(state), peer).map(Self)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Refused::into_response::<Body>(self)
    }
}
