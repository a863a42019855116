//! Listeners: sockets that connections come in on.
//!
//! In      addresses, paths, sockets that somebody else has made
//! Out     listening sockets with the options that connections inherit, or why there is none
//! Bounds  binding waits `BIND_PATIENCE` at most for who has just gone; nothing else waits
//! Source  socket(7), tcp(7), unix(7), sd_listen_fds(3)

mod file;

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt},
};
use thiserror::Error;

use self::file::SocketFile;
#[cfg(test)]
use super::socket::NO_ADDRESS;

/// One address that connections come in on. All shards share it: each driver arms its accepts on the same
/// socket, so a second server on the port is refused by the kernel (`SO_REUSEPORT` would let it in).
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    address: ListenAddress,
    origin: Origin,
}

impl Listener {
    /// Takes the address, without listening yet: clients are refused until `listen`.
    pub(crate) fn bind(address: SocketAddr, options: &ListenerOptions) -> Result<Self, ListenError> {
        let shown = ListenAddress::Tcp(address);
        let at = |error: Errno| ListenError::of(&shown, error);
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = net::socket_with(family, SocketType::STREAM, FLAGS, None).map_err(at)?;
        // A restart must not wait for the TIME_WAIT of the previous process's connections.
        sockopt::set_socket_reuseaddr(&socket, true).map_err(at)?;
        if options.reuse_port {
            sockopt::set_socket_reuseport(&socket, true).map_err(at)?;
        }
        bind_patiently(&socket, address).map_err(at)?;
        let bound = net::getsockname(&socket).and_then(SocketAddr::try_from).map_err(at)?;
        Ok(Self { socket, address: ListenAddress::Tcp(bound), origin: Origin::Bound })
    }

    /// Makes a socket file and listens: until shards accept, clients wait. A file that nobody listens on any more
    /// is replaced.
    pub(crate) fn bind_unix(
        path: &Path,
        mode: Option<u32>,
        options: &ListenerOptions,
    ) -> Result<Self, ListenError> {
        let (socket, file) = SocketFile::make(path, mode, options.backlog())?;
        Ok(Self { socket, address: ListenAddress::Unix(path.to_owned()), origin: Origin::File(file) })
    }

