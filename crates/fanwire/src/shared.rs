//! What all shards and all threads of one server see: the way into each shard, states, counters.
//!
//! In      calls from any thread
//! Out     commands in the inboxes of the shards they concern, or a refusal with nothing done
//! Bounds  each inbox by its credits, ticket answers by `handshakes_max`, the rest by the number of shards
//! Source  docs/architecture.md

use std::{
    any::Any,
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    close::CloseKind,
    codec::Codec,
    distribution::Meters,
    driver::Key,
    error::{PublishError, SendError, SubscribeError},
    frame::{Frame, Payload},
    shard::{
        greeting::Listeners,
        handles::HandleStates,
        inbox::Inbox,
        interest::{Interest, PendingSubscribe, TopicHasher},
        mesh::Full,
        parking::Parking,
        topic_counts::TopicCounts,
    },
    stats::{Counters, ShardStats, Stats},
    sync::{
        Mutex,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

/// One server's common ground.
pub(crate) struct Shared {
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) limits: Limits,
    pub(crate) listeners: Listeners,
    pub(crate) interest: Arc<Interest>,
    pub(crate) hasher: TopicHasher,
    pub(crate) topic_counts: Arc<TopicCounts>,
    pub(crate) shards: Box<[ShardSide]>,
    /// What threads that are no shard count.
    pub(crate) outside: Counters,
    /// Places for sessions that are taken, over all shards.
    sessions_taken: AtomicU32,
    /// Sockets of all shards, sessions or not.
    connections: AtomicU32,
    phase: AtomicU8,
    drain: Mutex<Duration>,
}

/// What other threads see of one shard.
pub(crate) struct ShardSide {
    pub(crate) inbox: Inbox<Command>,
    pub(crate) parking: Arc<Parking>,
    pub(crate) handles: HandleStates,
    pub(crate) counters: Counters,
    pub(crate) meters: Meters,
    /// Bytes of the frames that wait in this shard's inbox and in the rings to it.
    intake_bytes: AtomicU64,
}

impl ShardSide {
    /// Drops what nobody will take in any more: the shard has ended.
    pub(crate) fn discard_commands(&self) {
        let mut left = VecDeque::new();
        let taken = self.inbox.take(&mut left, usize::MAX);
        self.inbox.take_free(&mut left, usize::MAX);
        self.give_intake_back(left.drain(..).map(|command| command.frame_bytes()).sum());
        self.inbox.release(taken);
    }

    pub(crate) fn intake_bytes(&self) -> u64 {
        self.intake_bytes.load(Ordering::Relaxed)
    }

    /// What waits for a shard others know, also when it does not come to look.
    fn stats(&self) -> ShardStats {
        let mut stats = self.counters.read();
        stats.inbox_waiting = self.inbox.waiting() as u64;
        stats.intake_bytes = self.intake_bytes();
        stats
    }

    /// A frame has been taken in.
    pub(crate) fn give_intake_back(&self, bytes: u64) {
        self.intake_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Limits that callers on any thread check before anything is queued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) queue_bytes: u32,
    pub(crate) topic_bytes_max: u32,
    pub(crate) intake_bytes_max: u64,
    pub(crate) sessions_max: u32,
    /// Sockets for which the limit of open files has room.
    pub(crate) connections_max: u32,
}

/// What one shard, or a thread that is no shard, asks of another shard.
pub(crate) enum Command {
    Publish {
        frame: Frame,
        except: Option<SessionRef>,
    },
    Broadcast {
        frame: Frame,
    },
    Send {
        key: Key,
        frame: Frame,
    },
    Subscribe {
        key: Key,
        topic: Box<str>,
        pending: PendingSubscribe,
    },
    Unsubscribe {
        key: Key,
        topic: Box<str>,
    },
    Close {
        key: Key,
        code: u16,
        reason: Box<str>,
    },
    /// `auth` is an `Auth<H::Value>`.
    Answer {
        key: Key,
        auth: Box<dyn Any + Send>,
    },
    /// `value` is an `H::Value`; `received` was read behind the request head; `has_place`: the session's place is
    /// taken.
    Adopt {
        descriptor: OwnedFd,
        has_place: bool,
        value: Box<dyn Any + Send>,
        received: Vec<u8>,
    },
    /// `visit` is a `Visit<H::Value>`.
    Visit {
        visit: Box<dyn Any + Send>,
    },
}

impl Command {
    /// Bytes of the frame it carries.
    pub(crate) fn frame_bytes(&self) -> u64 {
        match self {
            Self::Publish { frame, .. } | Self::Broadcast { frame } | Self::Send { frame, .. } => {
                frame.len().into()
            }
            _ => 0,
        }
    }
}

/// A session of any shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionRef {
    pub(crate) shard: u16,
    pub(crate) key: Key,
}

