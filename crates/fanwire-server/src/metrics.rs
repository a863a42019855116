//! Metrics: the engine's counters in the form that Prometheus reads.
//!
//! In      statistics, the API's own counts, the webhook's, what clients were refused
//! Out     text of the exposition format, version 0.0.4
//! Bounds  some 200 lines per shard, made anew for each scrape; between scrapes nothing is done
//! Source  <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//!         <https://prometheus.io/docs/practices/naming/>; docs/http-api.md lists them
//!
//! Names come from the engine's own, so that a new counter is a new metric.

use std::{
    collections::BTreeMap,
    fs,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use fanwire::{CloseKind, Distribution, ShardStats, Stats};
use prometheus::{
    Encoder as _, IntCounterVec, Opts, TextEncoder,
    core::Collector as _,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};
use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};

use crate::{auth::Caller, refused::Refused};

/// All metrics as text.
pub(crate) fn text(
    stats: &Stats,
    is_draining: bool,
    requests: &Requests,
    caller: &Caller,
    refused: &Refused,
) -> Vec<u8> {
    let mut families = Families::default();
    for (index, shard) in stats.shards.iter().enumerate() {
        families.add_shard(&index.to_string(), shard);
    }
    for (index, measured) in stats.distributions.iter().enumerate() {
        for (name, one) in measured.iter() {
            families.add_distribution(name, &index.to_string(), &one);
        }
    }
    for (name, value) in caller.counts() {
        families.add_webhook(name, value);
    }
    families.add_refused(refused);
    families.add_process(is_draining);
    let mut all: Vec<_> = families.by_name.into_values().collect();
    all.extend(requests.0.collect().into_iter().filter(|family| !family.get_metric().is_empty()));
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&all, &mut text)
        .expect("every family has a name and a value, and memory is written to");
    text
}

/// How the API's requests were answered.
pub(crate) struct Requests(IntCounterVec);

impl Requests {
    pub(crate) fn new() -> Self {
        let help = "Requests to the HTTP API by path and status.";
        let counter = IntCounterVec::new(Opts::new("fanwire_api_requests_total", help), &["path", "code"]);
        Self(counter.expect("the name and the labels are of the form that is asked for"))
    }

    /// `path` is one of the routes, so there are few.
    pub(crate) fn count(&self, path: &str, status: u16) {
        self.0.with_label_values(&[path, &status.to_string()]).inc();
    }
}

/// Metrics of the same name, by name.
#[derive(Default)]
struct Families {
    by_name: BTreeMap<String, MetricFamily>,
}

impl Families {
    fn add_shard(&mut self, shard: &str, stats: &ShardStats) {
        for (name, value) in stats.iter() {
            let help = ShardStats::help(name).unwrap_or_default();
            if let Some((family, reason, help)) = grouped(name) {
                self.add_counter(family, help, &[("shard", shard), ("reason", reason)], value as f64);
            } else if let Some(help) = help.strip_prefix("Gauge: ") {
                let name = format!("fanwire_{}", renamed(name));
                self.add_gauge(&name, &sentence(help), &[("shard", shard)], value as f64);
            } else {
                let name = format!("fanwire_{}_total", renamed(name));
                self.add_counter(&name, &sentence(help), &[("shard", shard)], value as f64);
            }
        }
        for kind in CloseKind::ALL {
            let labels = [("shard", shard), ("reason", kind.name())];
            let value = stats.closed(kind) as f64;
            self.add_counter("fanwire_sessions_closed_total", "Sessions that ended, by how.", &labels, value);
        }
    }

