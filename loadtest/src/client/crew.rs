//! Crews: the receiving threads of a run, each with its share of the subscribers.
//!
//! In      an opener, connection numbers, how many threads
//! Out     threads whose connections are all subscribed; what they hear; at the end, what they saw
//! Bounds  opening: 10 s per step of each connection, and it ends with an interrupt; `ANSWER_WAIT` per answer
//! Source  none

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    audience::Audience,
    connection::Opener,
    error::OpenError,
    hearing::{ANSWER_WAIT, Hearing},
    judge::Heard,
    progress::{LOOK_AGAIN, Progress},
    remote::Remote,
    talk::Talk,
    worker::{Order, Outcome, Spoken, Worker},
};

/// Receiving threads.
#[derive(Debug)]
pub struct Crew {
    members: Vec<Member>,
    hearing: Hearing,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Member {
    connections: usize,
    orders: Sender<Order>,
    thread: JoinHandle<Outcome>,
    process: Option<u32>,
}

impl Crew {
    /// Starts the threads, or the processes with theirs, and returns when all their connections are open, and
    /// subscribed if they are to be.
    ///
    /// # Errors
    /// The first connection that fails, or an interrupt.
    pub fn open(
        opener: &Opener,
        audience: &Arc<Audience>,
        progress: &Arc<Progress>,
        is_interrupted: &AtomicBool,
    ) -> Result<Self, OpenError> {
        if audience.processes <= 1 {
            return Self::open_share(opener, audience, 0..audience.connections, progress, is_interrupted);
        }
        let shares = shares(audience.connections, audience.processes);
        Self::start(shares, progress, is_interrupted, |share, opened| {
            let (connections, (orders, todo)) = (share.len(), channel());
            let threads = audience.threads.div_ceil(audience.processes).min(connections);
            let remote = Remote::start(opener.address(), share, threads, audience, progress, opened)
                .map_err(OpenError::Socket)?;
            let process = Some(remote.id());
            let thread = thread::spawn(move || remote.run(&todo));
            Ok(Member { connections, orders, thread, process })
        })
    }

    /// The same for some of the connections, in threads of this process.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_share(
        opener: &Opener,
        audience: &Arc<Audience>,
        numbers: Range<usize>,
        progress: &Arc<Progress>,
        is_interrupted: &AtomicBool,
    ) -> Result<Self, OpenError> {
        let of_all = |share: Range<usize>| numbers.start + share.start..numbers.start + share.end;
        let shares = shares(numbers.len(), audience.threads).into_iter().map(of_all).collect();
        Self::start(shares, progress, is_interrupted, |share, opened| {
            let ((orders, todo), connections) = (channel(), share.len());
            let (opener, audience, progress) = (opener.clone(), Arc::clone(audience), Arc::clone(progress));
            let thread = start_worker(opener, share, audience, progress, opened, todo);
            Ok(Member { connections, orders, thread, process: None })
        })
    }

    fn start(
        shares: Vec<Range<usize>>,
        progress: &Arc<Progress>,
        is_interrupted: &AtomicBool,
        mut start: impl FnMut(Range<usize>, Sender<Result<(), OpenError>>) -> Result<Member, OpenError>,
    ) -> Result<Self, OpenError> {
        let (opened, openings) = channel();
        progress.together().expect(shares.iter().filter(|share| !share.is_empty()).count());
        let members: Vec<_> =
            shares.into_iter().map(|share| start(share, opened.clone())).collect::<Result<_, _>>()?;
        wait_open(&openings, members.len(), progress, is_interrupted)?;
        Ok(Self { members, hearing: Hearing::default(), progress: Arc::clone(progress) })
    }

    /// The processes that hold its connections, if they are not this one.
    pub fn processes(&self) -> impl Iterator<Item = u32> {
        self.members.iter().filter_map(|member| member.process)
    }

    /// Only messages that are meant to leave from `ns` on are in the figures; those before are checked. In
    /// other processes from the next `recent` or `phase` on.
    pub fn measure_from(&self, ns: u64) {
        self.progress.measure_from(ns);
        self.order(|_| Order::MeasureFrom(ns));
    }

    /// Whether the next message waits for the last one.
    pub fn set_closed(&self, is_closed: bool) {
        self.order(|_| Order::Closed(is_closed));
    }

