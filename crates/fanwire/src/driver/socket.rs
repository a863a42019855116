//! Sockets: what both drivers need from the kernel besides their event loop.
//!
//! In      addresses and options, descriptors that somebody else accepted
//! Out     listening sockets, prepared connections, wakes, time, randomness, the descriptor limit
//! Bounds  no call here blocks; `RandomBytes` buffers `RANDOM_BUFFER_BYTES`
//! Source  tcp(7), socket(7), eventfd(2), getrlimit(2)

use std::{
    fs,
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
    net::{self, AddressFamily, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, sockopt},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use thiserror::Error;

use super::Wake;

/// One address that connections come in on. All shards share it: each driver arms its accepts on the same
/// socket, so a second server on the port is refused by the kernel (`SO_REUSEPORT` would let it in).
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    /// Takes the address, without listening yet: clients are refused until `listen`.
    pub(crate) fn bind(address: SocketAddr, options: &ListenerOptions) -> Result<Self, ListenError> {
        let at = |error: Errno| ListenError::of(address, error);
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None).map_err(at)?;
        // A restart must not wait for the TIME_WAIT of the previous process's connections.
        sockopt::set_socket_reuseaddr(&socket, true).map_err(at)?;
        if options.reuse_port {
            sockopt::set_socket_reuseport(&socket, true).map_err(at)?;
        }
        bind_patiently(&socket, address).map_err(at)?;
        let bound = net::getsockname(&socket).and_then(SocketAddr::try_from).map_err(at)?;
        Ok(Self { socket, address: bound })
    }

    /// Sets what connections inherit, then listens.
    ///
    /// `SO_REUSEADDR` lets two processes bind a port that neither listens on yet, so "in use" may come here.
    pub(crate) fn listen(&self, options: &ListenerOptions) -> Result<(), ListenError> {
        let at = |error: Errno| ListenError::of(self.address, error);
        sockopt::set_tcp_nodelay(&self.socket, true).map_err(at)?;
        if let Some(bytes) = options.send_buffer_bytes {
            sockopt::set_socket_send_buffer_size(&self.socket, bytes as usize).map_err(at)?;
        }
        if let Some(name) = &options.congestion_control {
            sockopt::set_tcp_congestion(&self.socket, name)
                .map_err(|source| ListenError::of_congestion_control(name, source))?;
        }
        let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
        net::listen(&self.socket, backlog).map_err(at)
    }

    /// Stops listening, for all shards that share the socket: an accept that is still armed in a ring keeps the
    /// socket open for a moment after its last descriptor is closed, and a restart would find the port in use.
    pub(crate) fn stop(&self) {
        // It fails only on a socket that does not listen (any more), as when another shard was first.
        let _ = net::shutdown(&self.socket, net::Shutdown::Read);
    }

    /// The address as bound: port 0 has become the real one.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
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
    PortInUse { address: SocketAddr, source: io::Error },
    #[error(
        "no permission to listen on {address}: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE, \
         or lower net.ipv4.ip_unprivileged_port_start"
    )]
    NoPermission { address: SocketAddr, source: io::Error },
    #[error("{address} is not an address of this machine: use one that `ip addr` lists, or 0.0.0.0 or [::]")]
    AddressNotAvailable { address: SocketAddr, source: io::Error },
    #[error("this system has no sockets of the kind that {address} needs: is IPv6 turned off?")]
    FamilyNotSupported { address: SocketAddr, source: io::Error },
    #[error("no descriptor left to listen on {address}: raise the limit (`ulimit -n`, LimitNOFILE=)")]
    DescriptorsExhausted { address: SocketAddr, source: io::Error },
    #[error(
        "congestion control {name:?} is not available here: choose one of [{available}], or load its module \
         (`modprobe tcp_{name}`)"
    )]
    CongestionControlUnknown { name: String, available: String, source: io::Error },
    #[error(
        "congestion control {name:?} is reserved for root: add it to net.ipv4.tcp_allowed_congestion_control"
    )]
    CongestionControlNotAllowed { name: String, source: io::Error },
    #[error("cannot listen on {address}: {source}")]
    Other { address: SocketAddr, source: io::Error },
}

