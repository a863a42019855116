//! The examples, run as a user runs them; and their descriptors, counted from outside.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::{
    PATIENCE,
    client::{Response, connect_with, request_with},
    servers::Address,
    until,
};

struct Example {
    child: Child,
    address: Address,
}

impl Example {
    fn start(name: &str) -> Self {
        let tests = std::env::current_exe().unwrap();
        let folder = tests.parent().unwrap().parent().unwrap().join("examples");
        let mut child = Command::new(folder.join(name))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cargo test` builds the examples");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split(['/', '?']).find(|part| part.starts_with("127.0.0.1:")).expect("an address");
        Self { address: Address::Tcp(address.parse().unwrap()), child }
    }

    fn count(&self, of: &str) -> usize {
        fs::read_dir(format!("/proc/{}/{of}", self.child.id())).unwrap().count()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// While sessions are open there is one descriptor for each, and no thread more than without; then none is
/// left.
fn serves_and_leaves_nothing(name: &str) {
    let example = Example::start(name);
    let cookie = [("cookie", "token=secret-of-ada")];
    let open = || connect_with(&example.address, "/ws?name=ada", &[], &cookie).0;
    // Whatever a runtime makes at its first connection.
    open().close();
    let (mut descriptors, mut threads) = (0, 0);
    until("it is at rest", || {
        let before = (descriptors, threads);
        (descriptors, threads) = (example.count("fd"), example.count("task"));
        std::thread::sleep(std::time::Duration::from_millis(50));
        before == (descriptors, threads)
    });
    let mut clients: Vec<_> = (0..40).map(|_| open()).collect();
    // Who has heard a tick is subscribed.
    clients.iter_mut().for_each(|client| drop(client.hear()));
    clients[0].say("say", "\"hello\"");
    for client in &mut clients {
        let start = std::time::Instant::now();
        while !client.hear().contains("ada says") {
            assert!(start.elapsed() < PATIENCE, "what one says, all hear");
        }
    }
    until("each session has one descriptor", || example.count("fd") == descriptors + clients.len());
    assert_eq!(example.count("task"), threads);
    clients.into_iter().for_each(crate::client::Client::close);
    until("all descriptors are closed", || example.count("fd") == descriptors);

    let mut stream = example.address.connect();
    std::io::Write::write_all(&mut stream, &request_with("/ws", &[])).unwrap();
    assert_eq!(Response::read(&mut stream).status, 401);
}

#[test]
fn tokio_example_serves_and_leaves_nothing() {
    serves_and_leaves_nothing("tokio");
}

#[test]
fn hyper_example_serves_and_leaves_nothing() {
    serves_and_leaves_nothing("hyper");
}

#[test]
fn axum_example_serves_and_leaves_nothing() {
    serves_and_leaves_nothing("axum");
}

#[test]
fn monoio_example_serves_and_leaves_nothing() {
    serves_and_leaves_nothing("monoio");
}

#[test]
fn tokio_uring_example_serves_and_leaves_nothing() {
    serves_and_leaves_nothing("tokio-uring");
}

/// A read that is given up goes on in tokio-uring's ring, and must not keep its descriptor.
#[test]
fn silent_clients_of_the_tokio_uring_example_leave_nothing() {
    let example = Example::start("tokio-uring");
    let before = example.count("fd");
    let mut silent: Vec<_> = (0..5).map(|_| example.address.connect()).collect();
    for stream in &mut silent {
        assert_eq!(Response::read(stream).status, 408);
    }
    // Their own ends stay open.
    until("all descriptors are closed", || example.count("fd") == before);
}
