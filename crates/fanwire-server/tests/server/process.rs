//! A server process: started on a free port, watched by its own words, ended with the test.
//!
//! In      arguments, signals
//! Out     its address, lines, exit code
//! Bounds  a process that neither speaks nor ends for `WAIT_MAX` fails the test
//! Source  the line `listening on ws://ADDR/PATH`, which is a promise

use std::{
    env,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::WAIT_MAX;

pub(crate) const HUP: Signal = Signal::HUP;
pub(crate) const TERM: Signal = Signal::TERM;
pub(crate) const INT: Signal = Signal::INT;

pub(crate) struct Process {
    child: Child,
    /// `None` once nobody listens any more.
    lines: Option<Receiver<String>>,
    /// Lines on stderr.
    errors: Receiver<String>,
    before_ready: Vec<String>,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts it and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", arguments)
    }

    pub(crate) fn start_on(listen: &str, arguments: &[&str]) -> Self {
        Self::spawn(command().args(["--listen", listen]).args(arguments))
    }

    /// Starts what [`command`] began, and waits until it says an address of TCP.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let first = |line: &str| {
            let rest = line.strip_prefix("listening on ws://")?;
            rest[..rest.find('/').unwrap()].parse().ok()
        };
        Self::spawn_until(command, first)
    }

    /// Waits for a line that names an address.
    pub(crate) fn spawn_until(
        command: &mut Command,
        address_in: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let errors = lines_of(child.stderr.take().unwrap());
        let mut before_ready = Vec::new();
        let address = loop {
            let line = lines.recv_timeout(WAIT_MAX).unwrap_or_else(|error| {
                panic!(
                    "{error}: the server does not say that it listens, but {:?}",
                    errors.iter().collect::<Vec<_>>()
                )
            });
            before_ready.push(line.clone());
            if let Some(address) = address_in(&line) {
                break address;
            }
        };
        Self { child, lines: Some(lines), errors, before_ready, address }
    }

    /// Its lines up to the one that says where it listens.
    pub(crate) fn said_before_ready(&self) -> Vec<String> {
        self.before_ready.clone()
    }

    /// Its next lines, up to the first one that is looked for.
    pub(crate) fn lines_until(&mut self, found: impl Fn(&str) -> bool) -> Vec<String> {
        lines_until(self.lines.as_ref().expect("stdout is still read"), found)
    }

    /// The same of its log.
    pub(crate) fn errors_until(&mut self, found: impl Fn(&str) -> bool) -> Vec<String> {
        lines_until(&self.errors, found)
    }

    /// Stops reading what it prints: its next line breaks the pipe.
    pub(crate) fn close_stdout(&mut self) {
        self.lines_until(|line| line.contains("python3 -c"));
        self.lines = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn exit_code(&mut self) -> i32 {
        self.child.wait().unwrap().code().expect("no signal kills it")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where a test is about its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server, with nothing in its environment that would be a setting.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire-server"));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FANWIRE_")) {
        command.env_remove(name);
    }
    command
}

/// Runs it where it cannot start: its exit code and what it said on stderr.
pub(crate) fn run_to_end(arguments: &[&str]) -> (i32, String) {
    let output = command().args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Runs it for what it prints.
pub(crate) fn said_by(arguments: &[&str]) -> String {
    let output = command().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn lines_until(lines: &Receiver<String>, found: impl Fn(&str) -> bool) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        seen.push(lines.recv_timeout(WAIT_MAX).unwrap_or_else(|error| panic!("{error} after {seen:?}")));
        if found(&seen[seen.len() - 1]) {
            return seen;
        }
    }
}

/// Lines by a thread of their own, so that waiting for one can end.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
