//! Values: what was measured, by the names of the figures.
//!
//! In      sums, histograms and differences of readings
//! Out     a value per figure, as far as it could be measured
//! Bounds  a figure without a cause to divide by (no delivery, no time) has no value
//! Source  none

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::curve::Curve;
use crate::{
    measure::{footprint::Footprint, reading::Spent},
    truth::{closes::Closes, sequence::Tally},
};

/// Measured values by the names of their figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    figures: BTreeMap<&'static str, f64>,
    curves: Vec<Curve>,
}

impl Values {
    /// Sets one. A value that is no number was not measured.
    pub fn set(&mut self, name: &'static str, value: f64) {
        if value.is_finite() {
            self.figures.insert(name, value);
        }
    }

    /// The value of a figure; `None` if it was not measured.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// What arrived, and what did not, and which connections did not stay.
    pub fn set_truth(&mut self, tally: &Tally, closes: &Closes) {
        self.set("closed", closes.count() as f64);
        self.set("delivered", tally.delivered as f64);
        self.set("lost", tally.missing as f64);
        self.set("duplicated", tally.duplicated as f64);
        self.set("reordered", tally.reordered as f64);
        self.set("corrupted", tally.corrupted as f64);
        self.set("unexpected", tally.unexpected as f64);
    }

    /// How many deliveries were measured, and how fast they were.
    pub fn set_pace(&mut self, measured: u64, elapsed_ns: u64) {
        self.set("measured", measured as f64);
        self.set("elapsed", elapsed_ns as f64);
        self.set("delivered_per_s", measured as f64 / (elapsed_ns as f64 / 1e9));
    }

    /// Quantiles of a histogram of nanoseconds, under names such as `LATENCIES`.
    pub fn set_latency(&mut self, latency_ns: &Histogram<u64>, names: &[&'static str; 6]) {
        if latency_ns.is_empty() {
            return;
        }
        for (&name, quantile) in names.iter().zip(QUANTILES) {
            self.set(name, latency_ns.value_at_quantile(quantile) as f64);
        }
        // Half of all has the shortest name: "p50" alone, or behind what it is of.
        let of = names[0].strip_suffix("p50").unwrap_or_default().trim_end_matches('_');
        self.curves.retain(|curve| curve.name != of);
        self.curves.push(Curve::of(of, latency_ns));
    }

    /// CPU of server, client and machine, each divided by `count` of what `names` say.
    pub fn set_spent(&mut self, names: &Costs, spent: &Spent, count: f64, client_cpus: usize) {
        let per = |cpu: Duration| cpu.as_secs_f64() * 1e9 / count;
        if let Some(cpu) = spent.server_cpu {
            self.set(names.server, per(cpu));
            self.set(names.softirq, per(spent.softirq_cpu));
            self.set("server_cpus", cpu.as_secs_f64() / spent.elapsed.as_secs_f64());
        }
        if let Some(switches) = spent.server_switches {
            self.set(names.switches, switches.count() as f64 / count);
            self.set(names.preempted, switches.involuntary as f64 / count);
        }
        self.set(names.client, per(spent.client_cpu));
        self.set("client_cpu", spent.client_saturation(client_cpus));
        self.set(names.machine, per(spent.machine_cpu()));
        self.set(names.segments, spent.segments() as f64 / count);
        self.set("load_before", spent.before.load);
        self.set("load_after", spent.after.load);
        self.set("steal", spent.steal());
    }

    /// What the server holds per connection: with all connected, and at the end, each less what there was before.
    pub fn set_footprints(&mut self, [before, connected, after]: [Option<Footprint>; 3], connections: usize) {
        let Some(before) = before else { return };
        let per = |before: u64, now: u64| (now as f64 - before as f64) / connections as f64;
        for ([anonymous, pss, kernel, descriptors], now) in [(HELD, connected), (HELD_AFTER, after)] {
            if let Some(now) = now {
                self.set(anonymous, per(before.user.anonymous_bytes, now.user.anonymous_bytes));
                self.set(pss, per(before.user.pss_bytes, now.user.pss_bytes));
                self.set(kernel, per(before.kernel_bytes, now.kernel_bytes));
                self.set(descriptors, now.descriptors as f64);
            }
        }
    }

    /// The curves of all latencies that were set.
    #[must_use]
    pub fn curves(&self) -> &[Curve] {
        &self.curves
    }
}

/// Names for what one of something costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    server: &'static str,
    softirq: &'static str,
    switches: &'static str,
    preempted: &'static str,
    client: &'static str,
    machine: &'static str,
    segments: &'static str,
}

