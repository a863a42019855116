//! Pressure: sockets that refuse bytes, peers that send too many, memory that runs out.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use fanwire::{CloseKind, Options, Overflow, sim::Faults};
use fanwire_ws::{Budget, Decoder, Event, Opcode, Role, Rules, encode_frame};

use crate::{
    common::{Client, Envelope, Incoming, Setup, World, payload_32},
    in_every_world, on_real_sockets,
};

in_every_world!(
    a_blocked_client_alone_is_closed,
    a_blocked_client_that_reads_again_gets_everything,
    drop_newest_leaves_gaps_for_the_blocked_client_alone,
    drop_oldest_leaves_gaps_for_the_blocked_client_alone,
    short_writes_keep_each_byte_stream_right,
    a_greedy_sender_is_paused_and_others_are_served,
    a_session_that_does_not_read_its_answers_is_not_read_from,
    frames_beyond_the_memory_limit_cost_the_blocked_sessions_that_hold_the_oldest,
    frames_beyond_the_memory_limit_go_to_sockets_that_take_them,
    of_pings_to_a_blocked_session_the_latest_is_answered,
    closing_a_blocked_session_ends_within_the_close_timeout,
);

on_real_sockets!(pipelined_requests_are_all_answered_to_a_client_that_reads);

/// 1013 comes after a frame already begun; what had left before is in order and whole.
fn a_blocked_client_alone_is_closed(setup: Setup) {
    let world = World::start_faulty(setup, narrow_options().queue_size(32), Faults::none());
    let mut readers: Vec<_> = (0..5).map(|i| world.client(&format!("reader{i}"))).collect();
    let mut blocked = world.connect_narrow("/ws?name=blocked");
    readers.iter_mut().chain([&mut blocked]).for_each(|client| client.script_and_wait("sub t"));
    let publisher = world.publisher();
    let mut count = 0;
    while world.stats().total.closed(CloseKind::QueueFull) == 0 {
        publisher.publish("t", payload(count)).unwrap();
        readers.iter_mut().for_each(|reader| check_payload(&reader.envelope(), count));
        count += 1;
        assert!(count < 5_000, "the narrow client is never blocked");
    }
    // It begins to read within the close time-out.
    let (messages, close) = blocked.messages_until_close();
    assert_eq!(close, Some((1_013, "too slow".to_owned())));
    for (number, message) in (0..).zip(&messages) {
        check_payload(message, number);
    }
    assert!((messages.len() as u64) < count - 30, "what was queued is dropped");
    blocked.send_close(1_013, "");
    blocked.expect_end();
    assert_eq!(world.closed("blocked").reason.code(), 1_013);
    publisher.publish("t", payload(count)).unwrap();
    readers.iter_mut().for_each(|reader| check_payload(&reader.envelope(), count));
    readers.into_iter().for_each(Client::close);
    let stats = world.stats().total;
    assert!(stats.frames_dropped_closed >= 30, "{stats:#?}");
    assert_eq!(stats.closed(CloseKind::QueueFull), 1);
}

fn a_blocked_client_that_reads_again_gets_everything(setup: Setup) {
    let world = World::start(setup, narrow_options().queue_size(256));
    let mut blocked = world.connect_narrow("/ws?name=blocked");
    blocked.script_and_wait("sub t");
    for round in 0..5 {
        for number in 0..200 {
            world.publisher().publish("t", payload(round * 200 + number)).unwrap();
        }
        world.until_stats("it is blocked", |stats| stats.total.sessions_blocked == 1);
        for number in 0..200 {
            check_payload(&blocked.envelope(), round * 200 + number);
        }
        world.until_stats("it is not blocked", |stats| stats.total.sessions_blocked == 0);
    }
    blocked.close();
    world.until_stats("no frame is left", |stats| stats.total.frames_live == 0);
}

fn drop_newest_leaves_gaps_for_the_blocked_client_alone(setup: Setup) {
    let (received, sent) = overflow(setup, Overflow::DropNewest);
    // What was queued first is there.
    assert!(received.iter().zip(0..).take(10).all(|(one, other)| *one == other));
    assert!(received.last() < Some(&(sent - 1)), "the newest are missing");
}

fn drop_oldest_leaves_gaps_for_the_blocked_client_alone(setup: Setup) {
    let (received, sent) = overflow(setup, Overflow::DropOldest);
    assert!(received.ends_with(&((sent - 15)..sent).collect::<Vec<_>>()), "the newest are there");
}

