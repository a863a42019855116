//! Plans: what happens in a world, in what order, drawn from a seed before anything runs.
//!
//! In      a seed
//! Out     settings and operations; any subset of the operations is a plan as well, so that plans can be shortened
//! Bounds  `OPERATIONS_MAX` operations; `PEERS_MAX` peers; `BURST_MAX` messages of `BYTES_MAX` each
//! Source  none

use std::time::Duration;

use fastrand::Rng;

use crate::settings::{Settings, choose};

/// Everything that a world does not decide itself.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Also the seed of the world's own chance.
    pub seed: u64,
    /// Options and faults.
    pub settings: Settings,
    /// What is done, each followed by so many steps of the world.
    pub operations: Vec<(Operation, u16)>,
}

/// One thing that happens from outside. Peers are named by any number, taken modulo their count.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A new peer.
    Connect {
        /// How it comes in.
        door: Door,
        /// Done in `on_open`.
        on_open: Vec<Act>,
        /// Done in `on_close`.
        on_close: Vec<Act>,
    },
    /// A peer sends a message; the hook does what it says.
    Say {
        /// Who.
        peer: usize,
        /// What the hook does.
        acts: Vec<Act>,
        /// Length of the message's filler.
        bytes: usize,
        /// In so many frames.
        fragments: usize,
    },
    /// A peer says so many messages in a row and ends its direction behind them, also while its queue is full of answers.
    Leave {
        /// Who.
        peer: usize,
        /// What the hook does for each.
        acts: Vec<Act>,
        /// How many.
        count: u8,
    },
    /// A peer does something else.
    Peer(usize, Deed),
    /// A thread that is no shard calls the publisher or a handle.
    Outside(Call),
    /// A parked handshake is decided: the one at this place, modulo their count.
    Decide(usize, Decision),
    /// The next accepts find no descriptor.
    FailAccepts(u32),
    /// Time passes.
    Pass(Duration),
    /// The clock jumps.
    Jump(Duration),
    /// A drain begins, with this deadline.
    Drain(Duration),
}

/// How a peer comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `on_auth` accepts it.
    Accept,
    /// `on_auth` parks it.
    Park,
    /// `on_auth` refuses it.
    Refuse,
    /// `on_auth` panics.
    Panic,
    /// Another HTTP stack has answered it; this shard, modulo their count, adopts it.
    Adopt(usize),
    /// It asks for a plain page.
    Plain,
    /// It asks with POST.
    Post,
    /// It asks for a version of the protocol that nobody speaks.
    OldVersion,
    /// Its head is longer than any limit.
    LongHead,
    /// It is parked, and talks all the while.
    ParkAndTalk,
    /// It asks for a path whose connection is taken over by another program, which answers and ends it.
    TakeOver,
    /// The same, but the other program answers the handshake, reads on, and has the connection adopted.
    HandBack,
    /// It sends what is no HTTP.
    Garbage,
}

/// What a parked handshake's ticket comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Decision {
    Accept,
    Reject,
    Drop,
}

/// What a hook does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Session's methods")]
pub enum Act {
    Subscribe(Topic),
    Unsubscribe(Topic),
    UnsubscribeAll,
    Publish {
        topic: Topic,
        bytes: usize,
        count: u16,
    },
    PublishExceptSelf {
        topic: Topic,
        bytes: usize,
    },
    Broadcast {
        bytes: usize,
    },
    Send {
        bytes: usize,
        count: u16,
    },
    SendTo {
        peer: usize,
        bytes: usize,
    },
    Close(u16),
    /// As a thread would: by the publisher, in the middle of a hook.
    PublishFromOutside {
        topic: Topic,
        bytes: usize,
    },
    Panic,
}

