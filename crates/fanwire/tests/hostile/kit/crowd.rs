//! The healthy: subscribers of the feed who read, on one thread, and judge every message.
//!
//! In      a server, how many, how the feed is paced
//! Out     how far the slowest has come; latencies, if they are recorded
//! Bounds  so many messages under way, or the server's queue (`Pace`); a gap, a double or an end is a panic of the crowd's thread

use std::{
    io::{ErrorKind, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use fanwire_ws::{Budget, Decoder, Event, Opcode, Role, Rules};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    PATIENCE, clock_ns, feed,
    peer::{Peer, frame},
    process::Input,
};

/// How the feed is published: one message in this time ...
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub every: Duration,
    /// ... but never more than so many ahead of the slowest; `None`: whatever the crowd does, and what is late is made
    /// up for.
    pub ahead_max: Option<u64>,
}

impl Pace {
    /// Whether it keeps another message back, with so many under way.
    fn keeps_back(self, ahead: u64) -> bool {
        self.ahead_max.is_some_and(|most| ahead >= most)
    }

    /// When the next message is due, behind one that was due then.
    fn next_ns(self, due_ns: u64) -> u64 {
        let next_ns = due_ns + nanoseconds(self.every);
        if self.ahead_max.is_some() { next_ns.max(clock_ns().saturating_sub(LOOK_NS)) } else { next_ns }
    }
}

pub struct Crowd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Messages that every one of them has got.
    done: AtomicU64,
    /// Messages that the publisher may have published.
    granted: AtomicU64,
    /// Pings that every one of them has got and answered.
    pinged: AtomicU64,
    /// No more is granted.
    is_over: AtomicBool,
    records: AtomicBool,
    latencies_ns: Mutex<Vec<u64>>,
}

impl Crowd {
    /// Takes clients that are subscribed to the feed.
    pub fn start(peers: Vec<Peer>, input: Input, pace: Pace) -> Self {
        let shared = Arc::new(Shared::default());
        let readers = peers.into_iter().map(Reader::new).collect();
        let thread = {
            let shared = shared.clone();
            std::thread::spawn(move || run(readers, &shared, &input, pace))
        };
        Self { shared, thread: Some(thread) }
    }

    /// Messages that all have got.
    pub fn done(&self) -> u64 {
        self.shared.done.load(SeqCst)
    }

    /// Pings that all have got and answered.
    pub fn pinged(&self) -> u64 {
        self.shared.pinged.load(SeqCst)
    }

    /// Fails if somebody missed something.
    #[track_caller]
    pub fn check(&mut self) {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) && !self.shared.is_over.load(SeqCst) {
            self.join();
            panic!("the crowd has ended");
        }
    }

    /// Begins to record latencies, and gives those so far.
    pub fn record(&self) -> Vec<u64> {
        self.shared.records.store(true, SeqCst);
        std::mem::take(&mut self.shared.latencies_ns.lock().unwrap())
    }

    /// Ends the feed; everything that was published must have come. How many messages that were.
    #[track_caller]
    pub fn finish(&mut self) -> u64 {
        self.shared.is_over.store(true, SeqCst);
        self.join();
        let granted = self.shared.granted.load(SeqCst);
        assert_eq!(self.done(), granted, "everybody got everything");
        granted
    }

    #[track_caller]
    fn join(&mut self) {
        let thread = self.thread.take().expect("a crowd ends once");
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

fn run(mut readers: Vec<Reader>, shared: &Shared, input: &Input, pace: Pace) {
    let mut granted = 0;
    let mut due_ns = clock_ns();
    loop {
        let done = readers.iter().map(|reader| reader.next).min().expect("a crowd is not empty");
        shared.done.store(done, SeqCst);
        shared.pinged.store(readers.iter().map(|reader| reader.pings).min().unwrap_or(0), SeqCst);
        let is_over = shared.is_over.load(SeqCst);
        if is_over && done == granted {
            return;
        }
        if !is_over && clock_ns() >= due_ns && !pace.keeps_back(granted - done) {
            granted += 1;
            shared.granted.store(granted, SeqCst);
            input.say(&format!("due {due_ns}"));
            due_ns = pace.next_ns(due_ns);
        }
        let wait_ns =
            if pace.keeps_back(granted - done) { LOOK_NS } else { due_ns.saturating_sub(clock_ns()) };
        // The end is not an event of a socket, so it is looked for now and then.
        read_some(&mut readers, shared, wait_ns.min(LOOK_NS));
        let silent_ns = clock_ns() - readers.iter().map(|reader| reader.heard_ns).min().unwrap_or(0);
        assert!(
            granted == done || silent_ns < nanoseconds(PATIENCE),
            "{done} of {granted} messages came, then nothing for {PATIENCE:?}"
        );
    }
}

/// Reads once from each that has something.
fn read_some(readers: &mut [Reader], shared: &Shared, wait_ns: u64) {
    let wait = Timespec { tv_sec: 0, tv_nsec: i64::try_from(wait_ns).unwrap() };
    let mut polled: Vec<_> =
        readers.iter().map(|reader| PollFd::new(&reader.peer.stream, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&wait)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => panic!("{error}"),
    }
    let ready: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
    drop(polled);
    let mut latencies = shared.records.load(SeqCst).then(Vec::new);
    for (reader, _) in readers.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
        reader.read(latencies.as_mut());
    }
    if let Some(latencies) = latencies {
        shared.latencies_ns.lock().unwrap().extend(latencies);
    }
}

struct Reader {
    peer: Peer,
    decoder: Decoder,
    budget: Budget,
    /// The number that must come next.
    next: u64,
    /// How many it has got and answered.
    pings: u64,
    heard_ns: u64,
}

impl Reader {
    fn new(peer: Peer) -> Self {
        peer.stream.set_nonblocking(true).unwrap();
        let budget = Budget::new(64 << 20);
        Self { peer, decoder: Decoder::new(), budget, next: 0, pings: 0, heard_ns: clock_ns() }
    }

    fn read(&mut self, mut latencies: Option<&mut Vec<u64>>) {
        let mut bytes = [0; 64 << 10];
        let count = match self.peer.stream.read(&mut bytes) {
            Ok(0) => panic!("the server has closed a healthy client after {} messages", self.next),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(error) => panic!("a healthy client broke after {} messages: {error}", self.next),
        };
        let now_ns = clock_ns();
        self.heard_ns = now_ns;
        let mut at = 0;
        loop {
            let (used, event) = self.decoder.decode(&RULES, &mut self.budget, &mut bytes[at..count]);
            at += used;
            match event.expect("the server keeps to the protocol") {
                Event::Partial => return,
                Event::Message { payload, .. } => {
                    let (number, sent_ns) = feed::parse(payload).expect("a message of the feed");
                    assert_eq!(number, self.next, "the feed comes whole and in order");
                    self.next += 1;
                    if let Some(latencies) = &mut latencies {
                        latencies.push(now_ns.saturating_sub(sent_ns));
                    }
                }
                Event::Ping(payload) => {
                    let pong = frame(true, Opcode::Pong, payload);
                    self.peer.stream.write_all(&pong).expect("there is room for a pong");
                    self.pings += 1;
                }
                other => panic!("a healthy client got {other:?}"),
            }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

const RULES: Rules = Rules { role: Role::Client, message_bytes_max: 16 << 20 };

/// How often the crowd looks whether it is over.
const LOOK_NS: u64 = 5_000_000;
