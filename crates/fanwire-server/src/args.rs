//! Arguments: what an operator may set, with units and defaults.
//!
//! In      the command line, which `settings` has completed from the environment and the file
//! Out     the engine's options, the limits that answers name, and what is the server's own
//! Bounds  each value's form is checked here, its range by the engine
//! Source  `fanwire::Options`, whose defaults these are

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use fanwire::{Network, Options};

use crate::{
    api,
    auth::WebhookArgs,
    choices::{AuthKind, Driver, LogFormat, OverflowPolicy, Pin, TokenPlace},
    forms::{parse_address, parse_host, parse_listen, parse_mode, parse_number, parse_origin, parse_path},
    logs::parse_levels,
    places::parse_network,
    problem::Limits,
    units::{parse_bytes, parse_bytes_u32, parse_duration, parse_duration_not_zero, parse_leeway},
};

/// Fan one message out to very many WebSocket clients.
///
/// Clients send JSON: {"topic":"subscribe","data":{"topic":T}}, unsubscribe, publish
/// {"topic":T,"data":ANY} and ping. Sizes are bytes, or carry KiB, MiB or GiB; times carry ms, s, m or h.
///
/// Each setting has a variable (FANWIRE_QUEUE_SIZE) and a key in the file (queue_size = 256) as well. Flags win over
/// variables, variables over the file. SIGHUP reads the file anew.
#[derive(Clone, Debug, Parser)]
#[command(version, disable_help_subcommand = true, allow_negative_numbers = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) task: Option<Task>,

    /// TOML file with settings
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// Where to listen, as HOST:PORT or unix:/PATH, once for each place; port 0 asks the system for a free one
    /// [default: 127.0.0.1:8080]
    #[arg(long, value_name = "PLACE", value_parser = parse_listen, help_heading = LISTENING)]
    pub(crate) listen: Vec<String>,

    /// Where to listen for proxies that say who comes, by a PROXY header in front of each connection
    #[arg(long, value_name = "PLACE", value_parser = parse_listen, help_heading = LISTENING)]
    pub(crate) listen_proxy: Vec<String>,

    /// Proxies that are believed there, as networks, addresses or unix, once for each; others are refused
    #[arg(long, value_name = "NETWORK", value_parser = parse_network, help_heading = LISTENING)]
    pub(crate) proxy_from: Vec<Network>,

    /// Mode of the files of unix:/PATH, such as 660 [default: by the umask]
    #[arg(long, value_name = "MODE", value_parser = parse_mode, help_heading = LISTENING)]
    pub(crate) socket_mode: Option<u32>,

    /// Sockets that systemd has handed over, in place of those.
    #[arg(skip)]
    pub(crate) handed_over: usize,

    /// Address of the HTTP API and of the metrics, as HOST:PORT [default: none, and there is no API]
    #[arg(long, value_name = "ADDR", value_parser = parse_address, help_heading = LISTENING)]
    pub(crate) api_listen: Option<String>,

    /// File with the API's tokens, a line each, of which every request shows one [default: none, and the API is for
    /// loopback only]
    #[arg(long, value_name = "FILE", help_heading = LISTENING)]
    pub(crate) api_token_file: Option<PathBuf>,

    /// Path of the WebSocket; `/` shows a page, `/healthz` and `/readyz` say ok
    #[arg(long, default_value = "/ws", value_parser = parse_path, help_heading = LISTENING)]
    pub(crate) path: String,

    /// Threads that serve; 0: as many as the process may use CPUs; at most 64
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_number::<u16>, help_heading = LISTENING)]
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

    /// Pages that may connect, and then no others, as `scheme://host[:port]`, once for each; `*` for all [default:
    /// those of the host that the request asks for]
    ///
    /// The default compares the Origin and Host headers. On loopback, Host must be a name of this machine as well, or
    /// one of `--host`; elsewhere name origins or hosts, for without them DNS rebinding passes.
    #[arg(long, value_name = "ORIGIN", value_parser = parse_origin, help_heading = CLIENTS)]
    pub(crate) origin: Vec<String>,

    /// Names, besides those of loopback, under which pages reach this server, once for each; not asked for if origins
    /// are named
    #[arg(long, value_name = "NAME", value_parser = parse_host, help_heading = CLIENTS)]
    pub(crate) host: Vec<String>,

    /// Refuse clients that send no Origin: all that are no browsers, as a rule
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true, help_heading = CLIENTS)]
    pub(crate) require_origin: bool,

    /// Let clients publish [default: true if only this machine reaches the address]
    ///
    /// Say false if a proxy on this machine lets others in without saying so.
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", help_heading = CLIENTS)]
    pub(crate) client_publish: Option<bool>,

    /// Who is let in
    #[arg(long, value_enum, value_name = "KIND", default_value_t = AuthKind::None, help_heading = ACCESS)]
    pub(crate) auth: AuthKind,

    /// Let everybody in although other machines reach the address: without it, `auth = none` is for loopback only
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true, help_heading = ACCESS)]
    pub(crate) allow_unauthenticated: bool,

    /// File with the key that tokens are checked with: a public key in PEM (RS256, ES256, EdDSA), or a secret of 32
    /// bytes or more (HS256)
    #[arg(long, value_name = "FILE", help_heading = ACCESS)]
    pub(crate) auth_key_file: Option<PathBuf>,

    /// File with several keys, as a JWKS: tokens choose by `kid`
    #[arg(long, value_name = "FILE", help_heading = ACCESS)]
    pub(crate) auth_jwks_file: Option<PathBuf>,

    /// Issuers (`iss`) that are trusted, once for each [default: any, and none needs to be named]
    #[arg(long, value_name = "NAME", help_heading = ACCESS)]
    pub(crate) auth_issuer: Vec<String>,

    /// Audiences (`aud`) that mean this server, once for each [default: none, and tokens that name one are refused]
    #[arg(long, value_name = "NAME", help_heading = ACCESS)]
    pub(crate) auth_audience: Vec<String>,

    /// How far clocks may differ: `exp` and `nbf` are stretched by it
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_leeway, help_heading = ACCESS)]
    pub(crate) auth_leeway: Duration,

    /// How long before `exp` a session is told to send a new token; 0: it is not told
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, help_heading = ACCESS)]
    pub(crate) auth_warning: Duration,

    /// Where tokens are taken from, once for each place [default: header and protocol]
    #[arg(long, value_enum, value_name = "PLACE", help_heading = ACCESS)]
    pub(crate) auth_token_from: Vec<TokenPlace>,

    /// Topics that clients may subscribe to, as patterns such as news.* and user:{sub}, once for each [default: all]
    #[arg(long, value_name = "PATTERN", help_heading = ACCESS)]
    pub(crate) subscribe_topics: Vec<String>,

    /// Topics that clients may publish on, if they may publish at all, as patterns, once for each [default: all]
    #[arg(long, value_name = "PATTERN", help_heading = ACCESS)]
    pub(crate) publish_topics: Vec<String>,

    #[command(flatten)]
    pub(crate) webhook: WebhookArgs,

    /// Topics that one session may be subscribed to
    #[arg(long, value_name = "N", default_value = "1024", value_parser = parse_number::<u32>, help_heading = CLIENTS)]
    pub(crate) topics_per_session: u32,

    /// Length of a topic's name
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = parse_bytes_u32, help_heading = CLIENTS)]
    pub(crate) topic_bytes: u32,

    /// Messages that may wait for one client
    #[arg(long, value_name = "N", default_value = "256", value_parser = parse_number::<u32>, help_heading = LIMITS)]
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
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = parse_number::<u32>, help_heading = LIMITS)]
    pub(crate) sessions_max: u32,

    /// Handshakes at a time, in each shard
    #[arg(long, value_name = "N", default_value = "1024", value_parser = parse_number::<u32>, help_heading = LIMITS)]
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

    /// After SIGINT or SIGTERM: how long to go on serving while `/readyz` says 503, so that a load balancer looks away
    /// first
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration, help_heading = TIMES)]
    pub(crate) drain_delay: Duration,

    /// What is logged to stderr: off, error, warn, info, debug or trace, or levels by module, such as
    /// info,fanwire::shard=debug; nothing is logged per message
    #[arg(long, value_name = "LEVELS", default_value = "info", value_parser = parse_levels, help_heading = LOGS)]
    pub(crate) log: String,

    /// Form of the log's lines
    #[arg(long, value_enum, value_name = "FORM", default_value_t = LogFormat::Human, help_heading = LOGS)]
    pub(crate) log_format: LogFormat,
}

