//! Notes to systemd: ready, reloading, stopping.
//!
//! In      NOTIFY_SOCKET, if the process was started with one
//! Out     one datagram a note; nothing if nobody asked for it or listens
//! Bounds  never blocks
//! Source  sd_notify(3)

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use rustix::time::{ClockId, clock_gettime};

/// Says that settings are read anew, and when that began; `READY=1` ends it.
pub(crate) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000));
}

/// Sends a note such as `READY=1`.
pub(crate) fn notify(note: &str) {
    if let Some(path) = env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&path, note)
    {
        tracing::warn!("cannot tell systemd {note:?}: {error}");
    }
}

fn send(path: &OsStr, note: &str) -> io::Result<()> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(note.as_bytes(), &address).map(|_| ())
}