impl ListenError {
    fn of(address: SocketAddr, error: Errno) -> Self {
        let source = io::Error::from(error);
        match error {
            Errno::ADDRINUSE => Self::PortInUse { address, source },
            Errno::ACCESS | Errno::PERM => Self::NoPermission { address, source },
            Errno::ADDRNOTAVAIL | Errno::NODEV => Self::AddressNotAvailable { address, source },
            Errno::AFNOSUPPORT => Self::FamilyNotSupported { address, source },
            Errno::MFILE | Errno::NFILE => Self::DescriptorsExhausted { address, source },
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

/// Prepares a connection that somebody else accepted, and asks who its peer is: `NO_ADDRESS` for a Unix stream.
pub(crate) fn adopt(socket: BorrowedFd<'_>, send_buffer_bytes: Option<u32>) -> Result<SocketAddr, Errno> {
    if sockopt::socket_type(socket)? != SocketType::STREAM {
        return Err(Errno::PROTOTYPE);
    }
    let peer = net::getpeername(socket)?.ok_or(Errno::NOTCONN)?;
    let is_unix = peer.address_family() == AddressFamily::UNIX;
    let peer = if is_unix { NO_ADDRESS } else { SocketAddr::try_from(peer)? };
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(socket, true)?;
    if !is_unix {
        sockopt::set_tcp_nodelay(socket, true)?;
    }
    if let Some(bytes) = send_buffer_bytes {
        sockopt::set_socket_send_buffer_size(socket, bytes as usize)?;
    }
    Ok(peer)
}

/// One send that does not wait: what the kernel took, or `AGAIN`.
pub(crate) fn send(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        let outcome = match parts {
            [part] => net::send(socket, part, flags),
            parts => net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags),
        };
        if outcome != Err(Errno::INTR) {
            return outcome;
        }
    }
}

/// True for failures of one connection that had already gone when it was accepted (accept(2)): the next
/// one may succeed at once. All others concern the process or the listener.
pub(crate) fn accept_error_is_of_connection(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNABORTED
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
    )
}

/// Whether connections are accepted. After a failure the caller must have paused and resumed first, so
/// that a full descriptor table is not tried again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    Open,
    Failed,
    Paused,
}

impl Admission {
    /// After the caller has said how much room there is.
    pub(crate) fn given(self, room: usize) -> Self {
        match (self, room) {
            (Self::Failed, 0) => Self::Paused,
            (Self::Paused, 1..) => Self::Open,
            (unchanged, _) => unchanged,
        }
    }
}

/// How many descriptors this process may have open now (the soft limit).
pub(crate) fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the soft descriptor limit to the hard one, and says what it is then.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the soft descriptor limit stays as it is");
        }
    }
    descriptor_limit()
}

/// An eventfd that ends a driver's sleep: level-triggered until it is read.
#[derive(Debug)]
pub(crate) struct WakeEvent {
    descriptor: OwnedFd,
}

impl WakeEvent {
    pub(crate) fn new() -> Result<Arc<Self>, Errno> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self { descriptor }))
    }

    /// Takes all wakes so far.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        // Nothing to read means that nobody woke us, which is as good as having read it.
        let _ = rustix::io::read(&self.descriptor, &mut count);
    }
}

impl AsFd for WakeEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Wake for WakeEvent {
    fn wake(&self) {
        // The only failure is a counter that is already at its maximum: then the sleeper is awake anyway.
        let _ = rustix::io::write(&self.descriptor, &1u64.to_ne_bytes());
    }
}

/// Random bytes from the kernel, fetched in blocks so that an id does not cost a system call.
pub(crate) struct RandomBytes {
    block: [u8; RANDOM_BUFFER_BYTES],
    used: usize,
}

impl RandomBytes {
    pub(crate) fn new() -> Self {
        Self { block: [0; RANDOM_BUFFER_BYTES], used: RANDOM_BUFFER_BYTES }
    }

