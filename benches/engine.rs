//! The engine's inner loops alone: a publish to N subscribers, a queue, a hop between shards; no sockets.
//!
//! In      `cargo bench --bench engine`
//! Out     time per publish and per subscriber, per queued message, per hop
//! Bounds  below half a minute
//! Source  the target is 25 ns per subscriber at 10,000

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanwire::bench::{FanOutBench, MeshBench, QueueBench};

/// Queues are empty before the first message of a burst and are not before the others, which is cheaper.
fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    for subscribers in SUBSCRIBERS {
        group.throughput(Throughput::Elements(u64::from(subscribers)));
        for burst in [1, 16] {
            let id = BenchmarkId::new(format!("burst{burst}"), subscribers);
            let mut fan_out = FanOutBench::new(subscribers, PAYLOAD_BYTES);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|count| time_publishes(&mut fan_out, burst, count))
            });
        }
    }
}

/// `count` publishes in bursts, without the flushes between them.
fn time_publishes(fan_out: &mut FanOutBench, burst: u64, count: u64) -> Duration {
    let mut elapsed = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let burst = burst.min(left);
        let start = Instant::now();
        for _ in 0..burst {
            fan_out.publish();
        }
        elapsed += start.elapsed();
        left -= burst;
        fan_out.flush();
    }
    elapsed
}

/// All user-space work of one message to each subscriber: enqueue, gather, book as sent.
fn publish_and_flush(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish_and_flush");
    for subscribers in SUBSCRIBERS {
        group.throughput(Throughput::Elements(u64::from(subscribers)));
        let mut fan_out = FanOutBench::new(subscribers, PAYLOAD_BYTES);
        group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
            bencher.iter(|| {
                fan_out.publish();
                fan_out.flush();
            });
        });
    }
}

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    for messages in [1, 16, 256] {
        group.throughput(Throughput::Elements(u64::from(messages)));
        let mut queue = QueueBench::new();
        group.bench_function(BenchmarkId::new("push_and_send", messages), |bencher| {
            bencher.iter(|| queue.push_and_send(messages));
        });
    }
}

fn mesh(criterion: &mut Criterion) {
    let mut mesh = MeshBench::new();
    criterion.bench_function("mesh/hop", |bencher| bencher.iter(|| mesh.hop()));
}

const SUBSCRIBERS: [u32; 4] = [1, 100, 10_000, 100_000];

const PAYLOAD_BYTES: usize = 128;

criterion_group! {
    name = engine;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = publish, publish_and_flush, queue, mesh
}
criterion_main!(engine);
