//! Values: what was measured, by the names of the figures.
//!
//! In      sums, histograms and differences of readings
//! Out     a value per figure, as far as it could be measured
//! Bounds  a figure without a cause to divide by (no delivery, no time) has no value
//! Source  none

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::{
    measure::{process::Memory, reading::Spent},
    truth::{closes::Closes, sequence::Tally},
};

/// Measured values by the names of their figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(BTreeMap<&'static str, f64>);

impl Values {
    /// Sets one. A value that is no number was not measured.
    pub fn set(&mut self, name: &'static str, value: f64) {
        if value.is_finite() {
            self.0.insert(name, value);
        }
    }

    /// The value of a figure; `None` if it was not measured.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
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

    /// Quantiles of a histogram of nanoseconds, under the names of `LATENCIES`.
    pub fn set_latency(&mut self, latency_ns: &Histogram<u64>, names: &[&'static str; 6]) {
        if latency_ns.is_empty() {
            return;
        }
        for (&name, quantile) in names.iter().zip(QUANTILES) {
            self.set(name, latency_ns.value_at_quantile(quantile) as f64);
        }
    }

    /// CPU of server, client and machine, per frame where that is the figure.
    pub fn set_spent(&mut self, spent: &Spent, frames: u64, client_cpus: usize) {
        let frames = frames as f64;
        let per_frame = |cpu: std::time::Duration| cpu.as_secs_f64() * 1e9 / frames;
        if let Some(cpu) = spent.server_cpu {
            self.set("server_cpu_per_frame", per_frame(cpu));
            self.set("softirq_cpu_per_frame", per_frame(spent.softirq_cpu));
            self.set("server_cpus", cpu.as_secs_f64() / spent.elapsed.as_secs_f64());
        }
        self.set("client_cpu_per_frame", per_frame(spent.client_cpu));
        self.set("client_cpu", spent.client_saturation(client_cpus));
        self.set("machine_cpu_per_frame", per_frame(spent.machine_cpu()));
        self.set("segments_per_frame", spent.segments() as f64 / frames);
        self.set("load_before", spent.before.load);
        self.set("load_after", spent.after.load);
        self.set("steal", spent.steal());
    }

    /// Server memory per connection, from before anybody connected to `now`.
    pub fn set_memory(&mut self, names: [&'static str; 2], before: Memory, now: Memory, connections: usize) {
        let per = |before: u64, now: u64| (now as f64 - before as f64) / connections as f64;
        self.set(names[0], per(before.anonymous_bytes, now.anonymous_bytes));
        self.set(names[1], per(before.pss_bytes, now.pss_bytes));
    }
}

/// Names for the latency of messages.
pub const LATENCIES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// Names for server memory with all connected, and at the end.
pub const MEMORY: [&str; 2] = ["anonymous_per_connection", "pss_per_connection"];
/// See `MEMORY`.
pub const MEMORY_AFTER: [&str; 2] = ["anonymous_per_connection_after", "pss_per_connection_after"];

const QUANTILES: [f64; 6] = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::latency::latency_histogram;

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
    }

    #[test]
    fn what_cannot_be_divided_has_no_value() {
        let mut values = Values::default();
        values.set("p50", 1.0 / 0.0);
        values.set("p99", 0.0 / 0.0);
        assert_eq!(values, Values::default());
    }

    #[test]
    fn memory_is_the_difference_per_connection() {
        let mut values = Values::default();
        let before = Memory { pss_bytes: 500, anonymous_bytes: 1000 };
        values.set_memory(MEMORY, before, Memory { pss_bytes: 400, anonymous_bytes: 5000 }, 10);
        assert_eq!(values.get("anonymous_per_connection"), Some(400.0));
        assert_eq!(values.get("pss_per_connection"), Some(-10.0));
    }
}
