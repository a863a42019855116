//! Listening: the socket options that every compared server has, set in one place.
//!
//! In      `[--port N] [--batch-ms N]`: a free port, and nothing is gathered, unless they say so; the floor
//!         has `[--bare-accept]`, too; or `--version`
//! Out     a listener on 127.0.0.1 whose connections inherit SO_SNDBUF and TCP_NODELAY; a line that says
//!         where. Or the version of the library that is measured
//! Bounds  as many descriptors as the hard limit allows
//! Source  tcp(7), socket(7), getrlimit(2)

use std::{
    env,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process, thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// A listener on the port that the command line asks for; `--version` names this library's and ends the
/// process.
///
/// # Errors
/// The command line is another, or the system refused.
pub fn listen(library: &str) -> io::Result<TcpListener> {
    if env::args().nth(1).as_deref() == Some("--version") {
        writeln!(io::stdout(), "{library} {}", locked_version(library).unwrap_or("unknown"))?;
        process::exit(0);
    }
    let options = Options::parse(env::args().skip(1))?;
    if options.is_bare && library != FLOOR_LIBRARY {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "--bare-accept is the floor's"));
    }
    listen_on(options.port)
}

/// Whether handshakes are to be answered and nothing else.
///
/// # Errors
/// The command line is another.
pub fn bare_accept() -> io::Result<bool> {
    Ok(Options::parse(env::args().skip(1))?.is_bare)
}

/// How long messages are gathered before they leave, if the command line asks for it.
///
/// # Errors
/// The command line is another.
pub fn batch() -> io::Result<Option<Duration>> {
    Ok(Options::parse(env::args().skip(1))?.batch)
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// 0: a free one.
    pub port: u16,
    /// How long messages are gathered before they leave; `None`: each leaves when it has come.
    pub batch: Option<Duration>,
    /// Whether handshakes are to be answered and nothing else.
    pub is_bare: bool,
}

impl Options {
    /// Options in any order.
    ///
    /// # Errors
    /// Something else was given.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> io::Result<Self> {
        let usage = || io::Error::new(io::ErrorKind::InvalidInput, USAGE);
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            if name == "--bare-accept" {
                options.is_bare = true;
                continue;
            }
            let value = arguments.next().ok_or_else(usage)?;
            match name.as_str() {
                "--port" => options.port = value.parse().map_err(|_| usage())?,
                "--batch-ms" => {
                    options.batch = Some(Duration::from_millis(value.parse().map_err(|_| usage())?));
                }
                _ => return Err(usage()),
            }
        }
        Ok(options)
    }
}

/// A listener on this port; 0 is a free one.
///
/// # Errors
/// The system refused.
pub fn listen_on(port: u16) -> io::Result<TcpListener> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Says where this server listens, and ends the process when its standard input does.
///
/// # Errors
/// Nobody reads its output any more.
pub fn announce(listener: &TcpListener) -> io::Result<()> {
    writeln!(io::stdout(), "listening on ws://{}", listener.local_addr()?)?;
    thread::spawn(|| {
        // It sleeps until whoever holds the other end lets go of it, if only by ending.
        drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
        process::exit(0);
    });
    Ok(())
}

/// What this program was built with.
fn locked_version(library: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let entry = |name: &str| lock.split_once(&format!("name = \"{name}\"\n"))?.1.split("[[package]]").next();
    // A dependency of which there are several versions is listed with the one it is.
    let (own, version) = (entry("fanwire-rivals")?, format!("\"{library} "));
    let (_, version) = own.split_once(&version).or_else(|| entry(library)?.split_once("version = \""))?;
    version.split('"').next()
}

/// Also `Options::send_buffer_bytes`' default in Fanwire.
const SEND_BUFFER_BYTES: usize = 128 << 10;

const BACKLOG: i32 = 4096;

/// What the floor is built of.
const FLOOR_LIBRARY: &str = "fanwire-ws";

const USAGE: &str = "give --port N, --batch-ms N, both or nothing, or --version";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        assert_eq!(locked_version("fanwire-rivals"), Some(env!("CARGO_PKG_VERSION")));
        assert!(
            locked_version("tokio-tungstenite").is_some_and(|version| version.starts_with("0.30.")),
            "ours"
        );
        assert_eq!(locked_version("fanwire"), None);
    }

    #[test]
    fn the_command_line_is_a_port_and_a_time_or_nothing() {
        let parse = |line: &str| Options::parse(line.split_whitespace().map(str::to_owned)).ok();
        let options = |port, batch: Option<u64>| {
            Some(Options { port, batch: batch.map(Duration::from_millis), is_bare: false })
        };
        assert_eq!(parse(""), options(0, None));
        assert_eq!(parse("--port 8080"), options(8080, None));
        assert_eq!(parse("--batch-ms 1 --port 8080"), options(8080, Some(1)));
        assert!(
            parse("--bare-accept --port 8080").is_some_and(|options| options.is_bare && options.port == 8080)
        );
        for wrong in
            ["--port", "--port 65536", "8080", "--port 1 2", "--batch-ms", "--batch-ms x", "--batch 1"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
