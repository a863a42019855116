//! Stalled subscribers: the memory of what waits in their sockets, with shared pages and with a copy each.
//!
//! In      `cargo bench --bench stalled -- [--quick] [--subscribers N] [--rounds N]`
//! Out     per message length and server: bytes in the sockets, and the kernel's memory for them, each
//! Bounds  256 KiB published to each of 2,000 connections that nobody reads, a second or two per line
//! Source  A B A B: interleaved rounds. Counted is the memory that is neither free nor of processes nor a cache of
//!         files: what the kernel has for itself and for sockets, whoever's they are, and files in memory

use std::{
    env, fs, io,
    net::SocketAddr,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use fanwire_benches::{
    child::{self, Child},
    command::{Burst, CONTROL_TARGET, SUBSCRIBER_TARGET},
    peer::Peer,
    sample::Cores,
};
use fanwire_ws::Kind;
use loadtest::{
    client::{address::Address, connection::Opener},
    dialect::{Dialect, Role},
    measure::descriptors::raise_limit,
};

fn main() -> ExitCode {
    let ended = match child::role() {
        Some((role, _)) => serve(&role),
        None => Options::parse(env::args().skip(1)).and_then(|options| options.map_or(Ok(()), run)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stalled: {error}");
            ExitCode::FAILURE
        }
    }
}

type Ended = Result<(), Box<dyn std::error::Error>>;

fn serve(role: &str) -> Ended {
    raise_limit(0)?;
    Ok(Peer::named(role).ok_or("a role that this program does not have")?.serve()?)
}

#[derive(Clone, Copy)]
struct Options {
    subscribers: usize,
    rounds: usize,
}

impl Options {
    /// `None` if nothing is to be run. Flags of other benchmark harnesses are skipped.
    fn parse(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let (mut subscribers, mut rounds) = (None, None);
        let (mut is_bench, mut is_quick) = (false, false);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().ok_or("a number is missing").map(|text| text.parse());
            match argument.as_str() {
                "--bench" => is_bench = true,
                "--quick" => is_quick = true,
                "--list" => return Ok(None),
                "--subscribers" => subscribers = Some(number()??),
                "--rounds" => rounds = Some(number()??),
                flag if flag.starts_with('-') => eprintln!("stalled: {flag} means nothing here"),
                // A filter that may mean another benchmark.
                name if !"stalled".contains(name) => return Ok(None),
                _ => {}
            }
        }
        let (usual_subscribers, usual_rounds) = match (is_bench, is_quick) {
            (true, false) => (2_000, 5),
            (true, true) => (200, 1),
            (false, _) => (20, 1),
        };
        let (subscribers, rounds) =
            (subscribers.unwrap_or(usual_subscribers), rounds.unwrap_or(usual_rounds));
        Ok(Some(Self { subscribers, rounds }))
    }
}

fn run(options: Options) -> Ended {
    let Options { subscribers, rounds } = options;
    let cores = Cores::choose()?;
    raise_limit(subscribers + 1)?;
    println!(
        "{subscribers} subscribers who read nothing, {} KiB published to each, {rounds} rounds",
        TOTAL >> 10
    );
    println!(
        "{:>8} {:<22} {:>16} {:>16} {:>16}",
        "message", "server", "in sockets, KB", "kernel, KB", "server PSS, KB"
    );
    for payload_bytes in PAYLOADS {
        let burst = Burst { messages: TOTAL / payload_bytes, payload_bytes };
        let mut samples = PEERS.map(|_| Vec::new());
        for _ in 0..rounds {
            for (peer, samples) in PEERS.iter().zip(&mut samples) {
                samples.push(sample(*peer, subscribers, burst, cores)?);
            }
        }
        for (peer, samples) in PEERS.iter().zip(&samples) {
            let [queued, kernel, pss] =
                [|one: &Sample| one.queued, |one: &Sample| one.kernel, |one: &Sample| one.pss]
                    .map(|of: fn(&Sample) -> f64| median(samples.iter().map(of).collect()));
            println!("{payload_bytes:>8} {:<22} {queued:>16.1} {kernel:>16.1} {pss:>16.1}", peer.name());
        }
    }
    Ok(())
}

