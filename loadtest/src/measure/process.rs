//! Processes from outside: CPU time, context switches, memory and descriptors of one process.
//!
//! In      a process id
//! Out     nanoseconds on a CPU; counts; bytes of memory
//! Bounds  exact for threads that sleep when they are read; a running thread lags by up to a tick
//! Source  proc(5): /proc/PID/task/TID/schedstat (CPU, then waiting for one) and status, /proc/PID/smaps_rollup
//!         and fd

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use rustix::io::Errno;

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

    /// Whether there is such a process.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Path::new(&format!("/proc/{}/task", self.pid)).exists()
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
        self.of_threads(schedstat)
    }

    /// Context switches of all threads that live now; as with `cpu`, those that have ended are not in it.
    ///
    /// # Errors
    /// As `cpu`.
    pub fn switches(&self) -> io::Result<Switches> {
        Ok(self.of_threads(switches)?.values().copied().fold(Switches::default(), Switches::with))
    }

    /// Open descriptors.
    ///
    /// # Errors
    /// As `cpu`.
    pub fn descriptors(&self) -> io::Result<u64> {
        let path = format!("/proc/{}/fd", self.pid);
        // Since Linux 6.2 the directory's length is their number; before it was 0, and they are counted.
        match fs::metadata(&path)?.len() {
            0 => Ok(fs::read_dir(&path)?.count() as u64),
            count => Ok(count),
        }
    }

    fn of_threads<T>(&self, read: impl Fn(&Path) -> io::Result<T>) -> io::Result<BTreeMap<u32, T>> {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let task = task?;
            let Some(id) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            match read(&task.path()) {
                Ok(value) => drop(threads.insert(id, value)),
                // A thread may end between the listing and the read.
                Err(error) if matches!(error.raw_os_error(), Some(NOT_THERE | NO_SUCH_PROCESS)) => {}
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

/// How often threads gave way to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// By waiting for something.
    pub voluntary: u64,
    /// Because another thread was to have the CPU.
    pub involuntary: u64,
}

impl Switches {
    /// All of them.
    #[must_use]
    pub fn count(self) -> u64 {
        self.voluntary + self.involuntary
    }

    /// From an earlier reading to this one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }

    /// Both, one after the other.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
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

fn switches(task: &Path) -> io::Result<Switches> {
    let status = fs::read_to_string(task.join("status"))?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
    match (field("voluntary_ctxt_switches:"), field("nonvoluntary_ctxt_switches:")) {
        (Some(voluntary), Some(involuntary)) => Ok(Switches { voluntary, involuntary }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "status without context switches")),
    }
}

/// ENOENT and ESRCH: a thread that ended before its file was opened, or before it was read.
const NOT_THERE: i32 = Errno::NOENT.raw_os_error();
const NO_SUCH_PROCESS: i32 = Errno::SRCH.raw_os_error();

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
    fn a_sleep_is_a_switch_and_an_open_file_a_descriptor() {
        let process = Process::current();
        let (before, descriptors) = (process.switches().unwrap(), process.descriptors().unwrap());
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        std::thread::sleep(Duration::from_millis(1));
        assert!(process.switches().unwrap().since(before).voluntary > 0);
        // Other tests open and close some at the same time.
        assert!(process.descriptors().unwrap() > descriptors + 20);
        drop(files);
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(Process::current().is_alive() && !Process::new(u32::MAX).is_alive());
        assert!(Process::new(u32::MAX).switches().is_err());
        assert!(Process::new(u32::MAX).descriptors().is_err());
        assert!(Process::new(u32::MAX).cpu().is_err());
        assert!(Process::new(u32::MAX).memory().is_err());
    }
}
