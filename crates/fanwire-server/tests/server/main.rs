//! The server as its users meet it: the real binary, on real sockets.
//!
//! In      a process per test, on a port of its own
//! Out     every answer, refusal, page and ending
//! Bounds  each wait ends after `WAIT_MAX` in a failure
//! Source  docs/protocol.md
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail where it does")]

mod auth;
mod client;
mod listeners;
mod process;
mod receiver;
mod running;
mod settings;
mod webhook;

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    time::Duration,
};

use client::{Client, Received, http};
use process::{Process, run_to_end, said_by};

/// How each test that moves messages is run. `auto` is io_uring where the system has it.
const DRIVERS: [&str; 2] = ["auto", "epoll"];

const WAIT_MAX: Duration = Duration::from_secs(20);

fn text(expected: &str) -> Received {
    Received::Text(expected.to_owned())
}

#[test]
fn the_start_says_what_an_operator_needs() {
    let server = Process::start(&["--shards", "2"]);
    let said = server.said_before_ready();
    assert_eq!(said.last().unwrap(), &format!("listening on ws://{}/ws", server.address));
    let mut server = server;
    let more = server.lines_until(|line| line.contains("python3 -c"));
    for wanted in
        ["shard 0: ", "shard 1: ", "limits ", "memory    at most ", "limit of open files", "in a browser"]
    {
        assert!(more.iter().any(|line| line.contains(wanted)), "{wanted} in {more:?}");
    }
    assert!(more.iter().any(|line| line.contains(&format!("open http://{}/", server.address))));
    assert!(more.iter().any(|line| line.starts_with("  publish   clients may, since only this machine")));
}

#[test]
fn the_start_says_if_its_own_page_is_shut_out() {
    let mut server = Process::start(&["--origin", "https://a.example"]);
    let said = server.lines_until(|line| line.contains("python3 -c"));
    let page = said.iter().find(|line| line.starts_with("  page ")).unwrap();
    assert!(page.contains("cannot connect: its address is not among the origins"), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("in a browser")), "{said:?}");
}

