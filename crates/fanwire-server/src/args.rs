//! Arguments: what an operator may set, with units and defaults.
//!
//! In      the command line
//! Out     the engine's options, the limits that answers name, and what is the server's own
//! Bounds  each value's form is checked here, its range by the engine
//! Source  `fanwire::Options`, whose defaults these are

use std::{net::IpAddr, time::Duration};

use clap::{Parser, ValueEnum};
use fanwire::{DriverChoice, Options, Overflow, Pinning};
use tracing_subscriber::filter::LevelFilter;

use crate::{
    host::Hosts,
    origin,
    problem::Limits,
    units::{parse_bytes, parse_bytes_u32, parse_duration, parse_duration_not_zero},
};

/// Fan one message out to very many WebSocket clients.
///
/// Clients send JSON: {"topic":"subscribe","data":{"topic":T}}, unsubscribe, publish
/// {"topic":T,"data":ANY} and ping. Sizes are bytes, or carry KiB, MiB or GiB; times carry ms, s, m or h.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Address to listen on, as HOST:PORT; port 0 asks the system for a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = parse_listen, help_heading = LISTENING)]
    pub(crate) listen: String,

    /// Path of the WebSocket; `/` shows a page and `/healthz` says ok
    #[arg(long, default_value = "/ws", value_parser = parse_path, help_heading = LISTENING)]
    pub(crate) path: String,

    /// Threads that serve; 0: as many as the process may use CPUs; at most 64
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = LISTENING)]
    pub(crate) shards: u16,

    /// How shards reach the kernel
    #[arg(long, value_enum, default_value_t = Driver::Auto, help_heading = LISTENING)]
    pub(crate) driver: Driver,

    /// Whether shards are bound to CPUs
    #[arg(long, value_enum, default_value_t = Pin::Auto, help_heading = LISTENING)]
    pub(crate) pin: Pin,

    /// TCP congestion control by its kernel name, such as bbr [default: the system's]
    #[arg(long, value_name = "NAME", help_heading = LISTENING)]
    pub(crate) congestion_control: Option<String>,

    /// Pages that may connect, as `scheme://host[:port]`, once for each; `*` for all [default: those of the host that
    /// the request asks for]
    ///
    /// The default compares the Origin and Host headers. On loopback, Host must be a name of this machine as well, or
    /// one of `--host`; elsewhere name origins or hosts, for without them DNS rebinding passes.
    #[arg(long, value_name = "ORIGIN", help_heading = CLIENTS)]
    pub(crate) origin: Vec<String>,

    /// Names, besides those of loopback, under which pages reach this server, once for each; not asked for if origins
    /// are named
    #[arg(long, value_name = "NAME", value_parser = parse_host, help_heading = CLIENTS)]
    pub(crate) host: Vec<String>,

    /// Refuse clients that send no Origin: all that are no browsers, as a rule
    #[arg(long, help_heading = CLIENTS)]
    pub(crate) require_origin: bool,

    /// Let clients publish [default: true if only this machine reaches the address]
    ///
    /// Say false if a proxy on this machine lets others in.
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", help_heading = CLIENTS)]
    pub(crate) client_publish: Option<bool>,

    /// Topics that one session may be subscribed to
    #[arg(long, value_name = "N", default_value_t = 1_024, help_heading = CLIENTS)]
    pub(crate) topics_per_session: u32,

    /// Length of a topic's name
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = parse_bytes_u32, help_heading = CLIENTS)]
    pub(crate) topic_bytes: u32,

    /// Messages that may wait for one client
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = LIMITS)]
    pub(crate) queue_size: u32,

    /// Bytes that may wait for one client
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = parse_bytes_u32, help_heading = LIMITS)]
    pub(crate) queue_bytes: u32,

    /// What happens to a client whose queue is full and whose socket takes nothing
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = OverflowPolicy::Close, help_heading = LIMITS)]
    pub(crate) overflow: OverflowPolicy,

    /// Largest message taken from a client
    #[arg(long, value_name = "BYTES", default_value = "4MiB", value_parser = parse_bytes_u32, help_heading = LIMITS)]
    pub(crate) read_limit: u32,

    /// Kernel send buffer of each connection
    #[arg(long, value_name = "BYTES", default_value = "128KiB", value_parser = parse_bytes_u32, help_heading = LIMITS)]
    pub(crate) send_buffer: u32,

    /// Length from which on clients' sockets refer to one copy of what several of them get; 0: never
    #[arg(long, value_name = "BYTES", default_value = "16KiB", value_parser = parse_bytes_u32, help_heading = LIMITS)]
    pub(crate) page_share_min: u32,

    /// Messages being delivered, over all clients of a shard
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = parse_bytes, help_heading = LIMITS)]
    pub(crate) frame_bytes_max: u64,

    /// Messages being received in pieces, over all clients of a shard
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_bytes, help_heading = LIMITS)]
    pub(crate) assembly_bytes_max: u64,

    /// Messages on their way into a shard from other shards
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_bytes, help_heading = LIMITS)]
    pub(crate) intake_bytes_max: u64,

    /// Subscriptions and topics of all clients of a shard
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = parse_bytes, help_heading = LIMITS)]
    pub(crate) topic_memory_max: u64,

    /// Clients at a time; the limit of open files may be lower
    #[arg(long, value_name = "N", default_value_t = 1_000_000, help_heading = LIMITS)]
    pub(crate) sessions_max: u32,

    /// Handshakes at a time, in each shard
    #[arg(long, value_name = "N", default_value_t = 1_024, help_heading = LIMITS)]
    pub(crate) handshakes_max: u32,

    /// Between pings to a client; 0: none
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = parse_duration, help_heading = TIMES)]
    pub(crate) ping: Duration,

    /// A client that sends nothing, not even pongs, for so long is closed; 0: never
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = parse_duration, help_heading = TIMES)]
    pub(crate) idle: Duration,

    /// For a handshake, from accept on
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration_not_zero, help_heading = TIMES)]
    pub(crate) handshake_timeout: Duration,

    /// For a client's part of the closing handshake
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration_not_zero, help_heading = TIMES)]
    pub(crate) close_timeout: Duration,

    /// How long a message may wait for others to share its send; saves CPU at the price of latency
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration, help_heading = TIMES)]
    pub(crate) flush_delay: Duration,

    /// After SIGINT or SIGTERM: for closing all clients at a steady pace; a second signal stops at once
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, help_heading = TIMES)]
    pub(crate) drain_timeout: Duration,

    /// What is logged to stderr; nothing is logged per message
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Info)]
    pub(crate) log: LogLevel,
}

