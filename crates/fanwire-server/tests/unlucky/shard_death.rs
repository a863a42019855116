//! A shard that dies takes everything with it, loudly: never half of the sessions in silence.
//!
//! A panic outside of hooks needs code of somebody else's on a shard's thread. The only such code is what subscribes
//! to the log, so the servers here have a subscriber that panics; they run in processes of their own. The real
//! binary is starved of memory instead.

use std::{
    net::TcpStream,
    os::unix::process::ExitStatusExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use fanwire::{Auth, CloseReason, DriverChoice, Handler, Message, Options, Request, Server, Session};
use fanwire_ws::{Opcode, encode_frame};
use rustix::process::Resource;
use tracing_subscriber::{Layer, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    Setup, WAIT_MAX,
    client::{Client, Received},
    crowd::Crowd,
    process::Process,
    wait,
};

on_both_drivers!(
    a_shard_that_panics_ends_the_whole_server,
    a_maker_that_panics_leaves_no_half_server,
    a_shard_without_memory_ends_the_process,
);

fn a_shard_that_panics_ends_the_whole_server(setup: Setup) {
    let mut server = Process::spawn_test("shard_death::victim", setup.driver);
    let (mut clients, mut shards) = (Vec::new(), Vec::new());
    while [0, 1].iter().any(|shard| shards.iter().filter(|on| *on == shard).count() < 2) {
        assert!(clients.len() < 500, "connections are spread: {shards:?}");
        clients.push(Client::connect(server.address));
        shards.push(shard_of(clients.last_mut().unwrap()));
    }
    // Its reset is logged, and the log kills the shard.
    let victim = clients.pop().unwrap();
    rustix::net::sockopt::set_socket_linger(&victim.stream, Some(std::time::Duration::ZERO)).unwrap();
    drop(victim);
    let dead = shards.pop().unwrap();
    for (mut client, shard) in clients.into_iter().zip(shards) {
        match client.receive_more() {
            Received::Close(1001) => assert_ne!(shard, dead, "a dead shard says nothing"),
            Received::Eof | Received::Reset => assert_eq!(shard, dead, "a living shard says why"),
            other => panic!("{other:?}"),
        }
    }
    let (status, said, errors) = server.end();
    assert_eq!(status.code(), Some(101), "{errors:?}");
    assert!(said.iter().any(|line| line == "told before the dead shard was dropped: true"), "{said:?}");
    let has = |text: &str| errors.iter().any(|line| line.contains(text));
    assert!(has("thread 'fanwire-") && has("a log that panics"), "{errors:?}");
    assert!(has("a shard has panicked and the whole server has ended"), "{errors:?}");
    assert!(TcpStream::connect(server.address).is_err(), "nobody listens any more");
}

/// The server of the test above.
#[test]
fn victim() {
    let Ok(driver) = std::env::var(MARK) else { return };
    tracing_subscriber::registry().with(PanicsAtResets).init();
    let others_told = Arc::new(AtomicBool::new(false));
    let options = Options::default().shards(2).driver(choice(&driver));
    let server = Server::bind_with("127.0.0.1:0", options).unwrap();
    let running = server.start(|shard| Numbered { shard, others_told: others_told.clone() }).unwrap();
    println!("listening on ws://{}/ws", running.address());
    println!("  memory    {}", running.memory());
    running.wait();
}

/// The closure that makes handlers panics after the first shard has started.
fn a_maker_that_panics_leaves_no_half_server(setup: Setup) {
    let others_told = Arc::new(AtomicBool::new(false));
    let options = Options::default().shards(2).driver(choice(setup.driver));
    let server = Server::bind_with("127.0.0.1:0", options).unwrap();
    let address = server.address();
    let start = || {
        server.start(|shard| {
            assert!(shard == 0, "a maker that panics");
            Numbered { shard, others_told: others_told.clone() }
        })
    };
    catch_unwind(AssertUnwindSafe(start)).expect_err("the panic is the caller's");
    // The shard has dropped its handler, which held one of these.
    assert_eq!(Arc::strong_count(&others_told), 1, "no thread is left");
    wait("nobody listens", || TcpStream::connect(address).is_err());
}

/// An allocation that fails ends the process, not a session or a shard.
fn a_shard_without_memory_ends_the_process(setup: Setup) {
    let mut server = Process::start(setup, &crate::SMALL);
    let crowd = Crowd::gather(server.address, 20, 2);
    crowd.flow(100);
    let mut others: Vec<_> = (0..8).map(|_| Client::connect(server.address)).collect();
    server.limit(Resource::Data, server.status_kib("VmData:") << 10);
    // Most of a message comes from each, and must be kept.
    let mut message = Vec::new();
    encode_frame(&mut message, true, Opcode::Text, Some([0; 4]), &vec![b' '; 1_000_000]);
    others.iter_mut().for_each(|client| client.send_raw(&message[..message.len() - 1]));
    for story in crowd.stories() {
        assert!(matches!(story.end, Received::Eof | Received::Reset), "{story:?}");
    }
    let (status, _, errors) = server.end();
    assert_eq!(status.signal(), Some(6), "{status:?} {errors:?}");
    assert!(errors.iter().any(|line| line.contains("memory allocation of")), "{errors:?}");
}

/// Says which shard it is, and whether the other one was told to end before this one was dropped.
struct Numbered {
    shard: usize,
    others_told: Arc<AtomicBool>,
}

impl Handler for Numbered {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, _message: Message<'_>) {
        session.send("shard", self.shard.to_string()).unwrap();
    }

    fn on_close(&mut self, _session: &mut Session<'_, ()>, why: &CloseReason) {
        if why.kind() == fanwire::CloseKind::Shutdown {
            self.others_told.store(true, SeqCst);
        }
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let start = std::time::Instant::now();
            while !self.others_told.load(SeqCst) && start.elapsed() < WAIT_MAX / 4 {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            println!("told before the dead shard was dropped: {}", self.others_told.load(SeqCst));
        }
    }
}

/// A subscriber to the log with a fault of its own.
struct PanicsAtResets;

impl<S: tracing::Subscriber> Layer<S> for PanicsAtResets {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        assert!(event.metadata().level() != &tracing::Level::DEBUG || !is_shard(), "a log that panics");
    }
}

/// The engine's other lines at this level are written where the server is started.
fn is_shard() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("fanwire-"))
}

fn shard_of(client: &mut Client) -> usize {
    client.send(r#"{"topic":"which"}"#);
    let Received::Text(text) = client.receive_more() else { panic!("an answer") };
    let (_, rest) = text.split_once(r#""data":"#).unwrap();
    rest.trim_end_matches('}').parse().unwrap()
}

fn choice(driver: &str) -> DriverChoice {
    if driver == "uring" { DriverChoice::Uring } else { DriverChoice::Epoll }
}

pub(crate) const MARK: &str = "FANWIRE_VICTIM";
