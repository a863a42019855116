//! Listening: the socket options that every compared server has, set in one place.
//!
//! In      `[--port N]`, none: a free port; or `--version`
//! Out     a listener on 127.0.0.1 whose connections inherit SO_SNDBUF and TCP_NODELAY; a line that says
//!         where. Or the version of the library that is measured
//! Bounds  as many descriptors as the hard limit allows
//! Source  tcp(7), socket(7), getrlimit(2)

use std::{
    env,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process, thread,
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
    listen_on(port(env::args().skip(1))?)
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

/// The port of `[--port N]`.
///
/// # Errors
/// Something else was given.
pub fn port(mut arguments: impl Iterator<Item = String>) -> io::Result<u16> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "give nothing, --port N or --version");
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Ok(0),
        (Some("--port"), Some(port), None) => port.parse().map_err(|_| usage()),
        _ => Err(usage()),
    }
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
    fn the_command_line_is_a_port_or_nothing() {
        let port = |line: &str| port(line.split_whitespace().map(str::to_owned)).ok();
        assert_eq!(port(""), Some(0));
        assert_eq!(port("--port 8080"), Some(8080));
        for wrong in ["--port", "--port 65536", "8080", "--port 1 2"] {
            assert_eq!(port(wrong), None, "{wrong}");
        }
    }
}