/// Per subscriber, in KB of 1,000 bytes.
struct Sample {
    /// What the sockets of both ends hold, by /proc/net/tcp.
    queued: f64,
    /// What the burst has taken of the machine's memory, but for processes.
    kernel: f64,
    /// What it has taken of it in the server's process.
    pss: f64,
}

fn sample(
    peer: Peer,
    subscribers: usize,
    burst: Burst,
    cores: Cores,
) -> Result<Sample, Box<dyn std::error::Error>> {
    let mut server = Child::start(peer.name(), "", cores.server)?;
    let line = server.hear()?;
    let address: SocketAddr = line.strip_prefix("ready ").ok_or(line.clone())?.parse()?;
    let opener = |target: &str| -> Result<Opener, Box<dyn std::error::Error>> {
        let address = Address::new(&format!("ws://{address}{target}"), "broadcast");
        Ok(Opener::new(address, Dialect::load("broadcast")?)?)
    };
    let subscriber = opener(SUBSCRIBER_TARGET)?;
    let _connections = (0..subscribers)
        .map(|number| subscriber.open(number, Role::Subscriber))
        .collect::<Result<Vec<_>, _>>()?;
    let mut control = opener(CONTROL_TARGET)?.open(subscribers, Role::Publisher)?;
    let quiet = settled(|| queued_bytes(address.port()))?;
    let (kernel_before, pss_before) = (kernel_bytes()?, server.process().memory()?.pss_bytes);
    control.send(Kind::Text, burst.to_string().as_bytes())?;
    let queued = settled(|| queued_bytes(address.port()).map(|bytes| bytes.saturating_sub(quiet)))?;
    let (kernel_after, pss_after) = (kernel_bytes()?, server.process().memory()?.pss_bytes);
    let each = |before: u64, after: u64| (after as f64 - before as f64) / 1e3 / subscribers as f64;
    Ok(Sample {
        queued: each(0, queued),
        kernel: each(kernel_before, kernel_after),
        pss: each(pss_before, pss_after),
    })
}

/// Waits until a value stays the same, and is some time old.
fn settled(read: impl Fn() -> io::Result<u64>) -> io::Result<u64> {
    let start = Instant::now();
    let (mut last, mut since) = (read()?, Instant::now());
    while since.elapsed() < STILL {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other("the sockets do not come to rest"));
        }
        thread::sleep(STILL / 8);
        let now = read()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(last)
}

/// What all sockets with this port at one of their ends hold, sent or received.
fn queued_bytes(port: u16) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/net/tcp")?;
    let port = format!(":{port:04X}");
    let queued = |line: &str| -> Option<u64> {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, _, queues) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let (sent, received) = queues.split_once(':')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        (local.ends_with(&port) || remote.ends_with(&port)).then_some(number(sent)? + number(received)?)
    };
    Ok(text.lines().skip(1).filter_map(queued).sum())
}

fn kernel_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let field = |name: &str| -> io::Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other(format!("/proc/meminfo does not say {name}")))
    };
    let others: u64 = OTHERS.iter().map(|name| field(name)).sum::<io::Result<u64>>()?;
    Ok((field("MemTotal")? + field("Shmem")?).saturating_sub(others + free_per_cpu_bytes()?))
}

/// Free pages in the lists of single CPUs, which may be hundreds of megabytes and are not in `MemFree`.
fn free_per_cpu_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/zoneinfo")?;
    let counts =
        text.lines().filter_map(|line| line.trim().strip_prefix("count:")?.trim().parse::<u64>().ok());
    Ok(counts.sum::<u64>() * rustix::param::page_size() as u64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

const PEERS: [Peer; 4] =
    [Peer::FanwireUring, Peer::FanwireUringCopies, Peer::FanwireEpoll, Peer::FanwireEpollCopies];

const PAYLOADS: [usize; 3] = [65_536, 16_384, 1_024];

/// Published to each subscriber.
const TOTAL: usize = 256 << 10;

/// Free, of processes, or a cache of files (`Cached` has `Shmem` in it, which is none).
const OTHERS: [&str; 8] =
    ["MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "SReclaimable", "KernelStack", "PageTables"];

const STILL: Duration = Duration::from_millis(200);

const PATIENCE: Duration = Duration::from_secs(30);
