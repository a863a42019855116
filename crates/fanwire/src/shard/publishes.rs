//! Publishes: what is published to one topic again and again is queued together.
//!
//! In      publishes, each to a topic of this shard; whatever else is asked of topics and queues
//! Out     queued frames: one id per subscriber for all publishes that followed each other
//! Bounds  `BUNDLE_FRAMES_MAX` frames and `BUNDLE_BYTES_MAX` bytes wait, until anything else is asked for
//! Source  docs/architecture.md
//!
//! Topics and queues lie in here, where nothing can change them past `now`: so a publish that waits is queued before
//! anything happens after it, and nobody can tell that it has waited.

use super::{
    fanout::Receivers,
    frames::{FrameId, FrameTable},
    outbox::{Outbox, Outcome},
    topics::{TopicId, TopicTable},
};
use crate::{driver::Driver, frame::Frame};

/// Topics, queues, and the publishes that wait between them.
pub(crate) struct Publishes {
    topics: TopicTable,
    out: Outbox,
    waiting: Waiting,
    /// Where the next fan-out starts, so that the same sessions are not always last.
    start: usize,
}

/// Topics and queues, and no publish waits.
pub(crate) struct Now<'a> {
    pub(crate) topics: &'a mut TopicTable,
    pub(crate) out: &'a mut Outbox,
}

/// Publishes to one topic, none of them queued yet.
struct Waiting {
    topic: Option<TopicId>,
    except: Option<u32>,
    /// INVARIANT: empty if there is no topic. A reference to each is held here.
    frames: Vec<FrameId>,
    bytes: u32,
}

impl Publishes {
    pub(crate) fn new(topics: TopicTable, out: Outbox) -> Self {
        let waiting = Waiting { topic: None, except: None, frames: Vec::new(), bytes: 0 };
        Self { topics, out, waiting, start: 0 }
    }

    /// All that is done to topics and queues is done to what this gives. Nothing waits: `queue_waiting` was called.
    #[inline]
    pub(crate) fn now<'a, D: Driver>(&'a mut self, driver: &mut D) -> Now<'a> {
        if self.waiting.topic.is_some() {
            if cfg!(feature = "sim") {
                panic!("a publish waits, and something else overtakes it");
            }
            self.queue_waiting(driver);
        }
        Now { topics: &mut self.topics, out: &mut self.out }
    }

    pub(crate) fn topics(&self) -> &TopicTable {
        &self.topics
    }

    /// The queues as they are, without what waits.
    pub(crate) fn look(&self) -> &Outbox {
        &self.out
    }

    #[inline]
    pub(crate) fn has_events(&self) -> bool {
        self.out.has_events()
    }

    pub(crate) fn next_event(&mut self) -> Option<Outcome> {
        self.out.next_event()
    }

    /// The session's socket takes bytes again.
    pub(crate) fn writable(&mut self, slot: u32) {
        self.out.writable(slot);
    }

    /// Bytes and frames that wait to be queued for this session.
    pub(crate) fn waiting_for(&self, slot: u32) -> (u32, u32) {
        let Waiting { topic, except, frames, bytes } = &self.waiting;
        let is_for =
            |topic| *except != Some(slot) && self.topics.has_id(slot, topic) && self.out.is_open(slot);
        if topic.is_some_and(is_for) {
            (*bytes, u32::try_from(frames.len()).expect("few frames wait"))
        } else {
            (0, 0)
        }
    }

    /// As [`Outbox::admit`].
    pub(crate) fn admit<D: Driver>(&mut self, driver: &mut D, frame: Frame) -> Option<FrameId> {
        if self.out.lacks_room(FrameTable::bytes_of(&frame)) {
            self.queue_waiting(driver);
        }
        self.out.admit(driver, frame)
    }

    /// Queues a frame for the subscribers of `topic`, now or together with those that follow. Takes the caller's
    /// reference. For how many sessions that is at most.
    pub(crate) fn publish<D: Driver>(
        &mut self,
        driver: &mut D,
        topic: TopicId,
        id: FrameId,
        except: Option<u32>,
    ) -> usize {
        let bytes = self.out.frames.len(id);
        if !self.follows(topic, bytes, except) {
            self.queue_waiting(driver);
        }
        let waiting = &mut self.waiting;
        (waiting.topic, waiting.except) = (Some(topic), except);
        waiting.frames.push(id);
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        let count = self.topics.subscribers_of(topic).len();
        if self.out.frames.pages.is_alone(bytes) {
            self.queue_waiting(driver);
        }
        count
    }

    /// Whether a publish can wait together with those that do.
    fn follows(&self, topic: TopicId, bytes: u32, except: Option<u32>) -> bool {
        let waiting = &self.waiting;
        (waiting.topic, waiting.except) == (Some(topic), except)
            && waiting.frames.len() < BUNDLE_FRAMES_MAX
            && waiting.bytes.saturating_add(bytes) <= BUNDLE_BYTES_MAX
            // Such a frame has pages of its own.
            && !self.out.frames.pages.is_alone(bytes)
    }

    /// Queues what waits.
    #[inline]
    pub(crate) fn queue_waiting<D: Driver>(&mut self, driver: &mut D) {
        if let Some(topic) = self.waiting.topic.take() {
            self.queue_waiting_for(driver, topic);
        }
    }

    #[inline(never)]
    fn queue_waiting_for<D: Driver>(&mut self, driver: &mut D, topic: TopicId) {
        let subscribers = self.topics.subscribers_of(topic);
        let start = self.start % subscribers.len().max(1);
        self.start = self.start.wrapping_add(START_STEP);
        let to = Receivers { subscribers, start, except: self.waiting.except };
        let count = self.out.deliver_in_order(driver, &self.waiting.frames, &to);
        self.out.counters().frames_queued.add(count);
        self.waiting.frames.clear();
        self.waiting.bytes = 0;
    }
}

