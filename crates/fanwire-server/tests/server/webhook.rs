//! Who is let in by a webhook: the real server asks a real receiver, which behaves and misbehaves.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    WAIT_MAX,
    client::{self, Client, Received},
    process::{HUP, Process, TERM, run_to_end},
    receiver::{Asked, LAST, Receiver, Stream, be_silent, respond},
    settings::File,
    text,
};

fn start(receiver: &Receiver, more: &[&str]) -> Process {
    let url = receiver.url();
    Process::start(&[&["--auth", "webhook", "--auth-webhook-url", &url], more].concat())
}

fn connect(server: &Process, token: &str) -> Result<Client, (u16, String)> {
    let headers = [("Authorization", &*format!("Bearer {token}"))];
    Client::try_connect(server, "/ws", &["fanwire"], &headers).map(|(client, chosen)| {
        assert_eq!(chosen.as_deref(), Some("fanwire"));
        client
    })
}

fn refusal(server: &Process, token: &str) -> (u16, String) {
    connect(server, token).err().expect("nobody is let in")
}

fn subscribe(client: &mut Client, topic: &str) -> bool {
    client.send(&json!({ "topic": "subscribe", "data": { "topic": topic } }).to_string());
    let Received::Text(answer) = client.receive() else { panic!("an answer") };
    answer.contains("subscribed")
}

fn renew(client: &mut Client, token: &str) -> Value {
    client.send(&json!({ "topic": "auth", "data": { "token": token } }).to_string());
    next(client)
}

fn next(client: &mut Client) -> Value {
    let Received::Text(answer) = client.receive() else { panic!("an answer") };
    serde_json::from_str(&answer).unwrap()
}

