//! Every stack, over TCP and Unix sockets, on both drivers: what it hands over is a session like any other.
//!
//! In      tungstenite as client, and bytes written by hand
//! Out     failures that name stack, socket and driver
//! Bounds  loopback and Unix sockets only; each wait ends after `PATIENCE`
//! Source  RFC 6455 section 4.2
#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test's modules are all its own")]

mod client;
mod examples;
mod failures;
mod servers;
mod tls;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use fanwire::{DriverChoice, Handler, Message, Options, Running, Server, Session};

use self::{
    client::{Response, connect, connect_with_tls, masked, raw_session, request_with},
    servers::{Address, Serving, Stack},
};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a shard does nothing else.
const HOLD: Duration = Duration::from_millis(500);

/// Answers every message with itself, and `who` with its value; `hold` holds its shard up.
struct Echo;

impl Handler for Echo {
    type Value = String;

    fn on_open(&mut self, session: &mut Session<'_, String>) {
        session.subscribe("all").unwrap();
    }

    fn on_message(&mut self, session: &mut Session<'_, String>, message: Message<'_>) {
        let name = format!("{:?}", session.value());
        match message.topic() {
            "who" => session.send("who", &name).unwrap(),
            "hold" => std::thread::sleep(HOLD),
            topic => session.send(topic, message.data()).unwrap(),
        }
    }
}

/// A server that adopts, and a stack that feeds it.
struct World {
    running: Running<String>,
    serving: Serving,
}

impl World {
    fn start(setup: Setup, options: Options) -> Self {
        println!("{setup:?}");
        let options = options.driver(setup.driver).shards(2);
        let running = Server::adopting(options).unwrap().start(|_| Echo).unwrap();
        let serving = servers::serve(setup.stack, setup.over_unix, &running);
        Self { running, serving }
    }

    fn address(&self) -> &Address {
        &self.serving.address
    }

    /// What the stack answers to these bytes.
    fn request(&self, bytes: &[u8]) -> Response {
        let mut stream = self.address().connect();
        stream.write_all(bytes).unwrap();
        Response::read(&mut stream)
    }

    #[track_caller]
    fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        until(what, || is_so(self));
    }
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[derive(Clone, Copy, Debug)]
struct Setup {
    stack: Stack,
    over_unix: bool,
    driver: DriverChoice,
}

/// Each of these functions becomes a test of every stack.
macro_rules! on_every_stack {
    ($($name:ident,)*) => {
        $(
            mod $name {
                on_every_stack!(@ $name:
                    tokio Tokio, hyper Hyper, hyper_auto HyperAuto, axum Axum, monoio Monoio,
                    monoio_epoll MonoioEpoll, tokio_uring TokioUring);
            }
        )*
    };
    (@ $name:ident: $($test:ident $stack:ident),*) => {
        $(
            #[test]
            fn $test() {
                for driver in [fanwire::DriverChoice::Uring, fanwire::DriverChoice::Epoll] {
                    for over_unix in [false, true] {
                        super::$name(super::Setup { stack: super::Stack::$stack, over_unix, driver });
                    }
                }
            }
        )*
    };
}

on_every_stack!(
    a_request_becomes_a_session,
    what_comes_with_the_request_comes_first,
    refusals_are_those_of_the_engine,
    no_room_is_503_before_anything_is_promised,
    who_gets_101_gets_a_session_however_much_is_published,
    a_drain_closes_sessions_and_refuses_requests,
    nothing_stays_behind,
    what_is_no_plain_socket_is_refused,
    the_check_of_origins_sees_who_asks,
);

