//! HTTP for tests: one request per connection. Every answer is held against openapi.json.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::{WAIT_MAX, process::Process, schema};

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    /// Shown with each request, if there is one.
    pub(crate) token: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Api {
    /// Where a server says that its API is.
    pub(crate) fn of(process: &mut Process) -> Self {
        let said = process.lines_until(|line| line.starts_with("  api  "));
        let (_, rest) = said.last().unwrap().split_once("http://").unwrap();
        let (address, _) = rest.split_once('/').unwrap();
        Self { address: address.parse().unwrap(), token: None }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, &[("Content-Type", "application/json")], body)
    }

    pub(crate) fn batch(&self, lines: &str) -> Answer {
        self.request("POST", "/api/batch", &[("Content-Type", "application/x-ndjson")], lines)
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        if !headers.iter().any(|(name, _)| *name == "Content-Length") && method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A request that is refused early is not read to its end.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        // What came before a reset is what counts: there may have been more of our body on the way.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Answer { status, head: head.to_ascii_lowercase(), text: text.to_owned() };
        schema::check(method, path, &answer);
        answer
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
    }
}
