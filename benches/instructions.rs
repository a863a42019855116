//! Instructions: the hottest functions, one per run, for a tool that counts.
//!
//! In      `instructions NAME TIMES`, or no arguments
//! Out     nothing: what runs below `counted` is to be counted; without arguments each name, and how many
//!         operations one time is
//! Bounds  no clock, no randomness, no sockets, one thread: two runs are the same instructions
//! Source  scripts/instructions, which takes the difference of two numbers of times, so that set-up falls out

use std::{env, hint::black_box, process::ExitCode};

use fanwire::{
    Codec, Json, Kind,
    bench::{FanOutBench, InboxBench, MeshBench, MetersBench, TimersBench, TopicsBench},
};
use fanwire_ws::{
    Budget, Decoder, Event, HeadLimits, Header, Opcode, RequestHead, Role, Rules, Utf8, encode_frame, mask,
    write_accept,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.is_empty() {
        PROGRAMS.iter().for_each(|(name, operations, _)| println!("{name} {operations}"));
        return ExitCode::SUCCESS;
    }
    let program = PROGRAMS.iter().find(|(name, ..)| Some(*name) == arguments.first().map(String::as_str));
    let times = arguments.get(1).and_then(|text| text.parse().ok());
    let (Some((.., run)), Some(times)) = (program, times) else {
        eprintln!("instructions: NAME and TIMES are wanted; without arguments it prints the names");
        return ExitCode::FAILURE;
    };
    run(times);
    ExitCode::SUCCESS
}

/// Counting begins and ends with this function. What follows the call keeps it from being a jump, whose end
/// no tool would see.
#[inline(never)]
fn counted(operation: &mut dyn FnMut()) {
    operation();
    black_box(());
}