/// What a thread that is no shard calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the methods of Publisher and SessionHandle")]
pub enum Call {
    Publish {
        topic: Topic,
        bytes: usize,
        count: u16,
    },
    PublishExcept {
        peer: usize,
        topic: Topic,
        bytes: usize,
    },
    Broadcast {
        bytes: usize,
    },
    Send {
        peer: usize,
        bytes: usize,
    },
    Subscribe {
        peer: usize,
        topic: Topic,
    },
    /// A subscribe, and a publish on the same topic right behind it.
    SubscribeAndPublish {
        peer: usize,
        topic: Topic,
        bytes: usize,
    },
    Unsubscribe {
        peer: usize,
        topic: Topic,
    },
    Close {
        peer: usize,
        code: u16,
    },
}

/// What a peer does beside sending messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Stops reading.
    Stall,
    /// Does nothing at all: does not read, does not answer.
    FallDeaf,
    /// Reads and answers again.
    Resume,
    /// Sends a ping.
    Ping,
    /// Sends more pings than there is room for answers.
    PingFlood,
    /// Sends a message that is no envelope.
    Nonsense,
    /// Begins the closing handshake.
    Close(u16),
    /// Ends its direction.
    HalfClose,
    /// Breaks the connection.
    Reset,
    /// Closes its socket, whatever there is to read.
    Vanish,
    /// Sends a frame that no peer may send.
    Garbage,
}

/// A topic by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic(pub u8);

impl Topic {
    /// Names of several lengths.
    pub fn name(self) -> String {
        if self.0 % 4 == 3 { format!("a longer topic than {}", self.0) } else { format!("t{}", self.0) }
    }

    /// The topic of a name.
    pub fn of(name: &str) -> Option<Self> {
        (0..TOPICS).map(Self).find(|topic| topic.name() == name)
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let settings = Settings::draw(&mut rng);
        let mut drawing = Drawing { rng, bytes_max: settings.queue_bytes as usize / 2 };
        let count = drawing.rng.usize(OPERATIONS_MIN..=OPERATIONS_MAX);
        let operations = (0..count).map(|index| drawing.operation(index)).collect();
        Self { seed, settings, operations }
    }
}

struct Drawing {
    rng: Rng,
    bytes_max: usize,
}

impl Drawing {
    fn operation(&mut self, index: usize) -> (Operation, u16) {
        let operation = match self.rng.u8(..100) {
            _ if index < PEERS_MIN => self.connect(),
            0..10 => self.connect(),
            10..48 => self.say(),
            48..50 => self.leave(),
            50..62 => Operation::Peer(self.number(), self.deed()),
            62..84 => Operation::Outside(self.call()),
            84..89 => Operation::Decide(self.number(), self.decision()),
            89 => Operation::FailAccepts(self.rng.u32(1..4)),
            90..96 => Operation::Pass(Duration::from_micros(self.rng.u64(1..300_000))),
            // Long enough for pings, and for those who do not answer.
            96 => Operation::Pass(Duration::from_secs(*choose(&mut self.rng, &[1, 4, 10, 40, 100]))),
            97..99 => Operation::Jump(Duration::from_millis(self.rng.u64(100..200_000))),
            _ if index > OPERATIONS_MIN => Operation::Drain(Duration::from_millis(self.rng.u64(0..20_000))),
            _ => self.say(),
        };
        (operation, *choose(&mut self.rng, &[0, 0, 1, 3, 10, 40]))
    }

    fn connect(&mut self) -> Operation {
        let door = match self.rng.u8(..40) {
            0..24 => Door::Accept,
            24..29 => Door::Park,
            29..34 => Door::Adopt(self.number()),
            34 => Door::TakeOver,
            35..37 => Door::HandBack,
            _ => *choose(&mut self.rng, &ODD_DOORS),
        };
        let mut on_open = self.acts(3);
        if self.rng.bool() {
            on_open.insert(0, Act::Subscribe(self.topic()));
        }
        let on_close = if self.rng.bool() { self.acts(2) } else { Vec::new() };
        Operation::Connect { door, on_open, on_close }
    }

    fn say(&mut self) -> Operation {
        let (peer, acts) = (self.number(), self.acts(4));
        let bytes = self.bytes().min(3_000);
        Operation::Say { peer, acts, bytes, fragments: *choose(&mut self.rng, &[1, 1, 1, 2, 5]) }
    }