    pub(crate) fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used == self.block.len() {
                // Linux fails here only before the system's first entropy or for a bad address.
                getrandom::fill(&mut self.block).expect("the kernel gives random bytes once it has booted");
                self.used = 0;
            }
            let count = out.len().min(self.block.len() - self.used);
            let (filled, rest) = out.split_at_mut(count);
            let taken = &mut self.block[self.used..self.used + count];
            filled.copy_from_slice(taken);
            taken.fill(0); // Ids that were given out are not left behind in memory.
            self.used += count;
            out = rest;
        }
    }
}

/// Monotonic nanoseconds.
pub(crate) fn now_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // CLOCK_MONOTONIC starts at boot and is never negative.
    time.tv_sec.unsigned_abs() * NANOSECONDS_PER_SECOND + time.tv_nsec.unsigned_abs()
}

/// Of a peer that has none, as that of a Unix stream.
pub(crate) const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

pub(crate) const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
const BACKLOG_DEFAULT: u32 = 4096;

/// The kernel looks after the rings of a process that has gone twenty times a second.
const BIND_PATIENCE: Duration = Duration::from_secs(2);
const BIND_PAUSE: Duration = Duration::from_millis(5);
const RANDOM_BUFFER_BYTES: usize = 256;
const CONGESTION_CONTROLS_PATH: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::{UnixDatagram, UnixStream},
    };

    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn listening(options: &ListenerOptions) -> Listener {
        let listener = Listener::bind(loopback(0), options).unwrap();
        listener.listen(options).unwrap();
        listener
    }

    #[test]
    fn bound_socket_refuses_until_it_listens() {
        let options = ListenerOptions::default();
        let listener = Listener::bind(loopback(0), &options).unwrap();
        assert_ne!(listener.local_addr().port(), 0);
        let refused = TcpStream::connect(listener.local_addr()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        listener.listen(&options).unwrap();
        TcpStream::connect(listener.local_addr()).unwrap();
    }

    #[test]
    fn accepted_sockets_inherit_the_listeners_options() {
        let options = ListenerOptions {
            send_buffer_bytes: Some(40_000),
            congestion_control: Some("reno".to_owned()),
            ..ListenerOptions::default()
        };
        let listener = listening(&options);
        let _client = TcpStream::connect(listener.local_addr()).unwrap();
        let accepted = net::accept(&listener).unwrap();
        assert!(sockopt::tcp_nodelay(&accepted).unwrap());
        // The kernel doubles the figure for its own bookkeeping.
        assert_eq!(sockopt::socket_send_buffer_size(&accepted).unwrap(), 80_000);
        assert_eq!(sockopt::tcp_congestion(&accepted).unwrap(), "reno");
    }

    #[test]
    fn port_in_use_is_named_so_at_bind() {
        let other = TcpListener::bind(loopback(0)).unwrap();
        let address = other.local_addr().unwrap();
        let error = Listener::bind(address, &ListenerOptions::default()).unwrap_err();
        assert!(matches!(error, ListenError::PortInUse { .. }), "{error}");
        assert!(error.to_string().contains("choose another port"));
    }

    #[test]
    fn port_in_use_is_named_so_at_listen() {
        let options = ListenerOptions::default();
        let first = Listener::bind(loopback(0), &options).unwrap();
        let second = Listener::bind(first.local_addr(), &options).unwrap();
        first.listen(&options).unwrap();
        let error = second.listen(&options).unwrap_err();
        assert!(matches!(error, ListenError::PortInUse { .. }), "{error}");
    }

    #[test]
    fn reuse_port_lets_two_listen() {
        let options = ListenerOptions { reuse_port: true, ..ListenerOptions::default() };
        let first = listening(&options);
        let second = Listener::bind(first.local_addr(), &options).unwrap();
        second.listen(&options).unwrap();
    }

    #[test]
    fn foreign_address_is_not_available() {
        // RFC 5737: 192.0.2.0/24 is for documentation, so no machine has it.
        let address: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let error = Listener::bind(address, &ListenerOptions::default()).unwrap_err();
        assert!(matches!(error, ListenError::AddressNotAvailable { .. }), "{error}");
    }

    #[test]
    fn every_bind_error_has_its_variant() {
        let of = |error| ListenError::of(loopback(80), error);
        assert!(matches!(of(Errno::ACCESS), ListenError::NoPermission { .. }));
        assert!(matches!(of(Errno::MFILE), ListenError::DescriptorsExhausted { .. }));
        assert!(matches!(of(Errno::AFNOSUPPORT), ListenError::FamilyNotSupported { .. }));
        assert!(matches!(of(Errno::INVAL), ListenError::Other { .. }));
        let reserved = ListenError::of_congestion_control("bbr", Errno::PERM);
        assert!(matches!(reserved, ListenError::CongestionControlNotAllowed { .. }));
    }

    #[test]
    fn unknown_congestion_control_lists_the_available_ones() {
        let options =
            ListenerOptions { congestion_control: Some("nosuch".to_owned()), ..ListenerOptions::default() };
        let listener = Listener::bind(loopback(0), &options).unwrap();
        let error = listener.listen(&options).unwrap_err();
        assert!(matches!(error, ListenError::CongestionControlUnknown { .. }), "{error}");
        assert!(error.to_string().contains("reno"), "{error}");
    }

    #[test]
    fn adopted_socket_is_prepared_and_names_its_peer() {
        let listener = TcpListener::bind(loopback(0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let peer = adopt(accepted.as_fd(), Some(30_000)).unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(accepted.nodelay().unwrap());
        assert_eq!(sockopt::socket_send_buffer_size(&accepted).unwrap(), 60_000);
        let flags = rustix::fs::fcntl_getfl(&accepted).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    fn adopted_unix_stream_is_prepared_and_has_no_address() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert_eq!(adopt(ours.as_fd(), Some(30_000)), Ok(NO_ADDRESS));
        assert_eq!(sockopt::socket_send_buffer_size(&ours).unwrap(), 60_000);
        let flags = rustix::fs::fcntl_getfl(&ours).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    fn what_is_no_connected_stream_is_not_adopted() {
        let datagram = UdpSocket::bind(loopback(0)).unwrap();
        assert_eq!(adopt(datagram.as_fd(), None), Err(Errno::PROTOTYPE));
        let (local, _peer) = UnixDatagram::pair().unwrap();
        assert_eq!(adopt(local.as_fd(), None), Err(Errno::PROTOTYPE));
        let listener = TcpListener::bind(loopback(0)).unwrap();
        assert_eq!(adopt(listener.as_fd(), None), Err(Errno::NOTCONN));
        let file = fs::File::open("/dev/null").unwrap();
        assert_eq!(adopt(file.as_fd(), None), Err(Errno::NOTSOCK));
    }

    #[test]
    fn accepting_goes_on_after_a_pause_and_new_room() {
        assert_eq!(Admission::Open.given(0).given(3), Admission::Open);
        assert_eq!(Admission::Failed.given(3), Admission::Failed);
        assert_eq!(Admission::Failed.given(0), Admission::Paused);
        assert_eq!(Admission::Failed.given(0).given(0), Admission::Paused);
        assert_eq!(Admission::Failed.given(0).given(1), Admission::Open);
    }

    #[test]
    fn descriptor_limit_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(raise_descriptor_limit(), hard);
        assert_eq!(descriptor_limit(), hard);
    }

    #[test]
    fn many_wakes_are_taken_by_one_clear() {
        let event = WakeEvent::new().unwrap();
        for _ in 0..3 {
            event.wake();
        }
        event.clear();
        let mut count = [0; 8];
        assert_eq!(rustix::io::read(&event.descriptor, &mut count), Err(Errno::AGAIN));
        event.clear();
    }

    #[test]
    fn random_ids_differ_across_block_boundaries() {
        let mut random = RandomBytes::new();
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let mut id = [0; 24]; // 256 is no multiple of 24.
            random.fill(&mut id);
            assert!(seen.insert(id));
        }
        let mut long = vec![0; 3 * RANDOM_BUFFER_BYTES];
        random.fill(&mut long);
        assert!(long.chunks(16).all(|chunk| chunk.iter().any(|&byte| byte != 0)));
    }

    #[test]
    fn clock_does_not_run_backwards() {
        let earlier = now_nanoseconds();
        assert!(now_nanoseconds() >= earlier);
    }
}
