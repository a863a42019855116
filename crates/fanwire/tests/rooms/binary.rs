//! The example as a program: its options, its one line, its errors.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::{
    common::{Client, TcpWire, request_head},
    lobby::join,
};

/// A running `rooms`, ended with the test.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts it on a free port, and reads its line.
    fn start(options: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["--listen", "127.0.0.1:0"]).args(options).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("stdout is UTF-8");
        let address = line.strip_prefix("listening on ws://").and_then(|rest| rest.strip_suffix("/ws\n"));
        let address = address.unwrap_or_else(|| panic!("it printed {line:?}"));
        let address: SocketAddr = address.parse().expect("an address stands in the line");
        assert_ne!(address.port(), 0);
        Self { child, address }
    }

    fn connect(&self, headers: &[(&str, &str)]) -> Result<Client, u16> {
        let wire = Box::new(TcpWire::connect(self.address));
        Client::open(wire, &request_head("/ws?token=ann", headers)).map_err(|response| response.status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `target/PROFILE/examples/rooms`, beside `target/PROFILE/deps/THIS_TEST`. `cargo test` builds it, unless it is told
/// to build this test alone (`--test rooms`).
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile = test.ancestors().nth(2).expect("it lies in PROFILE/deps");
    let binary = profile.join("examples").join("rooms");
    assert!(binary.exists(), "{} is missing: cargo build -p fanwire --example rooms", binary.display());
    binary
}

#[test]
fn it_prints_its_real_port_when_it_is_ready() {
    for options in [
        &[][..],
        &["--driver", "uring", "--shards", "2"],
        &["--driver", "epoll", "--shards", "1", "--queue-size", "16"],
        &["--read-limit", "100000000"],
    ] {
        let process = Process::start(options);
        let mut ann = process.connect(&[]).unwrap_or_else(|status| panic!("{options:?}: {status}"));
        ann.text(r#"{"topic":"init"}"#);
        assert!(ann.data_of("welcome").starts_with(r#"{"status":"connected","session":""#));
        ann.expect("presence", &join("ann"));
        ann.close();
    }
}

#[test]
fn the_read_limit_is_what_it_was_told() {
    let process = Process::start(&["--read-limit", "100"]);
    let mut ann = process.connect(&[]).expect("the token is good");
    ann.say("announce", &format!(r#""{}""#, "x".repeat(70)));
    ann.expect("announcement", &format!(r#""{}""#, "x".repeat(70)));
    ann.text(&"x".repeat(101));
    ann.expect_close(1009);
}

#[test]
fn a_message_as_long_as_a_large_read_limit_is_published() {
    let process = Process::start(&["--read-limit", "40000000", "--driver", "epoll"]);
    let mut ann = process.connect(&[]).expect("the token is good");
    let data = format!(r#""{}""#, "x".repeat(39_000_000));
    ann.say("announce", &data);
    assert!(ann.data_of("announcement") == data, "the message came back whole");
}

#[test]
fn only_the_origins_it_was_told_are_let_in() {
    let process = Process::start(&["--origin", "https://a.example", "--origin", "https://b.example:444"]);
    for (origin, is_allowed) in [
        ("https://a.example", true),
        ("https://b.example:444", true),
        ("https://b.example", false),
        ("http://a.example", false),
    ] {
        let opened = process.connect(&[("Origin", origin)]).map(drop);
        assert_eq!(opened, if is_allowed { Ok(()) } else { Err(403) }, "{origin}");
    }
}

#[test]
fn what_cannot_work_is_an_error_that_says_what_to_change() {
    let taken = Process::start(&[]);
    for (options, advice) in [
        (["--listen", &taken.address.to_string()], "in use"),
        (["--queue-size", "0"], "queue_size"),
        (["--listen", "nowhere"], "HOST:PORT"),
        (["--origin", "a.example"], "scheme://host"),
    ] {
        let mut command = Command::new(binary());
        if options[0] != "--listen" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.args(options).stderr(Stdio::piped()).spawn().expect("it can be started");
        let mut text = String::new();
        child.stderr.take().expect("it is piped").read_to_string(&mut text).expect("stderr is UTF-8");
        assert!(!child.wait().expect("it ends by itself").success());
        assert!(text.starts_with("rooms: ") && text.contains(advice), "{options:?}: {text}");
    }
}
