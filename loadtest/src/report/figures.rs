//! Reports: the figures of a run, for people and as JSON.
//!
//! In      what a run has taken
//! Out     lines of text, one JSON object, and whether the run is a success
//! Bounds  none
//! Source  a rate always says accepted publishes and delivered frames; CPU is threads plus ksoftirqd

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    args::Args,
    client::worker::{Outcome, latency_histogram},
    measure::{machine::Machine, process::Memory},
    truth::sequence::Tally,
};

/// Raw readings of a run.
pub struct Taken {
    /// What each receiving thread saw.
    pub outcomes: Vec<Outcome>,
    /// Messages published.
    pub published: u64,
    /// From the first publish to the last delivery.
    pub elapsed: Duration,
    /// The first thing that went wrong.
    pub failure: Option<String>,
    /// The user ended it.
    pub is_interrupted: bool,
    /// Of the server's threads, if they could be observed.
    pub server_cpu: Option<Duration>,
    /// Of the kernel's softirq threads on the server's CPUs.
    pub softirq_cpu: Duration,
    /// Of this process.
    pub client_cpu: Duration,
    /// Of its publishing thread.
    pub publisher_cpu: Duration,
    /// How many CPUs this process may use.
    pub client_cpus: usize,
    /// Of the server: before anybody connected, with all subscribers, and after the last delivery.
    pub memory: Option<[Memory; 3]>,
    /// Before and after.
    pub machine: (Machine, Machine),
}

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Connections that subscribed.
    pub subscribers: usize,
    /// Connections that published.
    pub publishers: u16,
    /// Length of each message's data.
    pub payload_bytes: usize,
    /// Messages published at once.
    pub burst: usize,
    /// Publishes per second asked for; 0 is a closed loop.
    pub rate: f64,
    /// Messages that were to be published.
    pub publishes_planned: u64,
    /// Messages that were.
    pub publishes: u64,
    /// What arrived, and what did not.
    pub tally: Tally,
    /// From the first publish to the last delivery.
    pub elapsed_s: f64,
    /// Deliveries per second of that.
    pub delivered_per_s: f64,
    /// From intended send to receipt.
    pub latency: Latency,
    /// Server CPU per delivered message: threads and ksoftirqd.
    pub server_cpu_us_per_delivery: Option<f64>,
    /// The part of it that is ksoftirqd's.
    pub softirq_cpu_us_per_delivery: f64,
    /// CPUs that the server kept busy.
    pub server_cpus_busy: Option<f64>,
    /// Server memory per subscriber before anything was published.
    pub memory_connected: Option<MemoryPerConnection>,
    /// The same after the last delivery.
    pub memory_after: Option<MemoryPerConnection>,
    /// CPU of this process per delivered message.
    pub client_cpu_us_per_delivery: f64,
    /// How near this process was to its limit, 0 to 1: of its busiest thread, or of all its CPUs.
    pub client_saturation: f64,
    /// Load average over a minute, before and after.
    pub load: (f64, f64),
    /// Part of the machine's time that a hypervisor took, 0 to 1.
    pub steal: f64,
    /// The user ended the run.
    pub is_interrupted: bool,
    /// What went wrong.
    pub failure: Option<String>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Half of all deliveries.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1,000.
    pub p999_ms: f64,
    /// All.
    pub max_ms: f64,
}

/// Server memory per subscriber; the kernel's for the sockets is not in it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemoryPerConnection {
    /// Heap, stacks, rings.
    pub anonymous_bytes: f64,
    /// Resident pages, shared ones in proportion.
    pub pss_bytes: f64,
}

impl Report {
    /// Works the readings out.
    #[must_use]
    pub fn new(args: &Args, taken: Taken) -> Self {
        let mut latency_ns = latency_histogram();
        let mut busiest = taken.publisher_cpu;
        for outcome in &taken.outcomes {
            // Histograms of the same bounds always add up.
            latency_ns += &outcome.latency_ns;
            busiest = busiest.max(outcome.cpu);
        }
        let tally: Tally = taken.outcomes.iter().map(|outcome| outcome.tally).sum();
        let elapsed_s = taken.elapsed.as_secs_f64();
        let per_delivery = |cpu: Duration| ratio(cpu.as_secs_f64() * 1e6, tally.delivered as f64);
        let of_cpus = ratio(taken.client_cpu.as_secs_f64(), elapsed_s * taken.client_cpus as f64);
        let (before, after) = taken.machine;
        let server_cpu = taken.server_cpu.map(|cpu| cpu + taken.softirq_cpu);
        Self {
            subscribers: args.subscribers.get(),
            publishers: args.publishers,
            payload_bytes: args.payload_bytes,
            burst: args.burst.get(),
            rate: args.rate,
            publishes_planned: args.publishes(),
            publishes: taken.published,
            tally,
            elapsed_s,
            delivered_per_s: ratio(tally.delivered as f64, elapsed_s),
            latency: Latency {
                p50_ms: milliseconds(latency_ns.value_at_quantile(0.5)),
                p99_ms: milliseconds(latency_ns.value_at_quantile(0.99)),
                p999_ms: milliseconds(latency_ns.value_at_quantile(0.999)),
                max_ms: milliseconds(latency_ns.max()),
            },
            server_cpu_us_per_delivery: server_cpu.map(per_delivery),
            softirq_cpu_us_per_delivery: per_delivery(taken.softirq_cpu),
            server_cpus_busy: server_cpu.map(|cpu| ratio(cpu.as_secs_f64(), elapsed_s)),
            memory_connected: taken
                .memory
                .map(|[before, connected, _]| per_connection(before, connected, args)),
            memory_after: taken.memory.map(|[before, _, after]| per_connection(before, after, args)),
            client_cpu_us_per_delivery: per_delivery(taken.client_cpu),
            client_saturation: of_cpus.max(ratio(busiest.as_secs_f64(), elapsed_s)),
            load: (before.load, after.load),
            steal: steal(before, after),
            is_interrupted: taken.is_interrupted,
            failure: taken.failure,
        }
    }

