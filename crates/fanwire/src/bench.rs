//! Doors for benchmarks: the engine's inner loops without sockets.
//!
//! In      sizes
//! Out     one operation per call, to be timed by whoever calls
//! Bounds  none; nothing here is part of a server
//! Source  docs/architecture.md; docs/benchmarks.md for the figures

use std::{collections::VecDeque, io::IoSlice, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use ahash::RandomState;
use rustix::io::Errno;

use crate::{
    codec::Json,
    driver::{Driver, DriverCounts, DriverMemory, Event, Key, PageRange, Send, Wake, socket},
    frame::{Frame, Payload},
    options::Options,
    shard::{
        FanOut,
        frames::FrameTable,
        inbox::Inbox,
        mesh::{MeshEnd, MeshShared},
        pace::Pace,
        parking::Parking,
        queue::{BlockPool, Queue},
        timer::Wheel,
        topic_counts::TopicCounts,
        topics::TopicTable,
    },
    shared::Shared,
};

/// One topic with N subscribers, and sockets that take everything at no cost.
pub struct FanOutBench {
    fan_out: FanOut<NullDriver>,
    frame: Frame,
}

impl FanOutBench {
    /// `subscribers` sessions on one topic, and a frame of `payload_bytes` for it.
    pub fn new(subscribers: u32, payload_bytes: usize) -> Self {
        Self::of((0..subscribers).collect(), payload_bytes)
    }

    /// The same after a day of joins and leaves: the topic has its subscribers in no order. The same one each time.
    pub fn shuffled(subscribers: u32, payload_bytes: usize) -> Self {
        let mut order: Vec<u32> = (0..subscribers).collect();
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        order.sort_by_cached_key(|slot| hasher.hash_one(slot));
        Self::of(order, payload_bytes)
    }

    fn of(order: Vec<u32>, payload_bytes: usize) -> Self {
        let frame = frame(payload_bytes);
        Self { fan_out: FanOut::new(NullDriver, &Options::default(), frame.topic(), &order), frame }
    }

    /// Publishes the frame; it may wait for others until `queue` or `flush`.
    pub fn publish(&mut self) {
        self.fan_out.publish(self.frame.clone());
    }

    /// Queues what was published for every subscriber.
    pub fn queue(&mut self) {
        self.fan_out.queue();
    }

    /// Sends everything that is queued, without a kernel.
    pub fn flush(&mut self) {
        self.fan_out.flush();
    }
}

/// One session's queue.
pub struct QueueBench {
    queue: Queue,
    pool: BlockPool,
    frames: FrameTable,
    frame: Frame,
}

impl QueueBench {
    /// A queue, and a frame of 128 bytes for it.
    #[expect(clippy::new_without_default, reason = "a benchmark's world has no default")]
    pub fn new() -> Self {
        Self {
            queue: Queue::new(),
            pool: BlockPool::new(),
            frames: FrameTable::new(0),
            frame: frame(PAYLOAD_BYTES),
        }
    }

    /// Pushes `count` handles of one frame, then books them as sent.
    pub fn push_and_send(&mut self, count: u32) {
        let Self { queue, pool, frames, frame } = self;
        let id = frames.insert(frame.clone());
        for _ in 0..count {
            frames.retain(id);
            queue.push(pool, id, frame.len());
        }
        queue.clear(pool, |id| frames.release(id));
        frames.release(id);
    }
}

/// Two shards' ends of a mesh, on one thread.
pub struct MeshBench {
    ends: Vec<MeshEnd<Frame>>,
    frame: Frame,
}

impl MeshBench {
    /// Two ends, both awake.
    #[expect(clippy::new_without_default, reason = "a benchmark's world has no default")]
    pub fn new() -> Self {
        let (_, ends) = MeshShared::build(2, 1_024);
        Self { ends, frame: frame(PAYLOAD_BYTES) }
    }

    /// Pushes one frame from the first shard to the second, and takes it out there.
    pub fn hop(&mut self) {
        let frame = &self.frame;
        self.ends[0].push(0b10, |_| frame.clone());
        let taken = self.ends[1].drain(1, |_, _| true);
        assert_eq!(taken, 1, "what was pushed comes out");
    }
}

/// One thread's end of an inbox and its owner's, on one thread.
pub struct InboxBench {
    inbox: Inbox<Frame>,
    taken: VecDeque<Frame>,
    frame: Frame,
}

impl InboxBench {
    /// An inbox whose owner is awake.
    #[expect(clippy::new_without_default, reason = "a benchmark's world has no default")]
    pub fn new() -> Self {
        let inbox = Inbox::new(16, Parking::new());
        Self { inbox, taken: VecDeque::new(), frame: frame(PAYLOAD_BYTES) }
    }

    /// Reserves a place, pushes one frame, takes it and gives the place back.
    pub fn pass(&mut self) {
        let mut reserved = self.inbox.reserve(1).expect("every place has come back");
        reserved.push(self.frame.clone());
        drop(reserved);
        let count = self.inbox.take(&mut self.taken, 1);
        self.inbox.release(count);
        assert!(self.taken.pop_front().is_some(), "what was pushed comes out");
    }
}

/// The topics of one shard. Another session has each of them all the time, so that none comes or goes.
pub struct TopicsBench {
    table: TopicTable,
    names: Vec<String>,
}

impl TopicsBench {
    /// So many topics.
    pub fn new(topics: u32) -> Self {
        let seeds = [1, 2, 3, 4];
        let mut table = TopicTable::new(seeds, Arc::new(TopicCounts::new(seeds)));
        let names: Vec<String> = (0..topics).map(|number| format!("topic-{number}")).collect();
        for name in &names {
            table.subscribe(0, name);
        }
        Self { table, names }
    }

    /// Subscribes as many sessions as there are topics, each to one.
    pub fn subscribe_all(&mut self) {
        for (slot, name) in (1..).zip(&self.names) {
            self.table.subscribe(slot, name);
        }
    }

    /// Unsubscribes them.
    pub fn unsubscribe_all(&mut self) {
        for (slot, name) in (1..).zip(&self.names) {
            self.table.unsubscribe(slot, name);
        }
    }

    /// Looks for each topic; the subscribers found.
    pub fn look_up_all(&self) -> usize {
        self.names.iter().map(|name| self.table.subscribers(name).len()).sum()
    }
}

/// The timers of idle sessions, which are pinged and then wait again.
pub struct TimersBench {
    wheel: Wheel,
    now_ns: u64,
    fired: Vec<(u32, u32)>,
}

impl TimersBench {
    /// So many sessions, whose pings are spread over the interval.
    pub fn new(sessions: u32) -> Self {
        let mut wheel = Wheel::new(0);
        for slot in 0..sessions {
            wheel.schedule(slot, 0, PING_NS * u64::from(slot) / u64::from(sessions) + 1);
        }
        Self { wheel, now_ns: 0, fired: Vec::new() }
    }

    /// All ticks of one ping interval: each session fires once, and gets its next timer. How many fired.
    pub fn pass_interval(&mut self) -> usize {
        let end_ns = self.now_ns + PING_NS;
        let mut count = 0;
        while self.now_ns < end_ns {
            self.now_ns += TURN_NS;
            let Self { wheel, now_ns, fired } = self;
            wheel.advance(*now_ns, usize::MAX, |slot, stamp| fired.push((slot, stamp)));
            count += fired.len();
            for (slot, stamp) in fired.drain(..) {
                wheel.schedule(slot, stamp, *now_ns + PING_NS);
            }
        }
        count
    }
}

/// What a shard measures of its own work.
pub struct MetersBench {
    pace: Pace,
    shared: Shared,
    /// When the last turn ended.
    now_ns: u64,
    flushed: u64,
}

impl MetersBench {
    /// A shard without sessions.
    #[expect(clippy::new_without_default, reason = "a benchmark's world has no default")]
    pub fn new() -> Self {
        let options = Options::default();
        let (limits, seeds) = (options.limits(1), [1, 2, 3, 4]);
        let shared = Shared::new(options.codec.clone(), limits, seeds, 1, vec![Parking::new()]);
        Self { pace: Pace::default(), shared, now_ns: 0, flushed: 0 }
    }

    /// All that is measured in the shortest turn that has everything: a message is published, to one session, and
    /// sent. The clock is read once, as it is in a turn; the other reading is the driver's and there anyway.
    pub fn turn(&mut self, clock: impl FnOnce() -> u64) {
        let side = &self.shared.shards[0];
        self.pace.note(1, side);
        self.pace.mark(self.now_ns, self.flushed + 1);
        side.meters.queue_depth.add(1, 1);
        self.flushed += 1;
        let now_ns = clock();
        self.pace.end_turn(self.now_ns, now_ns, self.flushed, side);
        self.now_ns = now_ns;
    }
}

/// The drivers' clock.
pub fn clock() -> u64 {
    socket::now_nanoseconds()
}

/// Takes every send whole.
pub(crate) struct NullDriver;

impl Driver for NullDriver {
    type Socket = ();
    type Buffer = Vec<u8>;

    fn now(&self) -> u64 {
        0
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        out.fill(7);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Awake)
    }

    fn describe(&self) -> String {
        "no driver".to_owned()
    }

    fn accept(&mut self, _room: usize) {}

    fn stop_accepting(&mut self) {}

    fn adopt(&mut self, _descriptor: OwnedFd) -> Result<((), SocketAddr), Errno> {
        Err(Errno::NOTSUP)
    }

    fn register(&mut self, _key: Key, _socket: ()) {}

    fn pause(&mut self, _key: Key) {}

    fn resume(&mut self, _key: Key) {}

    fn want_writable(&mut self, _key: Key) {}

    fn send_batch(&mut self, sends: &[Send], parts: &[IoSlice<'_>], results: &mut Vec<Result<usize, Errno>>) {
        results.clear();
        let bytes = |send: &Send| {
            parts[send.parts.start as usize..send.parts.end as usize].iter().map(|part| part.len()).sum()
        };
        results.extend(sends.iter().map(|send| Ok(bytes(send))));
    }

    fn send_now(&mut self, _key: Key, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        Ok(parts.iter().map(|part| part.len()).sum())
    }

    fn write_pages(&mut self, _offset: u64, _bytes: &[u8]) -> Result<(), Errno> {
        Ok(())
    }

    fn send_pages(&mut self, _key: Key, range: PageRange) -> Result<usize, Errno> {
        Ok(range.bytes as usize)
    }

    fn free_pages(&mut self, _range: PageRange) {}

    fn shutdown_write(&mut self, _key: Key) {}

    fn close(&mut self, _key: Key) {}

    fn take(&mut self, _key: Key) {}

    fn poll(&mut self, _wait: Option<u64>) {}

    fn next_event(&mut self) -> Option<Event<Self>> {
        None
    }

    fn recycle(&mut self, _buffer: Vec<u8>) {}

    fn memory(&self) -> DriverMemory {
        DriverMemory::default()
    }

    fn take_counts(&mut self) -> DriverCounts {
        DriverCounts::default()
    }
}

/// Never asleep.
struct Awake;

impl Wake for Awake {
    fn wake(&self) {}
}

fn frame(payload_bytes: usize) -> Frame {
    let payload = vec![b'1'; payload_bytes];
    Frame::encode(&Json, "bench", &Payload::from(&payload), &mut Vec::new()).expect("digits are UTF-8")
}

const PAYLOAD_BYTES: usize = 128;

/// 1,000 turns.
const PING_NS: u64 = 1_000 * TURN_NS;

/// Three ticks of the wheel: 24 s are close to the default interval.
const TURN_NS: u64 = 24_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_door_opens() {
        let mut fan_out = FanOutBench::new(1_000, 128);
        for _ in 0..300 {
            fan_out.publish();
            fan_out.flush();
        }
        QueueBench::new().push_and_send(300);
        MeshBench::new().hop();
        let mut inbox = InboxBench::new();
        (0..100).for_each(|_| inbox.pass());
    }

    #[test]
    fn each_turn_is_measured_whole() {
        let mut meters = MetersBench::new();
        (1..=100).for_each(|now_ns| meters.turn(|| now_ns * 1_000));
        let measured = meters.shared.shards[0].meters.read();
        let counts = measured.iter().map(|(_, distribution)| distribution.count());
        assert_eq!(counts.collect::<Vec<_>>(), [100; 4]);
        assert_eq!(measured.turn.sum(), 100_000);
    }

    #[test]
    fn topics_have_one_subscriber_more_while_all_are_subscribed() {
        let mut topics = TopicsBench::new(100);
        for _ in 0..3 {
            assert_eq!(topics.look_up_all(), 100);
            topics.subscribe_all();
            assert_eq!(topics.look_up_all(), 200);
            topics.unsubscribe_all();
        }
    }

    #[test]
    fn each_idle_session_fires_once_in_an_interval() {
        let mut timers = TimersBench::new(1_000);
        for _ in 0..3 {
            assert_eq!(timers.pass_interval(), 1_000);
        }
    }
}
