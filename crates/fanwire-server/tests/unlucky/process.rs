//! A server process to be treated badly: stopped, killed, starved, and watched meanwhile.
//!
//! In      arguments, limits, signals
//! Out     its address, what it says on stdout and stderr, how it ended
//! Bounds  a process that neither speaks nor ends for `WAIT_MAX` fails the test
//! Source  proc(5)

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Instant,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::{Setup, WAIT_MAX, wait};

pub(crate) struct Process {
    child: Child,
    stdout: Receiver<String>,
    /// `None` if nobody reads it.
    stderr: Option<Receiver<String>>,
    pub(crate) address: SocketAddr,
    /// The sum that it printed at its start, in bytes.
    pub(crate) memory_max: u64,
    /// The line with that sum and its terms.
    memory_line: String,
}

impl Process {
    /// Starts a server on a free port and waits until it listens.
    pub(crate) fn start(setup: Setup, arguments: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", setup, arguments)
    }

    pub(crate) fn start_on(listen: &str, setup: Setup, arguments: &[&str]) -> Self {
        Self::spawn(&mut command(listen, setup, arguments), true)
    }

    /// With a pipe as stderr that nobody reads any more.
    pub(crate) fn start_unheard(setup: Setup, arguments: &[&str]) -> Self {
        Self::spawn(&mut command("127.0.0.1:0", setup, arguments), false)
    }

    /// Under a limit of open files, which it cannot raise.
    pub(crate) fn start_limited(files: u64, setup: Setup, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let server = command("127.0.0.1:0", setup, arguments);
        shell.args(["-c", &format!(r#"ulimit -n {files} && exec "$0" "$@""#)]);
        shell.arg(server.get_program()).args(server.get_args());
        server.get_envs().filter(|(_, value)| value.is_none()).for_each(|(name, _)| {
            shell.env_remove(name);
        });
        Self::spawn(&mut shell, true)
    }

    /// A test of this binary that is a server, told its driver by the environment.
    pub(crate) fn spawn_test(name: &str, driver: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "--nocapture", name]).env(crate::shard_death::MARK, driver);
        Self::spawn(&mut command, true)
    }

    fn spawn(command: &mut Command, hears: bool) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = lines_of(child.stdout.take().unwrap());
        let stderr = child.stderr.take().unwrap();
        let (mut address, mut memory_max, mut memory_line) = (None, None, String::new());
        while address.is_none() || memory_max.is_none() {
            let line = match stdout.recv_timeout(WAIT_MAX) {
                Ok(line) => line,
                Err(error) => panic!("it does not start: {error}; {}", said(child, stderr)),
            };
            if let Some(rest) = line.strip_prefix("listening on ws://") {
                address = rest[..rest.find('/').unwrap()].parse().ok();
            }
            if let Some((_, rest)) = line.split_once("memory    at most ") {
                let (mebibytes, _) = rest.split_once(" MiB").unwrap();
                memory_max = Some(mebibytes.parse::<u64>().unwrap() << 20);
                memory_line.clone_from(&line);
            }
        }
        let stderr = hears.then(|| lines_of(stderr));
        Self {
            child,
            stdout,
            stderr,
            address: address.unwrap(),
            memory_max: memory_max.unwrap(),
            memory_line,
        }
    }

    /// A term of the sum, rounded up to MiB.
    pub(crate) fn memory_term(&self, name: &str) -> u64 {
        let (_, rest) = self.memory_line.split_once(&format!("{name} ")).expect("that term is printed");
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap();
        rest[..digits].parse::<u64>().unwrap() << 20
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it as a debugger would, and waits until it stands.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        wait("it stands", || self.state() == 'T');
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Sets a limit of the running process, below the hard one, which stays.
    pub(crate) fn limit(&self, resource: Resource, to: u64) {
        self.set_limit(resource, Some(to));
    }

    /// Sets it to the hard one.
    pub(crate) fn lift_limit(&self, resource: Resource) {
        self.set_limit(resource, getrlimit(resource).maximum);
    }

    fn set_limit(&self, resource: Resource, current: Option<u64>) {
        let limit = Rlimit { current, maximum: getrlimit(resource).maximum };
        prlimit(Some(Pid::from_child(&self.child)), resource, limit).unwrap();
    }

    /// A field of /proc/PID/status, in kilobytes.
    pub(crate) fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count() as u64
    }

    /// CPU time that it has used, in clock ticks (a hundredth of a second each).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let fields = self.stat();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Its next lines on stdout, up to the first one that is looked for.
    pub(crate) fn lines_until(&self, found: impl Fn(&str) -> bool) -> Vec<String> {
        lines_until(&self.stdout, found)
    }

    pub(crate) fn errors_until(&self, found: impl Fn(&str) -> bool) -> Vec<String> {
        lines_until(self.stderr.as_ref().expect("somebody listens"), found)
    }

    /// Waits for its end: how it ended, and what it said on stdout and stderr since somebody last listened.
    pub(crate) fn end(&mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < WAIT_MAX, "it hangs");
            thread::park_timeout(PAUSE);
        };
        let errors = self.stderr.as_ref().map(|lines| lines.iter().collect()).unwrap_or_default();
        (status, self.stdout.iter().collect(), errors)
    }

    fn state(&self) -> char {
        self.stat()[0].chars().next().unwrap()
    }

    /// Fields of /proc/PID/stat behind the name, which may hold anything: the first is the state.
    fn stat(&self) -> Vec<String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where a test is about its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's command line.
fn command(listen: &str, setup: Setup, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire-server"));
    // What stands in the environment of the tests is no setting of theirs.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FANWIRE_")) {
        command.env_remove(name);
    }
    let shards = setup.shards.to_string();
    command.args(["--listen", listen, "--driver", setup.driver, "--shards", &shards]).args(arguments);
    command
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

/// Lines by a thread of their own, so that waiting for one can end; it ends when nobody listens any more.
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

fn said(mut child: Child, mut stderr: ChildStderr) -> String {
    let _ = child.kill();
    let _ = child.wait();
    let mut text = String::new();
    let _ = stderr.read_to_string(&mut text);
    text
}

const PAUSE: std::time::Duration = std::time::Duration::from_millis(2);
