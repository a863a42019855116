//! Statistics: a counter for every event that drops, closes or refuses, and gauges per shard.
//!
//! In      increments by the shard that owns them
//! Out     copies, from any thread
//! Bounds  one set per shard; a read may miss what happens meanwhile, never tears a value
//! Source  none

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{
    close::CloseKind,
    distribution::{Distributions, Meters},
};

macro_rules! stats {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// One shard's counters and gauges at one moment, or their sum.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ShardStats {
            $($(#[doc = $doc])* pub $name: u64,)*
            closed: [u64; CloseKind::ALL.len()],
        }

        /// Where the owner shard counts. Other threads only read.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            closed: [Counter; CloseKind::ALL.len()],
        }

        impl Counters {
            pub(crate) fn read(&self) -> ShardStats {
                ShardStats {
                    $($name: self.$name.read(),)*
                    closed: std::array::from_fn(|kind| self.closed[kind].read()),
                }
            }
        }

        impl ShardStats {
            /// Every counter and gauge with its name, for metrics; [`ShardStats::closed`] tells the rest.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// What a counter or gauge says, by its name: the first sentence begins with `Gauge:` for gauges.
            pub fn help(name: &str) -> Option<&'static str> {
                match name {
                    $(stringify!($name) => Some(concat!($($doc,)*).trim_start()),)*
                    _ => None,
                }
            }

            fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                for (sum, more) in self.closed.iter_mut().zip(other.closed) {
                    *sum += more;
                }
            }
        }
    };
}

stats! {
    /// Gauge: open sessions.
    sessions,
    /// Gauge: connections whose handshake is not done, parked ones included.
    handshakes,
    /// Gauge: handshakes parked by `Auth::later`.
    handshakes_parked,
    /// Gauge: sessions whose socket refuses bytes.
    sessions_blocked,
    /// Gauge: topics with a subscriber in this shard.
    topics,
    /// Gauge: memory of subscriptions and topics, which `topic_memory_max` bounds.
    topic_bytes,
    /// Gauge: frames alive.
    frames_live,
    /// Gauge: memory of the frames alive, which `frame_bytes_max` bounds.
    frame_bytes_live,
    /// Gauge: memory of the pages that sockets share, which `frame_bytes_max` bounds as well.
    page_bytes_live,
    /// Gauge: bytes of messages being assembled.
    assembly_bytes,
    /// Gauge: received bytes that wait until their session's reading goes on.
    held_bytes,
    /// Gauge: frames in the queues of all sessions.
    frames_waiting,
    /// Gauge: calls that wait in this shard's inbox.
    inbox_waiting,
    /// Gauge: bytes of the frames that wait in this shard's inbox and in the rings to it, which `intake_bytes_max`
    /// bounds.
    intake_bytes,
    /// Turns of the shard's loop.
    ticks,
    /// System calls made by the driver.
    system_calls,
    /// Connections accepted.
    connections_accepted,
    /// Connections handed over by `adopt`.
    connections_adopted,
    /// Times that accepting failed for want of descriptors or memory, and paused.
    accepts_failed,
    /// Times that accepting paused because the limit of open files left no room for another connection.
    accepts_paused,
    /// Connections that were gone before they were accepted.
    accepts_aborted,
    /// Sessions opened.
    sessions_opened,
    /// Handshakes that ended without a response: the peer left.
    handshakes_abandoned,
    /// Requests answered 400.
    refused_malformed,
    /// Requests answered 414 or 431.
    refused_head_too_large,
    /// Requests answered 405.
    refused_method,
    /// Requests answered 426.
    refused_version,
    /// Requests answered 403 for their origin.
    refused_origin,
    /// Requests answered 503 for `sessions_max`, `handshakes_max` or a drain.
    refused_capacity,
    /// Requests refused by `on_auth` or by a ticket.
    refused_auth,
    /// Handshakes answered 408.
    refused_timeout,
    /// Connections that sent more than 16 KiB before they were let in.
    refused_early_bytes,
    /// Connections to a listener for proxies from peers that are not among them, answered 403.
    refused_untrusted,
    /// Connections of trusted proxies without a PROXY header that can be read, answered 400.
    refused_proxy_header,
    /// Plain requests answered by `on_http`, its 404 included.
    http_answered,
    /// Messages received.
    messages_received,
    /// Payload bytes of the messages received.
    message_bytes_received,
    /// Messages that were not of the codec's form and were skipped.
    messages_ignored,
    /// Publishes accepted in this shard's hooks or taken in from other threads and shards.
    publishes,
    /// Those of them that were queued together with their neighbours, as one.
    publishes_bundled,
    /// Frames put into queues, responses of handshakes included.
    frames_queued,
    /// Frames that left whole, responses of handshakes included.
    frames_sent,
    /// Bytes that left.
    bytes_sent,
    /// Sends made, blocked ones included.
    sends,
    /// Frames and batches that were put into pages which sockets share.
    pages_filled,
    /// Sends made from such pages, blocked ones included.
    sends_shared,
    /// Bytes that left from such pages.
    bytes_shared,
    /// Flushes that had no such pages for all they wanted, and sends from them that the kernel refused: the bytes
    /// were copied into each socket.
    shares_refused,
    /// Sends that the socket did not take whole.
    sends_blocked,
    /// Sends for which the kernel had no memory; they are tried again.
    sends_starved,
    /// Queues that were found full and flushed at once.
    queues_flushed_full,
    /// Frames dropped because the queue was full (`DropNewest`).
    frames_dropped_newest,
    /// Frames dropped because the queue was full (`DropOldest`).
    frames_dropped_oldest,
    /// Frames that were queued for a session when it ended, or came for it from elsewhere afterwards.
    frames_dropped_closed,
    /// Frames for which `frame_bytes_max` left no room.
    frames_refused_memory,
    /// Calls refused because a ring to another shard was full.
    mesh_full,
    /// Calls refused because this shard's inbox was full.
    inbox_full,
    /// Messages for whose pieces `assembly_bytes_max` left no room; their sessions are closed with 1013.
    assemblies_refused,
    /// Subscribes refused for `topics_per_session_max`, `topic_bytes_max` or `topic_memory_max`.
    subscribes_refused,
    /// Times that a session's reading was paused.
    reads_paused,
    /// Times that the receive buffers ran out.
    receive_buffers_exhausted,
    /// Completions that the kernel queued beyond the completion ring.
    completions_overflowed,
    /// Pings sent.
    pings_sent,
    /// Pings received that a later ping overtook before they were answered.
    pings_skipped,
    /// Connections cut because the peer did not finish the closing handshake, or read its response, in time.
    close_timeouts,
    /// Connections cut because the peer went on sending after its last response or close frame was on its way.
    discards_exceeded,
    /// Hooks that panicked.
    hook_panics,
    /// Jumps of the clock after which timers were restarted.
    clock_jumps,
}

