//! Listening: the socket options that every compared server has, set in one place.
//!
//! In      nothing: loopback, a port of the kernel's choice
//! Out     a listener whose connections inherit SO_SNDBUF and TCP_NODELAY; the congestion control is the system's
//! Bounds  `SEND_BUFFER_BYTES` per connection, as Fanwire's default
//! Source  tcp(7), socket(7)

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process, thread,
};

use socket2::{Domain, Socket, Type};

/// A listener on a free port of 127.0.0.1.
///
/// # Errors
/// The system refused it.
pub fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Tells the parent where this server listens, and ends the process when the parent does.
///
/// # Errors
/// The parent has gone already.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    writeln!(io::stdout(), "ready {address}")?;
    thread::spawn(|| {
        // The parent never writes: a read returns when it closes the pipe, if only by ending.
        drop(io::stdin().read(&mut [0]));
        process::exit(0);
    });
    Ok(())
}

/// Also `Options::send_buffer_bytes`' default.
pub const SEND_BUFFER_BYTES: usize = 128 * 1024;

const BACKLOG: i32 = 4096;
