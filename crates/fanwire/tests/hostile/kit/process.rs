//! The attackers' side of the server's process: its lines, its memory, its descriptors.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use super::{
    PATIENCE,
    server::{MARK, VARIABLE},
};

/// A running server. Dropping it ends it.
pub struct ServerProcess {
    child: Child,
    input: Input,
    answers: mpsc::Receiver<String>,
    pub address: SocketAddr,
    /// The sum that the server promises: `MemoryBound::user_bytes`.
    pub bound_bytes: u64,
    /// Sockets for which there are descriptors.
    pub connections_max: usize,
}

/// Where commands go; shared with whoever gives leave to publish.
#[derive(Clone)]
pub struct Input(Arc<Mutex<Option<ChildStdin>>>);

impl Input {
    pub fn say(&self, line: &str) {
        if let Some(input) = &mut *self.0.lock().unwrap() {
            writeln!(input, "{line}").expect("the server lives");
        }
    }
}

/// Counters and gauges by name.
#[derive(Clone, Debug)]
pub struct Stats(HashMap<String, u64>);

impl Stats {
    #[track_caller]
    pub fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("there is no counter {name}"))
    }

    /// All that are not zero, in order.
    pub fn non_zero(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        all.retain(|(_, value)| *value > 0);
        all.sort_unstable();
        all
    }
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Anonymous, now.
    pub anonymous: u64,
    /// The most that was resident at any time, without what files back now.
    pub peak: u64,
}

impl ServerProcess {
    /// Runs this program again, with `arguments`, as a server with these options.
    pub fn start(options: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .env(VARIABLE, options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The harness may have begun the line.
                if let Some((_, answer)) = line.split_once(MARK)
                    && sender.send(answer.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let input = Input(Arc::new(Mutex::new(child.stdin.take())));
        let address = ([127, 0, 0, 1], 0).into();
        let mut server = Self { child, input, answers, address, bound_bytes: 0, connections_max: 0 };
        let ready = server.hear();
        let mut words = ready.strip_prefix("ready ").expect("the server is ready").split(' ');
        server.address = words.next().unwrap().parse().unwrap();
        server.bound_bytes = words.next().unwrap().parse().unwrap();
        server.connections_max = words.next().unwrap().parse().unwrap();
        server
    }

    pub fn input(&self) -> Input {
        self.input.clone()
    }

    #[track_caller]
    pub fn ask(&self, line: &str) -> String {
        self.input.say(line);
        self.hear()
    }

    #[track_caller]
    fn hear(&self) -> String {
        self.answers.recv_timeout(PATIENCE).expect("the server answers")
    }

    #[track_caller]
    pub fn stats(&self) -> Stats {
        let answer = self.ask("stats");
        let words = answer.strip_prefix("stats ").expect("these are the stats").split(' ');
        let pair = |word: &str| {
            let (name, value) = word.split_once('=').expect("name=value");
            (name.to_owned(), value.parse().expect("a number"))
        };
        Stats(words.map(pair).collect())
    }

    pub fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kibibytes = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).expect("the kernel tells")
        };
        let shared = kibibytes("RssFile") + kibibytes("RssShmem");
        Memory {
            anonymous: kibibytes("RssAnon") << 10,
            peak: kibibytes("VmHWM").saturating_sub(shared) << 10,
        }
    }

    /// Open files of the process.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Ends it in order, which fails if a shard has panicked.
    pub fn end(mut self) {
        drop(self.input.0.lock().unwrap().take());
        assert!(self.child.wait().unwrap().success(), "the server ended in order");
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
