//! A handler that does what its clients ask for.
//!
//! In      requests `/ws?name=N` with `auth=`, `panic=` and `protocol=`; messages `{"topic":"do","data":"LINES"}`
//! Out     what the lines say, one call of `Session` each; replies `{"topic":WORD,"data":ANSWER}`
//!
//! | line | call |
//! |---|---|
//! | `sub T`, `unsub T`, `unsub_all` | subscribe, unsubscribe |
//! | `pub T D`, `pub_others T D`, `broadcast T D` | publish D (JSON) |
//! | `pub_n N T` | publish N payloads of 32 bytes: the numbers from 0 |
//! | `send T D`, `send_n N T`, `send_to NAME T D` | send |
//! | `close C R`, `close_now`, `panic` | close, `panic!` |
//! | `mark X` | send X on `mark` |
//! | `topics`, `count`, `shard`, `id`, `queued`, `peer` | reply with what it is |
//! | `hold NAME` | wait for the gate of that name: the shard stands still |
//!
//! A call that fails replies `{"topic":"error","data":"VARIANT"}`.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex},
};

use fanwire::{Auth, CloseReason, Handler, Http, Message, Payload, Request, Session};

use super::{
    PATIENCE,
    log::{Closed, Log, Opened},
};

/// See the module.
#[derive(Clone, Default)]
pub struct Script {
    pub shard: usize,
    pub log: Log,
    pub gates: Gates,
}

/// Gates that hold shards, by name.
#[derive(Clone, Default)]
pub struct Gates(Arc<(Mutex<HashMap<String, bool>>, Condvar)>);

impl Gates {
    /// Lets whoever waits at the gate go on, now or later.
    pub fn open(&self, name: &str) {
        self.0.0.lock().unwrap().insert(name.to_owned(), true);
        self.0.1.notify_all();
    }

    /// Whether somebody has come to the gate.
    pub fn is_reached(&self, name: &str) -> bool {
        self.0.0.lock().unwrap().contains_key(name)
    }

    fn pass(&self, name: &str) {
        let mut gates = self.0.0.lock().unwrap();
        gates.entry(name.to_owned()).or_insert(false);
        let (_gates, result) = self.0.1.wait_timeout_while(gates, PATIENCE, |gates| !gates[name]).unwrap();
        assert!(!result.timed_out(), "gate {name} was never opened");
    }
}

impl Handler for Script {
    type Value = String;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<String> {
        let name = request.query("name").unwrap_or_default().into_owned();
        panic_if(request.query("panic").as_deref() == Some("auth"), "on_auth");
        let verdict = request.query("auth").unwrap_or_default();
        match verdict.split_once(':').unwrap_or((&verdict, "")) {
            ("later", _) => {
                let (auth, ticket) = Auth::later(request);
                self.log.lock().tickets.insert(name, ticket);
                auth
            }
            ("reject", status) => Auth::reject(status.parse().unwrap_or(0), "not you\n"),
            _ => {
                let value = match request.query("panic") {
                    Some(hook) => format!("panic-in-{hook}"),
                    None => name,
                };
                match request.query("protocol") {
                    Some(protocol) => Auth::accept(value).protocol(protocol),
                    None => Auth::accept(value),
                }
            }
        }
    }

    fn on_open(&mut self, session: &mut Session<'_, String>) {
        let name = session.value().clone();
        let mut log = self.log.lock();
        log.opened.push(Opened { name: name.clone(), shard: self.shard, id: session.id().to_string() });
        log.handles.insert(name.clone(), session.handle());
        drop(log);
        panic_if(name == "panic-in-open", "on_open");
    }

