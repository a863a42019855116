//! The healthy clients of every case: readers that check each number they get, and publishers that know which of
//! their messages were accepted.
//!
//! In      a server's address
//! Out     how far everybody is; at the end, what each reader saw
//! Bounds  one thread for each client; a publisher is at most `WINDOW` messages ahead of the slowest reader, and then
//!         no ring between shards is ever full: what is published is accepted
//! Source  docs/protocol.md: a pong says that everything before it has been handled

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    client::{Client, Received},
    wait,
};

/// Readers of one topic and the publishers on it.
pub(crate) struct Crowd {
    readers: Vec<JoinHandle<Story>>,
    publishers: Vec<JoinHandle<()>>,
    /// By reader: the last number that it got from each publisher, plus one.
    seen: Arc<Vec<Vec<AtomicU64>>>,
    /// By reader: pings that it got and answered.
    pings: Arc<Vec<AtomicU64>>,
    /// By publisher: how many of its messages were accepted for sure.
    accepted: Arc<Vec<AtomicU64>>,
    /// Publishers are to end.
    stop: Arc<AtomicBool>,
}

/// What a reader saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Story {
    /// From each publisher: this many messages, in order and without a gap.
    pub(crate) seen: Vec<u64>,
    pub(crate) end: Received,
}

impl Crowd {
    /// Publishers that leave the machine time for the rest of a test. Everybody is connected and subscribed when it
    /// returns.
    pub(crate) fn gather(address: SocketAddr, readers: usize, publishers: usize) -> Self {
        Self::gather_paced(address, readers, publishers, PAUSE)
    }

    /// Publishers that are as fast as the slowest reader.
    pub(crate) fn gather_busy(address: SocketAddr, readers: usize, publishers: usize) -> Self {
        Self::gather_paced(address, readers, publishers, Duration::ZERO)
    }

    fn gather_paced(address: SocketAddr, readers: usize, publishers: usize, pause: Duration) -> Self {
        let counters = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        let seen = Arc::new((0..readers).map(|_| counters(publishers)).collect::<Vec<_>>());
        let (pings, accepted) = (Arc::new(counters(readers)), Arc::new(counters(publishers)));
        let stop = Arc::new(AtomicBool::new(false));
        let readers = (0..readers).map(|reader| {
            let mut client = Client::connect(address);
            client.subscribe(TOPIC);
            let (seen, pings) = (seen.clone(), pings.clone());
            thread::spawn(move || read(client, &seen[reader], &pings[reader]))
        });
        let readers = readers.collect();
        let publishers = (0..publishers).map(|publisher| {
            let client = Client::connect(address);
            let (seen, accepted, stop) = (seen.clone(), accepted.clone(), stop.clone());
            let is_ahead = move |number| {
                let slowest = seen.iter().map(|seen| seen[publisher].load(SeqCst)).min();
                number > slowest.unwrap_or(0) + WINDOW
            };
            thread::spawn(move || publish(client, publisher, &accepted[publisher], is_ahead, pause, &stop))
        });
        let publishers = publishers.collect();
        Self { readers, publishers, seen, pings, accepted, stop }
    }

    /// What has been accepted of each publisher.
    pub(crate) fn accepted(&self) -> Vec<u64> {
        self.accepted.iter().map(|accepted| accepted.load(SeqCst)).collect()
    }

    /// Waits until every publisher has had `more` messages accepted, and every reader has all of them.
    pub(crate) fn flow(&self, more: u64) {
        let goals: Vec<u64> = self.accepted().iter().map(|accepted| accepted + more).collect();
        wait("publishers go on", || self.accepted().iter().zip(&goals).all(|(now, goal)| now >= goal));
        wait("everybody has everything", || {
            let has_all =
                |seen: &Vec<AtomicU64>| seen.iter().zip(&goals).all(|(n, goal)| n.load(SeqCst) >= *goal);
            self.seen.iter().all(has_all)
        });
    }

    /// Waits until every reader has answered `more` pings.
    pub(crate) fn answer_pings(&self, more: u64) {
        let goals: Vec<u64> = self.pings.iter().map(|pings| pings.load(SeqCst) + more).collect();
        wait("pings are answered", || {
            self.pings.iter().zip(&goals).all(|(now, goal)| now.load(SeqCst) >= *goal)
        });
    }

    /// Ends the publishers; the readers must get all that was accepted, and stay open.
    pub(crate) fn settle(&mut self) {
        self.stop.store(true, SeqCst);
        self.publishers.drain(..).for_each(|thread| thread.join().unwrap());
        self.flow(0);
        assert!(self.readers.iter().all(|reader| !reader.is_finished()), "no healthy client was closed");
    }

    /// Waits until the server has ended every connection.
    pub(crate) fn stories(mut self) -> Vec<Story> {
        self.publishers.drain(..).for_each(|thread| thread.join().unwrap());
        self.readers.drain(..).map(|thread| thread.join().unwrap()).collect()
    }
}

fn read(mut client: Client, seen: &[AtomicU64], pings: &AtomicU64) -> Story {
    let end = loop {
        match client.receive() {
            Received::Text(text) => {
                let (publisher, number) = parse(&text);
                let expected = seen[publisher].fetch_add(1, SeqCst);
                assert_eq!(number, expected, "the next message of publisher {publisher}");
            }
            Received::Ping => drop(pings.fetch_add(1, SeqCst)),
            end => break end,
        }
    };
    Story { seen: seen.iter().map(|seen| seen.load(SeqCst)).collect(), end }
}

/// Publishes until it is told to stop, or the server ends the session.
fn publish(
    mut client: Client,
    publisher: usize,
    accepted: &AtomicU64,
    is_ahead: impl Fn(u64) -> bool,
    pause: Duration,
    stop: &AtomicBool,
) {
    let mut number = 0;
    while !stop.load(SeqCst) {
        let burst = if is_ahead(number) { 0 } else { BURST };
        for _ in 0..burst {
            let data = format!(r#"{{"topic":"{TOPIC}","data":[{publisher},{number},"{FILLER}"]}}"#);
            if client.try_send(&format!(r#"{{"topic":"publish","data":{data}}}"#)).is_err() {
                return;
            }
            number += 1;
        }
        // The answer tells as well whether the session still stands.
        if client.try_send(r#"{"topic":"ping"}"#).is_err() {
            return;
        }
        match client.receive_more() {
            Received::Text(text) => assert_eq!(text, r#"{"topic":"pong"}"#),
            _ => return,
        }
        accepted.store(number, SeqCst);
        thread::park_timeout(if burst == 0 { PAUSE } else { pause });
    }
}

/// `{"topic":"crowd","data":[PUBLISHER,NUMBER,FILLER]}`.
fn parse(text: &str) -> (usize, u64) {
    let (_, data) = text.split_once(r#""data":["#).unwrap_or_else(|| panic!("{text}"));
    let mut fields = data.split(',');
    let publisher = fields.next().and_then(|field| field.parse().ok());
    let number = fields.next().and_then(|field| field.parse().ok());
    (publisher.expect("a publisher"), number.expect("a number"))
}

pub(crate) const TOPIC: &str = "crowd";

const BURST: u64 = 32;

const WINDOW: u64 = 256;

const PAUSE: Duration = Duration::from_millis(10);

const FILLER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