/// What to do in place of serving.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Task {
    /// Check the settings, or show them
    #[command(subcommand)]
    Config(ConfigTask),
    /// Print completions for a shell
    Completions {
        /// Whose completions
        shell: Shell,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigTask {
    /// Check all settings without serving: exit code 0, or 2 and what is wrong
    Check,
    /// Print every setting, its value, where that comes from and its default, as a file that can be used
    Print,
}

impl Args {
    /// Those that the API and the webhook use, beside what any program does.
    fn descriptors_reserved(&self) -> u32 {
        let api = self.api_listen.as_ref().map_or(0, |_| api::DESCRIPTORS_MAX);
        let webhook = match self.auth {
            AuthKind::Webhook => self.webhook.descriptors_max(),
            AuthKind::None | AuthKind::Jwt => 0,
        };
        OWN_DESCRIPTORS + api + webhook
    }

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
            .descriptors_reserved(self.descriptors_reserved())
            .flush_delay(self.flush_delay);
        match &self.congestion_control {
            Some(name) => options.congestion_control(name),
            None => options,
        }
    }

    /// The limits that the server's answers name.
    pub(crate) fn limits(&self) -> Limits {
        Limits { topics_per_session_max: self.topics_per_session, topic_bytes_max: self.topic_bytes }
    }
}