/// Numbers that a blocked client received, in their order, and how many were published.
fn overflow(setup: Setup, policy: Overflow) -> (Vec<u64>, u64) {
    let options = narrow_options().queue_size(16).overflow(policy);
    let world = World::start_faulty(setup, options, Faults::none());
    let mut reader = world.client("reader");
    let mut blocked = world.connect_narrow("/ws?name=blocked");
    reader.script_and_wait("sub t");
    blocked.script_and_wait("sub t");
    let mut count = 0;
    let dropped = |world: &World| {
        let stats = world.stats().total;
        stats.frames_dropped_newest + stats.frames_dropped_oldest
    };
    while dropped(&world) < 50 {
        world.publisher().publish("t", payload(count)).unwrap();
        check_payload(&reader.envelope(), count);
        count += 1;
        assert!(count < 5_000, "the narrow client is never blocked");
    }
    // The blocked client's shard may be behind the reader's.
    let shards = if world.log.shard("reader") == world.log.shard("blocked") { 1 } else { 2 };
    world.until_stats("all is taken in", |stats| stats.total.publishes == shards * count);
    let missing = dropped(&world);
    let mut received = Vec::new();
    while (received.len() as u64) < count - missing {
        let message = blocked.envelope();
        let number = message.data.trim_matches('"').split(' ').next().unwrap().parse().unwrap();
        check_payload(&message, number);
        assert!(received.last().is_none_or(|last| *last < number), "order is kept");
        received.push(number);
    }
    blocked.script("queued");
    blocked.expect("queued", &format!("\"0 {missing} false\""));
    world.publisher().publish("t", payload(count)).unwrap();
    check_payload(&blocked.envelope(), count);
    let stats = world.stats().total;
    let expected = if policy == Overflow::DropNewest { (missing, 0) } else { (0, missing) };
    assert_eq!((stats.frames_dropped_newest, stats.frames_dropped_oldest), expected);
    blocked.close();
    reader.close();
    (received, count)
}