/// How far the server is with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Running = 0,
    /// No new connections; sessions are closed at a steady pace until the deadline.
    Draining = 1,
    /// Everything is cut at once.
    Stopping = 2,
}

impl Shared {
    pub(crate) fn new(
        codec: Arc<dyn Codec>,
        limits: Limits,
        seeds: [u64; 4],
        inbox_size: usize,
        parkings: Vec<Arc<Parking>>,
    ) -> Self {
        let side = |parking: Arc<Parking>| ShardSide {
            inbox: Inbox::new(inbox_size, parking.clone()),
            parking,
            handles: HandleStates::new(),
            counters: Counters::default(),
            meters: Meters::new(),
            intake_bytes: AtomicU64::new(0),
        };
        Self {
            codec,
            limits,
            listeners: Listeners::new([]),
            interest: Interest::new(parkings.len()),
            hasher: TopicHasher::new(seeds),
            topic_counts: Arc::new(TopicCounts::new(seeds)),
            shards: parkings.into_iter().map(side).collect(),
            outside: Counters::default(),
            sessions_taken: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            phase: AtomicU8::new(Phase::Running as u8),
            drain: Mutex::new(Duration::ZERO),
        }
    }

    /// With listeners other than one that expects nothing in front of a request.
    pub(crate) fn with_listeners(self, listeners: Listeners) -> Self {
        Self { listeners, ..self }
    }

    // --- frames ---

    /// Encodes a message for the subscribers of a topic.
    pub(crate) fn encode_publish(
        &self,
        topic: &str,
        payload: &Payload<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<Frame, PublishError> {
        if topic.len() > self.limits.topic_bytes_max as usize {
            return Err(PublishError::TopicTooLong);
        }
        self.encode(topic, payload, scratch)
    }

    /// Encodes a message after checking what no shard could carry. For one session the topic is a label that the
    /// program chose, and only the frame's length matters.
    pub(crate) fn encode(
        &self,
        topic: &str,
        payload: &Payload<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<Frame, PublishError> {
        if topic.len() + payload.as_bytes().len() > self.limits.queue_bytes as usize {
            return Err(PublishError::PayloadTooLarge);
        }
        let frame = Frame::encode(&*self.codec, topic, payload, scratch)?;
        if frame.len() > self.limits.queue_bytes {
            return Err(PublishError::PayloadTooLarge);
        }
        Ok(frame)
    }

    // --- from threads that are no shard ---

    /// Hands a frame to every shard that may have a subscriber: to all of them or to none.
    pub(crate) fn publish(&self, frame: &Frame, except: Option<SessionRef>) -> Result<(), PublishError> {
        let mask = self.interest.interested(self.hasher.hash(frame.topic()));
        self.post_to_all(mask, frame, || Command::Publish { frame: frame.clone(), except })
    }

    pub(crate) fn broadcast(&self, frame: &Frame) -> Result<(), PublishError> {
        let mask = self.interest.all_shards();
        self.post_to_all(mask, frame, || Command::Broadcast { frame: frame.clone() })
    }

    pub(crate) fn send(&self, to: SessionRef, frame: Frame) -> Result<(), SendError> {
        self.check_open(to).ok_or(SendError::Closed)?;
        self.post(to, Command::Send { key: to.key, frame }).map_err(|_| SendError::Full)
    }

    pub(crate) fn subscribe(&self, to: SessionRef, topic: &str) -> Result<(), SubscribeError> {
        if topic.len() > self.limits.topic_bytes_max as usize {
            return Err(SubscribeError::TopicTooLong);
        }
        self.check_open(to).ok_or(SubscribeError::Closed)?;
        // Until the owner has set its bit, publishers must take every shard for interested.
        let pending = self.interest.begin_remote_subscribe();
        let command = Command::Subscribe { key: to.key, topic: topic.into(), pending };
        self.post(to, command).map_err(|_| SubscribeError::Full)
    }

    pub(crate) fn unsubscribe(&self, to: SessionRef, topic: &str) -> Result<(), SendError> {
        self.check_open(to).ok_or(SendError::Closed)?;
        self.post(to, Command::Unsubscribe { key: to.key, topic: topic.into() }).map_err(|_| SendError::Full)
    }

    pub(crate) fn close(&self, to: SessionRef, code: u16, reason: &str) -> Result<(), SendError> {
        self.check_open(to).ok_or(SendError::Closed)?;
        let command = Command::Close { key: to.key, code, reason: reason.into() };
        self.post(to, command).map_err(|_| SendError::Full)
    }

    /// A ticket's answer is never refused: there are at most as many as parked handshakes. A drain refuses those
    /// itself, and nobody may be left to take the answer's value in.
    pub(crate) fn answer(&self, shard: usize, command: Command) {
        if self.phase() != Phase::Running {
            return;
        }
        self.shards[shard].inbox.push_free(command);
    }

    /// Hands a command to a shard that nobody but this command is for. One that is bounded elsewhere, and has no bytes, is
    /// never refused.
    pub(crate) fn hand_over(
        &self,
        shard: usize,
        command: Command,
        is_bounded: bool,
    ) -> Result<(), SendError> {
        let to = SessionRef {
            shard: u16::try_from(shard).expect("at most 64"),
            key: Key { slot: 0, generation: 0 },
        };
        if is_bounded {
            self.shards[shard].inbox.push_free(command);
        } else {
            self.post(to, command).map_err(|_| SendError::Full)?;
        }
        if self.phase() == Phase::Stopping {
            // The shard may have ended before the command came, and nobody else would close its connection or drop it.
            self.shards[shard].discard_commands();
        }
        Ok(())
    }

    /// Takes room for a frame on its way into every shard of `mask`: in all of them, or in none. The shards give
    /// it back as they take the frame in.
    pub(crate) fn reserve_intake(&self, mask: u64, bytes: u64) -> Result<(), Full> {
        for shard in bits(mask) {
            let waiting = &self.shards[shard].intake_bytes;
            if waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > self.limits.intake_bytes_max {
                let tried = mask & (u64::MAX >> (63 - shard));
                bits(tried).for_each(|shard| self.shards[shard].give_intake_back(bytes));
                return Err(Full);
            }
        }
        Ok(())
    }

    fn post_to_all(&self, mask: u64, frame: &Frame, make: impl Fn() -> Command) -> Result<(), PublishError> {
        if self.phase() == Phase::Stopping {
            return Err(PublishError::Stopped);
        }
        let mut places: smallvec::SmallVec<[_; 8]> = smallvec::SmallVec::new();
        for shard in bits(mask) {
            let side = &self.shards[shard];
            match side.inbox.reserve(1) {
                Ok(place) => places.push(place),
                Err(Full) => {
                    // The places reserved so far go back as they are dropped.
                    side.counters.inbox_full.add_shared(1);
                    return Err(PublishError::Full);
                }
            }
        }
        if self.reserve_intake(mask, frame.len().into()).is_err() {
            bits(mask).take(1).for_each(|shard| self.shards[shard].counters.inbox_full.add_shared(1));
            return Err(PublishError::Full);
        }
        places.iter_mut().for_each(|place| place.push(make()));
        Ok(())
    }

    fn post(&self, to: SessionRef, command: Command) -> Result<(), Full> {
        let side = &self.shards[usize::from(to.shard)];
        let count = |_: &Full| side.counters.inbox_full.add_shared(1);
        let mut place = side.inbox.reserve(1).inspect_err(count)?;
        self.reserve_intake(1 << to.shard, command.frame_bytes()).inspect_err(count)?;
        place.push(command);
        Ok(())
    }

    // --- states ---

    /// The state word of a session: 0 while it is open, else its `CloseKind`. `None`: its slot has gone on.
    pub(crate) fn state(&self, of: SessionRef) -> Option<Option<CloseKind>> {
        let word = self.shards[usize::from(of.shard)].handles.get(of.key.slot, of.key.generation)?;
        Some(CloseKind::from_word(word))
    }

    fn check_open(&self, of: SessionRef) -> Option<()> {
        matches!(self.state(of), Some(None)).then_some(())
    }

    /// Takes a session's place; `false` if there is none left.
    pub(crate) fn take_session_place(&self) -> bool {
        let max = self.limits.sessions_max;
        self.sessions_taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < max).then_some(taken + 1))
            .is_ok()
    }

