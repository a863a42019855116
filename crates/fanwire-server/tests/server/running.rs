//! What an operator sees of a running server: its log, whether it is ready.

use std::{io::Write as _, time::Duration};

use crate::{
    client::{Client, Received, http},
    process::{self, HUP, Process, command},
    settings::File,
};

#[test]
fn the_log_is_json_if_asked_for_and_every_line_is_an_object() {
    let mut server = Process::start(&["--log-format", "json", "--log", "debug"]);
    server.signal(HUP);
    let lines = server.errors_until(|line| line.contains("read the settings anew"));
    for line in &lines {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        for member in ["timestamp", "level", "target", "message"] {
            assert!(object[member].is_string(), "{member} in {line}");
        }
    }
    let said: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(
        (said["level"].as_str(), said["target"].as_str()),
        (Some("INFO"), Some("fanwire_server::reload"))
    );
    // What keeps a server from starting is a line of that log as well.
    let output = command().args(["--log-format=json", "--queue-size=0"]).output().unwrap();
    let object: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(object["message"].as_str().unwrap().starts_with("--queue-size: 0 is out of range"), "{object}");
}

#[test]
fn levels_differ_by_module_and_change_by_sighup() {
    let file = File::new("levels.toml", "log = \"warn\"\n");
    let mut server = Process::start(&["--config", file.path()]);
    std::fs::write(&file.0, "log = \"error,fanwire_server::reload=info\"\n").unwrap();
    server.signal(HUP);
    let said = server.errors_until(|line| line.contains("1 changed"));
    assert!(said.iter().all(|line| line.contains("fanwire_server::reload")), "{said:?}");
    // The start said nothing at all, for it knows no warning.
    let debug = Process::start(&["--log", "off,fanwire::server=debug"]);
    let mut debug = debug;
    let said = debug.errors_until(|line| line.contains("listening on"));
    assert!(said.iter().all(|line| line.contains("fanwire::server")), "{said:?}");
}

#[test]
fn a_server_that_ends_is_alive_and_not_ready() {
    let mut server = Process::start(&["--drain-delay", "300s", "--drain-timeout", "5s"]);
    assert!(http(&server, "GET", "/readyz").starts_with("HTTP/1.1 200 "));
    assert!(http(&server, "POST", "/readyz").starts_with("HTTP/1.1 405 "));
    let mut ada = Client::connect(&server);
    server.signal(process::TERM);
    server.lines_until(|line| line.starts_with("/readyz says 503; serving for 300s more"));
    let answer = http(&server, "GET", "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("draining\n"), "{answer}");
    assert!(http(&server, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
    // Until the load balancer has looked away, all goes on.
    ada.send(r#"{"topic":"ping"}"#);
    assert_eq!(ada.receive(), crate::text(r#"{"topic":"pong"}"#));
    drop(Client::connect(&server));
    server.signal(process::TERM);
    assert_eq!(server.exit_code(), 128 + 15);
}

#[test]
fn the_drain_comes_after_its_delay() {
    let mut server = Process::start(&["--drain-delay", "50ms"]);
    let mut ada = Client::connect(&server);
    ada.send(r#"{"topic":"ping"}"#);
    ada.receive();
    server.signal(process::TERM);
    assert!(matches!(ada.receive(), Received::Close(1001, _)));
    ada.answer_close(1001);
    assert_eq!(server.exit_code(), 0);
}

/// A connection that was accepted before the drain and asks during it.
#[test]
fn during_the_drain_readyz_says_503_to_whoever_still_can_ask() {
    let server = Process::start(&["--drain-timeout", "30s"]);
    let mut waiting = crate::client::connect(&server);
    waiting.write_all(b"GET /readyz HTTP/1.1\r\n").unwrap();
    let mut ada = Client::connect(&server);
    ada.send(r#"{"topic":"ping"}"#);
    ada.receive();
    server.signal(process::TERM);
    assert!(matches!(ada.receive(), Received::Close(1001, _)));
    // Either it is answered already, as all open handshakes are at a drain, or it is now.
    let _ = waiting.write_all(b"Host: h\r\n\r\n");
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut waiting, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}
