//! Crews: the receiving threads of a run, each with its share of the subscribers.
//!
//! In      an opener, connection numbers, how many threads
//! Out     threads whose connections are all subscribed; later, what they saw
//! Bounds  opening: 10 s per step of each connection, and it ends with an interrupt
//! Source  none

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use super::{
    connection::Opener,
    envelope::Envelope,
    error::OpenError,
    progress::{LOOK_AGAIN, Progress},
    worker::{Outcome, Worker},
};

/// Who is to receive.
#[derive(Clone, Debug)]
pub struct Audience {
    /// Connections.
    pub connections: usize,
    /// Threads that hold them.
    pub threads: usize,
    /// Of the topic that they receive.
    pub envelope: Envelope,
    /// Whether they subscribe to it.
    pub is_subscribed: bool,
    /// How many publishers they have to tell apart.
    pub publishers: usize,
}

/// Receiving threads.
#[derive(Debug)]
pub struct Crew(Vec<JoinHandle<Outcome>>);

impl Crew {
    /// Starts the threads, and returns when all their connections are open, and subscribed if they are to be.
    ///
    /// # Errors
    /// The first connection that fails, or an interrupt.
    pub fn open(
        opener: &Opener,
        audience: &Audience,
        progress: &Arc<Progress>,
        is_interrupted: &AtomicBool,
    ) -> Result<Self, OpenError> {
        let (opened, openings) = channel();
        let start = |share| {
            start_worker(opener.clone(), share, audience.clone(), Arc::clone(progress), opened.clone())
        };
        let workers: Vec<_> = shares(audience.connections, audience.threads).into_iter().map(start).collect();
        wait_open(&openings, workers.len(), progress, is_interrupted)?;
        Ok(Self(workers))
    }

    /// Waits for the threads, after `Progress::finish`; what they saw.
    #[must_use]
    pub fn join(self) -> Vec<Outcome> {
        self.0.into_iter().filter_map(|worker| worker.join().ok()).collect()
    }
}

/// Waits until so many threads have said that their connections are open.
///
/// # Errors
/// The first connection that fails, or an interrupt; the other threads are told by `progress`.
pub fn wait_open(
    openings: &Receiver<Result<(), OpenError>>,
    threads: usize,
    progress: &Progress,
    is_interrupted: &AtomicBool,
) -> Result<(), OpenError> {
    let mut waiting = threads;
    while waiting > 0 {
        match openings.recv_timeout(LOOK_AGAIN) {
            Ok(Ok(())) => waiting -= 1,
            Ok(Err(error)) => {
                progress.fail(error.to_string());
                return Err(error);
            }
            Err(_) if is_interrupted.load(SeqCst) => {
                progress.fail("interrupted".to_owned());
                return Err(OpenError::Interrupted);
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn start_worker(
    opener: Opener,
    share: Range<usize>,
    audience: Audience,
    progress: Arc<Progress>,
    opened: Sender<Result<(), OpenError>>,
) -> JoinHandle<Outcome> {
    thread::spawn(move || {
        let worker = match Worker::open(&opener, share, &audience, &progress) {
            Ok(worker) => worker,
            Err(error) => {
                // The run ends before anything is published; nobody asks for this outcome.
                drop(opened.send(Err(error)));
                return Outcome::default();
            }
        };
        drop(opened.send(Ok(())));
        worker.run()
    })
}

/// `count` numbers in `parts` ranges of nearly equal length.
#[must_use]
pub fn shares(count: usize, parts: usize) -> Vec<Range<usize>> {
    (0..parts).map(|part| count * part / parts..count * (part + 1) / parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_each_number_once() {
        for (count, parts) in [(10, 3), (3, 3), (1000, 7), (1, 1)] {
            let numbers: Vec<usize> = shares(count, parts).into_iter().flatten().collect();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        }
    }
}