    pub(crate) fn give_session_place_back(&self) {
        self.sessions_taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many more sockets there are descriptors for, as far as this server knows.
    pub(crate) fn connections_free(&self) -> usize {
        self.limits.connections_max.saturating_sub(self.connections.load(Ordering::Relaxed)) as usize
    }

    pub(crate) fn take_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn give_connection_back(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn session_count(&self) -> u64 {
        self.shards.iter().map(|side| side.counters.sessions.read()).sum()
    }

    pub(crate) fn stats(&self) -> Stats {
        let shards = self.shards.iter().map(ShardSide::stats).collect();
        Stats::read(shards, self.shards.iter().map(|side| &side.meters), &self.outside)
    }

    // --- for audits ---

    #[cfg(feature = "sim")]
    pub(crate) fn sessions_taken(&self) -> u32 {
        self.sessions_taken.load(Ordering::Relaxed)
    }

    #[cfg(feature = "sim")]
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    // --- the end ---

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// Goes on to `phase` (never back) and wakes every shard.
    pub(crate) fn enter_phase(&self, phase: Phase, drain: Duration) {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner) = drain;
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.shards.iter().for_each(|side| side.parking.notify());
    }

    pub(crate) fn drain_time(&self) -> Duration {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The positions of the set bits.
pub(crate) fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let bit = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            bit
        })
    })
}

#[cfg(all(loom, test))]
mod models;
