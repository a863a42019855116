//! Names: where the host of an address is.
//!
//! In      a look-up that blocks
//! Out     what it finds
//! Bounds  `LOOKUPS_MAX` at a time, those that nobody waits for any more included: a resolver that hangs keeps so many
//!         threads, and whoever comes then waits without one
//! Source  getaddrinfo(3), which cannot be ended

use std::{io, net::SocketAddr};

use tokio::{sync::Semaphore, task::spawn_blocking};

/// Runs `find` in a thread of its own, as soon as there is one.
///
/// # Errors
/// Those of `find`.
pub(super) async fn look_up<I: Iterator<Item = SocketAddr>>(
    find: impl FnOnce() -> io::Result<I> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    let place = LOOKUPS.acquire().await.expect("nobody closes it");
    let found = spawn_blocking(move || {
        let found = find().map(Iterator::collect);
        drop(place);
        found
    });
    found.await.map_err(io::Error::other)?
}

/// Threads for names.
pub(super) const LOOKUPS_MAX: usize = 4;

static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration, vec};

    use tokio::{runtime::Builder, time::timeout};

    use super::*;

    #[test]
    fn look_ups_that_hang_keep_others_waiting_and_not_queued() {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let soon = Duration::from_millis(20);
        let hang = |end: mpsc::Receiver<()>| {
            move || Err::<vec::IntoIter<_>, _>(io::Error::other(end.recv().is_ok().to_string()))
        };
        runtime.block_on(async {
            let mut ends = Vec::new();
            for _ in 0..LOOKUPS_MAX {
                let (end, ended) = mpsc::channel();
                assert!(timeout(soon, look_up(hang(ended))).await.is_err(), "it hangs");
                ends.push(end);
            }
            let (asked, was_asked) = mpsc::channel();
            let ask = move || {
                asked
                    .send(())
                    .map(|()| vec![SocketAddr::from(([127, 0, 0, 1], 1))].into_iter())
                    .map_err(io::Error::other)
            };
            assert!(timeout(soon, look_up(ask.clone())).await.is_err(), "no place is free");
            assert!(was_asked.try_recv().is_err());
            ends.pop().unwrap().send(()).unwrap();
            assert_eq!(look_up(ask).await.unwrap().len(), 1);
            // Whom nobody waited for any more was never asked.
            assert_eq!(was_asked.iter().count(), 1);
        });
    }
}
