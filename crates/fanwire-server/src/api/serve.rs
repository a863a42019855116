//! Serving: connections of the API, each within its bounds.
//!
//! In      a listening socket
//! Out     requests to the router, until it is stopped
//! Bounds  `CONNECTIONS_MAX` at a time, the others wait in the backlog; `HEAD_TIME_MAX` for a request's head or between
//!         two requests, `CONNECTION_TIME_MAX` a connection
//! Source  none

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

/// Serves until it is told to stop, and then no longer than it takes to answer who has asked.
pub(super) async fn serve(listener: TcpListener, router: Router, mut stop: oneshot::Receiver<()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let mut is_failing = false;
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("nobody closes it");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = &mut stop => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                is_failing = false;
                let router = router.clone();
                tokio::spawn(async move {
                    connection(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(
                        "the API cannot accept a connection: {error}; trying again (said once until it can)"
                    );
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // Idle connections do not end by themselves, and the process does not wait for them.
    let _ = timeout(STOP_TIME_MAX, places.acquire_many(CONNECTIONS_MAX)).await;
}

async fn connection(stream: TcpStream, router: Router) {
    // Without it only latency suffers.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let served = timeout(CONNECTION_TIME_MAX, connection.as_mut()).await;
    if served.is_err() {
        connection.as_mut().graceful_shutdown();
        // Who takes longer than that to read an answer does not get it.
        let _ = timeout(LAST_ANSWER_TIME_MAX, connection).await;
    }
}

const CONNECTIONS_MAX: u32 = 128;

/// Its connections, the socket that listens, and what its runtime polls by.
pub(crate) const DESCRIPTORS_MAX: u32 = CONNECTIONS_MAX + 2;

const HEAD_TIME_MAX: Duration = Duration::from_secs(75);
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
const LAST_ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Of what a connection reads and writes; a head is no longer.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Until there may be a descriptor again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For the last answers when the server ends.
const STOP_TIME_MAX: Duration = Duration::from_millis(200);