impl Args {
    /// The engine's options.
    pub(crate) fn options(&self) -> Options {
        let options = Options::default()
            .path(&*self.path)
            .shards(self.shards)
            .driver(self.driver.into())
            .pinning(self.pin.into())
            .require_origin(self.require_origin)
            .topics_per_session_max(self.topics_per_session)
            .topic_bytes_max(self.topic_bytes)
            .queue_size(self.queue_size)
            .queue_bytes(self.queue_bytes)
            .overflow(self.overflow.into())
            .read_limit(self.read_limit)
            .send_buffer_bytes(self.send_buffer)
            .page_share_bytes_min(self.page_share_min)
            .frame_bytes_max(self.frame_bytes_max)
            .assembly_bytes_max(self.assembly_bytes_max)
            .intake_bytes_max(self.intake_bytes_max)
            .topic_memory_max(self.topic_memory_max)
            .sessions_max(self.sessions_max)
            .handshakes_max(self.handshakes_max)
            .ping_interval(self.ping)
            .idle_timeout(self.idle)
            .handshake_timeout(self.handshake_timeout)
            .close_timeout(self.close_timeout)
            .flush_delay(self.flush_delay);
        self.with_origins(match &self.congestion_control {
            Some(name) => options.congestion_control(name),
            None => options,
        })
    }

    /// The limits that the server's answers name.
    pub(crate) fn limits(&self) -> Limits {
        Limits { topics_per_session_max: self.topics_per_session, topic_bytes_max: self.topic_bytes }
    }

    /// Whether clients may publish on a server that listens there: as told, else only where nobody else's
    /// machine can reach it.
    pub(crate) fn may_publish(&self, address: IpAddr) -> bool {
        self.client_publish.unwrap_or_else(|| address.to_canonical().is_loopback())
    }

    /// A server on loopback is open to every page that its user visits, so none named means same-origin, not all.
    fn with_origins(&self, options: Options) -> Options {
        if !self.origin.is_empty() {
            return options.origins(&self.origin);
        }
        let (require_origin, hosts) = (self.require_origin, Hosts::new(&self.listen, &self.host));
        options.check_origin(move |request| origin::is_same_or_absent(request, require_origin, &hosts))
    }
}

