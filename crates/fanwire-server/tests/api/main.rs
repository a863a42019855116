//! The HTTP API and the metrics as their users meet them: the real binary, real sockets, and the document that says what
//! is answered.
//!
//! In      a process per test, with an API on a port of its own
//! Out     every answer, checked against openapi.json; metrics, against what a client saw
//! Bounds  each wait ends after `WAIT_MAX` in a failure
//! Source  docs/http-api.md; src/api/openapi.json
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail where it does")]

mod access;
mod bounds;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "../server/client.rs"]
mod client;
mod contrib;
mod ending;
mod http;
mod lists;
mod metrics;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "../server/process.rs"]
mod process;
mod publish;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "../server/receiver.rs"]
mod receiver;
mod schema;

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use client::{Client, Received};
use http::Api;
use process::Process;
use serde_json::{Value, json};

const WAIT_MAX: Duration = Duration::from_secs(20);

/// A server with an API.
struct Server {
    process: Process,
    api: Api,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Process::start(&[&["--api-listen", "127.0.0.1:0"], arguments].concat());
        let api = Api::of(&mut process);
        Self { process, api }
    }

    /// A client that is subscribed.
    fn subscriber(&self, topics: &[&str]) -> Client {
        let mut client = Client::connect(&self.process);
        subscribe(&mut client, topics);
        client
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.api.post(path, &body.to_string());
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text);
        answer.json()
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.api.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }
}

fn subscribe(client: &mut Client, topics: &[&str]) {
    for topic in topics {
        client.send(&json!({ "topic": "subscribe", "data": { "topic": topic } }).to_string());
        assert_eq!(client.receive(), message("subscribed", json!({ "topic": topic })));
    }
}

fn message(topic: &str, data: Value) -> Received {
    Received::Text(format!(r#"{{"topic":"{topic}","data":{data}}}"#))
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < WAIT_MAX, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// A file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = env::temp_dir().join(format!("fanwire-api-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