    /// Times become seconds.
    fn add_distribution(&mut self, name: &str, shard: &str, one: &Distribution) {
        let (name, help) = match name {
            "turn" => {
                ("fanwire_tick_duration_seconds", "How long turns of a shard's loop took, without waiting.")
            }
            "publish_to_flush" => (
                "fanwire_publish_to_flush_seconds",
                "From the turn that took a publish in until all its subscribers here had been sent to.",
            ),
            "fan_out" => {
                ("fanwire_fan_out_subscribers", "Subscribers on this shard of each publish that had some.")
            }
            "queue_depth" => {
                ("fanwire_queue_depth_messages", "Messages that waited for a session at its flush; a sample.")
            }
            // A name that is new to this table is no reason to say nothing.
            other => (other, "See the engine's documentation."),
        };
        let scale = if one.is_of_times() { 1e-9 } else { 1.0 };
        let mut seen = 0;
        let buckets = one.classes().map(|(bound, count)| {
            seen += count;
            let mut bucket = Bucket::default();
            // 1e-9 has no exact form, and a bound must always be written the same.
            let bound = bound.map(|bound| if one.is_of_times() { bound as f64 / 1e9 } else { bound as f64 });
            bucket.set_upper_bound(bound.unwrap_or(f64::INFINITY));
            bucket.set_cumulative_count(seen);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(one.count());
        histogram.set_sample_sum(one.sum() as f64 * scale);
        let mut metric = Metric::from_label(labels_of(&[("shard", shard)]));
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, metric);
    }

    fn add_webhook(&mut self, name: &str, value: u64) {
        match name.trim_start_matches("webhook_") {
            "in_flight" => {
                let help = "Requests to the webhook that are under way.";
                self.add_gauge("fanwire_webhook_in_flight", help, &[], value as f64);
            }
            "waiting" => {
                let help = "Questions that wait until a request to the webhook may begin.";
                self.add_gauge("fanwire_webhook_waiting", help, &[], value as f64);
            }
            outcome => {
                let help = "Questions about who may connect, by what came of them; for a cached one nobody was asked.";
                let labels = [("outcome", outcome)];
                self.add_counter("fanwire_webhook_questions_total", help, &labels, value as f64);
            }
        }
    }

    fn add_refused(&mut self, refused: &Refused) {
        for (code, count) in refused.problems() {
            let help = "Messages of clients that were answered by an error, by its code.";
            self.add_counter("fanwire_client_errors_total", help, &[("code", code)], count as f64);
        }
        for (reason, count) in refused.tokens() {
            let help = "Tokens that opened nothing, of handshakes and in band, by what was wrong.";
            self.add_counter("fanwire_tokens_refused_total", help, &[("reason", reason)], count as f64);
        }
    }

    fn add_process(&mut self, is_draining: bool) {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        self.add_gauge("fanwire_build_info", "Which version this is; always 1.", &version, 1.0);
        let draining = f64::from(u8::from(is_draining));
        self.add_gauge("fanwire_draining", "Whether the server has been told to end: 0 or 1.", &[], draining);
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        self.add_counter("process_cpu_seconds_total", "CPU time of the process.", &[], seconds);
        self.add_gauge("process_start_time_seconds", "When the process started, since 1970.", &[], *STARTED);
        if let Some(bytes) = resident_bytes() {
            self.add_gauge(
                "process_resident_memory_bytes",
                "Resident memory of the process.",
                &[],
                bytes as f64,
            );
        }
    }

    fn add_counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::from_label(labels_of(labels));
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    fn add_gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(labels_of(labels));
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        if let Some(family) = self.by_name.get_mut(name) {
            family.mut_metric().push(metric);
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        self.by_name.insert(name.to_owned(), family);
    }
}

/// Counters that differ in nothing but the reason.
fn grouped(name: &str) -> Option<(&'static str, &str, &'static str)> {
    if let Some(reason) = name.strip_prefix("refused_") {
        return Some(("fanwire_requests_refused_total", reason, "Requests that were refused, by reason."));
    }
    let reason = match name {
        "frames_refused_memory" => "memory",
        _ => name.strip_prefix("frames_dropped_")?,
    };
    Some(("fanwire_frames_dropped_total", reason, "Messages that were dropped, by reason."))
}

/// The unit goes to the end of the name.
fn renamed(name: &str) -> &str {
    match name {
        "bytes_sent" => "sent_bytes",
        "bytes_shared" => "shared_bytes",
        "message_bytes_received" => "received_message_bytes",
        "frame_bytes_live" => "live_frame_bytes",
        "page_bytes_live" => "live_page_bytes",
        name => name,
    }
}

fn sentence(help: &str) -> String {
    let first = help.split_once(". ").map_or(help, |(first, _)| first).trim_end_matches('.');
    let mut letters = first.chars();
    let begin = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{begin}{}.", letters.as_str()).replace('`', "")
}

fn labels_of(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |&(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

fn resident_bytes() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// Takes the time: metrics say when the process started.
pub(crate) fn started() {
    LazyLock::force(&STARTED);
}

static STARTED: LazyLock<f64> = LazyLock::new(|| {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64().round())
});

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_name_a_help_and_a_kind() {
        for (name, _) in ShardStats::default().iter() {
            let help = ShardStats::help(name).unwrap();
            assert!(help.ends_with('.') || help.contains(". "), "{name}: {help}");
            assert!(sentence(help.trim_start_matches("Gauge: ")).len() > 10, "{name}");
        }
    }

    #[test]
    fn a_help_is_one_sentence() {
        assert_eq!(sentence("frames alive. And `more`."), "Frames alive.");
        assert_eq!(sentence("memory of `x`."), "Memory of x.");
    }

    #[test]
    fn counters_of_a_kind_are_one_metric() {
        assert_eq!(grouped("refused_origin").map(|(_, reason, _)| reason), Some("origin"));
        assert_eq!(grouped("frames_dropped_newest").map(|(_, reason, _)| reason), Some("newest"));
        assert_eq!(grouped("frames_refused_memory").map(|(_, reason, _)| reason), Some("memory"));
        assert_eq!(grouped("frames_sent"), None);
    }
}
