//! Listeners on real sockets: options, errors, files.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener, UnixStream},
        },
    },
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
    let of = |error| ListenError::of(&ListenAddress::Tcp(loopback(80)), error);
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

/// A path of this test's own, free at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fanwire-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn listen(&self, mode: Option<u32>) -> Result<Listener, ListenError> {
        Listener::bind_unix(&self.0, mode, &ListenerOptions::default())
    }

    fn mode(&self) -> u32 {
        fs::symlink_metadata(&self.0).unwrap().permissions().mode() & 0o777
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_socket_file_is_there_from_bind_on_and_gone_at_the_end() {
    let place = Place::new("there");
    let listener = place.listen(None).unwrap();
    assert_eq!(listener.address(), &ListenAddress::Unix(place.0.clone()));
    assert_eq!(listener.local_addr(), NO_ADDRESS);
    listener.listen(&ListenerOptions::default()).unwrap();
    UnixStream::connect(&place.0).unwrap();
    listener.stop();
    assert!(!place.0.exists());
    let listener = place.listen(None).unwrap();
    drop(listener);
    assert!(!place.0.exists());
}

#[test]
fn a_socket_file_has_the_mode_that_it_is_given() {
    let place = Place::new("mode");
    for mode in [0o600, 0o660, 0o666, 0o700] {
        let _listener = place.listen(Some(mode)).unwrap();
        assert_eq!(place.mode(), mode);
    }
}

#[test]
fn a_file_that_nobody_listens_on_is_replaced() {
    let place = Place::new("stale");
    drop(UnixListener::bind(&place.0).unwrap());
    assert!(place.0.exists(), "std leaves it");
    let _listener = place.listen(None).unwrap();
    UnixStream::connect(&place.0).unwrap();
}

#[test]
fn a_file_that_somebody_listens_on_stays_theirs() {
    let place = Place::new("used");
    let other = UnixListener::bind(&place.0).unwrap();
    let error = place.listen(None).unwrap_err();
    assert!(matches!(error, ListenError::PathInUse { .. }), "{error}");
    assert!(error.to_string().contains("choose another path"), "{error}");
    other.set_nonblocking(true).unwrap();
    while other.accept().is_ok() {}
    UnixStream::connect(&place.0).unwrap();
    other.accept().unwrap();
    // Somebody may be there, though not for streams.
    let place = Place::new("datagrams");
    let _datagrams = UnixDatagram::bind(&place.0).unwrap();
    assert!(matches!(place.listen(None), Err(ListenError::PathInUse { .. })));
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let place = Place::new("file");
    fs::write(&place.0, "precious").unwrap();
    let error = place.listen(None).unwrap_err();
    assert!(matches!(error, ListenError::PathTaken { .. }), "{error}");
    assert_eq!(fs::read_to_string(&place.0).unwrap(), "precious");
}

#[test]
fn a_file_that_somebody_has_replaced_is_not_removed() {
    let place = Place::new("replaced");
    let first = place.listen(None).unwrap();
    fs::remove_file(&place.0).unwrap();
    let _second = place.listen(None).unwrap();
    first.stop();
    drop(first);
    UnixStream::connect(&place.0).unwrap();
}

#[test]
fn a_path_that_cannot_be_says_so() {
    let long = format!("/tmp/{}", "x".repeat(PATH_BYTES_MAX));
    for path in ["/nowhere/at/all.sock", "/proc/fanwire.sock", &long] {
        let error = Listener::bind_unix(Path::new(path), None, &ListenerOptions::default()).unwrap_err();
        assert!(matches!(error, ListenError::PathNotPossible { .. }), "{error:?}");
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn connections_of_a_socket_file_get_the_send_buffer() {
    let place = Place::new("buffer");
    let listener = place.listen(None).unwrap();
    let _client = UnixStream::connect(&place.0).unwrap();
    let accepted = net::accept(&listener).unwrap();
    listener.prepare(accepted.as_fd(), Some(40_000)).unwrap();
    assert_eq!(sockopt::socket_send_buffer_size(&accepted).unwrap(), 80_000);
}

#[test]
fn a_socket_that_was_handed_over_outlives_our_listening() {
    let theirs = TcpListener::bind(loopback(0)).unwrap();
    let listener = Listener::handed_over(theirs.try_clone().unwrap().into()).unwrap();
    assert_eq!(listener.local_addr(), theirs.local_addr().unwrap());
    listener.listen(&ListenerOptions::default()).unwrap();
    listener.stop();
    drop(listener);
    TcpStream::connect(theirs.local_addr().unwrap()).unwrap();
    theirs.set_nonblocking(false).unwrap();
    theirs.accept().unwrap();

    let place = Place::new("handed");
    let theirs = UnixListener::bind(&place.0).unwrap();
    let listener = Listener::handed_over(theirs.try_clone().unwrap().into()).unwrap();
    assert_eq!(listener.address(), &ListenAddress::Unix(place.0.clone()));
    listener.stop();
    drop(listener);
    UnixStream::connect(&place.0).unwrap();

    let name = format!("fanwire-{}", std::process::id());
    let theirs = UnixListener::bind_addr(&UnixAddress::from_abstract_name(&name).unwrap()).unwrap();
    let listener = Listener::handed_over(theirs.into()).unwrap();
    assert_eq!(listener.address().to_string(), format!("unix:@{name}"));
}

#[test]
fn what_does_not_listen_is_not_taken_over() {
    let bound = Listener::bind(loopback(0), &ListenerOptions::default()).unwrap();
    let (stream, _other) = UnixStream::pair().unwrap();
    let cases: [(OwnedFd, &str); 4] = [
        (UdpSocket::bind(loopback(0)).unwrap().into(), "is no stream socket"),
        (fs::File::open("/dev/null").unwrap().into(), "is no socket"),
        (bound.socket.try_clone().unwrap(), "does not listen"),
        (stream.into(), "does not listen"),
    ];
    for (socket, wanted) in cases {
        let descriptor = socket.as_raw_fd();
        let error = Listener::handed_over(socket).unwrap_err().to_string();
        assert!(error.starts_with(&format!("descriptor {descriptor} {wanted}: hand over")), "{error}");
    }
}
