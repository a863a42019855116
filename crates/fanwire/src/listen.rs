//! Where to listen: addresses, socket files, sockets that somebody hands over; each with proxies or without.
//!
//! In      what a program says of one listener
//! Out     the listener, bound
//! Bounds  none
//! Source  docs/operations.md

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    os::fd::OwnedFd,
    path::PathBuf,
};

use crate::{
    driver::listener::{ListenError, Listener, ListenerOptions},
    error::Error,
    network::Network,
};

/// One place for connections to come in, for [`Server::bind_all`](crate::Server::bind_all) and
/// [`Server::bind_also`](crate::Server::bind_also).
///
/// ```
/// use fanwire::{Listen, Options, Server};
///
/// # let path = std::env::temp_dir().join(format!("fanwire-{}-doc-listen.sock", std::process::id()));
/// // For clients; for a proxy on this machine; and for balancers that say who the client is.
/// let server = Server::bind_all(
///     [
///         Listen::tcp("127.0.0.1:0")?,
///         Listen::unix_with_mode(&path, 0o660),
///         Listen::tcp("127.0.0.1:0")?.behind(["10.1.0.0/16".parse()?, "127.0.0.1".parse()?]),
///     ],
///     Options::default(),
/// )?;
/// assert_eq!(server.addresses().len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listen {
    place: Place,
    proxies: Option<Box<[Network]>>,
}

#[derive(Debug)]
enum Place {
    /// The first of these that can be had: a name may stand for several.
    Tcp(Vec<SocketAddr>),
    Unix {
        path: PathBuf,
        mode: Option<u32>,
    },
    HandedOver(OwnedFd),
}

impl Listen {
    /// A port. Of a name that stands for several addresses, the first that can be had; port 0 asks the system for a
    /// free one.
    ///
    /// # Errors
    /// [`Error::Address`] if it cannot be resolved.
    pub fn tcp(address: impl ToSocketAddrs) -> Result<Self, Error> {
        let addresses: Vec<_> = address.to_socket_addrs().map_err(Error::Address)?.collect();
        if addresses.is_empty() {
            return Err(Error::Address(io::ErrorKind::NotFound.into()));
        }
        Ok(Self { place: Place::Tcp(addresses), proxies: None })
    }

    /// A Unix socket with a file. Who may write to the file may connect: by the umask, as a rule only its owner.
    ///
    /// A file that a server has left behind is replaced; one that somebody listens on, or that is no socket, stays
    /// and is an error. The file is removed when the server stops accepting.
    ///
    /// Such peers have no address: [`Request::peer`](crate::Request::peer) is `0.0.0.0:0`, unless a PROXY header
    /// says more.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { place: Place::Unix { path: path.into(), mode: None }, proxies: None }
    }

    /// The same with a mode for the file whatever the umask: 0o660 lets the owner's group in, 0o666 everybody.
    pub fn unix_with_mode(path: impl Into<PathBuf>, mode: u32) -> Self {
        Self { place: Place::Unix { path: path.into(), mode: Some(mode) }, proxies: None }
    }

    /// A socket of either kind that listens already, such as one of systemd's. It stays with whoever made it: when
    /// the server ends, it is not shut down, a file of it is not removed, and who connects meanwhile waits there.
    ///
    /// ```
    /// use fanwire::{Listen, Options, Server};
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let server = Server::bind_all([Listen::socket(listener)], Options::default())?;
    /// assert_eq!(server.address(), address);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn socket(socket: impl Into<OwnedFd>) -> Self {
        Self { place: Place::HandedOver(socket.into()), proxies: None }
    }

    /// Expects a PROXY header (version 1 or 2) in front of each connection, from proxies of these networks; what it
    /// says is then the peer, for hooks and in the log. Peers of other networks are refused with 403 and counted in
    /// `refused_untrusted`, headers that are none with 400 in `refused_proxy_header`.
    ///
    /// A header may say anything, so name nobody but the proxies. For those that come over a Unix socket that is
    /// [`Network::UNIX`].
    #[must_use]
    pub fn behind(self, proxies: impl IntoIterator<Item = Network>) -> Self {
        Self { proxies: Some(proxies.into_iter().collect()), ..self }
    }

    pub(crate) fn bind(self, options: &ListenerOptions) -> Result<Bound, Error> {
        if self.proxies.as_ref().is_some_and(|proxies| proxies.is_empty()) {
            let advice = "no proxy is named: everybody would be refused".to_owned();
            return Err(Error::Option { option: "behind", advice });
        }
        let listener = match self.place {
            Place::Tcp(addresses) => bind_first(&addresses, options)?,
            Place::Unix { path, mode } => Listener::bind_unix(&path, mode, options)?,
            Place::HandedOver(socket) => Listener::handed_over(socket)?,
        };
        Ok(Bound { listener, proxies: self.proxies })
    }
}

/// A place that is taken.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listener: Listener,
    pub(crate) proxies: Option<Box<[Network]>>,
}

fn bind_first(addresses: &[SocketAddr], options: &ListenerOptions) -> Result<Listener, Error> {
    let mut last = None;
    for address in addresses {
        match Listener::bind(*address, options) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| Error::Address(io::ErrorKind::NotFound.into()), Error::from))
}

impl From<ListenError> for Error {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}

/// Listeners of one server: each shard keeps an accept armed on each.
pub(crate) const LISTENERS_MAX: usize = 64;
