//! The simulator's own promises: one seed is one run, and a broken rule is found.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use fanwire_ws::{Opcode, encode_frame};

use super::*;
use crate::{Auth, CloseReason, Http, Message, Payload, Request, Session};

/// Does as it is told, and puts a little of itself into everything.
struct Chatter;

impl Handler for Chatter {
    type Value = u64;

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<u64> {
        Auth::accept(0)
    }

    fn on_open(&mut self, session: &mut Session<'_, u64>) {
        let id = session.id().to_string();
        let _ = session.subscribe("all");
        let _ = session.publish("all", Payload::json(&id).unwrap());
    }

    fn on_message(&mut self, session: &mut Session<'_, u64>, message: Message<'_>) {
        *session.value_mut() += 1;
        match *session.value() % 7 {
            0 => session.close(),
            1 => drop(session.unsubscribe("all")),
            2 => drop(session.subscribe("all")),
            _ => drop(session.publish("all", message.data())),
        }
    }

    fn on_close(&mut self, session: &mut Session<'_, u64>, why: &CloseReason) {
        let _ = session.publish("all", Payload::json(&why.code()).unwrap());
    }

    fn on_http(&mut self, _request: &Request<'_>) -> Http {
        // Descriptors that are closed at once: their numbers are used again, and differ from run to run.
        Http::take_over(|stream, _, _| drop(stream))
    }
}

fn harsh() -> Faults {
    Faults {
        send_starved_per_mille: 20,
        reset_per_mille: 2,
        accept_failed_per_mille: 100,
        event_late_per_mille: 200,
        wake_spurious_per_mille: 50,
        ..Faults::default()
    }
}

fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A run of a few hundred steps, as a hash of all that the clients have received, and when.
fn digest(seed: u64) -> u64 {
    let options = Options::default().shards(3).receive_buffers(4).mesh_size(8).inbox_size(4);
    let mut server = SimServer::new(seed, options, harsh(), |_| Chatter).unwrap();
    let mut rng = rng::Rng::of(seed, 0);
    let mut hasher = DefaultHasher::new();
    let mut clients: Vec<SimClient> = Vec::new();
    for _ in 0..2_000 {
        match rng.below(12) {
            0 if clients.len() < 12 => {
                let mut client = server.connect();
                client.send(request(if rng.happens(200) { "/other" } else { "/ws" }).as_bytes());
                clients.push(client);
            }
            1 if !clients.is_empty() => drop(clients.swap_remove(rng.below(clients.len()))),
            2 => drop(server.publisher().publish("all", "\"outside\"")),
            3 if !clients.is_empty() => {
                let mut frame = Vec::new();
                let text = br#"{"topic":"say","data":1}"#;
                encode_frame(&mut frame, true, Opcode::Text, Some([1, 2, 3, 4]), text);
                let chosen = rng.below(clients.len());
                clients[chosen].send(&frame);
            }
            4 => drop(server.adopt(rng.below(3), 0, Vec::new()).map(|client| clients.push(client))),
            _ => drop(server.step()),
        }
        let mut bytes = Vec::new();
        for client in &mut clients {
            client.receive(&mut bytes);
            client.end().map(|end| end == SimEnd::Fin).hash(&mut hasher);
        }
        (server.now(), &bytes).hash(&mut hasher);
    }
    hasher.finish()
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

#[test]
fn the_same_seed_gives_the_same_run_in_every_process() {
    const CHILD: &str = "FANWIRE_SIM_DIGEST_OF_CHILD";
    let ours = format!("digest {}", (1..6).map(digest).fold(0, u64::wrapping_add));
    if std::env::var_os(CHILD).is_some() {
        println!("{ours}");
        return;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "sim::tests::the_same_seed_gives_the_same_run_in_every_process"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let theirs = String::from_utf8(child.stdout).unwrap();
    assert!(theirs.lines().any(|line| line.contains(&ours)), "{ours} is not in {theirs}");
}

/// Takes every plain request over, and keeps the socket.
#[derive(Clone, Default)]
struct Taker(Arc<Mutex<Option<Taken>>>);

/// A socket, and what was read from it.
type Taken = (TcpStream, Vec<u8>);

impl Handler for Taker {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        let _ = session.send("echo", message.data());
    }

    fn on_http(&mut self, _request: &Request<'_>) -> Http {
        let place = self.0.clone();
        Http::take_over(move |stream, bytes, _| *place.lock().unwrap() = Some((stream, bytes)))
    }
}

#[test]
fn what_is_taken_over_is_the_stream_from_its_first_byte_and_can_be_adopted_again() {
    for seed in 0..50 {
        let taker = Taker::default();
        let mut server =
            SimServer::new(seed, Options::default(), Faults::default(), |_| taker.clone()).unwrap();
        let mut client = server.connect();
        let mut sent = request("/other").into_bytes();
        sent.extend_from_slice(b"and more");
        client.send(&sent);
        assert!(server.run_until(10_000, |_| taker.0.lock().unwrap().is_some()));
        let (stream, mut read) = taker.0.lock().unwrap().take().unwrap();
        let mut stream = server.redeem(stream).expect("it stands for a connection");
        server.pass(Duration::from_secs(1));
        stream.receive(&mut read);
        assert_eq!(read, sent);
        assert_eq!(stream.send(b"hello"), 5);
        server.pass(Duration::from_secs(1));
        let mut received = Vec::new();
        client.receive(&mut received);
        assert_eq!(received, b"hello");
        server.adopt_stream(0, stream.into_socket(), (), Vec::new()).unwrap();
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, Opcode::Text, Some([0; 4]), br#"{"topic":"x","data":2}"#);
        client.send(&frame);
        let is_echoed = server.run_until(10_000, |_| {
            client.receive(&mut received);
            received.ends_with(br#"{"topic":"echo","data":2}"#)
        });
        assert!(is_echoed);
        assert_eq!(server.snapshot()[0].sessions.len(), 1);

        let (client, stream) = server.pair(1_000);
        drop(server.redeem(stream));
        server.pass(Duration::from_secs(1));
        assert_eq!(client.end(), Some(SimEnd::Fin), "nobody has it any more");
    }
}

/// Counts the sessions that have ended.
#[derive(Clone, Default)]
struct Ends(Arc<AtomicU32>);

impl Handler for Ends {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, _session: &mut Session<'_, ()>, _message: Message<'_>) {}

    fn on_close(&mut self, _session: &mut Session<'_, ()>, _why: &CloseReason) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn hooks_for_which_a_turn_has_no_place_run_in_the_next_ones() {
    let ends = Ends::default();
    let options = Options::default().ping_interval(Duration::ZERO).idle_timeout(Duration::ZERO);
    let mut server = SimServer::new(5, options, Faults::none(), |_| ends.clone()).unwrap();
    server.set_bounds(Bounds { close_hooks: 1, ..Bounds::default() });
    let mut clients: Vec<_> = (0..9).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert!(client.send(request("/ws").as_bytes()) > 0));
    assert!(server.run_until(10_000, |server| server.stats().total.sessions == 9));
    drop(clients);
    server.pass(Duration::from_millis(100));
    assert_eq!(ends.0.load(Relaxed), 9, "nobody comes to wake the shard for the rest");
}

#[test]
fn idle_is_when_nothing_is_under_way() {
    let mut server = SimServer::new(3, Options::default(), Faults::default(), |_| Taker::default()).unwrap();
    assert!(!server.is_idle(), "no shard has had a turn");
    assert!(server.run_until(1_000, SimServer::is_idle));
    let mut client = server.connect();
    client.send(request("/ws").as_bytes());
    assert!(!server.is_idle());
    assert!(server.run_until(10_000, SimServer::is_idle));
    let mut answer = Vec::new();
    client.receive(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(server.snapshot()[0].sessions.len(), 1);
}

#[test]
fn a_sleeper_whose_wake_is_lost_is_found() {
    let mut server = SimServer::new(3, Options::default(), Faults::none(), |_| Taker::default()).unwrap();
    assert!(server.run_until(1_000, SimServer::is_idle));
    // As a producer would that forgets to look whether the shard sleeps.
    server.shared.shards[0].parking.awake();
    server.publisher().broadcast("x", "1").unwrap();
    assert!(!server.step());
    let violation = server.violation().expect("the shard sleeps on").to_string();
    assert!(violation.starts_with("shard 0: lost wake"), "{violation}");
    assert!(server.audit().is_err());
}

#[test]
#[should_panic(expected = "shard 0: lost wake")]
fn a_violation_that_nobody_asks_for_is_a_panic() {
    let mut server = SimServer::new(3, Options::default(), Faults::none(), |_| Taker::default()).unwrap();
    assert!(server.run_until(1_000, SimServer::is_idle));
    server.shared.shards[0].parking.awake();
    server.publisher().broadcast("x", "1").unwrap();
    server.step();
}

#[test]
fn a_shard_that_is_cut_sleeps_until_its_sockets_have_ended() {
    let late = Faults { closed_late_per_mille: 1_000, closed_delay_ns_max: 3_000_000_000, ..Faults::none() };
    let mut server = SimServer::new(1, Options::default(), late, |_| Chatter).unwrap();
    let mut client = server.connect();
    client.send(request("/ws").as_bytes());
    assert!(server.run_until(1_000, |server| server.stats().total.sessions_opened == 1));
    server.begin_shutdown();
    assert!(server.run_until(1_000, |server| server.ended().is_some()), "{:?}", server.stats().total);
}

#[test]
fn a_shard_that_is_cut_settles_what_its_last_sends_have_found() {
    let options = Options::default().flush_delay(Duration::from_millis(1));
    let mut server = SimServer::new(1, options, Faults::none(), |_| Chatter).unwrap();
    // Its refusal is sent in the turn that closes it, after the turn's flush was put off.
    let _client = server.connect();
    assert!(server.run_until(1_000, |server| server.stats().total.handshakes == 1));
    server.begin_shutdown();
    assert!(server.run_until(1_000, |server| server.ended().is_some()), "{:?}", server.violation());
}