/// Of a message.
pub const PER_FRAME: Costs = Costs {
    server: "server_cpu_per_frame",
    softirq: "softirq_cpu_per_frame",
    switches: "server_switches_per_frame",
    preempted: "server_preempted_per_frame",
    client: "client_cpu_per_frame",
    machine: "machine_cpu_per_frame",
    segments: "segments_per_frame",
};

/// Of a handshake.
pub const PER_CONNECT: Costs = Costs {
    server: "server_cpu_per_connect",
    softirq: "softirq_cpu_per_connect",
    switches: "server_switches_per_connect",
    preempted: "server_preempted_per_connect",
    client: "client_cpu_per_connect",
    machine: "machine_cpu_per_connect",
    segments: "segments_per_connect",
};

/// Of a connection in a second.
pub const PER_CONNECTION_S: Costs = Costs {
    server: "server_cpu_per_connection_s",
    softirq: "softirq_cpu_per_connection_s",
    switches: "server_switches_per_connection_s",
    preempted: "server_preempted_per_connection_s",
    client: "client_cpu_per_connection_s",
    machine: "machine_cpu_per_connection_s",
    segments: "segments_per_connection_s",
};

/// Names for the latency of messages.
pub const LATENCIES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// Names for the latency of a message's last receipt.
pub const LASTS: [&str; 6] = ["last_p50", "last_p90", "last_p99", "last_p99.9", "last_p99.99", "last_max"];

/// Names for the time that it takes to come in.
pub const JOINS: [&str; 6] = ["join_p50", "join_p90", "join_p99", "join_p99.9", "join_p99.99", "join_max"];

/// Names for the latency of handshakes.
pub const HANDSHAKES: [&str; 6] = [
    "handshake_p50",
    "handshake_p90",
    "handshake_p99",
    "handshake_p99.9",
    "handshake_p99.99",
    "handshake_max",
];

/// Names for what the server holds with all connected, and at the end.
const HELD: [&str; 4] =
    ["anonymous_per_connection", "pss_per_connection", "kernel_per_connection", "descriptors"];
const HELD_AFTER: [&str; 4] = [
    "anonymous_per_connection_after",
    "pss_per_connection_after",
    "kernel_per_connection_after",
    "descriptors_after",
];

const QUANTILES: [f64; 6] = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{latency::latency_histogram, process::Memory};

    #[test]
    fn quantiles_go_under_their_names_and_nothing_measured_sets_nothing() {
        let (mut values, mut latency_ns) = (Values::default(), latency_histogram());
        values.set_latency(&latency_ns, &LATENCIES);
        assert_eq!(values, Values::default());
        for ns in 1..=1000 {
            latency_ns.saturating_record(ns);
        }
        values.set_latency(&latency_ns, &LATENCIES);
        let all: Vec<_> = LATENCIES.iter().map(|name| values.get(name)).collect();
        assert_eq!(all, [500.0, 900.0, 990.0, 999.0, 1000.0, 1000.0].map(Some));
        values.set_latency(&latency_ns, &LASTS);
        assert_eq!(values.curves().iter().map(|curve| curve.name).collect::<Vec<_>>(), ["", "last"]);
    }

    #[test]
    fn what_cannot_be_divided_has_no_value() {
        let mut values = Values::default();
        values.set("p50", f64::INFINITY);
        values.set("p99", f64::NAN);
        assert_eq!(values, Values::default());
    }

    #[test]
    fn memory_is_the_difference_per_connection() {
        let mut values = Values::default();
        let held = |pss_bytes, anonymous_bytes, kernel_bytes| Footprint {
            user: Memory { pss_bytes, anonymous_bytes },
            kernel_bytes,
            descriptors: 7,
        };
        values.set_footprints([Some(held(500, 1000, 0)), None, Some(held(400, 5000, 90))], 10);
        assert_eq!(values.get("anonymous_per_connection_after"), Some(400.0));
        assert_eq!(values.get("pss_per_connection_after"), Some(-10.0));
        assert_eq!(values.get("kernel_per_connection_after"), Some(9.0));
        assert_eq!(values.get("descriptors_after"), Some(7.0));
        assert_eq!(values.get("anonymous_per_connection"), None);
    }
}
