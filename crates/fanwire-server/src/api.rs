//! The HTTP API: publishing and looking after a server from other programs, and its metrics.
//!
//! In      an address of its own, requests in JSON
//! Out     what the engine says, as JSON; metrics; health
//! Bounds  one thread; `CONNECTIONS_MAX` connections, `BODIES_BYTES_MAX` for what they send; every wait ends
//! Source  docs/http-api.md, openapi.json

mod access;
mod body;
mod info;
mod list;
mod problem;
mod publish;
mod routes;
mod serve;
mod sessions;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use fanwire::{Publisher, Running, Sessions};
use tokio::{runtime, sync::oneshot};

use crate::{
    args::Args, auth::Caller, live::Live, metrics::Requests, problem::Limits, refused::Refused, rules::Rules,
    signals::Ending, visitor::Visitor,
};

pub(crate) use access::Access;
pub(crate) use serve::DESCRIPTORS_MAX;

/// The API, which serves until it is stopped.
pub(crate) struct Api {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Api {
    /// Takes an address.
    ///
    /// # Errors
    /// What to do about it.
    pub(crate) fn bind(listen: &str) -> Result<Bound, String> {
        let bound = TcpListener::bind(listen).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Bound { address: listener.local_addr()?, listener })
        });
        bound.map_err(|error| format!("cannot listen on {listen} for the API: {error}; see --api-listen"))
    }

    /// The address with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, and waits a moment for those that are under way.
    pub(crate) fn stop(self) {
        // If it has panicked there is nothing to stop, and the message is out.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// The API before it serves.
pub(crate) struct Bound {
    address: SocketAddr,
    listener: TcpListener,
}

impl Bound {
    /// The real one.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves in a thread of its own.
    ///
    /// # Errors
    /// If the system refuses the thread or what tokio needs.
    pub(crate) fn start(
        self,
        args: &Args,
        running: Arc<Running<Visitor>>,
        rules: Live<Rules>,
        caller: Caller,
        refused: Refused,
        ending: Ending,
    ) -> io::Result<Api> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let state = State {
            limits: args.limits(),
            publisher: running.publisher(),
            sessions: running.sessions(),
            path: args.path.clone(),
            running,
            rules,
            caller,
            refused,
            ending,
            started: Instant::now(),
            requests: Requests::new(),
            room: body::Room::new(),
        };
        let router = routes::router(Arc::new(state));
        let (stop, stopped) = oneshot::channel();
        let Self { address, listener } = self;
        let listener = {
            let _guard = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let work = move || runtime.block_on(serve::serve(listener, router, stopped));
        let thread = thread::Builder::new().name("api".to_owned()).spawn(work)?;
        Ok(Api { address, stop, thread })
    }
}

/// What requests are answered from.
struct State {
    limits: Limits,
    publisher: Publisher,
    sessions: Sessions<Visitor>,
    running: Arc<Running<Visitor>>,
    /// Of the WebSocket.
    path: String,
    rules: Live<Rules>,
    /// For what the webhook answers.
    caller: Caller,
    refused: Refused,
    ending: Ending,
    started: Instant,
    requests: Requests,
    room: body::Room,
}

#[cfg(test)]
mod tests;