impl ShardStats {
    /// Sessions that ended in this way.
    pub fn closed(&self, kind: CloseKind) -> u64 {
        self.closed[kind as usize - 1]
    }
}

/// All shards at about one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The sum, and the requests that an [`Adopter`](crate::Adopter) refused, which no shard has seen.
    pub total: ShardStats,
    /// Each shard.
    pub shards: Vec<ShardStats>,
    /// What each shard measures of its own work.
    pub distributions: Vec<Distributions>,
}

impl Stats {
    /// `outside`: what threads that are no shard have counted.
    pub(crate) fn read<'a>(
        shards: Vec<ShardStats>,
        meters: impl Iterator<Item = &'a Meters>,
        outside: &Counters,
    ) -> Self {
        let mut total = outside.read();
        shards.iter().for_each(|shard| total.add(shard));
        Self { total, shards, distributions: meters.map(Meters::read).collect() }
    }
}

impl Counters {
    pub(crate) fn count_closed(&self, kind: CloseKind) {
        self.closed[kind as usize - 1].add(1);
    }

    /// Where a request refused with this status is counted.
    pub(crate) fn of_refusal(&self, status: u16) -> &Counter {
        match status {
            403 => &self.refused_origin,
            405 => &self.refused_method,
            408 => &self.refused_timeout,
            426 => &self.refused_version,
            414 | 431 => &self.refused_head_too_large,
            503 => &self.refused_capacity,
            _ => &self.refused_malformed,
        }
    }
}

/// A value with one writer: no read-modify-write, hence no bus lock.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the owner shard may call it.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Adds from any thread.
    pub(crate) fn add_shared(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