    fn leave(&mut self) -> Operation {
        let acts = vec![Act::Send { bytes: self.bytes(), count: self.count() }];
        Operation::Leave { peer: self.number(), acts, count: self.rng.u8(2..8) }
    }

    fn acts(&mut self, count_max: usize) -> Vec<Act> {
        (0..self.rng.usize(..=count_max)).map(|_| self.act()).collect()
    }

    fn act(&mut self) -> Act {
        match self.rng.u8(..100) {
            0..25 => Act::Subscribe(self.topic()),
            25..34 => Act::Unsubscribe(self.topic()),
            34..36 => Act::UnsubscribeAll,
            36..60 => Act::Publish { topic: self.topic(), bytes: self.bytes(), count: self.count() },
            60..66 => Act::PublishExceptSelf { topic: self.topic(), bytes: self.bytes() },
            66..72 => Act::Broadcast { bytes: self.bytes() },
            72..82 => Act::Send { bytes: self.bytes(), count: self.count() },
            82..92 => Act::SendTo { peer: self.number(), bytes: self.bytes() },
            92..95 => Act::PublishFromOutside { topic: self.topic(), bytes: self.bytes() },
            95..98 => Act::Close(self.code()),
            _ => Act::Panic,
        }
    }

    fn call(&mut self) -> Call {
        let (peer, topic, bytes) = (self.number(), self.topic(), self.bytes());
        match self.rng.u8(..100) {
            0..35 => Call::Publish { topic, bytes, count: self.count() },
            35..42 => Call::PublishExcept { peer, topic, bytes },
            42..50 => Call::Broadcast { bytes },
            50..65 => Call::Send { peer, bytes },
            65..75 => Call::Subscribe { peer, topic },
            75..85 => Call::SubscribeAndPublish { peer, topic, bytes },
            85..94 => Call::Unsubscribe { peer, topic },
            _ => Call::Close { peer, code: self.code() },
        }
    }

    fn deed(&mut self) -> Deed {
        match self.rng.u8(..100) {
            0..22 => Deed::Stall,
            22..30 => Deed::FallDeaf,
            30..50 => Deed::Resume,
            50..60 => Deed::Ping,
            60..65 => Deed::PingFlood,
            65..70 => Deed::Nonsense,
            70..80 => Deed::Close(self.code()),
            80..85 => Deed::HalfClose,
            85..90 => Deed::Reset,
            90..96 => Deed::Vanish,
            _ => Deed::Garbage,
        }
    }

    fn decision(&mut self) -> Decision {
        *choose(&mut self.rng, &[Decision::Accept, Decision::Accept, Decision::Reject, Decision::Drop])
    }

    fn code(&mut self) -> u16 {
        *choose(&mut self.rng, &[1000, 1001, 3000, 4999])
    }

    fn number(&mut self) -> usize {
        self.rng.usize(..1_000)
    }

    fn topic(&mut self) -> Topic {
        // Some are popular.
        Topic(self.rng.u8(..TOPICS).min(self.rng.u8(..TOPICS)))
    }

    /// Few at a time, or enough to fill queues and rings.
    fn count(&mut self) -> u16 {
        *choose(&mut self.rng, &[1, 1, 1, 2, 5, BURST_MAX])
    }

    fn bytes(&mut self) -> usize {
        let bytes = *choose(&mut self.rng, &[0, 1, 30, 100, 110, 300, 1_000, 5_000, BYTES_MAX]);
        let jitter = self.rng.usize(..8);
        (bytes + jitter).min(self.bytes_max)
    }
}

/// Those that lead nowhere.
const ODD_DOORS: [Door; 8] = [
    Door::Refuse,
    Door::Panic,
    Door::Plain,
    Door::Post,
    Door::OldVersion,
    Door::LongHead,
    Door::ParkAndTalk,
    Door::Garbage,
];

/// So many names.
pub const TOPICS: u8 = 8;

const PEERS_MIN: usize = 4;
const OPERATIONS_MIN: usize = 30;
const OPERATIONS_MAX: usize = 160;
const BURST_MAX: u16 = 40;
const BYTES_MAX: usize = 66_000;
