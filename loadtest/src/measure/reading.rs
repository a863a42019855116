//! Readings: all clocks at one moment, and what was spent between two.
//!
//! In      the server's process, if it can be observed, and its CPUs
//! Out     CPU time of server, softirq threads, this program and the machine; context switches of the server
//! Bounds  right for processes that keep their threads: see `process`
//! Source  none

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    affinity::CpuList,
    machine::Machine,
    process::{Process, Switches, ThreadTime},
    softirq::Softirq,
};

/// What is read.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// Processes that do a part of this one's work; all copies of these clocks share them.
    helpers: Arc<Mutex<Vec<Process>>>,
    server: Option<Process>,
    softirq: Softirq,
}

impl Clocks {
    /// Of this server, which runs on these CPUs.
    ///
    /// # Errors
    /// /proc cannot be listed.
    pub fn new(server: Option<Process>, server_cpus: &CpuList) -> io::Result<Self> {
        Ok(Self { helpers: Arc::default(), server, softirq: Softirq::of(server_cpus)? })
    }

    /// From now on these count as this program's.
    pub fn add_helpers(&self, processes: impl Iterator<Item = Process>) {
        self.helpers.lock().unwrap_or_else(PoisonError::into_inner).extend(processes);
    }

    fn client_threads(&self) -> io::Result<BTreeMap<u32, ThreadTime>> {
        let mut threads = Process::current().threads()?;
        let helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended has no clock any more; the run says that it ended.
        threads.extend(helpers.iter().filter_map(|helper| helper.threads().ok()).flatten());
        Ok(threads)
    }

    /// Reads them now.
    ///
    /// # Errors
    /// /proc cannot be read. A server that is gone is no error: it only has no clock any more.
    pub fn read(&self) -> io::Result<Reading> {
        Ok(Reading {
            at: Instant::now(),
            server_cpu: self.server.and_then(|server| server.cpu().ok()),
            server_switches: self.server.and_then(|server| server.switches().ok()),
            softirq_cpu: self.softirq.cpu()?,
            client_threads: self.client_threads()?,
            machine: Machine::read()?,
        })
    }
}

/// All clocks at one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    server_cpu: Option<Duration>,
    server_switches: Option<Switches>,
    softirq_cpu: Duration,
    client_threads: BTreeMap<u32, ThreadTime>,
    machine: Machine,
}

impl Reading {
    /// What was spent from this reading to a later one.
    #[must_use]
    pub fn until(&self, later: &Self) -> Spent {
        let softirq_cpu = later.softirq_cpu.saturating_sub(self.softirq_cpu);
        let server_threads = later.server_cpu.zip(self.server_cpu);
        let switches = later.server_switches.zip(self.server_switches);
        let threads = later.client_threads.iter().map(|(id, time)| {
            let earlier = self.client_threads.get(id).copied().unwrap_or_default();
            time.since(earlier)
        });
        let elapsed = later.at.saturating_duration_since(self.at);
        // Readings are not of one moment: a thread that only ran and waited must not come out above its limit.
        let free = |time: ThreadTime| elapsed.saturating_sub(time.waited).max(time.cpu);
        let busy = threads.clone().map(|time| share(time.cpu, free(time)));
        Spent {
            elapsed,
            server_cpu: server_threads.map(|(after, before)| after.saturating_sub(before) + softirq_cpu),
            server_switches: switches.map(|(after, before)| after.since(before)),
            softirq_cpu,
            client_cpu: threads.map(|time| time.cpu).sum(),
            client_busiest: busy.fold(0.0, f64::max),
            before: self.machine,
            after: later.machine,
        }
    }
}

/// Differences of two readings.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Between them.
    pub elapsed: Duration,
    /// Of the server's threads and the softirq threads of its CPUs, if it could be observed.
    pub server_cpu: Option<Duration>,
    /// Of the server's threads.
    pub server_switches: Option<Switches>,
    /// Of the softirq threads alone.
    pub softirq_cpu: Duration,
    /// Of this program.
    pub client_cpu: Duration,
    /// How much its busiest thread ran of the time in which no other thread had its CPU, 0 to 1.
    pub client_busiest: f64,
    /// The machine at the first reading.
    pub before: Machine,
    /// And at the second.
    pub after: Machine,
}