/// Whether only this machine reaches the address.
pub(crate) fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The flag of an option of the engine.
pub(crate) fn flag_of(option: &str) -> Option<&'static str> {
    FLAGS.iter().find(|(known, _)| *known == option).map(|(_, flag)| *flag)
}

/// A message of the engine with flags in place of its options' names.
pub(crate) fn in_flags(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        let flag = flag_of(word);
        // A word of one part may be just that.
        let flag = flag.filter(|_| word.contains('_') || start + shown.len() == 0);
        shown += &rest[..start];
        shown += flag.unwrap_or(word);
        rest = &rest[end..];
    }
    shown + rest
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
/// As the engine sets aside by itself.
const OWN_DESCRIPTORS: u32 = 32;

const ACCESS: &str = "Who may connect, and to which topics";
const LIMITS: &str = "Limits";
const TIMES: &str = "Times";
const LOGS: &str = "Logs";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use fanwire::{DriverChoice, Overflow, Pinning};

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
    fn io_uring_may_be_written_out() {
        for name in ["uring", "io_uring"] {
            assert_eq!(args(&[&format!("--driver={name}")]).driver, Driver::Uring);
        }
    }

    #[test]
    fn what_the_api_and_the_webhook_open_is_set_aside() {
        let reserved = |more: &[&str]| args(more).descriptors_reserved();
        assert_eq!(reserved(&["--api-listen=127.0.0.1:0"]), 32 + 130);
        assert_eq!(
            reserved(&["--auth=webhook", "--auth-webhook-requests=7", "--auth-webhook-connections=2"]),
            32 + 9
        );
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
            "--log=fanwire=loud",
            "--origin=chat.example",
            "--queue-size=many",
            "--auth=basic",
            "--auth-leeway=2h",
            "--auth-token-from=cookie",
            "--auth-webhook-header=a b",
            "--auth-webhook-timeout=0",
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