/// A message of the engine with flags in place of its options' names.
pub(crate) fn in_flags(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        let flag = FLAGS.iter().find(|(option, _)| *option == word).map(|(_, flag)| *flag);
        // A word of one part may be just that.
        let flag = flag.filter(|_| word.contains('_') || start + shown.len() == 0);
        shown += &rest[..start];
        shown += flag.unwrap_or(word);
        rest = &rest[end..];
    }
    shown + rest
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// io_uring where it works, else epoll
    Auto,
    /// io_uring, or an error
    Uring,
    /// epoll
    Epoll,
}

impl From<Driver> for DriverChoice {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Auto => Self::Auto,
            Driver::Uring => Self::Uring,
            Driver::Epoll => Self::Epoll,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pin {
    /// if there are exactly as many CPUs as shards
    Auto,
    /// round and round over the CPUs of the process
    On,
    /// never
    Off,
}

impl From<Pin> for Pinning {
    fn from(pin: Pin) -> Self {
        match pin {
            Pin::Auto => Self::Auto,
            Pin::On => Self::On,
            Pin::Off => Self::Off,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverflowPolicy {
    /// it is closed with 1013 and may connect again
    Close,
    /// it misses the newest message
    DropNewest,
    /// it misses the oldest message
    DropOldest,
}

impl OverflowPolicy {
    pub(crate) fn effect(self) -> &'static str {
        match self {
            Self::Close => "closed with 1013",
            Self::DropNewest => "skipped: it misses the newest message",
            Self::DropOldest => "skipped: it misses the oldest message",
        }
    }
}

impl From<OverflowPolicy> for Overflow {
    fn from(policy: OverflowPolicy) -> Self {
        match policy {
            OverflowPolicy::Close => Self::Close,
            OverflowPolicy::DropNewest => Self::DropNewest,
            OverflowPolicy::DropOldest => Self::DropOldest,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

fn parse_listen(text: &str) -> Result<String, String> {
    let is_address =
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if is_address { Ok(text.to_owned()) } else { Err("give HOST:PORT, such as 127.0.0.1:8080".to_owned()) }
}

/// Letters of RFC 3986's paths, less the quotation mark: the path is printed within a command line to try.
fn parse_path(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&()*+,;=:@".contains(&byte);
    if text.starts_with('/') && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("must start with / and hold nothing but letters, digits and -._~%!$&()*+,;=:@/".to_owned())
}

fn parse_host(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = !text.is_empty() && text.bytes().all(is_plain);
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("give a name without scheme and port, such as chat.example".to_owned())
    }
}

/// The engine's options and their flags.
const FLAGS: [(&str, &str); 26] = [
    ("path", "--path"),
    ("shards", "--shards"),
    ("driver", "--driver"),
    ("pinning", "--pin"),
    ("congestion_control", "--congestion-control"),
    ("origins", "--origin"),
    ("require_origin", "--require-origin"),
    ("topics_per_session_max", "--topics-per-session"),
    ("topic_bytes_max", "--topic-bytes"),
    ("queue_size", "--queue-size"),
    ("queue_bytes", "--queue-bytes"),
    ("overflow", "--overflow"),
    ("read_limit", "--read-limit"),
    ("send_buffer_bytes", "--send-buffer"),
    ("page_share_bytes_min", "--page-share-min"),
    ("frame_bytes_max", "--frame-bytes-max"),
    ("assembly_bytes_max", "--assembly-bytes-max"),
    ("intake_bytes_max", "--intake-bytes-max"),
    ("topic_memory_max", "--topic-memory-max"),
    ("sessions_max", "--sessions-max"),
    ("handshakes_max", "--handshakes-max"),
    ("ping_interval", "--ping"),
    ("idle_timeout", "--idle"),
    ("handshake_timeout", "--handshake-timeout"),
    ("close_timeout", "--close-timeout"),
    ("flush_delay", "--flush-delay"),
];

const LISTENING: &str = "Listening";
const CLIENTS: &str = "What clients may do";
const LIMITS: &str = "Limits";
const TIMES: &str = "Times";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn args(more: &[&str]) -> Args {
        Args::try_parse_from(["fanwire-server"].iter().chain(more)).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_engine() {
        assert_eq!(format!("{:?}", args(&[]).options()), format!("{:?}", Options::default()));
        assert_eq!(args(&[]).path, "/ws");
    }

    #[test]
    fn every_flag_reaches_its_option() {
        let given = args(&[
            "--shards=3",
            "--driver=epoll",
            "--pin=off",
            "--require-origin",
            "--topics-per-session=5",
            "--topic-bytes=6",
            "--queue-size=7",
            "--queue-bytes=8KiB",
            "--overflow=drop-oldest",
            "--read-limit=9KiB",
            "--send-buffer=10KiB",
            "--page-share-min=23KiB",
            "--frame-bytes-max=11MiB",
            "--assembly-bytes-max=12MiB",
            "--intake-bytes-max=21MiB",
            "--topic-memory-max=22MiB",
            "--sessions-max=13",
            "--handshakes-max=14",
            "--ping=15s",
            "--idle=16s",
            "--handshake-timeout=17s",
            "--close-timeout=18s",
            "--flush-delay=19ms",
        ]);
        let options = Options::default()
            .shards(3)
            .driver(DriverChoice::Epoll)
            .pinning(Pinning::Off)
            .require_origin(true)
            .topics_per_session_max(5)
            .topic_bytes_max(6)
            .queue_size(7)
            .queue_bytes(8 << 10)
            .overflow(Overflow::DropOldest)
            .read_limit(9 << 10)
            .send_buffer_bytes(10 << 10)
            .page_share_bytes_min(23 << 10)
            .frame_bytes_max(11 << 20)
            .assembly_bytes_max(12 << 20)
            .intake_bytes_max(21 << 20)
            .topic_memory_max(22 << 20)
            .sessions_max(13)
            .handshakes_max(14)
            .ping_interval(Duration::from_secs(15))
            .idle_timeout(Duration::from_secs(16))
            .handshake_timeout(Duration::from_secs(17))
            .close_timeout(Duration::from_secs(18))
            .flush_delay(Duration::from_millis(19));
        assert_eq!(format!("{:?}", given.options()), format!("{options:?}"));
    }

    #[test]
    fn clients_publish_by_default_only_where_nobody_else_reaches_the_server() {
        let default = |address: &str| args(&[]).may_publish(address.parse().unwrap());
        assert!(
            default("127.0.0.1") && default("127.9.9.9") && default("::1") && default("::ffff:127.0.0.1")
        );
        assert!(
            !default("0.0.0.0") && !default("::") && !default("192.168.1.5") && !default("::ffff:10.0.0.1")
        );
        assert!(args(&["--client-publish=true"]).may_publish("0.0.0.0".parse().unwrap()));
        assert!(args(&["--client-publish"]).may_publish("0.0.0.0".parse().unwrap()));
        assert!(!args(&["--client-publish", "false"]).may_publish("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn bad_values_are_refused() {
        for bad in [
            "--listen=8080",
            "--listen=localhost",
            "--listen=:8080",
            "--listen=127.0.0.1:65536",
            "--path=ws",
            "--path=/a'b",
            "--path=/a b",
            "--queue-bytes=5GiB",
            "--ping=25",
            "--close-timeout=0",
            "--overflow=drop",
            "--log=inof",
            "--client-publish=perhaps",
            "--host=http://chat.example",
            "--host=chat.example:80",
            "--host=",
            "--shards=-1",
        ] {
            assert!(Args::try_parse_from(["fanwire-server", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_in_messages_exist() {
        let command = Args::command();
        let known: Vec<_> = command.get_arguments().filter_map(|one| one.get_long()).collect();
        for (_, flag) in FLAGS {
            assert!(known.contains(&flag.trim_start_matches("--")), "{flag}");
        }
    }

    #[test]
    fn flags_of_options_are_those_of_the_limits() {
        let limits = include_str!("../../../docs/limits.md");
        let rows = limits.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix("` |"));
        let pairs = rows.filter_map(|row| Some((row.split_once('`')?.0, row.rsplit_once("| `")?.1)));
        let mut documented: Vec<_> = pairs.filter(|(_, flag)| flag.starts_with("--")).collect();
        let mut real = FLAGS.to_vec();
        documented.sort_unstable();
        real.sort_unstable();
        assert_eq!(documented, real);
    }

    #[test]
    fn messages_name_flags_and_leave_other_words_alone() {
        for (text, shown) in [
            ("shards: 65 is out of range: choose 0 to 64", "--shards: 65 is out of range: choose 0 to 64"),
            ("idle_timeout: longer than ping_interval (25s), or", "--idle: longer than --ping (25s), or"),
            ("mesh_size: the path of shards", "mesh_size: the path of shards"),
            ("path: \"/é path\"", "--path: \"/é path\""),
            ("", ""),
        ] {
            assert_eq!(in_flags(text), shown);
        }
    }
}
