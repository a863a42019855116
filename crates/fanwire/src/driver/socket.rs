//! Sockets: what both drivers need from the kernel besides their event loop.
//!
//! In      descriptors that somebody else accepted
//! Out     prepared connections, wakes, time, randomness, the descriptor limit
//! Bounds  no call here blocks; `RandomBytes` buffers `RANDOM_BUFFER_BYTES`
//! Source  tcp(7), socket(7), eventfd(2), getrlimit(2)

use std::{
    io::IoSlice,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
    net::{self, AddressFamily, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketType, sockopt},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use super::Wake;

/// Prepares a connection that somebody else accepted, and asks who its peer is: `NO_ADDRESS` for a Unix stream.
pub(crate) fn adopt(socket: BorrowedFd<'_>, send_buffer_bytes: Option<u32>) -> Result<SocketAddr, Errno> {
    if sockopt::socket_type(socket)? != SocketType::STREAM {
        return Err(Errno::PROTOTYPE);
    }
    let peer = peer_of(net::getpeername(socket)?).ok_or(Errno::NOTCONN)?;
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(socket, true)?;
    if peer != NO_ADDRESS {
        sockopt::set_tcp_nodelay(socket, true)?;
    }
    if let Some(bytes) = send_buffer_bytes {
        sockopt::set_socket_send_buffer_size(socket, bytes as usize)?;
    }
    Ok(peer)
}

/// Who is at the other end, as the kernel names it; `None` if nobody is (any more).
pub(crate) fn peer_of(address: Option<SocketAddrAny>) -> Option<SocketAddr> {
    let address = address?;
    if address.address_family() == AddressFamily::UNIX {
        return Some(NO_ADDRESS);
    }
    SocketAddr::try_from(address).ok()
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
const RANDOM_BUFFER_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        fs,
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::{UnixDatagram, UnixStream},
    };

    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
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