impl Spent {
    /// What two times took, one after the other.
    #[must_use]
    pub fn with(self, next: Self) -> Self {
        Self {
            elapsed: self.elapsed + next.elapsed,
            server_cpu: self.server_cpu.zip(next.server_cpu).map(|(one, two)| one + two),
            server_switches: self.server_switches.zip(next.server_switches).map(|(one, two)| one.with(two)),
            softirq_cpu: self.softirq_cpu + next.softirq_cpu,
            client_cpu: self.client_cpu + next.client_cpu,
            client_busiest: self.client_busiest.max(next.client_busiest),
            before: self.before,
            after: next.after,
        }
    }

    /// Time that all CPUs of the machine worked.
    #[must_use]
    pub fn machine_cpu(&self) -> Duration {
        self.after.busy.saturating_sub(self.before.busy)
    }

    /// TCP segments with data that the machine sent.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.after.tcp_data_segments_sent.saturating_sub(self.before.tcp_data_segments_sent)
    }

    /// The part of the machine's CPU time that a hypervisor took, 0 to 1.
    #[must_use]
    pub fn steal(&self) -> f64 {
        let steal = self.after.steal.saturating_sub(self.before.steal).as_secs_f64();
        let wanted = steal + self.machine_cpu().as_secs_f64();
        if wanted > 0.0 { steal / wanted } else { 0.0 }
    }

    /// How near this program was to its limit, 0 to 1: with its busiest thread, or with all its CPUs.
    #[must_use]
    pub fn client_saturation(&self, client_cpus: usize) -> f64 {
        let of_all = share(self.client_cpu, self.elapsed) / client_cpus.max(1) as f64;
        of_all.max(self.client_busiest)
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads by id, with their milliseconds on a CPU and waiting for one.
    fn reading(at: Instant, server_ms: u64, threads: &[(u32, u64, u64)]) -> Reading {
        let time = |cpu_ms, waited_ms| ThreadTime {
            cpu: Duration::from_millis(cpu_ms),
            waited: Duration::from_millis(waited_ms),
        };
        Reading {
            at,
            server_cpu: Some(Duration::from_millis(server_ms)),
            server_switches: Some(Switches { voluntary: server_ms, involuntary: server_ms / 2 }),
            softirq_cpu: Duration::from_millis(server_ms / 10),
            client_threads: threads.iter().map(|&(id, cpu, waited)| (id, time(cpu, waited))).collect(),
            machine: Machine::default(),
        }
    }

    #[test]
    fn differences_are_per_thread_and_with_softirq() {
        let start = Instant::now();
        let before = reading(start, 100, &[(1, 50, 7), (2, 10, 0)]);
        // Thread 2 has ended, thread 3 is new.
        let after = reading(start + Duration::from_millis(100), 200, &[(1, 110, 7), (3, 40, 0)]);
        let spent = before.until(&after);
        assert_eq!(spent.server_cpu, Some(Duration::from_millis(110)));
        assert_eq!(spent.server_switches, Some(Switches { voluntary: 100, involuntary: 50 }));
        assert_eq!(spent.client_cpu, Duration::from_millis(100));
        assert_eq!(spent.client_busiest, 0.6);
        assert_eq!(spent.client_saturation(1), 1.0);
        assert_eq!(spent.client_saturation(2), 0.6);
    }

    #[test]
    fn a_thread_that_runs_whenever_it_may_is_at_its_limit() {
        let start = Instant::now();
        let before = reading(start, 0, &[(1, 0, 50), (2, 0, 0)]);
        // Thread 1 ran 30 ms and waited 68 ms for a CPU: 2 ms it slept. Thread 2 ran more, and slept more.
        let after = reading(start + Duration::from_millis(100), 0, &[(1, 30, 118), (2, 40, 0)]);
        let saturation = before.until(&after).client_saturation(2);
        assert!((saturation - 30.0 / 32.0).abs() < 1e-9, "{saturation}");
        let starved = reading(start + Duration::from_millis(100), 0, &[(1, 1, 151), (2, 0, 0)]);
        assert_eq!(before.until(&starved).client_saturation(2), 1.0);
    }

    #[test]
    fn a_server_that_is_gone_has_no_clock_and_is_no_error() {
        let clocks = Clocks::new(Some(Process::new(u32::MAX)), &CpuList::current().unwrap()).unwrap();
        let (before, after) = (clocks.read().unwrap(), clocks.read().unwrap());
        assert_eq!(before.until(&after).server_cpu, None);
    }
}
