//! Talk in other languages: TLS on the plain port, and noise.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
};

use crate::{Setup, WAIT_MAX, bound::Watch, crowd::Crowd, process::Process};

on_both_drivers!(a_tls_hello_gets_a_hint, noise_harms_nobody);

/// The client hears plain text, which TLS clients show or count as a wrong version; the operator reads why, once.
fn a_tls_hello_gets_a_hint(setup: Setup) {
    let mut server = Process::start(setup, &crate::SMALL);
    let watch = Watch::begin(format!("TLS on the plain port, {setup:?}"), &server);
    let mut crowd = Crowd::gather(server.address, 20, 1);
    for _ in 0..200 {
        let answer = answer_to(server.address, TLS_HELLO);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks no TLS"), "{answer}");
    }
    let said = server.errors_until(|line| line.contains("TLS"));
    assert!(said.last().unwrap().contains("proxy"), "{said:?}");
    crowd.flow(300);
    crowd.settle();
    watch.end();
    server.signal(rustix::process::Signal::TERM);
    let (_, _, errors) = server.end();
    let lines = said.iter().chain(&errors).filter(|line| line.contains("TLS")).count();
    assert!((1..=usize::from(setup.shards)).contains(&lines), "{errors:?}");
}

/// Noise before the handshake is refused or cut; noise behind it closes that session alone.
fn noise_harms_nobody(setup: Setup) {
    let server = Process::start(setup, &[&crate::SMALL[..], &["--handshake-timeout", "1s"]].concat());
    let watch = Watch::begin(format!("noise, {setup:?}"), &server);
    let mut crowd = Crowd::gather(server.address, 20, 1);
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for round in 0..300 {
        let bytes = noise.bytes(1 + round * 7);
        let answer = answer_to(server.address, &bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "round {round}: {answer}");
        let mut session = crate::client::Client::connect(server.address);
        session.send_raw(&bytes);
        session.stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // It may be reset, for the server reads no more than it must.
        let _ = session.stream.read_to_end(&mut rest);
    }
    crowd.flow(300);
    crowd.settle();
    watch.end();
}

/// All that the server says before it ends the connection.
fn answer_to(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// xorshift64*: the same noise in every run.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[7]).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// The start of a ClientHello of TLS 1.3 for `localhost`, as curl sends it.
const TLS_HELLO: &[u8] = &[
    0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03, 0x5b, 0x90, 0x9d, 0x9b, 0x72, 0x0b,
    0xbc, 0x0c, 0xbc, 0x2b, 0x92, 0xa8, 0x48, 0x97, 0xcf, 0xbd, 0x39, 0x04, 0xcc, 0x16, 0x0a, 0x85, 0x03,
    0x90, 0x9f, 0x77, 0x04, 0x33, 0xd4, 0xde, 0x00, 0x00, 0x1e, 0x13, 0x01, 0x13, 0x03, 0x13, 0x02, 0xc0,
    0x2b, 0xc0, 0x2f,
];