fn ping(client: &mut Client) {
    client.send(r#"{"topic":"ping"}"#);
    assert_eq!(client.receive(), text(r#"{"topic":"pong"}"#));
}

/// The counters that the server says at its end, as one line.
fn counts(mut server: Process) -> String {
    server.signal(TERM);
    let said = server.lines_until(|line| line.starts_with("webhook_"));
    assert_eq!(server.exit_code(), 0);
    said.last().unwrap().clone()
}

/// By the token: who it is for and what it opens.
fn by_token(asked: &Asked, stream: &mut dyn Stream) {
    match asked.json()["token"].as_str() {
        Some("ada") => {
            let topics = json!({ "subscribe": ["news.*", "user:ada"], "publish": "chat" });
            respond(stream, 200, &json!({ "user": "ada", "topics": topics }).to_string());
        }
        Some("bob") => respond(stream, 200, r#"{"user":"bob"}"#),
        Some("banned") => respond(stream, 403, r#"{"reason":"you are banned until Monday"}"#),
        Some("broken") => respond(stream, 500, "oops"),
        _ => respond(stream, 401, ""),
    }
}

#[test]
fn the_answer_decides_who_gets_in_and_what_is_open() {
    for driver in crate::DRIVERS {
        let receiver = Receiver::start(by_token);
        let rules = ["--driver", driver, "--subscribe-topics", "user:{sub}", "--subscribe-topics", "news.*"];
        let server = start(&receiver, &rules);
        let mut ada = connect(&server, "ada").ok().unwrap();
        let mut bob = connect(&server, "bob").ok().unwrap();
        for (topic, is_open) in [("news.a", true), ("user:ada", true), ("user:bob", false), ("other", false)]
        {
            assert_eq!(subscribe(&mut ada, topic), is_open, "{topic}");
        }
        // The settings' own rules go by what the webhook said, too.
        assert!(subscribe(&mut bob, "user:bob") && !subscribe(&mut bob, "user:ada"));
        ada.send(r#"{"topic":"publish","data":{"topic":"news.a"}}"#);
        assert_eq!(next(&mut ada)["data"]["code"], "forbidden");
        assert_eq!(refusal(&server, "banned"), (403, "you are banned until Monday\n".to_owned()));
        let (status, said) = refusal(&server, "unknown");
        assert!(status == 401 && said.contains("credentials are needed"), "{said}");
        let said = counts(server);
        assert!(said.starts_with("webhook_admitted 2, webhook_refused 2"), "{said}");
        // One connection after the other's answer, so one is enough.
        assert!(receiver.seen().iter().all(|asked| asked.connection == 0));
    }
}

#[test]
fn a_question_says_who_asks_and_holds_no_header_that_is_not_allowed() {
    let receiver = Receiver::start(by_token);
    let server = start(&receiver, &["--auth-webhook-header", "Cookie", "--auth-webhook-header", "x-several"]);
    let headers = [
        ("Cookie", "session=1"),
        ("Cookie", "theme=dark"),
        ("X-Several", "a"),
        ("X-Several", "b"),
        ("Authorization", "Bearer ada"),
        ("X-Private", "not for you"),
        ("User-Agent", "not for you either"),
    ];
    assert!(Client::try_connect(&server, "/ws?room=7&x=%20", &[], &headers).is_ok());
    let asked = receiver.seen().pop().unwrap();
    assert!(asked.head.starts_with("POST /auth?key=of-the-url HTTP/1.1\r\n"), "{}", asked.head);
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert!(asked.header("user-agent").unwrap().starts_with("fanwire-server/"));
    assert_eq!((asked.header("fanwire-signature"), asked.header("cookie")), (None, None));
    let mut said = asked.json();
    let object = said.as_object_mut().unwrap();
    let id = object.remove("id").unwrap();
    assert!(
        id.as_str().unwrap().len() == 32
            && object.remove("peer").unwrap().as_str().unwrap().starts_with("127.0.0.1:")
    );
    assert_eq!(
        said,
        json!({
            "event": "connect", "path": "/ws", "query": "room=7&x=%20", "token": "ada",
            "headers": { "cookie": "session=1; theme=dark", "x-several": "a, b" },
        })
    );
    assert!(!asked.body.contains("not for you"));
    // Who asks for a plain page asks nobody else.
    assert!(client::http(&server, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
    assert_eq!(receiver.seen().len(), 1);
}

/// Each of them is counted apart, and the server goes on.
#[test]
fn answers_that_are_none_refuse_with_503_and_a_line_in_the_log() {
    let receiver = Receiver::start(|asked, stream| match asked.json()["token"].as_str().unwrap() {
        "status" => respond(stream, 500, ""),
        "redirect" => {
            let _ = stream.write_all(b"HTTP/1.1 302 X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
        }
        "not-json" => respond(stream, 200, "<p>welcome</p>"),
        "no-user" => respond(stream, 200, r#"{"topics":{}}"#),
        "too-long" => respond(stream, 200, &format!(r#"{{"user":"{}"}}"#, "a".repeat(5_000))),
        "endless" => {
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n");
            while stream.write_all(&[b"400\r\n", &[b' '; 1_024][..], b"\r\n"].concat()).is_ok() {}
        }
        "long-head" => {
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\n");
            while stream.write_all(&[b"X-More: ", &[b'x'; 1_024][..], b"\r\n"].concat()).is_ok() {}
        }
        "garbage" => {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n");
        }
        "silence" => be_silent(stream),
        "trickle" => {
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n");
            while stream.write_all(b" ").and_then(|()| stream.flush()).is_ok() {
                thread::park_timeout(Duration::from_millis(20));
            }
        }
        _ => respond(stream, 200, r#"{"user":"ada"}"#),
    });
    let mut server =
        start(&receiver, &["--auth-webhook-answer-bytes", "4KiB", "--auth-webhook-timeout", "400ms"]);
    for (token, limit) in [
        ("status", false),
        ("redirect", false),
        ("not-json", false),
        ("no-user", false),
        ("too-long", false),
        ("endless", false),
        ("long-head", false),
        ("garbage", false),
        ("silence", true),
        ("trickle", true),
    ] {
        let begun = Instant::now();
        let (status, said) = refusal(&server, token);
        assert_eq!((status, said.contains("try again later")), (503, true), "{token}: {said}");
        assert_eq!(begun.elapsed() >= Duration::from_millis(400), limit, "{token}: {:?}", begun.elapsed());
    }
    assert!(connect(&server, "ada").is_ok());
    let log = server.errors_until(|line| line.contains("nobody decided about a session (503)"));
    let line = log.last().unwrap();
    assert!(line.contains("/auth: it answers with status 500: 200, 401 and 403 decide (question "), "{line}");
    assert!(!line.contains("of-the-url"), "{line}");
    let said = counts(server);
    for wanted in [
        "webhook_admitted 1",
        "webhook_failed_timeout 2",
        "webhook_failed_unreachable 2",
        "webhook_failed_status 2",
        "webhook_failed_answer 2",
        "webhook_failed_too_long 2",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let paths = receiver.seen();
    assert!(paths.iter().all(|asked| asked.head.starts_with("POST /auth?")), "redirects are not followed");
}

#[test]
fn a_refusal_by_503_says_when_to_come_again() {
    let receiver = Receiver::start(|_, stream| respond(stream, 500, ""));
    let server = start(&receiver, &[]);
    let mut stream = client::connect(&server);
    stream.write_all(HANDSHAKE).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: "), "{answer}");
}

#[test]
fn a_receiver_that_is_down_lets_nobody_in_until_it_is_back() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{port}/auth");
    let server = Process::start(&["--auth", "webhook", "--auth-webhook-url", &url]);
    assert_eq!(refusal(&server, "ada").0, 503);
    let receiver = Receiver::start_at(&port.to_string(), by_token);
    assert!(connect(&server, "ada").is_ok());
    assert_eq!(refusal(&server, LAST).0, 401);
    // As of a program that is restarted: the connection that was kept is gone, which is no reason to refuse anybody.
    assert!(connect(&server, "ada").is_ok());
    assert_eq!(receiver.seen().last().unwrap().connection, 1);
    assert!(counts(server).contains("webhook_failed_unreachable 1"));
}

/// A door that all questions wait at, and how many were behind it at once.
#[derive(Default)]
struct Door {
    is_open: Mutex<bool>,
    opened: Condvar,
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Door {
    fn pass(&self) {
        self.most.fetch_max(self.inside.fetch_add(1, SeqCst) + 1, SeqCst);
        let is_open = self.is_open.lock().unwrap();
        drop(self.opened.wait_timeout_while(is_open, WAIT_MAX, |is_open| !*is_open).unwrap());
        self.inside.fetch_sub(1, SeqCst);
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

fn behind_a_door() -> (Receiver, Arc<Door>) {
    let door = Arc::new(Door::default());
    let same = door.clone();
    let receiver = Receiver::start(move |asked, stream| {
        same.pass();
        by_token(asked, stream);
    });
    (receiver, door)
}

#[test]
fn beyond_places_and_queue_nobody_waits() {
    let (receiver, door) = behind_a_door();
    let bounds =
        ["--auth-webhook-requests", "2", "--auth-webhook-queue", "3", "--auth-webhook-timeout", "9s"];
    let server = start(&receiver, &bounds);
    // Two are asked; of those that come then, three wait.
    const TAKEN: usize = 2 + 3;
    const COMING: usize = 10;
    let (sender, results) = std::sync::mpsc::channel();
    let come = |count: usize| {
        for _ in 0..count {
            let (mut stream, sender) = (client::connect(&server), sender.clone());
            stream
                .write_all(&[&HANDSHAKE[..18], b"Authorization: Bearer ada\r\n", &HANDSHAKE[18..]].concat())
                .unwrap();
            thread::spawn(move || {
                let mut status = [0; 12];
                stream.read_exact(&mut status).unwrap();
                sender.send(String::from_utf8(status[9..].to_vec()).unwrap()).unwrap();
            });
        }
    };
    come(2);
    receiver.wait_for(2);
    come(COMING - 2);
    let next =
        |count| -> Vec<String> { (0..count).map(|_| results.recv_timeout(WAIT_MAX).unwrap()).collect() };
    let refused = next(COMING - TAKEN);
    assert!(refused.iter().all(|status| status == "503"), "{refused:?}");
    assert_eq!(receiver.seen().len(), 2);
    // The shards are free meanwhile.
    assert!(client::http(&server, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
    door.open();
    let admitted = next(TAKEN);
    assert!(admitted.iter().all(|status| status == "101"), "{admitted:?}");
    assert_eq!(door.most.load(SeqCst), 2);
    let said = counts(server);
    assert_eq!(said, "webhook_admitted 5, webhook_failed_overload 5");
}

#[test]
fn who_leaves_while_waiting_harms_nobody() {
    let (receiver, door) = behind_a_door();
    // One after the other, so that all five are settled when the sixth is asked about.
    let server = start(&receiver, &["--auth-webhook-requests", "1"]);
    for _ in 0..5 {
        let mut stream = client::connect(&server);
        stream.write_all(HANDSHAKE).unwrap();
    }
    receiver.wait_for(1);
    door.open();
    let mut ada = connect(&server, "ada").ok().unwrap();
    ping(&mut ada);
    drop(ada);
    assert!(counts(server).contains("webhook_refused 5"));
}

#[test]
fn a_drain_does_not_wait_for_answers() {
    let (receiver, _door) = behind_a_door();
    let mut server = start(&receiver, &["--drain-timeout", "60s", "--auth-webhook-timeout", "9s"]);
    let mut waiting = client::connect(&server);
    waiting.write_all(HANDSHAKE).unwrap();
    receiver.wait_for(1);
    let begun = Instant::now();
    server.signal(TERM);
    assert_eq!(server.exit_code(), 0);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[test]
fn answers_are_kept_for_their_time_and_apart() {
    let receiver = Receiver::start(by_token);
    let server = start(&receiver, &["--auth-webhook-cache", "2s", "--auth-webhook-cache-refused", "1h"]);
    let begun = Instant::now();
    let mut first = connect(&server, "ada").ok().unwrap();
    let mut second = connect(&server, "ada").ok().unwrap();
    assert!(begun.elapsed() > Duration::from_secs(2) || receiver.seen().len() == 1);
    // What is kept opens what the answer did.
    for ada in [&mut first, &mut second] {
        assert!(subscribe(ada, "news.a") && !subscribe(ada, "other"));
    }
    for _ in 0..3 {
        assert_eq!(refusal(&server, "banned"), (403, "you are banned until Monday\n".to_owned()));
        // A failure is no answer, so each is asked.
        assert_eq!(refusal(&server, "broken").0, 503);
    }
    let asked = |token: &str| receiver.seen().iter().filter(|asked| asked.json()["token"] == token).count();
    assert_eq!((asked("banned"), asked("broken")), (1, 3));
    // Another path, query, header or token is another question.
    let header = [("Authorization", "Bearer banned")];
    assert_eq!(Client::try_connect(&server, "/ws?x=1", &["fanwire"], &header).err().unwrap().0, 403);
    assert_eq!(asked("banned"), 2);
    while begun.elapsed() < Duration::from_millis(2_050) {
        thread::park_timeout(Duration::from_millis(20));
    }
    let before = asked("ada");
    assert!(connect(&server, "ada").is_ok());
    assert_eq!(asked("ada"), before + 1);
    let said = counts(server);
    assert!(said.contains("webhook_cached_refused 2"), "{said}");
}

#[test]
fn without_a_cache_each_is_asked() {
    let receiver = Receiver::start(by_token);
    let server = start(&receiver, &[]);
    for _ in 0..3 {
        assert!(connect(&server, "ada").is_ok());
        assert_eq!(refusal(&server, "banned").0, 403);
    }
    assert_eq!(receiver.seen().len(), 6);
}

#[test]
fn a_session_is_warned_and_closed_with_4001_when_its_time_is_over() {
    let receiver = Receiver::start(|_, stream| respond(stream, 200, r#"{"user":"ada","expires_in":2}"#));
    for driver in crate::DRIVERS {
        let server = start(&receiver, &["--driver", driver, "--auth-warning", "1s"]);
        let begun = Instant::now();
        let mut ada = connect(&server, "ada").ok().unwrap();
        let warning = next(&mut ada);
        assert_eq!(warning, json!({ "topic": "auth", "data": { "state": "expiring", "expires_in": 1 } }));
        assert_eq!(ada.receive(), Received::Close(4001, "the token has expired".to_owned()));
        assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());
    }
}

/// What the receiver of the tests below says of a token in band.
fn of_refresh(asked: &Asked, stream: &mut dyn Stream) {
    let said = asked.json();
    match (said["event"].as_str().unwrap(), said["token"].as_str().unwrap()) {
        ("connect", _) => respond(stream, 200, r#"{"user":"ada","expires_in":3}"#),
        (_, "fresh") => {
            respond(stream, 200, r#"{"user":"ada","topics":{"subscribe":["b","c"]},"expires_in":600}"#);
        }
        (_, "for-ever") => respond(stream, 200, r#"{"user":"ada"}"#),
        (_, "eve") => respond(stream, 200, r#"{"user":"eve"}"#),
        (_, "broken") => respond(stream, 500, ""),
        _ => respond(stream, 401, r#"{"reason":"that one is old"}"#),
    }
}

#[test]
fn a_fresh_token_in_band_is_asked_about_and_keeps_the_session() {
    for driver in crate::DRIVERS {
        let receiver = Receiver::start(of_refresh);
        let server = start(&receiver, &["--driver", driver, "--auth-warning", "0s"]);
        let mut ada = connect(&server, "first").ok().unwrap();
        let begun = Instant::now();
        assert!(subscribe(&mut ada, "a") && subscribe(&mut ada, "b"));
        let answer = renew(&mut ada, "fresh");
        assert_eq!((&answer["topic"], &answer["data"]["state"]), (&json!("auth"), &json!("renewed")));
        assert_eq!(answer["data"]["unsubscribed"], json!(["a"]));
        assert!((598..=600).contains(&answer["data"]["expires_in"].as_u64().unwrap()), "{answer}");
        let mut asked = receiver.seen().pop().unwrap().json();
        assert!(asked["id"].is_string() && asked["peer"].is_string());
        asked.as_object_mut().unwrap().retain(|name, _| name != "id" && name != "peer");
        assert_eq!(asked, json!({ "event": "refresh", "user": "ada", "token": "fresh", "headers": {} }));
        // What is published there does not reach it any more; the new pass decides about the next topics.
        ada.send(r#"{"topic":"publish","data":{"topic":"a"}}"#);
        ping(&mut ada);
        assert!(!subscribe(&mut ada, "a") && subscribe(&mut ada, "c"));
        // The end of the first pass goes by.
        while begun.elapsed() < Duration::from_millis(3_300) {
            ping(&mut ada);
            thread::park_timeout(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_token_in_band_that_is_refused_changes_nothing() {
    let receiver = Receiver::start(of_refresh);
    let server = start(&receiver, &["--auth-warning", "0s"]);
    let mut ada = connect(&server, "first").ok().unwrap();
    assert!(subscribe(&mut ada, "a"));
    let pause = || thread::park_timeout(Duration::from_millis(1_050));
    let answer = renew(&mut ada, "old");
    let problem = json!({ "code": "unauthorized", "message": "that one is old" });
    assert_eq!(answer, json!({ "topic": "error", "data": problem }));
    assert_eq!(renew(&mut ada, "fresh")["data"]["code"], "too_soon");
    pause();
    let answer = renew(&mut ada, "broken");
    assert_eq!(answer["data"]["code"], "auth_unavailable", "{answer}");
    let answer = renew(&mut ada, &"x".repeat(9_000));
    assert!(answer["data"]["code"] == "too_soon" || answer["data"]["code"] == "unauthorized", "{answer}");
    ping(&mut ada);
    // It still ends when its first pass does.
    assert_eq!(ada.receive(), Received::Close(4001, "the token has expired".to_owned()));
    let mut bob = connect(&server, "first").ok().unwrap();
    assert_eq!(renew(&mut bob, "eve")["data"]["code"], "unauthorized");
    pause();
    // A pass without end takes the end away.
    let answer = renew(&mut bob, "for-ever");
    assert_eq!(answer, json!({ "topic": "auth", "data": { "state": "renewed", "unsubscribed": [] } }));
}

/// Topics that come and go while the webhook thinks are judged by its answer as well.
#[test]
fn a_session_goes_on_while_its_token_is_asked_about() {
    let door = Arc::new(Door::default());
    let same = door.clone();
    let receiver = Receiver::start(move |asked, stream| {
        if asked.json()["event"] == "refresh" {
            same.pass();
        }
        of_refresh(asked, stream);
    });
    let server = start(&receiver, &["--auth-warning", "0s", "--auth-webhook-timeout", "9s"]);
    let mut ada = connect(&server, "first").ok().unwrap();
    assert!(subscribe(&mut ada, "before") && subscribe(&mut ada, "b"));
    ada.send(r#"{"topic":"auth","data":{"token":"fresh"}}"#);
    receiver.wait_for(2);
    assert!(subscribe(&mut ada, "meanwhile") && subscribe(&mut ada, "left"));
    ada.send(r#"{"topic":"unsubscribe","data":{"topic":"left"}}"#);
    assert_eq!(next(&mut ada)["topic"], "unsubscribed");
    assert_eq!(renew(&mut ada, "fresh")["data"]["code"], "too_soon");
    // One that leaves meanwhile leaves nothing behind.
    let mut bob = connect(&server, "first").ok().unwrap();
    bob.send(r#"{"topic":"auth","data":{"token":"fresh"}}"#);
    receiver.wait_for(4);
    drop(bob);
    door.open();
    let mut left: Vec<String> =
        serde_json::from_value(next(&mut ada)["data"]["unsubscribed"].clone()).unwrap();
    left.sort_unstable();
    assert_eq!(left, ["before", "meanwhile"]);
    for topic in ["before", "meanwhile", "b"] {
        ada.send(&json!({ "topic": "publish", "data": { "topic": topic } }).to_string());
    }
    assert_eq!(ada.receive(), text(r#"{"topic":"b"}"#));
    ping(&mut ada);
}

/// Not those of when it was asked.
#[test]
fn a_token_in_band_is_judged_by_the_topic_rules_of_when_it_is_answered() {
    let door = Arc::new(Door::default());
    let same = door.clone();
    let receiver = Receiver::start(move |asked, stream| {
        if asked.json()["event"] == "refresh" {
            same.pass();
        }
        respond(stream, 200, r#"{"user":"ada"}"#);
    });
    let with = |topics: &str| {
        let url = receiver.url();
        format!("auth = \"webhook\"\nauth_webhook_url = \"{url}\"\nsubscribe_topics = {topics}\n")
    };
    let file = File::new("webhook-rules.toml", &with(r#"["b", "c"]"#));
    let mut server =
        Process::spawn(crate::process::command().args(["--listen", "127.0.0.1:0", "--config", file.path()]));
    let mut ada = connect(&server, "first").ok().unwrap();
    assert!(subscribe(&mut ada, "b") && subscribe(&mut ada, "c"));
    ada.send(r#"{"topic":"auth","data":{"token":"fresh"}}"#);
    receiver.wait_for(2);
    fs::write(&file.0, with(r#"["c"]"#)).unwrap();
    server.signal(HUP);
    server.errors_until(|line| line.contains("read the settings anew"));
    door.open();
    assert_eq!(next(&mut ada)["data"]["unsubscribed"], json!(["b"]));
}

#[test]
fn settings_change_at_sighup_and_kept_answers_go() {
    let (first, second) = (Receiver::start(by_token), Receiver::start(|_, stream| respond(stream, 403, "")));
    let with = |url: &str, more: &str| {
        format!("auth = \"webhook\"\nauth_webhook_url = \"{url}\"\nauth_webhook_cache = \"1h\"\n{more}")
    };
    let file = File::new("webhook.toml", &with(&first.url(), ""));
    let mut server =
        Process::spawn(crate::process::command().args(["--listen", "127.0.0.1:0", "--config", file.path()]));
    let mut ada = connect(&server, "ada").ok().unwrap();
    let url = format!("{}?key=nobody-elses", second.url());
    fs::write(&file.0, with(&url, "auth_webhook_requests = 3\n")).unwrap();
    server.signal(HUP);
    let said = server.errors_until(|line| line.contains("read the settings anew: 1 changed"));
    assert!(said.iter().any(|line| line.contains("auth_webhook_requests is 3 now")), "{said:?}");
    assert!(said.iter().any(|line| line.contains("?... now")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("nobody-elses")), "{said:?}");
    assert_eq!(refusal(&server, "ada").0, 403);
    // Who is in stays in. A server without auth can be told to ask, and the other way round.
    ping(&mut ada);
    fs::write(&file.0, "").unwrap();
    server.signal(HUP);
    server.errors_until(|line| line.contains("read the settings anew"));
    assert!(Client::try_connect(&server, "/ws", &[], &[]).is_ok());
    fs::write(&file.0, with(&first.url(), "")).unwrap();
    server.signal(HUP);
    server.errors_until(|line| line.contains("read the settings anew"));
    assert_eq!(refusal(&server, "unknown").0, 401);
    fs::write(&file.0, with("ftp://x", "")).unwrap();
    server.signal(HUP);
    let said = server.errors_until(|line| line.contains("the settings stay as they were"));
    assert!(said.last().unwrap().contains("auth_webhook_url: give http://HOST"), "{said:?}");
    assert!(connect(&server, "ada").is_ok());
    // The time for handshakes stays until a restart, and the webhook's has to fit into it.
    let times = "auth_webhook_timeout = \"30s\"\nhandshake_timeout = \"60s\"\n";
    fs::write(&file.0, with(&first.url(), times)).unwrap();
    server.signal(HUP);
    let said = server.errors_until(|line| line.contains("the settings stay as they were"));
    assert!(said.last().unwrap().contains("shorter than handshake_timeout (10s)"), "{said:?}");
}

#[test]
fn https_is_trusted_by_the_certificates_that_are_named() {
    let receiver = Receiver::start_with_tls(by_token);
    let certificate = File::new("hook.pem", include_str!("keys/hook.pem"));
    let server = start(&receiver, &["--auth-webhook-ca-file", certificate.path()]);
    assert!(connect(&server, "ada").is_ok() && connect(&server, "bob").is_ok());
    assert_eq!(refusal(&server, "banned").0, 403);
    assert_eq!(receiver.seen().len(), 3);
    // A name that is not the certificate's, and a certificate that nobody vouches for.
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let flags = ["--auth=webhook", "--auth-webhook-url", &url, "--auth-webhook-ca-file", certificate.path()];
    let mut other = Process::start(&flags);
    assert_eq!(refusal(&other, "ada").0, 503);
    let log = other.errors_until(|line| line.contains("nobody decided"));
    assert!(log.last().unwrap().contains("certificate"), "{log:?}");
    assert_eq!(receiver.seen().len(), 3);
}

#[test]
fn settings_that_cannot_be_say_what_to_give() {
    let short = File::new("short.secret", "short\n");
    let no_pem = File::new("no.pem", "nothing");
    let url = "--auth-webhook-url=http://127.0.0.1:9/";
    for (flags, said) in [
        (vec!["--auth=webhook"], "auth = webhook needs auth_webhook_url"),
        (vec![url], "auth is not webhook: set auth to webhook"),
        (
            vec!["--auth=webhook", "--auth-webhook-url=app.example/x"],
            "auth_webhook_url: invalid format: give http://HOST",
        ),
        (vec!["--auth=webhook", url, "--auth-webhook-timeout=10s"], "shorter than handshake_timeout (10s)"),
        (vec!["--auth=webhook", url, "--auth-webhook-requests=0"], "choose 1 or more"),
        (vec!["--auth=webhook", url, "--auth-webhook-cache=25h"], "choose at most 24h"),
        (
            vec!["--auth=webhook", url, "--auth-webhook-secret-file", short.path()],
            "a secret has 32 bytes at least, this one 5: make one with",
        ),
        (
            vec![
                "--auth=webhook",
                "--auth-webhook-url=https://a.example",
                "--auth-webhook-ca-file",
                no_pem.path(),
            ],
            "has no certificate in PEM",
        ),
    ] {
        let (code, errors) = run_to_end(&[&flags[..], &["config", "check"]].concat());
        assert!(code == 2 && errors.contains(said), "{flags:?}: {errors}");
    }
}

/// The example of docs/configuration.md, as it stands there, checks the signature and lets in whom it knows.
#[test]
fn the_documented_receiver_works_as_it_stands() {
    let guide = include_str!("../../../../docs/configuration.md");
    let (_, block) = guide.split_once("```python\n").unwrap();
    let (example, _) = block.split_once("```").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(example.matches("9100").count(), 1);
    let folder = std::env::temp_dir().join(format!("fanwire-{}-receiver", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("receiver.py"), example.replace("9100", &port.to_string())).unwrap();
    fs::write(folder.join("webhook.secret"), "a secret of the tests, which has 32 bytes and more\n").unwrap();
    let mut python = Command::new("python3");
    let python = python.arg("receiver.py").current_dir(&folder).stderr(Stdio::null());
    let mut receiver = Ended(python.spawn().unwrap(), folder.clone());
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < WAIT_MAX && receiver.0.try_wait().unwrap().is_none(), "it does not start");
        thread::park_timeout(Duration::from_millis(10));
    }
    let url = format!("http://127.0.0.1:{port}/");
    let secret = folder.join("webhook.secret");
    let flags = ["--auth=webhook", "--auth-webhook-url", &url];
    let signed =
        Process::start(&[&flags[..], &["--auth-webhook-secret-file", secret.to_str().unwrap()]].concat());
    let mut ada = connect(&signed, "token-of-ada").ok().unwrap();
    assert!(
        subscribe(&mut ada, "news.today") && subscribe(&mut ada, "user:ada") && !subscribe(&mut ada, "x")
    );
    assert_eq!(renew(&mut ada, "token-of-ada")["data"]["state"], "renewed");
    assert_eq!(refusal(&signed, "no-token"), (401, "this token is not known\n".to_owned()));
    // Who does not know the secret learns nothing.
    let unsigned = Process::start(&flags);
    assert_eq!(refusal(&unsigned, "token-of-ada").0, 401);
    let other = File::new("other.secret", "another secret of the tests, 32 bytes and more");
    let forged = Process::start(&[&flags[..], &["--auth-webhook-secret-file", other.path()]].concat());
    assert_eq!(refusal(&forged, "token-of-ada").0, 401);
}

/// A program that ends with the test, and its folder.
struct Ended(std::process::Child, std::path::PathBuf);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_dir_all(&self.1);
    }
}

const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
