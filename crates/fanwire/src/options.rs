//! Options: every knob with its default and the reason for it.
//!
//! In      what the user sets
//! Out     a checked set, or an error that names the option and what to change
//! Bounds  each option's range stands in `check`
//! Source  docs/architecture.md; RFC 6455 where named

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    codec::{Codec, Json},
    error::Error,
    handler::Request,
    shard::frames::FRAME_OVERHEAD_BYTES,
    shared::Limits,
};

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        /// Settings of a server. Every one has a default; set what you need and hand it to
        /// [`Server::bind_with`](crate::Server::bind_with).
        ///
        /// ```
        /// use std::time::Duration;
        /// let options = fanwire::Options::default().queue_size(512).ping_interval(Duration::from_secs(20));
        /// ```
        #[derive(Clone)]
        #[non_exhaustive]
        pub struct Options {
            $(pub(crate) $name: $type,)*
            pub(crate) path: String,
            pub(crate) origins: Vec<String>,
            pub(crate) congestion_control: Option<String>,
            pub(crate) codec: Arc<dyn Codec>,
            pub(crate) check_origin: Option<Arc<CheckOrigin>>,
            pub(crate) id_generator: Option<Arc<IdGenerator>>,
        }

        impl Default for Options {
            fn default() -> Self {
                Self {
                    $($name: $default,)*
                    path: "/ws".to_owned(),
                    origins: Vec::new(),
                    congestion_control: None,
                    codec: Arc::new(Json),
                    check_origin: None,
                    id_generator: None,
                }
            }
        }

        impl Options {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }

        impl fmt::Debug for Options {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Options")$(.field(stringify!($name), &self.$name))*.finish_non_exhaustive()
            }
        }
    };
}

