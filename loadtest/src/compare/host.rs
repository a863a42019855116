//! The machine of a comparison: what it is, how it is set, and what else it did.
//!
//! In      /proc and /sys
//! Out     fields of the record
//! Bounds  what cannot be read is said to be unknown
//! Source  proc(5), tcp(7), Linux Documentation/admin-guide/{cputopology,pm/cpufreq}.rst

use std::{collections::BTreeMap, fs, num::NonZeroUsize, thread};

use serde::Serialize;

use crate::measure::affinity::CpuList;

/// The machine, and what else it did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Host {
    /// Of the kernel.
    pub kernel: String,
    /// Of the CPU.
    pub cpu: String,
    /// How many there are.
    pub cpu_count: usize,
    /// Where the servers ran.
    pub server_cpus: String,
    /// Where this program did.
    pub client_cpus: String,
    /// Threads of the same core, by each of those CPUs.
    pub siblings: BTreeMap<usize, String>,
    /// What governs the frequency, by each of those CPUs.
    pub governors: BTreeMap<usize, String>,
    /// Of TCP.
    pub congestion_control: String,
    /// Of the kernel, by name: what bounds the sockets' buffers.
    pub limits: BTreeMap<&'static str, String>,
    /// Load average over a minute before the first run.
    pub load_before: f64,
    /// And after the last.
    pub load_after: f64,
    /// CPU time that a hypervisor took during the rounds, in seconds, of all CPUs.
    pub steal_s: f64,
    /// How long the rounds took, in seconds.
    pub elapsed_s: f64,
    /// How long the file of --lock was waited for, in seconds.
    pub waited_s: f64,
    /// The day, as YYYY-MM-DD.
    pub date: String,
}

impl Host {
    /// What it is now; what it did is for later.
    #[must_use]
    pub fn read(server: &CpuList, client: &CpuList) -> Self {
        let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let of_each = |file: &str| {
            let used = server.cpus().iter().chain(client.cpus());
            let path = |cpu: usize| format!("/sys/devices/system/cpu/cpu{cpu}/{file}");
            used.filter_map(|&cpu| Some((cpu, read(&path(cpu))?))).collect()
        };
        let limit = |name: &&'static str| {
            (*name, read(&format!("/proc/sys/{}", name.replace('.', "/"))).unwrap_or_else(unknown))
        };
        Self {
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            cpu: model.map_or_else(unknown, |(_, model)| model.to_owned()),
            cpu_count: cpuinfo.lines().filter(|line| line.starts_with("processor")).count().max(cpus),
            server_cpus: server.to_string(),
            client_cpus: client.to_string(),
            siblings: of_each("topology/thread_siblings_list"),
            governors: of_each("cpufreq/scaling_governor"),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_else(unknown),
            limits: LIMITS.iter().map(limit).collect(),
            date: time::OffsetDateTime::now_utc().date().to_string(),
            ..Self::default()
        }
    }

    /// Such as `2026-11-22-amd-epyc-2-cpus`.
    #[must_use]
    pub fn directory(&self) -> String {
        let words = self.cpu.to_lowercase();
        let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let name: Vec<_> = words.take(2).collect();
        format!("{}-{}-{}-cpus", self.date, name.join("-"), self.cpu_count)
    }

    /// Rows of the record's table of settings.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let by_cpu = |values: &BTreeMap<usize, String>| {
            let each: Vec<_> = values.iter().map(|(cpu, value)| format!("CPU {cpu}: {value}")).collect();
            if each.is_empty() { unknown() } else { each.join("; ") }
        };
        let limits: Vec<_> = self.limits.iter().map(|(name, value)| format!("{name} {value}")).collect();
        vec![
            ("threads of the same core", by_cpu(&self.siblings)),
            ("frequency governor", by_cpu(&self.governors)),
            ("kernel's limits of buffers", limits.join("; ").replace('\t', " ")),
            ("sockets of the servers", SOCKETS.to_owned()),
        ]
    }
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}

const LIMITS: [&str; 4] =
    ["net.core.rmem_max", "net.core.wmem_max", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"];

/// The contract of the rivals' README; what it says of each is said there.
const SOCKETS: &str =
    "SO_SNDBUF 128 KiB, TCP_NODELAY, backlog 4,096, set by each of them (nats: its own settings)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_has_day_cpu_and_count() {
        let host = Host {
            cpu: "AMD EPYC 7B13".to_owned(),
            cpu_count: 2,
            date: "2026-11-22".to_owned(),
            ..Host::default()
        };
        assert_eq!(host.directory(), "2026-11-22-amd-epyc-2-cpus");
    }

    #[test]
    fn this_machine_says_what_bounds_its_buffers() {
        let one = CpuList::one(CpuList::current().unwrap().cpus()[0]);
        let host = Host::read(&one, &one);
        assert_eq!(host.limits.len(), LIMITS.len());
        assert!(host.limits["net.ipv4.tcp_wmem"].split_whitespace().count() == 3, "{host:?}");
        assert!(host.cpu_count >= 1 && host.rows().iter().all(|(_, value)| !value.is_empty()));
    }
}
