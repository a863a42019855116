//! The server under test, when we start it: a child process that says where it listens.
//!
//! In      a program and its arguments
//! Out     its process id and URL; killed when dropped
//! Bounds  it must print a `ws://` URL within `READY_WAIT`
//! Source  none

use std::{
    env, io,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::measure::{affinity::CpuList, process::Process};

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts `program --listen 127.0.0.1:0 ARGUMENTS` and waits for its URL.
    ///
    /// # Errors
    /// It is not there, cannot be started, ends, or stays silent.
    pub fn start(program: &Path, arguments: &[String], cpus: Option<&CpuList>) -> Result<Self, ServerError> {
        if !program.is_file() {
            return Err(ServerError::NotBuilt { program: program.to_owned() });
        }
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(command, cpus)
    }

    /// Starts any command that prints a URL.
    ///
    /// # Errors
    /// As `start`.
    pub fn spawn(mut command: Command, cpus: Option<&CpuList>) -> Result<Self, ServerError> {
        // A group of its own: an interrupt from the terminal ends the run, not the server under it. Its standard
        // input ends with this program, for servers that end with it.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let spawned = match cpus {
            Some(cpus) => cpus.pinned(|| command.spawn()),
            None => command.spawn(),
        };
        let mut child = spawned.map_err(ServerError::Start)?;
        let lines = child.stdout.take().map(lines_of);
        // From here on dropping `server` ends the child.
        let mut server = Self { child, url: String::new() };
        server.url = server.wait_ready(lines.as_ref())?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its clocks and memory.
    #[must_use]
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// How it ended, if it has or does so within `wait`: its sockets close a moment before it is gone.
    pub fn ended(&mut self, wait: Duration) -> Option<ExitStatus> {
        if let Ok(handle) = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()) {
            let wait = Timespec::try_from(wait).ok();
            // A failed wait only means that the state is looked at now.
            let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], wait.as_ref());
        }
        self.child.try_wait().ok().flatten()
    }

    fn wait_ready(&mut self, lines: Option<&Receiver<String>>) -> Result<String, ServerError> {
        let deadline = Instant::now() + READY_WAIT;
        let lines = lines.ok_or(ServerError::Silent)?;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(url) = url_in(&line) {
                        return Ok(url.to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(ServerError::Silent),
                // Its output ended, so it has ended or is about to.
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ServerError::Ended {
                        status: self.child.wait().map_err(ServerError::Start)?,
                    });
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where `cargo build --release` puts the server: beside this program, else below the current directory.
#[must_use]
pub fn default_program() -> PathBuf {
    let beside = env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| Path::new("target/release").join(PROGRAM))
}

/// Why there is no server to test.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No such file.
    #[error(
        "{} does not exist: build it (cargo build --release), or give --server PATH or --url URL",
        program.display()
    )]
    NotBuilt {
        /// Looked for.
        program: PathBuf,
    },
    /// The system refused to start it.
    #[error("the server could not be started: {0}; is --server a program that may be executed?")]
    Start(#[source] io::Error),
    /// It ended before it printed a URL.
    #[error("the server ended before it listened ({status}); what it said stands above")]
    Ended {
        /// How.
        status: ExitStatus,
    },
    /// It printed no URL in time.
    #[error(
        "the server printed no ws:// URL within {} s: give --server a program that says where it listens, or start it \
         yourself and give --url",
        READY_WAIT.as_secs()
    )]
    Silent,
}

/// Reads on after the URL, so that a server that prints more never blocks on a full pipe.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more once the URL was found.
            drop(sender.send(line));
        }
    });
    receiver
}

fn url_in(line: &str) -> Option<&str> {
    let url = &line[line.find("ws://")?..];
    Some(url.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ')')).next().unwrap_or(url))
}

const PROGRAM: &str = "fanwire-server";

const READY_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_found_in_a_line() {
        assert_eq!(url_in("listening on ws://127.0.0.1:7/ws"), Some("ws://127.0.0.1:7/ws"));
        assert_eq!(url_in("open 'ws://[::1]:7/ws', then"), Some("ws://[::1]:7/ws"));
        assert_eq!(url_in("fanwire 0.1"), None);
    }

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        let error = Server::start(Path::new("/nonexistent"), &[], None).unwrap_err();
        assert!(error.to_string().contains("cargo build --release"), "{error}");
    }

    #[test]
    fn a_program_that_ends_is_an_error_and_not_a_wait() {
        let error = Server::start(Path::new("/bin/false"), &[], None).unwrap_err();
        assert!(matches!(error, ServerError::Ended { .. }), "{error}");
    }
}
