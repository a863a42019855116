//! One attack on one server, beside healthy clients.

use std::{
    fmt,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use super::{
    PATIENCE,
    crowd::{Crowd, Pace},
    feed,
    peer::Peer,
    process::{ServerProcess, Stats},
};

/// An attack, and what the server that it meets may answer with.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// Options of the server as `name=value`, behind `TIGHT`.
    pub options: &'static str,
    /// Healthy subscribers of the feed.
    pub subscribers: usize,
    /// Payload of each message of the feed.
    pub feed_bytes: usize,
    /// Messages of the feed that may be under way.
    pub feed_ahead_max: u64,
    /// The most memory that it may cost: about twice what its terms explain. Each case says which mistake costs more.
    pub allows: fn(&Setup) -> u64,
    /// Counters that must tell of the attack in the end.
    pub tells: &'static [&'static str],
    /// Counters that may tell of it as well; any other that tells of trouble fails the case.
    pub may_tell: &'static [&'static str],
    pub attack: fn(&mut Arena),
}

/// What most cases have in common.
pub const PLAIN: Case = Case {
    name: "",
    options: "",
    subscribers: 30,
    feed_bytes: 100,
    feed_ahead_max: 48,
    // The crowd, a few hundred attackers, what they have under way.
    allows: |_| 1 << 20,
    tells: &[],
    may_tell: &[],
    attack: |_| {},
};

/// What a shard's driver has touched of its receive buffers when all of them were full: io_uring's 256 of 16 KiB, or the
/// one that epoll reads into.
pub fn receive_buffers_bytes(setup: &Setup) -> u64 {
    if setup.driver == "uring" { u64::from(setup.shards) * (4608 << 10) } else { 0 }
}

/// Where a case runs.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub driver: &'static str,
    pub shards: u16,
    /// Arguments with which this program, run again, comes to `serve_if_asked`.
    pub arguments: &'static [&'static str],
    /// Between two messages of the feed.
    pub feed_every: Duration,
    /// The feed waits for nobody, as in life; its queues are as long as they are by default, if the case says nothing.
    pub is_open_loop: bool,
}

/// A server, its healthy clients, and room for attackers.
pub struct Arena {
    pub server: ServerProcess,
    pub crowd: Crowd,
    pub setup: Setup,
    case: Case,
    quiet_descriptors: usize,
    quiet_bytes: u64,
    limit_bytes: u64,
}

/// What a case has cost.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub case: &'static str,
    pub driver: &'static str,
    pub shards: u16,
    /// The most anonymous memory of the server's process beyond what it had before its first client.
    pub peak_bytes: u64,
    /// The smaller of the sum that the server prints and of what the case allows.
    pub bound_bytes: u64,
    /// Messages of the feed that every healthy client got, in order.
    pub feed_messages: u64,
}

impl Case {
    /// Attacks, and judges.
    #[track_caller]
    pub fn run(&self, setup: Setup) -> Report {
        let mut arena = Arena::open(*self, setup);
        (self.attack)(&mut arena);
        let report = arena.close();
        println!("{report}");
        report
    }
}

impl Arena {
    /// A server whose crowd is there.
    pub fn open(case: Case, setup: Setup) -> Self {
        let Setup { driver, shards, arguments, feed_every, is_open_loop } = setup;
        let options = format!("driver={driver} shards={shards} feed_bytes={} {TIGHT}", case.feed_bytes);
        let queue = if is_open_loop { DEFAULT_QUEUE } else { "" };
        // With two shards all that two sessions get lies in shared pages, whatever its length.
        let sharing = if shards == 2 { "page_share_bytes_min=1" } else { "" };
        let options = format!("{options} {queue} {sharing} {}", case.options);
        let server = ServerProcess::start(&options, arguments);
        let quiet_descriptors = server.descriptors();
        let quiet_bytes = server.memory().anonymous;
        let mut peers = Peer::open_many(server.address, case.subscribers);
        peers.iter_mut().for_each(|peer| peer.subscribe(feed::TOPIC));
        let pace = Pace { every: feed_every, ahead_max: (!is_open_loop).then_some(case.feed_ahead_max) };
        let crowd = Crowd::start(peers, server.input(), pace);
        let allowed_bytes = if is_open_loop { u64::MAX } else { (case.allows)(&setup) };
        let limit_bytes = server.bound_bytes.min(allowed_bytes);
        Self { server, crowd, setup, case, quiet_descriptors, quiet_bytes, limit_bytes }
    }

    // --- for attacks ---

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn subscribers(&self) -> usize {
        self.case.subscribers
    }

    /// Open files of the server before its first client came.
    pub fn quiet_descriptors(&self) -> usize {
        self.quiet_descriptors
    }

