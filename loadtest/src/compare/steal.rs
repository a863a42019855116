//! Stolen time of some CPUs: what makes a round disturbed.
//!
//! In      /proc/stat before and after
//! Out     the share of their time that a hypervisor gave to others
//! Bounds  CPU times come in ticks of the kernel's clock (usually 10 ms)
//! Source  proc(5)

use std::{fs, io};

/// A round in which a greater share of the CPUs' time was stolen is disturbed.
pub const STEAL_SHARE_MAX: f64 = 0.05;

/// Times of some CPUs since boot, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    stolen: u64,
    all: u64,
}

impl CpuTimes {
    /// Of these CPUs, now.
    ///
    /// # Errors
    /// /proc is missing, or has none of them.
    pub fn read(cpus: &[usize]) -> io::Result<Self> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "/proc/stat reads in an unknown form");
        Self::parse(&fs::read_to_string("/proc/stat")?, cpus).ok_or_else(unknown)
    }

    /// Stolen from then to `after`, of all time: 0 to 1.
    #[must_use]
    pub fn steal_share(self, after: Self) -> f64 {
        let all = after.all.saturating_sub(self.all);
        if all == 0 { 0.0 } else { after.stolen.saturating_sub(self.stolen) as f64 / all as f64 }
    }

    fn parse(stat: &str, cpus: &[usize]) -> Option<Self> {
        let mut times = Self::default();
        for cpu in cpus {
            let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{cpu} ")))?;
            let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|tick| tick.parse().ok()).collect();
            // user nice system idle iowait irq softirq steal; guest times are already in user and nice.
            times.stolen += ticks.get(7)?;
            times.all += ticks[..8].iter().sum::<u64>();
        }
        Some(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cpus_in_use_count() {
        let before =
            "cpu  9 9 9 9 9 9 9 9\ncpu0 1 0 0 0 0 0 0 0 5 5\ncpu1 0 0 0 0 0 0 0 0\ncpu10 0 0 0 0 0 0 0 0\n";
        let after = "cpu0 41 0 0 50 0 0 0 10 5 5\ncpu1 0 0 0 100 0 0 0 0\ncpu10 0 0 0 0 0 0 0 900\n";
        let share = |cpus: &[usize]| {
            CpuTimes::parse(before, cpus).unwrap().steal_share(CpuTimes::parse(after, cpus).unwrap())
        };
        assert_eq!((share(&[0]), share(&[0, 1]), share(&[10])), (0.1, 0.05, 1.0));
        assert_eq!(CpuTimes::parse(after, &[2]), None);
        assert_eq!(CpuTimes::default().steal_share(CpuTimes::default()), 0.0);
    }

    #[test]
    fn this_machine_can_be_read() {
        let cpu = crate::measure::affinity::CpuList::current().unwrap();
        let before = CpuTimes::read(cpu.cpus()).unwrap();
        assert!((0.0..=1.0).contains(&before.steal_share(CpuTimes::read(cpu.cpus()).unwrap())));
    }
}