fn short_writes_keep_each_byte_stream_right(setup: Setup) {
    let options = Options::default().send_buffer_bytes(2_048);
    let world = World::start(setup, options);
    let mut clients: Vec<_> = (0..4).map(|i| world.connect_narrow(&format!("/ws?name=c{i}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    let lengths = |number: u64| usize::try_from(number * 7_919 % 9_973).unwrap() + 1;
    for round in 0..4 {
        let numbers = round * 60..(round + 1) * 60;
        for number in numbers.clone() {
            world.publisher().publish("t", number.to_string().repeat(lengths(number))).unwrap();
            // Frames for one session alone break the step of the others.
            if number % 10 == 0 {
                world.log.handle("c1").send("own", number.to_string()).unwrap();
            }
        }
        clients[2].frame(true, Opcode::Ping, b"between");
        for (index, client) in clients.iter_mut().enumerate() {
            let mut next = numbers.start;
            let mut others = 0;
            while next < numbers.end || others < extras(index) {
                match client.incoming() {
                    Incoming::Pong(payload) => {
                        assert_eq!(payload, b"between");
                        others += 1;
                    }
                    Incoming::Message { payload, .. } => {
                        let text = String::from_utf8(payload).unwrap();
                        let message = Envelope::parse(&text).unwrap();
                        if message.topic == "own" {
                            others += 1;
                            continue;
                        }
                        assert_eq!(message.data, next.to_string().repeat(lengths(next)));
                        next += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    clients.into_iter().for_each(Client::close);
    assert!(world.stats().total.sends_blocked > 0);
}

/// Frames beside the published ones that a client of the test above gets per round.
fn extras(index: usize) -> usize {
    match index {
        1 => 6,
        2 => 1,
        _ => 0,
    }
}

fn a_greedy_sender_is_paused_and_others_are_served(setup: Setup) {
    let options = Options::default().read_budget_bytes(8_000);
    let world = World::start_faulty(setup, options, Faults::none());
    let mut greedy = world.client_on(0, "greedy");
    let mut other = world.client_on(0, "other");
    let message = greedy.frame_bytes(true, Opcode::Text, &[b'x'; 994]);
    assert_eq!(message.len(), 1_002);
    let chunk = message.repeat(100);
    for _ in 0..20 {
        greedy.raw(&chunk);
        other.script_and_wait("");
    }
    greedy.script_and_wait("");
    let stats = world.stats().total;
    assert_eq!(stats.messages_ignored, 2_000);
    assert!(stats.reads_paused > 0);
    greedy.close();
}

/// It is paused once its own queue is half full, and read again when it has taken most of it.
fn a_session_that_does_not_read_its_answers_is_not_read_from(setup: Setup) {
    let world = World::start_faulty(setup, narrow_options().queue_size(64), Faults::none());
    let mut client = world.connect_narrow("/ws?name=c");
    let mut asked = 0;
    let mut ask = |client: &mut Client| {
        client.script(&format!("send n {}", payload(asked)));
        asked += 1;
        asked
    };
    // One at a time: what a driver has already received is handled in any case.
    while world.stats().total.reads_paused == 0 {
        let asked = ask(&mut client);
        assert!(asked < 1_000, "the narrow client is never blocked");
        world.until_stats("it is answered or paused", |stats| {
            stats.total.messages_received == asked || stats.total.reads_paused > 0
        });
    }
    assert!(world.stats().total.frames_live > 30);
    let asked = ask(&mut client);
    for number in 0..asked {
        check_payload(&client.envelope(), number);
    }
    client.close();
    assert_eq!(world.stats().total.closed(CloseKind::Peer), 1);
}

/// Two blocked clients hold different frames; who holds the oldest goes, the other one stays.
fn frames_beyond_the_memory_limit_cost_the_blocked_sessions_that_hold_the_oldest(setup: Setup) {
    let options =
        narrow_options().queue_size(10_000).queue_bytes(60_000).frame_bytes_max(80_000).inbox_size(10_000);
    let world = World::start_faulty(Setup { shards: 1, ..setup }, options, Faults::none());
    let mut reader = world.client("reader");
    let mut old = world.connect_narrow("/ws?name=old");
    let mut young = world.connect_narrow("/ws?name=young");
    reader.script_and_wait("sub old\nsub young\nsub x");
    old.script_and_wait("sub old");
    young.script_and_wait("sub young");
    let mut send = |topic: &str, count: &mut u64| {
        world.publisher().publish(topic, payload(*count)).unwrap();
        check_payload(&reader.envelope(), *count);
        *count += 1;
    };
    let (mut old_count, mut young_count) = (0, 0);
    while world.stats().total.frame_bytes_live < 45_000 {
        send("old", &mut old_count);
    }
    while world.stats().total.closed(CloseKind::QueueFull) == 0 {
        send("young", &mut young_count);
        assert!(world.stats().total.frame_bytes_live <= 80_000);
    }
    assert_eq!(world.closed("old").reason.kind(), CloseKind::QueueFull);
    for number in 0..young_count {
        check_payload(&young.envelope(), number);
    }
    assert_eq!(world.stats().total.frames_refused_memory, 0);
    young.close();
    reader.close();
}

/// The room of the last message is made by sending the others, and costs nobody anything.
fn frames_beyond_the_memory_limit_go_to_sockets_that_take_them(setup: Setup) {
    let options = Options::default().queue_bytes(64_000).queue_size(1_000).frame_bytes_max(65_000);
    let world = World::start_faulty(setup, options, Faults::none());
    let mut client = world.client("c");
    let large = format!("\"{}\"", "x".repeat(55_000));
    client.script(&format!("send_n 150 n\nsend n {large}"));
    for number in 0..150 {
        assert_eq!(client.envelope().data, number.to_string());
    }
    assert_eq!(client.envelope().data, large);
    assert_eq!(world.stats().total.frames_refused_memory, 0);
    client.close();
}

fn of_pings_to_a_blocked_session_the_latest_is_answered(setup: Setup) {
    let world = World::start_faulty(setup, narrow_options(), Faults::none());
    let mut client = world.connect_narrow("/ws?name=c");
    client.script_and_wait("sub t");
    let mut count = 0;
    while world.stats().total.frames_live < 30 {
        world.publisher().publish("t", payload(count)).unwrap();
        count += 1;
        world.until_stats("it is queued", |stats| stats.total.publishes == count);
        assert!(count < 1_000, "the narrow client is never blocked");
    }
    for number in 0..50u8 {
        client.frame(true, Opcode::Ping, &[number]);
    }
    let mut pongs = Vec::new();
    let mut next = 0;
    while next < count || pongs.last() != Some(&49) {
        match client.incoming() {
            Incoming::Pong(payload) => pongs.push(payload[0]),
            Incoming::Message { payload, .. } => {
                let message = Envelope::parse(std::str::from_utf8(&payload).unwrap()).unwrap();
                check_payload(&message, next);
                next += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(pongs.is_sorted(), "{pongs:?}");
    assert_eq!(world.stats().total.pings_skipped + pongs.len() as u64, 50);
    client.close();
}

fn closing_a_blocked_session_ends_within_the_close_timeout(setup: Setup) {
    let options = narrow_options().close_timeout(Duration::from_millis(200)).queue_size(10_000);
    let world = World::start(setup, options);
    let mut client = world.connect_narrow("/ws?name=c");
    client.script_and_wait("sub t");
    for number in 0..150 {
        world.publisher().publish("t", payload(number)).unwrap();
    }
    world.until_stats("it is blocked", |stats| stats.total.sessions_blocked == 1);
    world.log.handle("c").close().unwrap();
    assert_eq!(world.closed("c").reason.kind(), CloseKind::Server);
    world.until_stats("it is cut", |stats| stats.total.close_timeouts == 1 && stats.total.frames_live == 0);
    drop(client);
}

/// Small buffers in the kernel, so that few messages block a client that does not read.
fn narrow_options() -> Options {
    Options::default().send_buffer_bytes(4_096)
}

/// A number in a JSON string of about a kilobyte.
fn payload(number: u64) -> String {
    format!("\"{number} {}\"", "x".repeat(1_000))
}

#[track_caller]
fn check_payload(message: &Envelope, number: u64) {
    assert_eq!(message.data, payload(number), "{}", payload_32(number));
}

/// Answers are as long as requests, and the client writes all without waiting for one: what it has sent ahead must
/// wait until its answers have left, and the order must hold.
fn pipelined_requests_are_all_answered_to_a_client_that_reads(setup: Setup) {
    for (count, bytes) in [(8_000, 1_000), (40_000, 20)] {
        let world = World::start(setup, Options::default());
        let mut reader = TcpStream::connect(world.address()).unwrap();
        let mut writer = reader.try_clone().unwrap();
        writer.write_all(&crate::common::request_head("/ws?name=pipeline", &[])).unwrap();
        let writing = std::thread::spawn(move || {
            let mut frames = Vec::new();
            for number in 0..count {
                let line = format!("send n \\\"{number:0bytes$}\\\"");
                let text = format!("{{\"topic\":\"do\",\"data\":\"{line}\"}}");
                encode_frame(&mut frames, true, Opcode::Text, Some([1, 2, 3, 4]), text.as_bytes());
            }
            writer.write_all(&frames).unwrap();
        });
        let answers = read_answers(&mut reader, count);
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(*answer, format!("{{\"topic\":\"n\",\"data\":\"{number:0bytes$}\"}}"));
        }
        writing.join().unwrap();
        assert_eq!(world.stats().total.closed(CloseKind::QueueFull), 0);
        world.until_stats("nothing is held any more", |stats| stats.total.held_bytes == 0);
    }
}

/// The first `count` text messages behind the handshake's answer; panics at anything else.
fn read_answers(stream: &mut TcpStream, count: usize) -> Vec<String> {
    stream.set_read_timeout(Some(crate::common::PATIENCE)).unwrap();
    let rules = Rules { role: Role::Client, message_bytes_max: 1 << 20 };
    let (mut decoder, mut budget) = (Decoder::new(), Budget::new(1 << 24));
    let (mut answers, mut head, mut is_open) = (Vec::new(), Vec::new(), false);
    let mut buffer = vec![0; 1 << 16];
    while answers.len() < count {
        let read = match stream.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.unwrap(),
        };
        assert!(read > 0, "the stream ended after {} answers", answers.len());
        let mut from = 0;
        if !is_open {
            head.extend_from_slice(&buffer[..read]);
            let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            is_open = true;
            from = read - (head.len() - end - 4);
        }
        loop {
            let (used, event) = decoder.decode(&rules, &mut budget, &mut buffer[from..read]);
            match event.unwrap() {
                Event::Partial => break,
                Event::Message { payload, .. } => answers.push(String::from_utf8(payload.to_vec()).unwrap()),
                Event::Close(frame) => panic!("closed after {} answers: {frame:?}", answers.len()),
                Event::Ping(_) | Event::Pong(_) => {}
            }
            from += used;
        }
    }
    answers
}
