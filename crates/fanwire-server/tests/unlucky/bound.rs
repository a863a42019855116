//! The memory promise: the sum that the server prints against what it uses.
//!
//! In      a process, its printed sum
//! Out     the peak of its own memory; a failure beyond the sum
//! Bounds  one reading of /proc/PID/smaps_rollup every few milliseconds
//! Source  proc(5): anonymous and shared memory; pages of the binary's file are not the server's to bound

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::process::Process;

/// Watches a process until it is asked.
pub(crate) struct Watch {
    name: String,
    bound: u64,
    thread: Option<JoinHandle<u64>>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn begin(name: impl Into<String>, server: &Process) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (pid, stopped) = (server.pid(), stop.clone());
        let thread = thread::spawn(move || {
            let mut peak = 0;
            // Its end is often what a test is about: then there is nothing more to read.
            while let Some(used) = used_bytes(pid) {
                peak = peak.max(used);
                if stopped.load(SeqCst) {
                    break;
                }
                thread::park_timeout(PAUSE);
            }
            peak
        });
        Self { name: name.into(), bound: server.memory_max, thread: Some(thread), stop }
    }

    /// Says the peak against the bound, in MiB, and fails beyond it.
    pub(crate) fn end(mut self) -> u64 {
        self.stop.store(true, SeqCst);
        let peak = self.thread.take().expect("it runs until here").join().unwrap();
        let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
        println!("{}: peak {} MiB of {} MiB promised", self.name, mebibytes(peak), mebibytes(self.bound));
        assert!(peak > 0, "something was read");
        assert!(peak <= self.bound, "{}: {peak} bytes used, {} promised", self.name, self.bound);
        peak
    }
}

/// What the process has of its own now; `None` if it has gone.
pub(crate) fn used_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some((field("Pss_Anon:")? + field("Pss_Shmem:")?) << 10)
}

const PAUSE: Duration = Duration::from_millis(10);