    /// Adds the cause of a failure that was seen from outside; it stands before what it led to.
    #[must_use]
    pub fn with_failure(mut self, cause: String) -> Self {
        self.failure = Some(match self.failure {
            Some(seen) => format!("{cause}; {seen}"),
            None => cause,
        });
        self
    }

    /// Whether everything that was published was delivered once, in order and unchanged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failure.is_none() && self.publishes > 0 && self.tally.is_clean()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pace =
            if self.rate > 0.0 { format!("{} publishes/s", self.rate) } else { "closed loop".to_owned() };
        writeln!(
            out,
            "run        {} subscribers, {} publishers, {} B of data, bursts of {}, {pace}",
            self.subscribers, self.publishers, self.payload_bytes, self.burst
        )?;
        let Tally { delivered, missing, reordered, duplicated, corrupted, unexpected } = self.tally;
        writeln!(
            out,
            "delivered  {delivered} messages of {} publishes in {:.3} s: {:.0} frames/s",
            self.publishes, self.elapsed_s, self.delivered_per_s
        )?;
        writeln!(
            out,
            "checked    missing {missing}, reordered {reordered}, duplicated {duplicated}, corrupted {corrupted}, \
             unexpected {unexpected}"
        )?;
        let Latency { p50_ms, p99_ms, p999_ms, max_ms } = self.latency;
        writeln!(
            out,
            "latency    p50 {p50_ms:.3} ms, p99 {p99_ms:.3} ms, p99.9 {p999_ms:.3} ms, max {max_ms:.3} ms"
        )?;
        self.write_server(out)?;
        writeln!(
            out,
            "client     {:.2} us CPU per delivered frame, {:.0} % of its limit",
            self.client_cpu_us_per_delivery,
            self.client_saturation * 100.0
        )?;
        writeln!(
            out,
            "machine    load {:.2} before, {:.2} after; {:.1} % stolen",
            self.load.0,
            self.load.1,
            self.steal * 100.0
        )?;
        self.write_remarks(out)
    }
}

impl Report {
    fn write_server(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.server_cpu_us_per_delivery, self.server_cpus_busy) {
            (Some(cpu), Some(busy)) => writeln!(
                out,
                "server     {cpu:.2} us CPU per delivered frame ({:.2} of it ksoftirqd), {busy:.2} CPUs busy",
                self.softirq_cpu_us_per_delivery
            )?,
            _ => writeln!(out, "server     not observed (give --server-pid)")?,
        }
        if let (Some(connected), Some(after)) = (self.memory_connected, self.memory_after) {
            writeln!(
                out,
                "memory     {:.0} B anonymous, {:.0} B PSS per connection (user memory); {:.0} and {:.0} after the run",
                connected.anonymous_bytes, connected.pss_bytes, after.anonymous_bytes, after.pss_bytes
            )?;
        }
        Ok(())
    }

    fn write_remarks(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.client_saturation > SATURATION_MAX {
            writeln!(
                out,
                "warning    this program was the bottleneck: the rate is its own, the latency too; give it more CPUs \
                 (--threads, --pin-client) or use --rate"
            )?;
        }
        if self.is_interrupted {
            writeln!(
                out,
                "note       interrupted after {} of {} publishes",
                self.publishes, self.publishes_planned
            )?;
        } else if self.publishes < self.publishes_planned {
            writeln!(
                out,
                "note       ended after {} of {} publishes",
                self.publishes, self.publishes_planned
            )?;
        }
        match &self.failure {
            Some(failure) => writeln!(out, "FAILED     {failure}"),
            None if self.is_clean() => Ok(()),
            None => writeln!(out, "FAILED     not every message arrived once, in order and unchanged"),
        }
    }
}

fn per_connection(before: Memory, after: Memory, args: &Args) -> MemoryPerConnection {
    MemoryPerConnection {
        anonymous_bytes: per(before.anonymous_bytes, after.anonymous_bytes, args.subscribers.get()),
        pss_bytes: per(before.pss_bytes, after.pss_bytes, args.subscribers.get()),
    }
}

fn per(before: u64, after: u64, connections: usize) -> f64 {
    (after as f64 - before as f64) / connections as f64
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn milliseconds(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn steal(before: Machine, after: Machine) -> f64 {
    let steal = after.steal.saturating_sub(before.steal);
    let busy = after.busy.saturating_sub(before.busy);
    ratio(steal.as_secs_f64(), (steal + busy).as_secs_f64())
}

/// Of one core; above this the client decides the figures.
const SATURATION_MAX: f64 = 0.9;
