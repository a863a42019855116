//! Serving: connections of the API, each within its bounds.
//!
//! In      a listening socket
//! Out     requests to the router, until it is stopped
//! Bounds  `CONNECTIONS_MAX` at a time, the others wait in the backlog; `FIRST_HEAD_TIME_MAX` for the first request's head,
//!         `HEAD_TIME_MAX` between two requests, `CONNECTION_TIME_MAX` a connection
//! Source  none

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
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
                // Without it only latency suffers.
                let _ = stream.set_nodelay(true);
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

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let has_asked = AtomicBool::new(false);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        has_asked.store(true, Relaxed);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    if timeout(FIRST_HEAD_TIME_MAX, connection.as_mut()).await.is_ok() || !has_asked.load(Relaxed) {
        return;
    }
    let served = timeout(CONNECTION_TIME_MAX - FIRST_HEAD_TIME_MAX, connection.as_mut()).await;
    if served.is_err() {
        connection.as_mut().graceful_shutdown();
        // Who takes longer than that to read an answer does not get it.
        let _ = timeout(LAST_ANSWER_TIME_MAX, connection).await;
    }
}

const CONNECTIONS_MAX: u32 = 128;

/// Its connections, the socket that listens, and what its runtime polls by.
pub(crate) const DESCRIPTORS_MAX: u32 = CONNECTIONS_MAX + 2;

/// Whoever says nothing has a place for no longer.
const FIRST_HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// Programs that ask now and then keep their connection for so long.
const HEAD_TIME_MAX: Duration = Duration::from_secs(75);
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
const LAST_ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Of what a connection reads and writes; a head is no longer.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Until there may be a descriptor again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For the last answers when the server ends.
const STOP_TIME_MAX: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        runtime::Builder,
        time::Instant,
    };

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// How many seconds a connection lasts whose other end does this. The clock goes on by itself as soon as everybody
    /// waits for it.
    fn seconds<F: Future>(answer: &'static str, client: impl FnOnce(DuplexStream) -> F) -> u64 {
        let router = Router::new().route("/", get(async move || answer));
        let (ours, theirs) = duplex(64);
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
            let started = Instant::now();
            let served = async {
                connection(ours, router).await;
                started.elapsed().as_secs()
            };
            tokio::join!(served, client(theirs)).0
        })
    }

    /// Asks, and reads all of the answer; nothing if there is none.
    async fn ask(stream: &mut DuplexStream, answer: &str) -> Option<()> {
        stream.write_all(REQUEST).await.ok()?;
        let mut read = Vec::new();
        while !read.ends_with(answer.as_bytes()) {
            let mut chunk = [0; 64];
            let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
            read.extend_from_slice(&chunk[..count]);
        }
        Some(())
    }

    #[test]
    fn a_client_that_says_nothing_or_half_a_head_or_nothing_more_is_closed_in_time() {
        let (first, next) = (FIRST_HEAD_TIME_MAX, HEAD_TIME_MAX);
        for (said, answers, time) in
            [(&REQUEST[..0], 0, first), (&REQUEST[..20], 0, first), (REQUEST, 1, next)]
        {
            let seconds = seconds("ok", async |mut stream| {
                if answers == 1 {
                    ask(&mut stream, "ok").await.unwrap();
                } else {
                    stream.write_all(said).await.unwrap();
                }
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the server has nothing to say");
            });
            assert_eq!(seconds, time.as_secs());
        }
    }

    #[test]
    fn a_client_that_asks_again_and_again_has_a_connection_for_so_long() {
        let mut answers = 0;
        let seconds = seconds("ok", async |mut stream| {
            while ask(&mut stream, "ok").await.is_some() {
                answers += 1;
                sleep(Duration::from_secs(7)).await;
            }
        });
        assert_eq!((seconds, answers), (CONNECTION_TIME_MAX.as_secs(), 43));
    }

    #[test]
    fn a_client_that_does_not_read_its_answer_does_not_hold_the_connection_for_ever() {
        let answer = "0123456789".repeat(100).leak();
        let seconds = seconds(answer, async |mut stream| {
            stream.write_all(REQUEST).await.unwrap();
            sleep(2 * CONNECTION_TIME_MAX).await;
        });
        assert_eq!(seconds, (CONNECTION_TIME_MAX + LAST_ANSWER_TIME_MAX).as_secs());
    }
}