    /// What was heard since this was asked last, at most `LOOK_AGAIN` ago.
    #[must_use]
    pub fn recent(&self) -> Heard {
        self.hearing.recent(|answer| self.ask(answer))
    }

    /// What was heard since a phase ended last.
    #[must_use]
    pub fn phase(&self) -> Heard {
        self.end_phase().1
    }

    /// What was heard since `recent` was asked last, and what since a phase ended last.
    #[must_use]
    pub fn end_phase(&self) -> (Heard, Heard) {
        self.hearing.end_phase(|answer| self.ask(answer))
    }

    /// From here on so many subscribers, the same share of each thread's, read so many bytes a second; 0: none.
    pub fn make_slow(&self, subscribers: usize, bytes_per_s: u64) {
        let total: usize = self.members.iter().map(|member| member.connections).sum();
        let (mut before, mut slow_before) = (0, 0);
        self.order(|member| {
            before += member.connections;
            // Rounded where the shares end, so that the sum is exact.
            let slow = subscribers * before / total.max(1);
            let subscribers = slow - slow_before;
            slow_before = slow;
            Order::Slow { subscribers, bytes_per_s }
        });
    }

    /// All connections send from now on, each thread's in turn.
    pub fn talk(&self, talk: Talk) {
        let total: usize = self.members.iter().map(|member| member.connections).sum();
        self.order(|member| {
            Order::Talk(Talk { per_s: talk.per_s * member.connections as f64 / total as f64, ..talk })
        });
    }

    /// Nothing becomes due from `over_ns` on, and no connection sends any more once all that was due has
    /// left, at the latest after `overtime`. How much each has sent, by number; how much was due and was not
    /// sent.
    #[must_use]
    pub fn quiet(&self, over_ns: u64, overtime: Duration) -> (Vec<u64>, u64) {
        let end = Instant::now() + overtime;
        while Instant::now() < end && !self.progress.is_failed() && self.spoken(over_ns, false).unsent > 0 {
            thread::park_timeout(LOOK_AGAIN);
        }
        let spoken = self.spoken(over_ns, true);
        let mut sent = vec![0; self.members.iter().map(|member| member.connections).sum()];
        for (number, count) in spoken.sent {
            if let Some(sent) = sent.get_mut(number as usize) {
                *sent = count;
            }
        }
        (sent, spoken.unsent)
    }

    /// Nothing becomes due from `over_ns` on; what was sent so far, and what was not.
    #[must_use]
    pub fn spoken(&self, over_ns: u64, forgets: bool) -> Spoken {
        let (answer, answers) = channel();
        self.order(|_| Order::Quiet { over_ns, forgets, answer: answer.clone() });
        drop(answer);
        let mut all = Spoken::default();
        while let Ok(spoken) = answers.recv_timeout(ANSWER_WAIT) {
            all.sent.extend(spoken.sent);
            all.unsent += spoken.unsent;
        }
        all
    }

    /// Ends the threads, which are told how much was published by stream; what they saw.
    #[must_use]
    pub fn finish(self, published: Vec<u64>) -> Outcome {
        let published: Arc<[u64]> = published.into();
        self.order(|_| Order::Finish(Arc::clone(&published)));
        let outcomes = self.members.into_iter().filter_map(|member| member.thread.join().ok());
        let told = Outcome { given_up: self.progress.together().given_up(), ..Outcome::default() };
        outcomes.fold(told, Outcome::with)
    }

    fn ask(&self, answer: &Sender<Heard>) {
        self.order(|_| Order::Tell(answer.clone()));
        // What the last of several processes has completed is known here alone.
        let last_ns = self.progress.take_heard_complete();
        if !last_ns.is_empty() {
            drop(answer.send(Heard { last_ns, ..Heard::default() }));
        }
    }

    fn order(&self, mut order: impl FnMut(&Member) -> Order) {
        for member in &self.members {
            // Only a panic ends a thread early; its message stands above.
            let _ = member.orders.send(order(member));
        }
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
    audience: Arc<Audience>,
    progress: Arc<Progress>,
    opened: Sender<Result<(), OpenError>>,
    orders: Receiver<Order>,
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
        worker.run(&orders)
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
