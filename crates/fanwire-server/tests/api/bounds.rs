//! The API's own bounds: what one client takes is not taken from the engine, and ends.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::{Server, WAIT_MAX};

#[test]
fn beyond_its_connections_a_request_waits_for_a_place() {
    let server = Server::start(&[]);
    let mut silent: Vec<_> =
        (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(server.api.address).unwrap()).collect();
    let mut late = TcpStream::connect(server.api.address).unwrap();
    late.write_all(
        format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.api.address)
            .as_bytes(),
    )
    .unwrap();
    // Nothing tells that it still waits, but that nothing comes for a while.
    late.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut byte = [0];
    let error = late.read(&mut byte).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    silent.pop();
    late.set_read_timeout(Some(WAIT_MAX)).unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
    // The WebSocket has its own places.
    server.subscriber(&["news"]);
}

/// As in src/api/serve.rs.
const CONNECTIONS_MAX: usize = 128;
