//! Stalled subscribers: the memory of what waits in their sockets, with shared pages and with a copy each.
//!
//! In      `cargo bench --bench stalled -- [--quick] [--rounds N]`
//! Out     per message length and server: bytes in the sockets, and the kernel's memory for them, each; exit status 1 if
//!         shared pages of 16 KiB and more take above `SHARED_KB_MAX` of it, with so many that other programs' memory
//!         does not count
//! Bounds  256 KiB published to each of 2,000 connections that nobody reads, a second or two per line;
//!         without `--bench` nothing is measured
//! Source  A B A B: interleaved rounds. Counted is the memory that is neither free nor of processes nor a cache of
//!         files: what the kernel has for itself and for sockets, whoever's they are, and files in memory

use std::{
    env, fs, io,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use fanwire_benches::{
    arguments::{Arguments, Scale},
    ours,
};
use fanwire_ws::Kind;
use loadtest::{
    client::{address::Address, connection::Opener},
    dialect::{Dialect, Role},
    measure::{affinity::CpuList, descriptors::raise_limit},
    scenario::server::Server,
};

fn main() -> ExitCode {
    let ended = Arguments::parse("stalled", env::args().skip(1))
        .map_err(Into::into)
        .and_then(|arguments| arguments.map_or(Ok(()), |arguments| run(&arguments)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stalled: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (subscribers, usual_rounds) = match arguments.scale {
        Scale::Full => (2_000, 5),
        Scale::Quick => (200, 1),
        Scale::Smoke => return Ok(()),
    };
    if !arguments.wants("stalled") {
        return Ok(());
    }
    let rounds = arguments.rounds.unwrap_or(usual_rounds);
    let program = ours::broadcast()?;
    raise_limit(subscribers + 1)?;
    println!(
        "{subscribers} subscribers who read nothing, {} KiB published to each, {rounds} rounds",
        TOTAL >> 10
    );
    println!(
        "{:>8} {:<22} {:>16} {:>16} {:>16}",
        "message", "server", "in sockets, KB", "kernel, KB", "server PSS, KB"
    );
    let mut wrong = Vec::new();
    for payload_bytes in PAYLOADS {
        let mut samples = SERVERS.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((_, options), samples) in SERVERS.iter().zip(&mut samples) {
                samples.push(sample(&program, options, subscribers, payload_bytes)?);
            }
        }
        for ((name, _), samples) in SERVERS.iter().zip(&samples) {
            let [queued, kernel, pss] =
                [|one: &Sample| one.queued, |one: &Sample| one.kernel, |one: &Sample| one.pss]
                    .map(|of: fn(&Sample) -> f64| median(samples.iter().map(of).collect()));
            println!("{payload_bytes:>8} {name:<22} {queued:>16.1} {kernel:>16.1} {pss:>16.1}");
            let is_shared = !name.ends_with("copies");
            if is_shared && arguments.scale == Scale::Full && kernel > SHARED_KB_MAX {
                wrong.push(format!("{name}, {payload_bytes} bytes: {kernel:.1} KB, above {SHARED_KB_MAX}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
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
    program: &Path,
    options: &[&str],
    subscribers: usize,
    payload_bytes: usize,
) -> Result<Sample, Failure> {
    let mut command = Command::new(program);
    command.args(options);
    let allowed = CpuList::current()?;
    let first = allowed.cpus().first().copied().ok_or("a CPU is needed")?;
    let server = Server::spawn(command, Some(&CpuList::one(first)))?;
    let port = port_of(server.url()).ok_or("the server says no port")?;
    let opener = Opener::new(Address::new(server.url(), "paths"), Dialect::load("paths")?)?;
    let _connections = (0..subscribers)
        .map(|number| opener.open(number, Role::Subscriber))
        .collect::<Result<Vec<_>, _>>()?;
    let mut publisher = opener.open(subscribers, Role::Publisher)?;
    let quiet = settled(|| queued_bytes(port))?;
    let (kernel_before, pss_before) = (kernel_bytes()?, server.process().memory()?.pss_bytes);
    for _ in 0..TOTAL / payload_bytes {
        publisher.send(Kind::Binary, &vec![b'x'; payload_bytes])?;
    }
    let queued = settled(|| queued_bytes(port).map(|bytes| bytes.saturating_sub(quiet)))?;
    let (kernel_after, pss_after) = (kernel_bytes()?, server.process().memory()?.pss_bytes);
    let each = |before: u64, after: u64| (after as f64 - before as f64) / 1e3 / subscribers as f64;
    Ok(Sample {
        queued: each(0, queued),
        kernel: each(kernel_before, kernel_after),
        pss: each(pss_before, pss_after),
    })
}

/// Of `ws://HOST:PORT/...`.
fn port_of(url: &str) -> Option<u16> {
    url.strip_prefix("ws://")?.split_once('/')?.0.rsplit_once(':')?.1.parse().ok()
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

const SERVERS: [(&str, &[&str]); 4] = [
    ("io_uring", &["--driver", "io_uring"]),
    ("io_uring, copies", &["--driver", "io_uring", "--page-share-min", "0"]),
    ("epoll", &["--driver", "epoll"]),
    ("epoll, copies", &["--driver", "epoll", "--page-share-min", "0"]),
];

const PAYLOADS: [usize; 3] = [65_536, 16_384, 1_024];

/// What a subscriber's part of 256 KiB may take of the kernel's memory, in KB.
const SHARED_KB_MAX: f64 = 32.0;

/// Published to each subscriber.
const TOTAL: usize = 256 << 10;

/// Free, of processes, or a cache of files (`Cached` has `Shmem` in it, which is none).
const OTHERS: [&str; 8] =
    ["MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "SReclaimable", "KernelStack", "PageTables"];

const STILL: Duration = Duration::from_millis(200);

const PATIENCE: Duration = Duration::from_secs(30);