    /// A socket that somebody else has made, listens on already, and keeps.
    pub(crate) fn handed_over(socket: OwnedFd) -> Result<Self, ListenError> {
        let descriptor = socket.as_raw_fd();
        let not = |reason| ListenError::NotAListener { descriptor, reason };
        let kind = sockopt::socket_type(&socket).map_err(|_| not("is no socket"))?;
        if kind != SocketType::STREAM {
            return Err(not("is no stream socket"));
        }
        if !sockopt::socket_acceptconn(&socket).unwrap_or(false) {
            return Err(not("does not listen"));
        }
        let name = net::getsockname(&socket).map_err(|_| not("has no address"))?;
        let address = ListenAddress::of(name).ok_or(not("is of neither TCP nor Unix sockets"))?;
        let at = |error: Errno| ListenError::of(&address, error);
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).map_err(at)?;
        rustix::io::ioctl_fionbio(&socket, true).map_err(at)?;
        Ok(Self { socket, address, origin: Origin::HandedOver })
    }

    /// Sets what connections inherit, then listens.
    ///
    /// `SO_REUSEADDR` lets two processes bind a port that neither listens on yet, so "in use" may come here.
    pub(crate) fn listen(&self, options: &ListenerOptions) -> Result<(), ListenError> {
        let at = |error: Errno| ListenError::of(&self.address, error);
        // Connections of Unix sockets inherit nothing, and the file's maker listens already.
        if !self.is_unix() {
            sockopt::set_tcp_nodelay(&self.socket, true).map_err(at)?;
            if let Some(bytes) = options.send_buffer_bytes {
                sockopt::set_socket_send_buffer_size(&self.socket, bytes as usize).map_err(at)?;
            }
            if let Some(name) = &options.congestion_control {
                sockopt::set_tcp_congestion(&self.socket, name)
                    .map_err(|source| ListenError::of_congestion_control(name, source))?;
            }
        }
        net::listen(&self.socket, options.backlog()).map_err(at)
    }

    /// Sets what a connection of this listener has not inherited.
    pub(crate) fn prepare(
        &self,
        socket: BorrowedFd<'_>,
        send_buffer_bytes: Option<u32>,
    ) -> Result<(), Errno> {
        match send_buffer_bytes {
            Some(bytes) if self.is_unix() => sockopt::set_socket_send_buffer_size(socket, bytes as usize),
            _ => Ok(()),
        }
    }

    /// Stops listening, for all shards that share the socket: an accept that is still armed in a ring keeps the
    /// socket open for a moment after its last descriptor is closed, and a restart would find the port in use.
    ///
    /// A socket that was handed over goes on: whoever made it keeps it, and clients wait there for the next server.
    pub(crate) fn stop(&self) {
        match &self.origin {
            Origin::HandedOver => return,
            // First, so that who finds nobody listening finds no file either, and makes its own.
            Origin::File(file) => file.remove(),
            Origin::Bound => {}
        }
        // It fails only on a socket that does not listen (any more), as when another shard was first.
        let _ = net::shutdown(&self.socket, net::Shutdown::Read);
    }

    /// The port as bound; `NO_ADDRESS` of a Unix socket.
    #[cfg(test)]
    pub(crate) fn local_addr(&self) -> SocketAddr {
        match self.address {
            ListenAddress::Tcp(address) => address,
            ListenAddress::Unix(_) => NO_ADDRESS,
        }
    }

    pub(crate) fn address(&self) -> &ListenAddress {
        &self.address
    }

    fn is_unix(&self) -> bool {
        matches!(self.address, ListenAddress::Unix(_))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Where a listener is, as clients name it. Shown as `127.0.0.1:8080` or `unix:/run/fanwire.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenAddress {
    /// A port of an address of this machine.
    Tcp(SocketAddr),
    /// The file of a Unix socket; of one without a file its name behind an `@`.
    Unix(PathBuf),
}

impl ListenAddress {
    fn of(name: SocketAddrAny) -> Option<Self> {
        if name.address_family() != AddressFamily::UNIX {
            return SocketAddr::try_from(name).ok().map(Self::Tcp);
        }
        let name = SocketAddrUnix::try_from(name).ok()?;
        let path = name.path_bytes().map(<[u8]>::to_vec);
        let bytes = path.or_else(|| Some([b"@", name.abstract_name()?].concat())).unwrap_or_default();
        Some(Self::Unix(Path::new(std::ffi::OsStr::from_bytes(&bytes)).to_owned()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How to listen.
#[derive(Clone, Debug)]
pub(crate) struct ListenerOptions {
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    pub(crate) backlog: u32,
    /// `SO_SNDBUF` of each connection. `None`: the kernel grows it up to `net.ipv4.tcp_wmem`'s maximum.
    pub(crate) send_buffer_bytes: Option<u32>,
    /// `TCP_CONGESTION` of each connection. `None`: the system's.
    pub(crate) congestion_control: Option<String>,
    /// Lets other processes of this user listen on the same port, and share its connections.
    pub(crate) reuse_port: bool,
}

impl ListenerOptions {
    fn backlog(&self) -> i32 {
        i32::try_from(self.backlog).unwrap_or(i32::MAX)
    }
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            backlog: BACKLOG_DEFAULT,
            send_buffer_bytes: None,
            congestion_control: None,
            reuse_port: false,
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says it, and the fields are what the message names")]
pub enum ListenError {
    #[error("{address} is in use: stop the program that listens there, or choose another port")]
    PortInUse { address: ListenAddress, source: io::Error },
    #[error(
        "no permission to listen on {address}: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE, \
         or lower net.ipv4.ip_unprivileged_port_start"
    )]
    NoPermission { address: ListenAddress, source: io::Error },
    #[error("{address} is not an address of this machine: use one that `ip addr` lists, or 0.0.0.0 or [::]")]
    AddressNotAvailable { address: ListenAddress, source: io::Error },
    #[error("this system has no sockets of the kind that {address} needs: is IPv6 turned off?")]
    FamilyNotSupported { address: ListenAddress, source: io::Error },
    #[error("no descriptor left to listen on {address}: raise the limit (`ulimit -n`, LimitNOFILE=)")]
    DescriptorsExhausted { address: ListenAddress, source: io::Error },
    #[error(
        "congestion control {name:?} is not available here: choose one of [{available}], or load its module \
         (`modprobe tcp_{name}`)"
    )]
    CongestionControlUnknown { name: String, available: String, source: io::Error },
    #[error(
        "congestion control {name:?} is reserved for root: add it to net.ipv4.tcp_allowed_congestion_control"
    )]
    CongestionControlNotAllowed { name: String, source: io::Error },
    #[error("{address} is in use: stop the program that listens there, or choose another path")]
    PathInUse { address: ListenAddress },
    #[error("{address} is there and is no socket: remove it, or choose another path")]
    PathTaken { address: ListenAddress },
    #[error(
        "cannot make a socket at {address} ({source}): the folder must be there and be open to writing, and the \
         path be at most {PATH_BYTES_MAX} bytes long"
    )]
    PathNotPossible { address: ListenAddress, source: io::Error },
    #[error(
        "descriptor {descriptor} {reason}: hand over stream sockets that listen, of TCP or of a path \
         (ListenStream= in a socket unit, Accept=no)"
    )]
    NotAListener { descriptor: i32, reason: &'static str },
    #[error("cannot listen on {address}: {source}")]
    Other { address: ListenAddress, source: io::Error },
}

impl ListenError {
    fn of(address: &ListenAddress, error: Errno) -> Self {
        let source = io::Error::from(error);
        let address = address.clone();
        match error {
            Errno::MFILE | Errno::NFILE => Self::DescriptorsExhausted { address, source },
            _ if matches!(address, ListenAddress::Unix(_)) => Self::PathNotPossible { address, source },
            Errno::ADDRINUSE => Self::PortInUse { address, source },
            Errno::ACCESS | Errno::PERM => Self::NoPermission { address, source },
            Errno::ADDRNOTAVAIL | Errno::NODEV => Self::AddressNotAvailable { address, source },
            Errno::AFNOSUPPORT => Self::FamilyNotSupported { address, source },
            _ => Self::Other { address, source },
        }
    }

    fn of_congestion_control(name: &str, error: Errno) -> Self {
        let name = name.to_owned();
        let source = io::Error::from(error);
        if error == Errno::PERM {
            return Self::CongestionControlNotAllowed { name, source };
        }
        let available = fs::read_to_string(CONGESTION_CONTROLS_PATH).unwrap_or_default().trim().to_owned();
        Self::CongestionControlUnknown { name, available, source }
    }
}

/// Whose socket it is, and so what has to be done at its end.
#[derive(Debug)]
enum Origin {
    Bound,
    File(SocketFile),
    HandedOver,
}

/// Binds, and tries again for a moment if the address is in use: a process that was killed leaves its sockets to the
/// requests that are still armed in its rings, and the kernel ends those a little later than the process.
fn bind_patiently(socket: &OwnedFd, address: SocketAddr) -> Result<(), Errno> {
    let start = Instant::now();
    loop {
        match net::bind(socket, &address) {
            Err(Errno::ADDRINUSE) if start.elapsed() < BIND_PATIENCE => thread::sleep(BIND_PAUSE),
            outcome => return outcome,
        }
    }
}

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
const BACKLOG_DEFAULT: u32 = 4096;

/// The kernel looks after the rings of a process that has gone twenty times a second.
const BIND_PATIENCE: Duration = Duration::from_secs(2);
const BIND_PAUSE: Duration = Duration::from_millis(5);

/// unix(7): 108 bytes with the NUL behind them.
const PATH_BYTES_MAX: usize = 107;
const CONGESTION_CONTROLS_PATH: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

#[cfg(test)]
mod tests;
