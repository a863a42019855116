//! The protocol alone, named after what is done: handshake, frames, masks, UTF-8; no sockets.
//!
//! In      `cargo bench --bench protocol`
//! Out     time and rate per call, beside the scalar twins where there are any
//! Bounds  about a minute
//! Source  RFC 6455; the lengths are those of chat (128 B), documents (4 KiB) and bulk (64 KiB)

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fanwire_ws::{
    Budget, Decoder, Event, HeadLimits, Header, Opcode, RequestHead, Role, Rules, Utf8, encode_frame, mask,
    write_accept,
};

/// From a browser's request to the answer that opens the session.
fn handshake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    let mut answer = Vec::with_capacity(256);
    group.bench_function("accept", |bencher| {
        bencher.iter(|| {
            answer.clear();
            let head = RequestHead::parse(black_box(REQUEST), &HeadLimits::default());
            let (head, _) = head.expect("it is a head").expect("it is whole");
            write_accept(&mut answer, head.upgrade().expect("it asks for WebSocket").key(), None, &[]);
        });
    });
}

fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(1));
    let mut out = [0; fanwire_ws::HEADER_BYTES_MAX];
    let header = Header { fin: true, opcode: Opcode::Text, mask: Some(MASK), payload_bytes: 128 };
    let header_bytes = header.encode(&mut out);
    group.bench_function("parse_header", |bencher| {
        bencher.iter(|| Header::parse(black_box(&out[..header_bytes])));
    });
    group.bench_function("write_header", |bencher| {
        bencher.iter(|| black_box(&header).encode(black_box(&mut out)));
    });
    for (bytes, name) in LENGTHS {
        group.throughput(Throughput::Bytes(bytes as u64));
        let payload = filled("fanwire ", bytes);
        let mut out = Vec::with_capacity(bytes + fanwire_ws::HEADER_BYTES_MAX);
        group.bench_function(format!("encode_{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_frame(&mut out, true, Opcode::Text, None, black_box(&payload));
            });
        });
        // Decoding unmasks in place, so each call gets the frame anew, outside of its time.
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, Opcode::Text, Some(MASK), &payload);
        let (mut decoder, mut budget) = (Decoder::new(), Budget::new(0));
        group.bench_function(format!("decode_{name}"), |bencher| {
            let fresh = || frame.clone();
            let decode = |input: &mut Vec<u8>| {
                let (consumed, event) = decoder.decode(&RULES, &mut budget, black_box(input));
                assert!(consumed == frame.len() && matches!(event, Ok(Event::Message { .. })));
            };
            bencher.iter_batched_ref(fresh, decode, BatchSize::SmallInput);
        });
    }
}

fn unmask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for (length, name) in LENGTHS {
        let mut bytes = vec![b'x'; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| mask::apply(MASK, 0, black_box(&mut bytes)));
        });
        group.bench_function(format!("{name}_scalar"), |bencher| {
            bencher.iter(|| mask::apply_scalar(MASK, 0, black_box(&mut bytes)));
        });
    }
}

fn utf8(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for (length, name) in LENGTHS {
        for (kind, text) in [("ascii", "fanwire "), ("mixed", "Ein Bär, ein 熊. ")] {
            let text = filled(text, length);
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(format!("{name}_{kind}"), |bencher| {
                bencher.iter(|| Utf8::default().push(black_box(&text)));
            });
            group.bench_function(format!("{name}_{kind}_std"), |bencher| {
                bencher.iter(|| str::from_utf8(black_box(&text)).is_ok());
            });
        }
    }
}

/// Whole characters of `pattern`, then spaces: `length` bytes.
fn filled(pattern: &str, length: usize) -> Vec<u8> {
    let mut bytes = pattern.repeat(length / pattern.len()).into_bytes();
    bytes.resize(length, b' ');
    bytes
}

const REQUEST: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: chat.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: */*\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\nSec-WebSocket-Version: 13\r\n\
    Origin: https://chat.example.org\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: keep-alive, Upgrade\r\nPragma: no-cache\r\n\
    Cache-Control: no-cache\r\nUpgrade: websocket\r\n\r\n";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const LENGTHS: [(usize, &str); 3] = [(128, "128B"), (4096, "4KiB"), (65536, "64KiB")];

const RULES: Rules = Rules { role: Role::Server, message_bytes_max: 1 << 20 };

criterion_group! {
    name = protocol;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(50);
    targets = handshake, frame, unmask, utf8
}
criterion_main!(protocol);