    fn on_message(&mut self, session: &mut Session<'_, String>, message: Message<'_>) {
        self.log.lock().messages.push((session.value().clone(), message.topic().to_owned()));
        let lines: String = match message.topic() {
            "do" => serde_json::from_slice(message.data()).expect("`do` has a string"),
            "" => message.text().unwrap_or_default().to_owned(),
            _ => return,
        };
        for line in lines.lines().filter(|line| !line.is_empty()) {
            if let Err(variant) = self.run(session, line) {
                // It may be closed by now, which is what the reply would say.
                let _ = session.send("error", Payload::json(&variant).unwrap());
            }
        }
    }

    fn on_close(&mut self, session: &mut Session<'_, String>, why: &CloseReason) {
        let closed = Closed {
            name: session.value().clone(),
            reason: why.clone(),
            topics: session.topics().into_iter().map(str::to_owned).collect(),
            sent: session.send("late", "1"),
            session_count: session.session_count(),
        };
        self.log.lock().closed.push(closed);
        panic_if(session.value() == "panic-in-close", "on_close");
    }

    fn on_http(&mut self, request: &Request<'_>) -> Http {
        match request.path() {
            "/health" => Http::text(200, "ok\n").header("X-Test", "yes"),
            "/panic" => panic!("asked to panic in on_http"),
            "/take" => Http::take_over(|mut stream, bytes, peer| {
                use std::io::Write;
                stream.set_nonblocking(false).unwrap();
                let line = String::from_utf8(bytes).unwrap().lines().next().unwrap_or_default().to_owned();
                write!(stream, "taken {peer} {line}").unwrap();
            }),
            _ => Http::not_found(),
        }
    }
}

impl Script {
    fn run(&mut self, session: &mut Session<'_, String>, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "sub" => said(session.subscribe(first)),
            "unsub" => session.unsubscribe(first).then_some(()).ok_or_else(|| "NotSubscribed".to_owned()),
            "unsub_all" => {
                let count = session.unsubscribe_all();
                said(session.send("unsub_all", count.to_string()))
            }
            "pub" => said(session.publish(first, second)),
            "pub_others" => said(session.publish_except_self(first, second)),
            "broadcast" => said(session.broadcast(first, second)),
            "pub_n" => (0..number(first)).try_for_each(|i| said(session.publish(second, payload_32(i)))),
            "send" => said(session.send(first, second)),
            "send_n" => (0..number(first)).try_for_each(|i| said(session.send(second, payload_32(i)))),
            "send_to" => {
                let (topic, data) = second.split_once(' ').unwrap_or((second, ""));
                let to = self.log.handle(first);
                said(session.send_to(&to, topic, data))
            }
            "close" => {
                session.close_with(u16::try_from(number(first)).unwrap(), second);
                Ok(())
            }
            "close_now" => {
                session.close();
                Ok(())
            }
            "panic" => panic!("asked to panic in on_message"),
            "mark" => said(session.send("mark", rest)),
            "topics" => {
                let topics = session.topics().join(" ");
                said(session.send("topics", Payload::json(&topics).unwrap()))
            }
            "count" => said(session.send("count", session.session_count().to_string())),
            "shard" => said(session.send("shard", self.shard.to_string())),
            "id" => {
                let id = session.id().to_string();
                said(session.send("id", Payload::json(&id).unwrap()))
            }
            "peer" => {
                let peer = session.peer().to_string();
                said(session.send("peer", Payload::json(&peer).unwrap()))
            }
            "queued" => {
                let queued = session.queued();
                let text = format!("{} {} {}", queued.messages, queued.dropped, queued.blocked);
                said(session.send("queued", Payload::json(&text).unwrap()))
            }
            "hold" => {
                self.gates.pass(first);
                Ok(())
            }
            _ => panic!("{line:?} is no line of a script"),
        }
    }
}

/// A JSON number with its leading spaces: 32 bytes.
pub fn payload_32(number: u64) -> String {
    format!("{number:>32}")
}

fn said<E: std::fmt::Debug>(result: Result<(), E>) -> Result<(), String> {
    result.map_err(|error| format!("{error:?}"))
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn panic_if(asked: bool, hook: &str) {
    assert!(!asked, "asked to panic in {hook}");
}
