//! The kernel's softirq threads from outside: their CPU time.
//!
//! In      CPU numbers
//! Out     nanoseconds on a CPU
//! Bounds  as for a process: a running thread lags by up to a tick
//! Source  proc(5): /proc/PID/comm, /proc/PID/schedstat

use std::{fs, io, path::Path, time::Duration};

use super::{affinity::CpuList, process::schedstat};

/// The kernel's `ksoftirqd` threads of some CPUs: where a server's network work goes when there is much.
#[derive(Clone, Debug)]
pub struct Softirq {
    tasks: Vec<u32>,
}

impl Softirq {
    /// Finds the threads of these CPUs. In a container that hides kernel threads there are none.
    ///
    /// # Errors
    /// /proc cannot be listed.
    pub fn of(cpus: &CpuList) -> io::Result<Self> {
        let names: Vec<String> = cpus.cpus().iter().map(|cpu| format!("ksoftirqd/{cpu}\n")).collect();
        let mut tasks = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| names.contains(&comm)) {
                tasks.push(pid);
            }
        }
        Ok(Self { tasks })
    }

    /// CPU time of these threads.
    ///
    /// # Errors
    /// A thread's clock cannot be read.
    pub fn cpu(&self) -> io::Result<Duration> {
        let times = self.tasks.iter().map(|pid| schedstat(Path::new(&format!("/proc/{pid}"))));
        times.map(|time| time.map(|time| time.cpu)).sum()
    }
}
