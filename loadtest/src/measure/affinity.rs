//! Affinity: which CPUs a thread, and what it starts, may run on.
//!
//! In      a list as `taskset -c` takes it: `0`, `0,2`, `0-3`
//! Out     the calling thread pinned, for good or around one call
//! Bounds  CPU numbers below 1024, the kernel's set size
//! Source  sched_setaffinity(2): inherited by new threads and child processes

use std::{fmt, io, str::FromStr};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A non-empty set of CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

impl CpuList {
    /// The set with this one CPU.
    #[must_use]
    pub fn one(cpu: usize) -> Self {
        Self(vec![cpu])
    }

    /// These; `None` if there are none.
    #[must_use]
    pub fn of(cpus: &[usize]) -> Option<Self> {
        (!cpus.is_empty()).then(|| Self(cpus.to_vec()))
    }

    /// The CPUs the calling thread may run on.
    ///
    /// # Errors
    /// The kernel refused to say.
    pub fn current() -> io::Result<Self> {
        let set = sched_getaffinity(None)?;
        Ok(Self((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()))
    }

    /// The CPU numbers, ascending as given.
    #[must_use]
    pub fn cpus(&self) -> &[usize] {
        &self.0
    }

    /// Pins the calling thread; threads and processes it starts from now on inherit this.
    ///
    /// # Errors
    /// None of these CPUs exists or is allowed here.
    pub fn pin_current_thread(&self) -> io::Result<()> {
        let mut set = CpuSet::new();
        for &cpu in &self.0 {
            set.set(cpu);
        }
        Ok(sched_setaffinity(None, &set)?)
    }

    /// Runs `start` pinned, so that what it starts is pinned, then restores this thread.
    ///
    /// # Errors
    /// As `pin_current_thread`, and those of `start`.
    pub fn pinned<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let before = sched_getaffinity(None)?;
        self.pin_current_thread()?;
        let started = start();
        sched_setaffinity(None, &before)?;
        started
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(usize::to_string).collect();
        out.write_str(&numbers.join(","))
    }
}

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (cpu(first)?, cpu(last)?);
            if first > last {
                return Err(format!("{part}: the range runs backwards"));
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

fn cpu(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(cpu) if cpu < CpuSet::MAX_CPU => Ok(cpu),
        _ => Err(format!("{text:?} is not a CPU number; write 0, 0,2 or 0-3")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!("0".parse(), Ok(CpuList(vec![0])));
        assert_eq!("0,2-4".parse(), Ok(CpuList(vec![0, 2, 3, 4])));
        assert_eq!(CpuList(vec![0, 2, 3, 4]).to_string(), "0,2,3,4");
        for wrong in ["", "a", "3-1", "1024", "1,", "-1"] {
            assert!(wrong.parse::<CpuList>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn pinning_ends_with_the_call() {
        let before = CpuList::current().unwrap();
        let one = CpuList::one(before.cpus()[0]);
        assert_eq!(one.pinned(CpuList::current).unwrap(), one);
        assert_eq!(CpuList::current().unwrap(), before);
    }
}
