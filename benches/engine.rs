//! The engine's inner loops alone, named after what they are done for; no sockets, no kernel.
//!
//! In      `cargo bench --bench engine`
//! Out     time and rate: of publishes per subscriber, of deliveries, subscriptions, hops and pings
//! Bounds  below a minute
//! Source  the target is 25 ns per subscriber at 10,000

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanwire::{
    Codec, Json, Kind,
    bench::{self, FanOutBench, InboxBench, MeshBench, MetersBench, QueueBench, TimersBench, TopicsBench},
};

/// A message into the queue of each subscriber. Nothing is sent within the time.
fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    for subscribers in [1, 100, 10_000, 100_000] {
        group.throughput(Throughput::Elements(u64::from(subscribers)));
        let name = format!("to_{subscribers}_subscribers");
        let mut fan_out = FanOutBench::new(subscribers, PAYLOAD_BYTES);
        group.bench_function(&name, |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| time_publish(&mut fan_out)).sum());
        });
        let mut fan_out = FanOutBench::shuffled(subscribers, PAYLOAD_BYTES);
        group.bench_function(format!("{name}_in_no_order"), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| time_publish(&mut fan_out)).sum());
        });
    }
}

fn time_publish(fan_out: &mut FanOutBench) -> Duration {
    let start = Instant::now();
    fan_out.publish();
    fan_out.queue();
    let elapsed = start.elapsed();
    fan_out.flush();
    elapsed
}

/// All that a server does for a burst but for the kernel's part: enqueue, gather, book as sent.
fn deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deliver");
    for burst in [1, 16, 256] {
        group.throughput(Throughput::Elements(burst * 10_000));
        let mut fan_out = FanOutBench::new(10_000, PAYLOAD_BYTES);
        group.bench_function(format!("burst_{burst}"), |bencher| {
            bencher.iter(|| deliver_burst(&mut fan_out, burst));
        });
    }
    group.throughput(Throughput::Elements(100_000));
    let mut fan_out = FanOutBench::shuffled(100_000, PAYLOAD_BYTES);
    group.bench_function("burst_1_to_100000_in_no_order", |bencher| {
        bencher.iter(|| deliver_burst(&mut fan_out, 1));
    });
}

fn deliver_burst(fan_out: &mut FanOutBench, burst: u64) {
    (0..burst).for_each(|_| fan_out.publish());
    fan_out.flush();
}

/// One session's queue, which a message to it alone goes through.
fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    for messages in [1, 16, 256] {
        group.throughput(Throughput::Elements(u64::from(messages)));
        let mut queue = QueueBench::new();
        group.bench_function(format!("{messages}_messages"), |bencher| {
            bencher.iter(|| queue.push_and_send(messages));
        });
    }
}

/// What a shard measures of itself in a turn, its reading of the clock included.
fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("measure");
    group.throughput(Throughput::Elements(1));
    let mut meters = MetersBench::new();
    group.bench_function("turn", |bencher| bencher.iter(|| meters.turn(bench::clock)));
}

fn topics(criterion: &mut Criterion) {
    let mut topics = TopicsBench::new(TOPICS);
    let mut group = criterion.benchmark_group("topic");
    group.throughput(Throughput::Elements(TOPICS.into()));
    group.bench_function("look_up", |bencher| bencher.iter(|| topics.look_up_all()));
    group.finish();
    for is_subscribe in [true, false] {
        let name = if is_subscribe { "subscribe" } else { "unsubscribe" };
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(TOPICS.into()));
        group.bench_function("one_of_10000_topics", |bencher| {
            bencher
                .iter_custom(|count| (0..count).map(|_| time_subscriptions(&mut topics, is_subscribe)).sum());
        });
    }
}

fn time_subscriptions(topics: &mut TopicsBench, is_subscribe: bool) -> Duration {
    let start = Instant::now();
    topics.subscribe_all();
    let subscribed = start.elapsed();
    topics.unsubscribe_all();
    if is_subscribe { subscribed } else { start.elapsed() - subscribed }
}

/// What a publish costs beyond its own shard, and from a thread that is none.
fn hops(criterion: &mut Criterion) {
    let (mut mesh, mut inbox) = (MeshBench::new(), InboxBench::new());
    for (name, hop) in [
        ("hop_between_shards", &mut (|| mesh.hop()) as &mut dyn FnMut()),
        ("hop_into_a_shard", &mut || inbox.pass()),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        group.bench_function("message", |bencher| bencher.iter(&mut *hop));
    }
}

/// A ping interval of 10,000 sessions that do nothing else.
fn idle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("idle");
    group.throughput(Throughput::Elements(10_000));
    let mut timers = TimersBench::new(10_000);
    group.bench_function("10000_sessions", |bencher| bencher.iter(|| timers.pass_interval()));
}

/// A received message of the default form: its topic and its data.
fn envelope(criterion: &mut Criterion) {
    let message = format!(r#"{{"topic":"room-17","data":"{}"}}"#, "x".repeat(PAYLOAD_BYTES));
    let mut group = criterion.benchmark_group("envelope");
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("decode_128B", |bencher| {
        bencher.iter(|| Json.decode(Kind::Text, black_box(message.as_bytes())).is_some());
    });
}

const PAYLOAD_BYTES: usize = 128;

const TOPICS: u32 = 10_000;

criterion_group! {
    name = engine;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = publish, deliver, queue, measure, topics, hops, idle, envelope
}
criterion_main!(engine);