fn a_request_becomes_a_session(setup: Setup) {
    let world = World::start(setup, Options::default());
    let (mut client, response) = connect(world.address(), "/ws?name=ada", &["chat.v2", "chat.v1"]);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v1");
    client.say("who", "0");
    assert_eq!(client.hear(), r#"{"topic":"who","data":"ada"}"#);
    // By a task of the stack's own runtime.
    assert_eq!(world.request(&request_with("/publish", &[])).status, 200);
    assert_eq!(client.hear(), r#"{"topic":"all","data":"from a task"}"#);
    let large = format!("\"{}\"", "x".repeat(300_000));
    client.say("large", &large);
    assert_eq!(client.hear(), format!(r#"{{"topic":"large","data":{large}}}"#));
    client.close();
    world.until("the session has ended", |world| world.running.publisher().session_count() == 0);
    assert_eq!(world.running.stats().total.connections_adopted, 1);
}

fn what_comes_with_the_request_comes_first(setup: Setup) {
    let world = World::start(setup, Options::default());
    for split in [0, 1, 7, 500, 100_000] {
        let mut bytes = request_with("/ws?name=ada", &[]);
        let numbers: Vec<String> =
            (0..200).map(|number| format!(r#"{{"topic":"n","data":{number}}}"#)).collect();
        numbers.iter().for_each(|text| bytes.extend(masked(text)));
        // In one piece, cut behind the head, and cut anywhere.
        let head_bytes = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let (first, second) = bytes.split_at((head_bytes + split).min(bytes.len()));
        let mut stream = world.address().connect();
        stream.write_all(first).unwrap();
        let mut client = raw_session(stream);
        client.get_mut().write_all(second).unwrap();
        for text in &numbers {
            assert_eq!(&client.hear(), text, "cut {split} bytes behind the head");
        }
        client.close();
    }
}

fn refusals_are_those_of_the_engine(setup: Setup) {
    let world = World::start(setup, Options::default().origins(["https://example.org"]));
    let refused = |headers: &[(&str, &str)]| world.request(&request_with("/ws?name=ada", headers));
    let version = refused(&[("Sec-WebSocket-Version", "8")]);
    assert_eq!(version.status, 426, "{version:?}");
    assert_eq!(version.header("Sec-WebSocket-Version"), Some("13"));
    assert_eq!(version.header("Upgrade"), Some("websocket"));
    assert_eq!(refused(&[("Sec-WebSocket-Key", "short")]).status, 400);
    assert_eq!(refused(&[("Upgrade", "h2c")]).status, 400);
    let origin = refused(&[("Origin", "https://elsewhere.org")]);
    assert_eq!((origin.status, origin.body.as_str()), (403, "this origin is not allowed\n"));
    assert_eq!(world.request(&request_with("/ws", &[])).status, 401);
    assert_eq!(world.request(&request_with("/elsewhere", &[])).status, 404);
    let post = String::from_utf8(request_with("/ws?name=ada", &[])).unwrap().replacen("GET", "POST", 1);
    assert_eq!(world.request(post.as_bytes()).status, 405);
    let total = world.running.stats().total;
    assert_eq!((total.refused_version, total.refused_origin, total.sessions_opened), (1, 1, 0));
    let (client, _) = connect(world.address(), "/ws?name=ada", &[]);
    client.close();
}

fn no_room_is_503_before_anything_is_promised(setup: Setup) {
    let world = World::start(setup, Options::default().sessions_max(2));
    let clients: Vec<_> = (0..2).map(|_| connect(world.address(), "/ws?name=ada", &[]).0).collect();
    let refused = world.request(&request_with("/ws?name=eve", &[]));
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("5")));
    clients.into_iter().for_each(client::Client::close);
    world.until("there is room again", |world| {
        world.request(&request_with("/ws?name=eve", &[])).status == 101
    });
}

fn who_gets_101_gets_a_session_however_much_is_published(setup: Setup) {
    let world = World::start(setup, Options::default());
    // One of each shard.
    let (mut held, _) = connect(world.address(), "/ws?name=ada", &[]);
    let (other, _) = connect(world.address(), "/ws?name=ada", &[]);
    world.until("both are open", |world| world.running.publisher().session_count() == 2);
    held.say("hold", "0");
    let publisher = world.running.publisher();
    world.until("a shard has no room", |_| (0..10_000).any(|_| publisher.publish("all", "1").is_err()));
    let mut clients = [(); 2].map(|()| connect(world.address(), "/ws?name=eve", &[]).0);
    for client in &mut clients {
        client.say("who", "0");
        // What the shard takes in after it has opened the session is for that, too.
        while client.hear() != r#"{"topic":"who","data":"eve"}"# {}
    }
    drop((held, other));
}

fn a_drain_closes_sessions_and_refuses_requests(setup: Setup) {
    let world = World::start(setup, Options::default());
    let mut clients: Vec<_> = (0..5).map(|_| connect(world.address(), "/ws?name=ada", &[]).0).collect();
    clients.iter_mut().for_each(|client| {
        client.say("n", "1");
        client.hear();
    });
    let draining = std::thread::scope(|scope| {
        let draining = scope.spawn(|| world.running.drain(PATIENCE));
        clients.into_iter().for_each(|client| assert_eq!(client.hear_close(), 1001));
        draining.join().unwrap()
    });
    assert_eq!((draining.drained, draining.cut), (5, 0));
    let refused = world.request(&request_with("/ws?name=ada", &[]));
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
}

fn nothing_stays_behind(setup: Setup) {
    let world = World::start(setup, Options::default().handshake_timeout(Duration::from_millis(300)));
    let mut clients: Vec<_> = (0..20).map(|_| connect(world.address(), "/ws?name=ada", &[]).0).collect();
    clients.iter_mut().for_each(|client| {
        client.say("n", "1");
        client.hear();
    });
    // Sessions are open, and the runtime has not one task for them.
    world.until("all tasks have ended", |world| world.serving.tasks() == 0);
    // Who is refused or says nothing leaves nothing, either.
    assert_eq!(world.request(&request_with("/ws", &[])).status, 401);
    let silent = world.address().connect();
    let mut slow = world.address().connect();
    slow.write_all(b"GET /ws HTTP/1.1\r\n").unwrap();
    if setup.stack.has_time_limit() {
        assert_eq!(Response::read(&mut slow).status, 408);
    }
    drop((silent, slow));
    world.until("all tasks have ended", |world| world.serving.tasks() == 0);
    clients.into_iter().for_each(client::Client::close);
    world.until("all sessions have ended", |world| world.running.publisher().session_count() == 0);
}

fn what_is_no_plain_socket_is_refused(setup: Setup) {
    let world = World::start(setup, Options::default());
    if setup.stack.knows_no_wrappers() {
        // A client that speaks TLS, before whom no proxy has ended it.
        let refused = world.request(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        assert!(refused.status == 400 && refused.body.contains("TLS"), "{refused:?}");
        let failure = world.serving.failure();
        assert!(failure.contains("400") && failure.contains("TLS"), "{failure}");
        return;
    }
    let secured = servers::serve_with_tls(setup.stack, &world.running);
    let client = connect_with_tls(&secured.address, "/ws?name=ada");
    assert_eq!(client.hear_close(), 1011);
    let failure = secured.failure();
    assert!(failure.contains("end TLS in a proxy"), "{failure}");
    world.until("its place is free again", |_| secured.tasks() == 0);
    assert_eq!(world.running.stats().total.connections_adopted, 0);
}

fn the_check_of_origins_sees_who_asks(setup: Setup) {
    let options = Options::default().check_origin(|request| request.peer().ip().is_loopback());
    let world = World::start(setup, options);
    let status = world.request(&request_with("/ws?name=ada", &[])).status;
    // A Unix socket's peer has no address.
    assert_eq!(status, if setup.over_unix { 403 } else { 101 });
}