#[test]
fn published_data_reaches_subscribers_with_its_bytes_unchanged() {
    for driver in DRIVERS {
        let server = Process::start(&["--driver", driver, "--shards", "2"]);
        let (mut ada, mut bob) = (Client::connect(&server), Client::connect(&server));
        ada.send(r#"{"topic":"subscribe","data":{"topic":"news"}}"#);
        assert_eq!(ada.receive(), text(r#"{"topic":"subscribed","data":{"topic":"news"}}"#));
        for data in [r#"{"a" : 1.0e+2, "a":[ ]}"#, "null", "12345678901234567890", r#""\u00e4""#] {
            bob.send(&format!(r#"{{"data":{{"data": {data} ,"topic":"news"}},"topic":"publish"}}"#));
            assert_eq!(ada.receive(), text(&format!(r#"{{"topic":"news","data":{data}}}"#)));
        }
        bob.send(r#"{"topic":"publish","data":{"topic":"news"}}"#);
        assert_eq!(ada.receive(), text(r#"{"topic":"news"}"#));
    }
}

#[test]
fn publishers_get_their_own_message_if_they_are_subscribed_and_once_only() {
    let server = Process::start(&[]);
    let mut ada = Client::connect(&server);
    for _ in 0..2 {
        ada.send(r#"{"topic":"subscribe","data":{"topic":"a\"ä"}}"#);
        assert_eq!(ada.receive(), text(r#"{"topic":"subscribed","data":{"topic":"a\"ä"}}"#));
    }
    ada.send(r#"{"topic":"publish","data":{"topic":"a\"ä","data":1}}"#);
    ada.send(r#"{"topic":"ping"}"#);
    assert_eq!(ada.receive(), text(r#"{"topic":"a\"ä","data":1}"#));
    assert_eq!(ada.receive(), text(r#"{"topic":"pong"}"#));
}

#[test]
fn nothing_comes_after_an_acknowledged_unsubscribe() {
    for driver in DRIVERS {
        let server = Process::start(&["--driver", driver, "--shards", "2"]);
        let (mut ada, mut bob) = (Client::connect(&server), Client::connect(&server));
        for client in [&mut ada, &mut bob] {
            client.send(r#"{"topic":"subscribe","data":{"topic":"news"}}"#);
            assert_eq!(client.receive(), text(r#"{"topic":"subscribed","data":{"topic":"news"}}"#));
        }
        // Unsubscribing twice is answered twice: there is no such subscription afterwards.
        for _ in 0..2 {
            ada.send(r#"{"topic":"unsubscribe","data":{"topic":"news"}}"#);
            assert_eq!(ada.receive(), text(r#"{"topic":"unsubscribed","data":{"topic":"news"}}"#));
        }
        bob.send(r#"{"topic":"publish","data":{"topic":"news","data":1}}"#);
        assert_eq!(bob.receive(), text(r#"{"topic":"news","data":1}"#));
        ada.send(r#"{"topic":"ping","data":[ 1 ]}"#);
        assert_eq!(ada.receive(), text(r#"{"topic":"pong","data":[ 1 ]}"#));
    }
}

#[test]
fn every_bad_request_is_answered_with_its_code_and_the_session_stays() {
    let server = Process::start(&["--topics-per-session", "2", "--topic-bytes", "8"]);
    let mut ada = Client::connect(&server);
    for topic in ["a", "b"] {
        ada.send(&format!(r#"{{"topic":"subscribe","data":{{"topic":"{topic}"}}}}"#));
        let Received::Text(answer) = ada.receive() else { panic!("an answer") };
        assert_eq!(answer, format!(r#"{{"topic":"subscribed","data":{{"topic":"{topic}"}}}}"#));
    }
    let cases = [
        (r#"{"topic":"hello"}"#, "unknown_topic", "\\\"hello\\\" is no request"),
        (r#"{"topic":"subscribe"}"#, "bad_request", "subscribe needs data of the form"),
        (r#"{"topic":"subscribe","data":"news"}"#, "bad_request", "subscribe"),
        (r#"{"topic":"subscribe","data":["news"]}"#, "bad_request", "subscribe"),
        (r#"{"topic":"subscribe","data":{"topic":7}}"#, "bad_request", "subscribe"),
        (r#"{"topic":"subscribe","data":{"topic":""}}"#, "bad_request", "not empty"),
        (r#"{"topic":"unsubscribe","data":{}}"#, "bad_request", "unsubscribe"),
        (r#"{"topic":"publish","data":{"data":1}}"#, "bad_request", "publish"),
        (r#"{"topic":"subscribe","data":{"topic":"c"}}"#, "too_many_topics", "2 topics"),
        (r#"{"topic":"subscribe","data":{"topic":"123456789"}}"#, "topic_too_long", "8 bytes"),
        (r#"{"topic":"unsubscribe","data":{"topic":"123456789"}}"#, "topic_too_long", "8 bytes"),
        (r#"{"topic":"publish","data":{"topic":"123456789","data":1}}"#, "topic_too_long", "8 bytes"),
        (r#"{"topic":"publish","data":{"topic":"error","data":1}}"#, "reserved_topic", "choose another"),
        (r#"{"topic":"publish","data":{"topic":"pong","data":1}}"#, "reserved_topic", "choose another"),
        (r#"{"topic":"subscribe","data":{"topic":"error"}}"#, "reserved_topic", "choose another"),
    ];
    for (request, code, message) in cases {
        ada.send(request);
        let Received::Text(answer) = ada.receive() else { panic!("an answer to {request}") };
        let head = format!(r#"{{"topic":"error","data":{{"code":"{code}","message":""#);
        assert!(answer.starts_with(&head) && answer.contains(message), "{request}: {answer}");
    }
}

#[test]
fn what_is_no_envelope_is_ignored_and_binary_is_handled_like_text() {
    let server = Process::start(&[]);
    let mut ada = Client::connect(&server);
    for ignored in ["", "hello", "[1]", r#"["ping"]"#, r#"{"topic":1}"#, "{"] {
        ada.send(ignored);
    }
    ada.send_binary(br#"{"topic":"ping","data":1}"#);
    assert_eq!(ada.receive(), text(r#"{"topic":"pong","data":1}"#));
}

#[test]
fn publishing_can_be_switched_off() {
    let server = Process::start(&["--client-publish", "false"]);
    let mut ada = Client::connect(&server);
    ada.send(r#"{"topic":"publish","data":{"topic":"news","data":1}}"#);
    let Received::Text(answer) = ada.receive() else { panic!("an answer") };
    assert!(answer.starts_with(r#"{"topic":"error","data":{"code":"publish_disabled","#), "{answer}");
    assert!(http(&server, "GET", "/").contains(r#"data-publish="false""#));
}

#[test]
fn payloads_that_no_queue_could_hold_are_refused() {
    let server = Process::start(&["--queue-bytes", "1KiB"]);
    let mut ada = Client::connect(&server);
    let long = "x".repeat(2_000);
    for request in [
        format!(r#"{{"topic":"publish","data":{{"topic":"news","data":"{long}"}}}}"#),
        format!(r#"{{"topic":"ping","data":"{long}"}}"#),
    ] {
        ada.send(&request);
        let Received::Text(answer) = ada.receive() else { panic!("an answer") };
        assert!(answer.contains(r#""code":"payload_too_large""#), "{answer}");
    }
}

#[test]
fn messages_beyond_the_read_limit_close_with_1009() {
    let server = Process::start(&["--read-limit", "1KiB"]);
    let mut ada = Client::connect(&server);
    ada.send(&"x".repeat(1_025));
    assert!(matches!(ada.receive(), Received::Close(1009, _)));
}

#[test]
fn by_default_only_pages_of_the_same_host_connect() {
    let server = Process::start(&[]);
    let own = format!("http://{}", server.address);
    let other_port = format!("http://{}:1", server.address.ip());
    assert_eq!(Client::status(&server, None), 101);
    assert_eq!(Client::status(&server, Some(&own)), 101);
    for foreign in ["http://example.com", "null", "", other_port.as_str()] {
        assert_eq!(Client::status(&server, Some(foreign)), 403, "{foreign}");
    }
}

#[test]
fn origins_can_be_named_required_and_thrown_open() {
    let named = Process::start(&["--origin", "https://a.example", "--origin", "https://b.example:8443"]);
    let own = format!("http://{}", named.address);
    for (origin, status) in [
        (Some("https://a.example"), 101),
        (Some("https://b.example:8443"), 101),
        (Some("https://b.example"), 403),
        (Some(own.as_str()), 403),
        (None, 101),
    ] {
        assert_eq!(Client::status(&named, origin), status, "{origin:?}");
    }
    let open = Process::start(&["--origin", "*"]);
    assert_eq!(Client::status(&open, Some("https://anybody.example")), 101);
    let required = Process::start(&["--require-origin"]);
    let own = format!("http://{}", required.address);
    assert_eq!(Client::status(&required, Some(&own)), 101);
    assert_eq!(Client::status(&required, None), 403);
}

/// A page of a foreign name that resolves to this machine names that name as its origin and as its host.
#[test]
fn a_page_whose_name_was_rebound_to_loopback_is_refused() {
    let server = Process::start(&[]);
    let port = server.address.port();
    for (name, status) in [
        ("127.0.0.1", 101),
        ("localhost", 101),
        ("chat.localhost", 101),
        ("[::1]", 101),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
    ] {
        let host = format!("{name}:{port}");
        let origin = format!("http://{host}");
        assert_eq!(Client::status_as(&server, &host, Some(&origin)), status, "{name}");
        // Programs that are no browsers reach it under any name.
        assert_eq!(Client::status_as(&server, &host, None), 101, "{name}");
    }
    let named = Process::start(&["--host", "chat.example", "--host", "Live.Example"]);
    for (name, status) in
        [("chat.example", 101), ("live.example", 101), ("localhost", 101), ("evil.example", 403)]
    {
        let origin = format!("https://{name}");
        assert_eq!(Client::status_as(&named, name, Some(&origin)), status, "{name}");
    }
    let by_origin = Process::start(&["--origin", "https://chat.example"]);
    assert_eq!(Client::status_as(&by_origin, "chat.example", Some("https://chat.example")), 101);
    let open = Process::start_on("0.0.0.0:0", &["--allow-unauthenticated"]);
    assert_eq!(Client::status_as(&open, "any.example", Some("http://any.example")), 101);
}

/// Runs what the printed line says, in its own bytes.
#[test]
fn the_line_to_try_works_whatever_the_rules() {
    for arguments in [
        &[][..],
        &["--path", "/"],
        &["--path", "/a~b/ws"],
        &["--require-origin"],
        &["--require-origin", "--origin", "https://a.example", "--origin", "https://b.example"],
        &["--require-origin", "--origin", "*"],
        &["--origin", "https://a.example"],
        &["--require-origin", "--host", "chat.example"],
    ] {
        let mut server = Process::start(arguments);
        let lines = server.lines_until(|line| line.contains("python3 -c"));
        let mut stream = client::connect(&server);
        stream.write_all(&sent_by(lines.last().unwrap())).unwrap();
        let mut answer = Vec::new();
        let subscribed = br#"{"topic":"subscribed","data":{"topic":"news"}}"#;
        while !answer.ends_with(subscribed) {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{arguments:?}: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..count]);
        }
        let offers_page = lines.iter().any(|line| line.contains("in a browser"));
        let works = http(&server, "GET", "/").starts_with("HTTP/1.1 200 ")
            && Client::status_on(&server, path_of(arguments), Some(&format!("http://{}", server.address)))
                == 101;
        assert_eq!(offers_page, works, "{arguments:?}");
    }
}

fn path_of<'a>(arguments: &[&'a str]) -> &'a str {
    if arguments.first() == Some(&"--path") { arguments[1] } else { "/ws" }
}

/// The bytes that the line's `sendall` sends.
fn sent_by(line: &str) -> Vec<u8> {
    let (_, rest) = line.split_once(r#"sendall(b""""#).unwrap();
    let (mut text, _) = rest.split_once(r#"""")"#).unwrap();
    let mut bytes = Vec::new();
    while let Some(first) = text.chars().next() {
        let length = match (first, text.as_bytes().get(1)) {
            ('\\', Some(b'x')) => 4,
            ('\\', _) => 2,
            _ => 1,
        };
        bytes.push(match &text[..length] {
            r"\r" => b'\r',
            r"\n" => b'\n',
            r"\0" => 0,
            hex if length == 4 => u8::from_str_radix(&hex[2..], 16).unwrap(),
            plain => plain.as_bytes()[0],
        });
        text = &text[length..];
    }
    bytes
}

#[test]
fn plain_requests_get_the_page_the_health_and_clear_refusals() {
    let server = Process::start(&["--path", "/live/ws"]);
    let page = http(&server, "GET", "/");
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.contains(r#"data-path="/live/ws" data-publish="true""#)
    );
    let policy = page.lines().find(|line| line.starts_with("Content-Security-Policy: ")).unwrap();
    let (_, rest) = policy.split_once("script-src 'nonce-").unwrap();
    let nonce = &rest[..32];
    assert_eq!(page.matches(&format!(r#" nonce="{nonce}""#)).count(), 2);
    assert!(policy.contains(&format!("connect-src 'self' ws://{0} wss://{0};", server.address)), "{policy}");
    assert!(!http(&server, "GET", "/").contains(nonce), "a nonce is used once");
    let head = http(&server, "HEAD", "/");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"));
    assert!(http(&server, "GET", "/healthz").ends_with("\r\n\r\nok"));
    assert!(http(&server, "HEAD", "/healthz").starts_with("HTTP/1.1 200 "));
    assert!(http(&server, "POST", "/healthz").starts_with("HTTP/1.1 405 "));
    assert!(http(&server, "GET", "/elsewhere").starts_with("HTTP/1.1 404 "));
    assert!(http(&server, "GET", "/live/ws").starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_client_that_vanishes_harms_nobody() {
    for driver in DRIVERS {
        let server = Process::start(&["--driver", driver, "--shards", "1"]);
        let (mut ada, mut bob) = (Client::connect(&server), Client::connect(&server));
        for client in [&mut ada, &mut bob] {
            client.send(r#"{"topic":"subscribe","data":{"topic":"news"}}"#);
            client.receive();
        }
        drop(bob);
        ada.send(r#"{"topic":"publish","data":{"topic":"news","data":1}}"#);
        assert_eq!(ada.receive(), text(r#"{"topic":"news","data":1}"#));
    }
}

#[test]
fn a_signal_drains_with_1001_and_exit_code_0() {
    for (driver, signal) in DRIVERS.into_iter().zip([process::TERM, process::INT]) {
        let mut server = Process::start(&["--driver", driver, "--drain-timeout", "20s"]);
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&server)).collect();
        for client in &mut clients {
            client.send(r#"{"topic":"ping"}"#);
            client.receive();
        }
        server.signal(signal);
        for client in &mut clients {
            assert!(matches!(client.receive(), Received::Close(1001, _)));
            client.answer_close(1001);
            assert_eq!(client.receive(), Received::Eof);
        }
        let last = server.lines_until(|line| line.starts_with("stopped: "));
        assert!(last.iter().any(|line| line.starts_with("draining 3 sessions within 20s")), "{last:?}");
        assert_eq!(last.last().unwrap(), "stopped: 3 sessions closed with 1001, 0 cut");
        assert_eq!(server.exit_code(), 0);
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut server = Process::start(&["--drain-timeout", "300s", "--close-timeout", "300s"]);
    let mut ada = Client::connect(&server);
    ada.send(r#"{"topic":"ping"}"#);
    ada.receive();
    server.signal(process::TERM);
    // It is told, and does not answer: without the second signal the drain would wait for it.
    assert!(matches!(ada.receive(), Received::Close(1001, _)));
    server.signal(process::TERM);
    let last = server.lines_until(|line| line.starts_with("stopped: "));
    assert!(last.last().unwrap().ends_with(", 1 cut"), "{last:?}");
    assert_eq!(server.exit_code(), 128 + 15);
}

#[test]
fn a_reader_of_stdout_that_leaves_does_not_stop_the_server() {
    let mut server = Process::start(&[]);
    server.close_stdout();
    let mut ada = Client::connect(&server);
    ada.send(r#"{"topic":"ping"}"#);
    assert_eq!(ada.receive(), text(r#"{"topic":"pong"}"#));
    drop(ada);
    server.signal(process::TERM);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_port_in_use_is_named_and_ends_with_exit_code_1() {
    let server = Process::start(&[]);
    let (code, errors) = run_to_end(&["--listen", &server.address.to_string()]);
    assert_eq!(code, 1);
    assert!(errors.contains(&format!("error: {} is in use", server.address)), "{errors}");
}

#[test]
fn arguments_that_cannot_be_end_with_exit_code_2_and_name_the_flag() {
    for (arguments, flag, advice) in [
        (&["--ping", "25"][..], "--ping", "such as 25s"),
        (&["--listen", "8080"], "--listen", "HOST:PORT"),
        (&["--queue-size", "0"], "--queue-size", "choose 1 to"),
        (&["--idle", "10s"], "--idle", "longer than --ping"),
        (&["--read-limit", "1GiB"], "--assembly-bytes-max", "at least --read-limit"),
        (&["--queue-bytes", "300MiB"], "--frame-bytes-max", "at least --queue-bytes"),
        (&["--queue-bytes", "100MiB"], "--intake-bytes-max", "at least --queue-bytes"),
        (&["--topic-bytes", "1MiB"], "--topic-bytes", "choose 1 to"),
        (&["--send-buffer", "1"], "--send-buffer", "choose 2048 to"),
        (&["--flush-delay", "2s"], "--flush-delay", "at most 1s"),
        (&["--origin", "example.com"], "--origin", "scheme://host"),
        (&["--no-such-flag"], "--no-such-flag", "unexpected"),
    ] {
        let (code, errors) = run_to_end(arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(errors.contains(flag) && errors.contains(advice), "{arguments:?}: {errors}");
    }
}

#[test]
fn congestion_control_that_is_unknown_is_an_error_with_advice() {
    let (code, errors) = run_to_end(&["--listen", "127.0.0.1:0", "--congestion-control", "nonesuch"]);
    assert_eq!(code, 1);
    assert!(errors.contains("nonesuch") && errors.contains("choose one of"), "{errors}");
}

/// docs/limits.md names a flag for every option that has one, and the server's own; `--help` has no others.
#[test]
fn flags_in_the_limits_are_those_of_the_help() {
    let help = said_by(&["--help"]);
    let words = help.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
    let mut real: BTreeSet<&str> = words.filter(|word| word.starts_with("--") && word.len() > 2).collect();
    for own in ["--help", "--version"] {
        assert!(real.remove(own), "{own}");
    }
    let limits = include_str!("../../../../docs/limits.md");
    let (_, options) = limits.split_once("## Options").unwrap();
    let (options, _) = options.split_once("\n## ").unwrap();
    let cells = options.lines().filter(|line| line.starts_with("| `")).flat_map(|line| {
        // The flag of an option stands last, a flag of the server's own first.
        let cells: Vec<_> = line.trim_matches(['|', ' ']).split(" | ").collect();
        [cells[0], cells[cells.len() - 1]]
    });
    let documented = cells.map(|cell| cell.trim_matches('`')).filter(|cell| cell.starts_with("--"));
    assert_eq!(documented.collect::<BTreeSet<_>>(), real);
}