impl Outbox {
    /// Queues frames for the same receivers, in this order. Gives the caller's references back. How many were queued.
    pub(super) fn deliver_in_order<D: Driver>(
        &mut self,
        driver: &mut D,
        frames: &[FrameId],
        to: &Receivers<'_>,
    ) -> u64 {
        let deliveries = frames.len() * to.subscribers.len();
        let is_worth_it = frames.len() > 1 && deliveries >= BUNDLE_DELIVERIES_MIN;
        if is_worth_it && !self.lacks_room(FrameTable::bytes_of_bundle(frames.len())) {
            let bundle = self.frames.bundle(frames);
            self.apart.clear();
            self.counters().publishes_bundled.add(frames.len() as u64);
            return self.deliver_to_all(driver, bundle, to);
        }
        frames.iter().map(|&id| self.deliver_to_all(driver, id, to)).sum()
    }

    /// Queues a bundle frame by frame for one session that has no room for all of it at once.
    #[cold]
    #[inline(never)]
    pub(super) fn deliver_apart<D: Driver>(&mut self, driver: &mut D, slot: u32, bundle: FrameId) -> u32 {
        let mut apart = std::mem::take(&mut self.apart);
        if apart.is_empty() {
            apart.extend(self.frames.frames_of(&bundle).iter().map(|&id| self.memo(id)));
        }
        let count = apart.iter_mut().map(|memo| self.deliver(driver, slot, memo)).sum();
        self.apart = apart;
        count
    }

    /// Has a queue hold the frames of its bundles instead of these.
    pub(super) fn take_apart(&mut self, slot: u32) {
        let (queue, frames, pool) = (&mut self.queues[slot as usize], &mut self.frames, &mut self.pool);
        if !queue.has_bundles() {
            return;
        }
        let ids: Vec<FrameId> = queue.iter(pool).collect();
        let apart: Vec<FrameId> = ids.iter().flat_map(|id| frames.frames_of(id)).copied().collect();
        apart.iter().for_each(|&id| frames.retain(id));
        ids.iter().for_each(|&id| frames.release(id));
        queue.take_apart(pool, &apart, |id| frames.size(id), |id| self.done.push(id));
        self.done.drain(..).for_each(|id| frames.release(id));
    }
}

/// Frames of a bundle: as many as a queue has places by default.
const BUNDLE_FRAMES_MAX: usize = 256;

/// As much as leaves in one send.
const BUNDLE_BYTES_MAX: u32 = 256 * 1024;

/// Instructions from publish to flush, bundled and apart: 2,299 and 2,182 of two frames for one session, 3,070 and 3,104 for
/// two, 2,479 and 2,688 of three for one.
const BUNDLE_DELIVERIES_MIN: usize = 3;

/// A fan-out starts so much further than the last one: neighbours stay together, and nobody is always last.
const START_STEP: usize = 257;
