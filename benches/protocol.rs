//! The protocol alone: header, mask, UTF-8, encoding and decoding, without sockets.
//!
//! In      `cargo bench --bench protocol`
//! Out     time per call and bytes per second, beside the scalar twins where there are any
//! Bounds  below a minute
//! Source  RFC 6455; the lengths are those of chat (128 B), documents (4 KiB) and bulk (64 KiB)

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanwire_ws::{Budget, Decoder, Event, Header, Opcode, Role, Rules, Utf8, encode_frame, mask};

fn header(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    for payload_bytes in [128, 1024, 65536] {
        let mut out = [0; fanwire_ws::HEADER_BYTES_MAX];
        let header = Header { fin: true, opcode: Opcode::Text, mask: Some(MASK), payload_bytes };
        let length = header.encode(&mut out);
        group.bench_with_input(BenchmarkId::new("parse", payload_bytes), &out[..length], |bencher, bytes| {
            bencher.iter(|| Header::parse(black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("encode", payload_bytes), &header, |bencher, header| {
            let mut out = [0; fanwire_ws::HEADER_BYTES_MAX];
            bencher.iter(|| black_box(header).encode(black_box(&mut out)));
        });
    }
}

fn unmask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask");
    for length in LENGTHS {
        let mut bytes = vec![b'x'; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("fast", length), |bencher| {
            bencher.iter(|| mask::apply(MASK, 0, black_box(&mut bytes)));
        });
        group.bench_function(BenchmarkId::new("scalar", length), |bencher| {
            bencher.iter(|| mask::apply_scalar(MASK, 0, black_box(&mut bytes)));
        });
    }
}

fn utf8(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for length in LENGTHS {
        for (kind, text) in [("ascii", "fanwire "), ("mixed", "Ein Bär, ein 熊. ")] {
            let text = filled(text, length);
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(BenchmarkId::new(format!("ours-{kind}"), length), |bencher| {
                bencher.iter(|| Utf8::default().push(black_box(&text)));
            });
            group.bench_function(BenchmarkId::new(format!("std-{kind}"), length), |bencher| {
                bencher.iter(|| str::from_utf8(black_box(&text)).is_ok());
            });
        }
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for length in LENGTHS {
        let payload = filled("fanwire ", length);
        let mut out = Vec::with_capacity(length + fanwire_ws::HEADER_BYTES_MAX);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("server", length), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_frame(&mut out, true, Opcode::Text, None, black_box(&payload));
            });
        });
    }
}

/// What a server does with a client's message: header, mask, UTF-8.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for length in LENGTHS {
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, Opcode::Text, Some(MASK), &filled("fanwire ", length));
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("server", length), |bencher| {
            // Decoding unmasks in place, so each call gets the frame anew; the copy is part of the time.
            let (mut decoder, mut budget) = (Decoder::new(), Budget::new(0));
            let mut input = frame.clone();
            bencher.iter(|| {
                input.copy_from_slice(&frame);
                let (consumed, event) = decoder.decode(&RULES, &mut budget, black_box(&mut input));
                assert!(consumed == frame.len() && matches!(event, Ok(Event::Message { .. })));
            });
        });
    }
}

/// Whole characters of `pattern`, then spaces: `length` bytes.
fn filled(pattern: &str, length: usize) -> Vec<u8> {
    let mut bytes = pattern.repeat(length / pattern.len()).into_bytes();
    bytes.resize(length, b' ');
    bytes
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const LENGTHS: [usize; 3] = [128, 4096, 65536];

const RULES: Rules = Rules { role: Role::Server, message_bytes_max: 1 << 20 };

criterion_group! {
    name = protocol;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800)).sample_size(50);
    targets = header, unmask, utf8, encode, decode
}
criterion_main!(protocol);
