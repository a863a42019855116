//! Processes from outside: CPU time and memory of one process.
//!
//! In      a process id
//! Out     nanoseconds on a CPU; bytes of memory
//! Bounds  exact for threads that sleep when they are read; a running thread lags by up to a tick
//! Source  proc(5): /proc/PID/task/TID/schedstat (CPU, then waiting for one), /proc/PID/smaps_rollup

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

/// A process that is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process with this id.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// This process.
    #[must_use]
    pub fn current() -> Self {
        Self { pid: std::process::id() }
    }

    /// CPU time of all threads that live now. Threads that have ended are not in it, so differences are
    /// right only for a process that keeps its threads.
    ///
    /// # Errors
    /// The process has gone or belongs to somebody else.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(self.threads()?.values().map(|thread| thread.cpu).sum())
    }

    /// The time of each thread that lives now, by its id.
    ///
    /// # Errors
    /// As `cpu`.
    pub fn threads(&self) -> io::Result<BTreeMap<u32, ThreadTime>> {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let task = task?;
            let Some(id) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            match schedstat(&task.path()) {
                Ok(cpu) => drop(threads.insert(id, cpu)),
                // A thread may end between the listing and the read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(threads)
    }

    /// User memory of the process.
    ///
    /// # Errors
    /// The process has gone or belongs to somebody else.
    pub fn memory(&self) -> io::Result<Memory> {
        Memory::parse(&fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?)
    }
}

/// User memory; what the kernel holds for the process's sockets is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident pages, shared ones divided by their users.
    pub pss_bytes: u64,
    /// Resident pages without a file behind them: heap, stacks, rings.
    pub anonymous_bytes: u64,
}

impl Memory {
    fn parse(rollup: &str) -> io::Result<Self> {
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
        };
        match (field("Pss:"), field("Anonymous:")) {
            (Some(pss_bytes), Some(anonymous_bytes)) => Ok(Self { pss_bytes, anonymous_bytes }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "smaps_rollup without Pss or Anonymous")),
        }
    }
}

/// Where a thread's time went; what is left it slept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// On a CPU.
    pub cpu: Duration,
    /// Ready for a CPU that ran something else.
    pub waited: Duration,
}

impl ThreadTime {
    /// From an earlier reading to this one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let (cpu, waited) =
            (self.cpu.saturating_sub(earlier.cpu), self.waited.saturating_sub(earlier.waited));
        Self { cpu, waited }
    }
}

pub(super) fn schedstat(task: &Path) -> io::Result<ThreadTime> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    let mut ns = text.split_ascii_whitespace().map_while(|field| field.parse().ok());
    match (ns.next(), ns.next()) {
        (Some(cpu), Some(waited)) => {
            Ok(ThreadTime { cpu: Duration::from_nanos(cpu), waited: Duration::from_nanos(waited) })
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "schedstat does not start with two numbers")),
    }
}

#[cfg(test)]
mod tests {
    use rustix::{
        thread::gettid,
        time::{ClockId, clock_gettime},
    };

    use super::*;

    fn thread_cpu() -> Duration {
        clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
    }

    #[test]
    fn own_cpu_time_grows_by_what_is_burnt() {
        let (process, own) = (Process::current(), gettid().as_raw_nonzero().get().unsigned_abs());
        // Other tests' threads come and go: what they used is no part of this.
        let read = || process.threads().unwrap()[&own].cpu;
        let before = read();
        // The thread's own clock is the oracle. 50 ms are several ticks, so the reading cannot lag that far.
        let until = thread_cpu() + Duration::from_millis(50);
        while thread_cpu() < until {
            std::hint::black_box([0u8; 4096].iter().fold(1u8, |sum, byte| sum.wrapping_add(*byte)));
        }
        assert!(read() > before && process.cpu().unwrap() > Duration::ZERO);
    }

    #[test]
    fn smaps_rollup_is_read_in_bytes() {
        let text =
            "5-7 ---p 0 0 0 [rollup]\nRss:    9 kB\nPss:     3 kB\nPss_Anon: 1 kB\nAnonymous:    2 kB\n";
        assert_eq!(Memory::parse(text).unwrap(), Memory { pss_bytes: 3072, anonymous_bytes: 2048 });
        assert!(Memory::parse("Rss: 9 kB\n").is_err());
        assert!(Process::current().memory().unwrap().anonymous_bytes > 0);
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(Process::new(u32::MAX).cpu().is_err());
        assert!(Process::new(u32::MAX).memory().is_err());
    }
}