/// Name, operations that one time is, and what does it so many times.
type Program = (&'static str, u64, fn(u64));

const PROGRAMS: &[Program] = &[
    ("publish_to_1_subscriber", 1, |times| publish(1, times)),
    ("publish_per_subscriber", 1000, |times| publish(1000, times)),
    ("flush_per_session", 1000, |times| flush(1000, 1, times)),
    ("flush_16_frames_per_frame", 16_000, |times| flush(1000, 16, times)),
    ("flush_2_sessions_in_step_per_frame", 32, |times| flush(2, 16, times)),
    ("burst_16_to_2_subscribers_per_frame", 32, |times| burst(2, 16, times)),
    ("decode_masked_128B", 1, decode),
    ("mask_4KiB", 1, unmask),
    ("utf8_4KiB_ascii", 1, |times| utf8(&"fanwire ".repeat(512), times)),
    ("utf8_4KiB_mixed", 1, |times| utf8(&"Bär 熊".repeat(512), times)),
    ("encode_header", 1, encode_header),
    ("envelope_decode_128B", 1, envelope),
    ("handshake_accept", 1, handshake),
    ("topic_look_up", TOPICS as u64, look_up),
    ("subscribe", TOPICS as u64, |times| subscribe(true, times)),
    ("unsubscribe", TOPICS as u64, |times| subscribe(false, times)),
    ("timer_per_idle_session", 10_000, timers),
    ("metrics_per_turn", 1, measure),
    ("hop_between_shards", 1, hop),
    ("hop_into_a_shard", 1, pass),
];

fn publish(subscribers: u32, times: u64) {
    let mut fan_out = FanOutBench::new(subscribers, 128);
    for _ in 0..times {
        counted(&mut || {
            fan_out.publish();
            fan_out.queue();
        });
        fan_out.flush();
    }
}

fn flush(subscribers: u32, burst: u32, times: u64) {
    let mut fan_out = FanOutBench::new(subscribers, 128);
    for _ in 0..times {
        (0..burst).for_each(|_| fan_out.publish());
        fan_out.queue();
        counted(&mut || fan_out.flush());
    }
}

fn burst(subscribers: u32, burst: u32, times: u64) {
    let mut fan_out = FanOutBench::new(subscribers, 128);
    for _ in 0..times {
        counted(&mut || {
            (0..burst).for_each(|_| fan_out.publish());
            fan_out.queue();
            fan_out.flush();
        });
    }
}

fn decode(times: u64) {
    let (mut decoder, mut budget, mut frame) = (Decoder::new(), Budget::new(0), Vec::new());
    for _ in 0..times {
        frame.clear();
        encode_frame(&mut frame, true, Opcode::Text, Some(MASK), &[b'x'; 128]);
        counted(&mut || {
            let (_, event) = decoder.decode(&RULES, &mut budget, black_box(&mut frame));
            assert!(matches!(event, Ok(Event::Message { .. })), "it is a message");
        });
    }
}

fn unmask(times: u64) {
    let mut bytes = vec![b'x'; 4096];
    (0..times).for_each(|_| counted(&mut || mask::apply(MASK, 0, black_box(&mut bytes))));
}

fn utf8(text: &str, times: u64) {
    let text = text.as_bytes();
    assert_eq!(text.len(), 4096, "as the name says");
    for _ in 0..times {
        counted(&mut || assert!(Utf8::default().push(black_box(text)).is_ok(), "it is UTF-8"));
    }
}

fn encode_header(times: u64) {
    let header = Header { fin: true, opcode: Opcode::Text, mask: None, payload_bytes: 4096 };
    let mut out = [0; fanwire_ws::HEADER_BYTES_MAX];
    for _ in 0..times {
        counted(&mut || {
            black_box(black_box(&header).encode(black_box(&mut out)));
        });
    }
}

fn envelope(times: u64) {
    let message = format!(r#"{{"topic":"room-17","data":"{}"}}"#, "x".repeat(128));
    for _ in 0..times {
        counted(&mut || {
            let message = Json.decode(Kind::Text, black_box(message.as_bytes()));
            assert!(black_box(message).is_some(), "it is an envelope");
        });
    }
}

fn handshake(times: u64) {
    let mut answer = Vec::with_capacity(256);
    for _ in 0..times {
        answer.clear();
        counted(&mut || {
            let head = RequestHead::parse(black_box(REQUEST), &HeadLimits::default());
            let (head, _) = head.expect("it is a head").expect("it is whole");
            write_accept(&mut answer, head.upgrade().expect("it asks for WebSocket").key(), None, &[]);
        });
    }
}

fn look_up(times: u64) {
    let topics = TopicsBench::new(TOPICS);
    (0..times).for_each(|_| counted(&mut || assert_eq!(topics.look_up_all(), TOPICS as usize)));
}

fn subscribe(is_subscribe: bool, times: u64) {
    let mut topics = TopicsBench::new(TOPICS);
    for _ in 0..times {
        if is_subscribe {
            counted(&mut || topics.subscribe_all());
            topics.unsubscribe_all();
        } else {
            topics.subscribe_all();
            counted(&mut || topics.unsubscribe_all());
        }
    }
}

fn timers(times: u64) {
    let mut timers = TimersBench::new(10_000);
    (0..times).for_each(|_| counted(&mut || assert_eq!(timers.pass_interval(), 10_000)));
}

/// Without the clock.
fn measure(times: u64) {
    let mut meters = MetersBench::new();
    (0..times).for_each(|turn| counted(&mut || meters.turn(|| black_box(turn * 5_000))));
}

fn hop(times: u64) {
    let mut mesh = MeshBench::new();
    (0..times).for_each(|_| counted(&mut || mesh.hop()));
}

fn pass(times: u64) {
    let mut inbox = InboxBench::new();
    (0..times).for_each(|_| counted(&mut || inbox.pass()));
}

const TOPICS: u32 = 1000;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const RULES: Rules = Rules { role: Role::Server, message_bytes_max: 1 << 20 };

const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: chat.example.org\r\nOrigin: https://chat.example.org\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
