//! The API before a shard that stands still: what has no room is refused, and said to be.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use clap::Parser as _;
use fanwire::{Auth, DriverChoice, Handler, Message, Options, Request, Server, Session};
use serde_json::Value;

use super::*;
use crate::refused::Refused;

/// Everybody is subscribed to `news`, and whoever says something holds the shard while the gate is shut.
struct Held(Arc<Gate>);

#[derive(Default)]
struct Gate {
    shut: Mutex<()>,
    is_reached: Mutex<bool>,
}

impl Handler for Held {
    type Value = Visitor;

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<Visitor> {
        Auth::accept(Visitor::default())
    }

    fn on_open(&mut self, session: &mut Session<'_, Visitor>) {
        session.subscribe("news").unwrap();
    }

    fn on_message(&mut self, _session: &mut Session<'_, Visitor>, _message: Message<'_>) {
        *self.0.is_reached.lock().unwrap() = true;
        drop(self.0.shut.lock());
    }
}

/// An API, and a shard whose inbox has so many places.
struct World {
    api: Api,
    gate: Arc<Gate>,
    client: TcpStream,
}

impl World {
    fn start(inbox_size: u32) -> Self {
        let gate = Arc::new(Gate::default());
        let options = Options::default().shards(1).driver(DriverChoice::Epoll).inbox_size(inbox_size);
        let server = Server::bind_with("127.0.0.1:0", options).unwrap();
        let (address, held) = (server.address(), gate.clone());
        let running = Arc::new(server.start(move |_| Held(held.clone())).unwrap());
        let args = Args::parse_from(["fanwire-server"]);
        let rules = Live::new(Rules::new(&args).unwrap());
        let (caller, ending) = (Caller::new(&args), Ending::default());
        let api = Api::bind("127.0.0.1:0")
            .unwrap()
            .start(&args, running, rules, caller, Refused::new(), ending)
            .unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(HANDSHAKE).unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        Self { api, gate, client }
    }

    /// From now on the shard does nothing, until the guard is dropped.
    fn hold(&mut self) -> MutexGuard<'_, ()> {
        let guard = self.gate.shut.lock().unwrap();
        // A text frame under a mask of zeros.
        let text = br#"{"topic":"hold"}"#;
        let length = 0x80 | u8::try_from(text.len()).unwrap();
        self.client.write_all(&[&[0x81, length, 0, 0, 0, 0], &text[..]].concat()).unwrap();
        let reached = &self.gate.is_reached;
        while !*reached.lock().unwrap() {
            std::thread::sleep(Duration::from_millis(1));
        }
        guard
    }
}

fn request(api: SocketAddr, method: &str, path: &str, kind: &str, body: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(api).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap())
}

#[test]
fn a_full_queue_is_429_with_a_time_to_wait_and_a_batch_says_how_much_was_taken() {
    let mut world = World::start(4);
    let api = world.api.address();
    let guard = world.hold();
    let line = r#"{"topic":"news","data":1}"#;
    let batch = [line; 10].join("\n");
    let (status, head, said) = request(api, "POST", "/api/batch", "application/x-ndjson", &batch);
    assert_eq!((status, &said["accepted"]), (429, &Value::from(4)), "{said}");
    assert!(head.contains("\r\nretry-after: 1"), "{head}");
    for (method, path, body) in [
        ("POST", "/api/publish", line),
        ("POST", "/api/broadcast", line),
        ("POST", "/api/disconnect", r#"{"user":"ada"}"#),
        ("POST", "/api/unsubscribe", r#"{"user":"ada","topic":"news"}"#),
        ("GET", "/api/sessions", ""),
    ] {
        let (status, head, said) = request(api, method, path, "application/json", body);
        assert_eq!(status, 429, "{path}: {said}");
        assert!(head.contains("\r\nretry-after: 1") && said["accepted"].is_null(), "{path}: {head}");
    }
    // Nobody is subscribed, so no queue is in the way.
    let (status, ..) = request(api, "POST", "/api/publish", "application/json", r#"{"topic":"other"}"#);
    assert_eq!(status, 200);
    drop(guard);
    // A batch waits for room, if it comes.
    let (status, _, said) =
        request(api, "POST", "/api/batch", "application/x-ndjson", &[line; 1_000].join("\n"));
    assert_eq!((status, &said["accepted"]), (200, &Value::from(1_000)), "{said}");
    world.api.stop();
}

#[test]
fn a_shard_that_does_not_answer_is_503_and_holds_up_nobody_else() {
    let mut world = World::start(100);
    let api = world.api.address();
    let guard = world.hold();
    let asked = std::thread::spawn(move || request(api, "GET", "/api/sessions", "", ""));
    let (status, _, said) = request(api, "GET", "/api/info", "", "");
    assert_eq!((status, &said["total"]["counters"]["sessions"]), (200, &Value::from(1)));
    let (status, head, said) = asked.join().unwrap();
    assert_eq!(status, 503, "{said}");
    assert!(
        head.contains("\r\nretry-after: 5")
            && said["error"].as_str().unwrap().contains("a shard does not answer")
    );
    drop(guard);
    world.api.stop();
}

const HANDSHAKE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