    /// Waits until the crowd has got so many messages more.
    #[track_caller]
    pub fn await_feed(&mut self, messages: u64) {
        let goal = self.crowd.done() + messages;
        self.until("the crowd is served", |arena| arena.crowd.done() >= goal);
    }

    /// Waits until the crowd has got as many messages more as are due in a second: never less than one.
    #[track_caller]
    pub fn await_second(&mut self) {
        let messages = Duration::from_secs(1).as_nanos() / self.setup.feed_every.as_nanos();
        self.await_feed(u64::try_from(messages).expect("a feed has gaps"));
    }

    /// A client that comes during the attack, and is served.
    #[track_caller]
    pub fn newcomer(&self) -> Peer {
        let mut peer = Peer::open(self.address());
        peer.echo("new here");
        peer
    }

    #[track_caller]
    pub fn stats(&self) -> Stats {
        self.server.stats()
    }

    #[track_caller]
    pub fn until_stats(&mut self, what: &str, is_so: impl Fn(&Stats) -> bool) -> Stats {
        let mut last = None;
        self.until(what, |arena| {
            let stats = arena.stats();
            let is_so = is_so(&stats);
            last = Some(stats);
            is_so
        });
        last.expect("it was looked at")
    }

    #[track_caller]
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            self.crowd.check();
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain until {what}: {:#?}",
                self.stats().non_zero()
            );
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    // --- the judgement ---

    /// After the attack: healthy clients old and new are served, nothing is left, and nothing was silent.
    #[track_caller]
    pub fn close(mut self) -> Report {
        self.await_feed(10);
        drop(self.newcomer());
        let feed_messages = self.crowd.finish();
        self.until_stats("nothing is left", |stats| QUIET.iter().all(|gauge| stats.get(gauge) == 0));
        let quiet = self.quiet_descriptors;
        self.until("no descriptor is left", |arena| arena.server.descriptors() == quiet);
        let stats = self.stats();
        for name in self.case.tells {
            assert!(stats.get(name) > 0, "{name} does not tell: {:#?}", stats.non_zero());
        }
        let known = |name: &str| [ORDINARY, self.case.tells, self.case.may_tell].concat().contains(&name);
        let surprises: Vec<_> = stats.non_zero().into_iter().filter(|(name, _)| !known(name)).collect();
        assert!(surprises.is_empty(), "trouble that the case does not explain: {surprises:?}");
        let report = Report {
            case: self.case.name,
            driver: self.setup.driver,
            shards: self.setup.shards,
            peak_bytes: self.server.memory().peak.saturating_sub(self.quiet_bytes),
            bound_bytes: self.limit_bytes,
            feed_messages,
        };
        assert!(report.peak_bytes <= report.bound_bytes, "memory beyond its bound: {report}");
        self.server.end();
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, driver, shards, feed_messages, .. } = self;
        let [peak, bound] = [self.peak_bytes, self.bound_bytes].map(|bytes| bytes.div_ceil(1 << 10));
        write!(
            f,
            "hostile-case {case:<24} {driver} {shards} peak {peak:>7} KiB bound {bound:>7} KiB feed {feed_messages}"
        )
    }
}

/// Limits so low that passing one of them shows in the memory of the process.
const TIGHT: &str = "sessions_max=6000 handshakes_max=512 queue_size=64 queue_bytes=2097152 \
    frame_bytes_max=8388608 intake_bytes_max=4194304 read_limit=1048576 assembly_bytes_max=8388608 \
    topic_memory_max=4194304";

/// In place of the short queue of `TIGHT`, unless a case says otherwise.
const DEFAULT_QUEUE: &str = "queue_size=256";

/// Gauges that are zero when nobody is there.
const QUIET: &[&str] = &[
    "sessions",
    "handshakes",
    "handshakes_parked",
    "sessions_blocked",
    "topics",
    "topic_bytes",
    "frames_live",
    "frame_bytes_live",
    "page_bytes_live",
    "assembly_bytes",
    "held_bytes",
];

/// Counters that healthy clients alone could raise on a busy machine.
const ORDINARY: &[&str] = &[
    "ticks",
    "system_calls",
    "connections_accepted",
    "sessions_opened",
    "messages_received",
    "message_bytes_received",
    "publishes",
    "publishes_bundled",
    "frames_queued",
    "frames_sent",
    "bytes_sent",
    "sends",
    "sends_blocked",
    "pages_filled",
    "sends_shared",
    "bytes_shared",
    "queues_flushed_full",
    "pings_sent",
    "reads_paused",
    "receive_buffers_exhausted",
    "completions_overflowed",
    "inbox_full",
    "closed_Eof",
];