type CheckOrigin = dyn Fn(&Request<'_>) -> bool + Send + Sync;
type IdGenerator = dyn Fn() -> String + Send + Sync;

options! {
    /// Messages that may wait for one session. Default 256: a second of a busy topic, yet a slow client is
    /// noticed soon. Beyond it [`Options::overflow`] decides, and only for a session whose socket refuses bytes.
    queue_size: u32 = 256;
    /// Bytes that may wait for one session. Default 16 MiB: four messages of the default `read_limit`. A single
    /// frame larger than this cannot be sent at all.
    queue_bytes: u32 = 16 << 20;
    /// What happens to a session that is blocked and whose queue is full. Default [`Overflow::Close`]: a client
    /// that has missed something should know it.
    overflow: Overflow = Overflow::Close;
    /// Largest message taken from a client, in bytes, all fragments together. Default 4 MiB: more than
    /// chat or state updates need, little enough that 16 such messages fit the memory for assembly. Beyond: 1009.
    read_limit: u32 = 4 << 20;
    /// Bytes taken from one session in one tick before its reading pauses for the others' sake. Default 256 KiB:
    /// about 0.1 ms of work.
    read_budget_bytes: u32 = 256 << 10;
    /// Memory of all frames alive in one shard, 96 bytes each beyond its own, and of the pages that sockets share.
    /// Default 256 MiB: 16 full queues that share nothing. At the cap pages are given up, then the blocked sessions
    /// that hold the oldest frame meet their overflow policy; a publish that still finds no room is refused as full.
    frame_bytes_max: u64 = 256 << 20;
    /// Memory for messages that come in pieces, over all sessions of one shard. Default 64 MiB: 16 messages of
    /// the largest size at a time. Beyond: 1013 for the session that holds most of it.
    assembly_bytes_max: u64 = 64 << 20;
    /// Kernel send buffer of each socket (SO_SNDBUF; the kernel books twice the value). Default 128 KiB: with the
    /// kernel's own tuning a client that never reads holds 4 MB.
    send_buffer_bytes: u32 = 128 << 10;
    /// From this length on, bytes that several sessions are to get lie in memory once, and their sockets refer
    /// to it instead of holding copies (`sendfile`). Default 16 KiB: about even in CPU, longer ones save up to a fifth,
    /// shorter ones cost a tenth and save memory only where clients stall. 0: never. What it takes counts in `frame_bytes_max`.
    page_share_bytes_min: u32 = 16 << 10;
    /// Refuse requests without an Origin header. Default false: only browsers are bound to send it.
    require_origin: bool = false;
    /// Threads, each with its own sessions. Default 0: as many as the process may use CPUs
    /// (`available_parallelism`). At most 64.
    shards: u16 = 0;
    /// Pin each shard to a CPU. Default [`Pinning::Auto`]: only if the affinity mask has exactly as many CPUs as
    /// there are shards, because a pinned thread cannot evade a neighbour.
    pinning: Pinning = Pinning::Auto;
    /// How shards reach the kernel. Default [`DriverChoice::Auto`]: io_uring where it works, else epoll.
    driver: DriverChoice = DriverChoice::Auto;
    /// Between pings to a session. Default 25 s: below the 60 s after which common proxies drop a silent
    /// connection. Zero switches pings off.
    ping_interval: Duration = Duration::from_secs(25);
    /// A session from which nothing came for so long is closed. Default 75 s: three pings. Zero: never.
    idle_timeout: Duration = Duration::from_secs(75);
    /// From accept to the end of the handshake, [`Auth::later`](crate::Auth::later) included. Default 10 s: slow
    /// mobile networks need two or three, hostile clients hold a place no longer.
    handshake_timeout: Duration = Duration::from_secs(10);
    /// For the peer's part of the closing handshake. Default 5 s: several round trips of the worst networks.
    close_timeout: Duration = Duration::from_secs(5);
    /// Open sessions of the whole server. Default 1,000,000: about 0.4 GB of user memory; the descriptor limit is
    /// usually lower. Beyond: 503.
    sessions_max: u32 = 1_000_000;
    /// Handshakes at a time in one shard: so many are read (the others wait in the listen backlog), and so many
    /// may be parked by `Auth::later` (beyond: 503). Default 1,024: a storm of reconnects is answered in this order
    /// of magnitude per round trip, and half-open handshakes hold at most 32 MiB.
    handshakes_max: u32 = 1_024;
    /// Topics one session may be subscribed to. Default 1,024: to find a duplicate all are looked at, in under a
    /// microsecond.
    topics_per_session_max: u32 = 1_024;
    /// Length of a topic's name in bytes. Default 256: room for a path of identifiers.
    topic_bytes_max: u32 = 256;
    /// Memory for subscriptions and topics of one shard. Default 256 MiB: 8 million subscriptions to topics that
    /// exist, or 600,000 topics with long names. Beyond: [`SubscribeError::Full`](crate::SubscribeError::Full).
    topic_memory_max: u64 = 256 << 20;
    /// How long a queued message may wait for others to share its send. Default zero: it leaves with the tick.
    /// More saves CPU at the price of latency: 16 messages in a send cost 12 to 15 times less than 16 sends.
    flush_delay: Duration = Duration::ZERO;
    /// Length of the listen queue. Default 4,096: the kernel's own cap (net.core.somaxconn) on current systems.
    backlog: u32 = 4_096;
    /// Accepts that wait in each shard at a time. Default 64: one system call arms them all, and a burst of so many
    /// connections costs no further one.
    accepts_armed_max: u32 = 64;
    /// Descriptors of the process that connections may not use, beside those that are open when the server starts:
    /// for files and sockets that the program opens later. Default 32: a log, some sockets of its own.
    descriptors_reserved: u32 = 32;
    /// Let several sockets listen on one port (SO_REUSEPORT). Default false: a second server of the same user
    /// would take half of the connections without an error.
    reuse_port: bool = false;
    /// Length of a request head in bytes. Default 16 KiB: twice what common servers take, for long cookies. Beyond:
    /// 431, or 414 if the request line alone is that long.
    head_bytes_max: u32 = 16 << 10;
    /// Length of each receive buffer. Default 16 KiB: a message inside one is handed over without a copy.
    receive_buffer_bytes: u32 = 16 << 10;
    /// Receive buffers of each shard, a power of two. Default 256: 4 MiB a shard, whatever the number of sessions.
    receive_buffers: u16 = 256;
    /// Calls from one shard to another that may wait. Default 4,096: four ticks' intake. Beyond: [`PublishError::Full`](crate::PublishError::Full).
    mesh_size: u32 = 4_096;
    /// Bytes of the frames that may wait to be taken in by each shard, from other shards and other threads. Default
    /// 64 MiB: a tenth of a second of 10 Gbit/s, so that a shard that pauses briefly refuses nothing. Beyond: `Full`.
    intake_bytes_max: u64 = 64 << 20;
    /// Calls from other threads that may wait in each shard. Default 16,384: sixteen ticks' intake. Beyond: `Full`.
    inbox_size: u32 = 16_384;
}

impl Options {
    /// The path that WebSocket requests must name. Default `/ws`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Allowed values of the Origin header, as `scheme://host[:port]`; `"*"` allows all. Default empty, which
    /// allows all too. Compared by scheme, host and port, not by letters.
    #[must_use]
    pub fn origins<T: Into<String>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        self.origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// TCP congestion control by its kernel name. Default: the system's.
    #[must_use]
    pub fn congestion_control(mut self, name: impl Into<String>) -> Self {
        self.congestion_control = Some(name.into());
        self
    }

    /// How topics and payloads lie in messages. Default [`Json`].
    #[must_use]
    pub fn codec(mut self, codec: impl Codec) -> Self {
        self.codec = Arc::new(codec);
        self
    }

    /// Decides about a request's origin in place of `origins` and `require_origin`. It is called on the shard's
    /// thread and must not block.
    #[must_use]
    pub fn check_origin(mut self, check: impl Fn(&Request<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.check_origin = Some(Arc::new(check));
        self
    }

    /// Makes session ids. Default: 128 random bits in hex, which nobody can guess. Ids should be unique; Fanwire
    /// itself does not rely on it.
    #[must_use]
    pub fn id_generator(mut self, generator: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.id_generator = Some(Arc::new(generator));
        self
    }

    /// What callers on any thread must know of them.
    pub(crate) fn limits(&self, connections_max: u32) -> Limits {
        Limits {
            queue_bytes: self.queue_bytes,
            intake_bytes_max: self.intake_bytes_max,
            topic_bytes_max: self.topic_bytes_max,
            sessions_max: self.sessions_max,
            connections_max,
        }
    }

    /// Finds what cannot work before anything is started.
    pub(crate) fn check(&self) -> Result<(), Error> {
        range("queue_size", self.queue_size.into(), 1, QUEUE_SIZE_MAX)?;
        range("queue_bytes", self.queue_bytes.into(), 1_024, 1 << 31)?;
        range("read_limit", self.read_limit.into(), 1, 1 << 31)?;
        range("read_budget_bytes", self.read_budget_bytes.into(), 1_024, 1 << 30)?;
        range("send_buffer_bytes", self.send_buffer_bytes.into(), 2_048, 1 << 30)?;
        range("shards", self.shards.into(), 0, SHARDS_MAX as u64)?;
        range("sessions_max", self.sessions_max.into(), 1, u64::from(u32::MAX))?;
        range("handshakes_max", self.handshakes_max.into(), 1, 1 << 20)?;
        range("topics_per_session_max", self.topics_per_session_max.into(), 1, 1 << 16)?;
        range("topic_memory_max", self.topic_memory_max, 1_024, 1 << 40)?;
        range("topic_bytes_max", self.topic_bytes_max.into(), 1, 1 << 16)?;
        range("backlog", self.backlog.into(), 1, 1 << 16)?;
        range("accepts_armed_max", self.accepts_armed_max.into(), 1, 1_024)?;
        range("descriptors_reserved", self.descriptors_reserved.into(), 0, 1 << 20)?;
        range("head_bytes_max", self.head_bytes_max.into(), 256, 1 << 20)?;
        range("receive_buffer_bytes", self.receive_buffer_bytes.into(), 1_024, 1 << 20)?;
        range("receive_buffers", self.receive_buffers.into(), 2, 1 << 15)?;
        range("mesh_size", self.mesh_size.into(), 1, 1 << 20)?;
        range("inbox_size", self.inbox_size.into(), 1, 1 << 24)?;
        self.check_combinations()
    }

    fn check_combinations(&self) -> Result<(), Error> {
        let refuse = |option, advice: String| Err(Error::Option { option, advice });
        if !self.receive_buffers.is_power_of_two() {
            return refuse("receive_buffers", format!("{} is no power of two", self.receive_buffers));
        }
        let frame_bytes =
            u64::from(self.queue_bytes) + u64::from(self.topic_bytes_max) + FRAME_OVERHEAD_BYTES;
        if self.frame_bytes_max < frame_bytes {
            return refuse(
                "frame_bytes_max",
                format!(
                    "must be at least queue_bytes and what holding such a frame costs ({frame_bytes} together), or \
                     it could never be sent"
                ),
            );
        }
        if self.intake_bytes_max < u64::from(self.queue_bytes) {
            return refuse(
                "intake_bytes_max",
                format!(
                    "must be at least queue_bytes ({}), or such a frame could not reach a shard",
                    self.queue_bytes
                ),
            );
        }
        if self.assembly_bytes_max < u64::from(self.read_limit) {
            return refuse(
                "assembly_bytes_max",
                format!(
                    "must be at least read_limit ({}), or such a message could not be received",
                    self.read_limit
                ),
            );
        }
        if !self.idle_timeout.is_zero() && self.idle_timeout <= self.ping_interval {
            return refuse(
                "idle_timeout",
                format!(
                    "must be longer than ping_interval ({:?}), or live sessions are closed",
                    self.ping_interval
                ),
            );
        }
        if self.handshake_timeout.is_zero() || self.close_timeout.is_zero() {
            return refuse(
                "handshake_timeout and close_timeout",
                "must not be zero: sockets would stay for ever".into(),
            );
        }
        if self.flush_delay > FLUSH_DELAY_MAX {
            return refuse("flush_delay", format!("must be at most {FLUSH_DELAY_MAX:?}"));
        }
        if !self.path.starts_with('/') || self.path.contains(['?', '#', ' ']) {
            return refuse("path", format!("{:?} must start with / and hold no ?, # or space", self.path));
        }
        for origin in self.origins.iter().filter(|origin| *origin != "*") {
            if crate::origin::Origin::parse(origin).is_none() {
                return refuse(
                    "origins",
                    format!("{origin:?} is not of the form scheme://host[:port]; hosts have no wildcards"),
                );
            }
        }
        Ok(())
    }
}

/// What happens when a session's socket refuses bytes and its queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The session is closed with 1013; what was queued is dropped and counted.
    #[default]
    Close,
    /// The new message is dropped and counted.
    DropNewest,
    /// The oldest message that has not begun to leave is dropped and counted.
    DropOldest,
}

/// Which driver a server uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverChoice {
    /// io_uring if it works here, else epoll, with a line that says why.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// epoll.
    Epoll,
}

/// Whether shards are bound to CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pinning {
    /// If the affinity mask has exactly as many CPUs as there are shards.
    #[default]
    Auto,
    /// Shard i on the i-th CPU of the mask, round and round.
    On,
    /// Never.
    Off,
}

fn range(option: &'static str, value: u64, least: u64, most: u64) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::Option { option, advice: format!("{value} is out of range: choose {least} to {most}") })
}

/// One bit of a `u64` each in the interest filter.
pub(crate) const SHARDS_MAX: usize = 64;

const QUEUE_SIZE_MAX: u64 = 1 << 20;

/// Beyond a second it is no coalescing any more.
const FLUSH_DELAY_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_possible() {
        Options::default().check().unwrap();
    }

    #[test]
    fn impossible_combinations_name_the_option_and_the_mend() {
        let cases = [
            (Options::default().queue_size(0), "queue_size"),
            (Options::default().receive_buffers(3), "receive_buffers"),
            (Options::default().frame_bytes_max(1024), "frame_bytes_max"),
            (Options::default().intake_bytes_max(1024), "intake_bytes_max"),
            (Options::default().read_limit(128 << 20), "assembly_bytes_max"),
            (Options::default().idle_timeout(Duration::from_secs(25)), "idle_timeout"),
            (Options::default().close_timeout(Duration::ZERO), "close_timeout"),
            (Options::default().flush_delay(Duration::from_secs(2)), "flush_delay"),
            (Options::default().path("ws"), "path"),
            (Options::default().origins(["example.com"]), "origins"),
            (Options::default().origins(["https://*.example.com"]), "no wildcards"),
            (Options::default().shards(65), "shards"),
        ];
        for (options, name) in cases {
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
