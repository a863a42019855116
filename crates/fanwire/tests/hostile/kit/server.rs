//! The server under attack, in a process of its own: its memory and its descriptors are nobody else's.
//!
//! In      the words of `VARIABLE` (options as `name=value`); then lines on standard input
//! Out     lines that begin with `MARK` on standard output: `ready`, then one answer per line that asks for one
//! Bounds  ends with its standard input
//!
//! | line | answer | what it does |
//! |---|---|---|
//! | `due NS` | none | publishes one more message on `feed`, on a thread of its own; it was due at this time |
//! | `stats` | counters and gauges as `name=value` | |
//! | `fill` | `filled N` | opens files until there is no descriptor left |
//! | `release` | `released` | closes them |
//! | `tickets` | `answered N` | lets all parked requests in |

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs::File,
    io::BufRead,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use fanwire::{
    Auth, CloseKind, DriverChoice, Handler, Message, Options, Overflow, PublishError, Publisher, Request,
    Running, Server, Session, Ticket,
};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::feed;

/// Names the options of the server that this process is to be.
pub const VARIABLE: &str = "FANWIRE_HOSTILE_SERVER";

/// Stands before every line that is meant for the other process: a test's harness prints lines of its own.
pub const MARK: &str = "hostile: ";

/// Serves if this process was started for that; `false` if it was not.
pub fn serve_if_asked() -> bool {
    let Ok(words) = std::env::var(VARIABLE) else { return false };
    serve(&words);
    true
}

fn serve(words: &str) {
    let tickets = Tickets::default();
    let options = options(words);
    let server = Server::bind_with("127.0.0.1:0", options).expect("the options are possible");
    let app = |_| App { tickets: tickets.clone() };
    let running = server.start(app).expect("the driver works here");
    let credit = Arc::new(Credit::default());
    let publishing = {
        let (credit, publisher) = (credit.clone(), running.publisher());
        let payload_bytes = usize::try_from(word(words, "feed_bytes").map_or(0, number)).expect("it fits");
        thread::spawn(move || publish(&publisher, &credit, payload_bytes))
    };
    let memory = running.memory();
    println!("{MARK}ready {} {} {}", running.address(), memory.user_bytes(), memory.connections);
    let mut files = Vec::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("due", ns) => credit.give(number(ns)),
            ("stats", _) => println!("{MARK}{}", stats(&running)),
            ("fill", _) => {
                files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                println!("{MARK}filled {}", files.len());
            }
            ("release", _) => {
                files.clear();
                println!("{MARK}released");
            }
            ("tickets", _) => println!("{MARK}answered {}", tickets.answer_all()),
            (other, _) => panic!("{other:?} is no command"),
        }
    }
    credit.end();
    publishing.join().expect("the publisher does not panic");
    running.shutdown();
}

// --- publishing ---

/// Messages that may be published, each by the time at which it was due.
#[derive(Default)]
struct Credit {
    left: Mutex<Due>,
    changed: Condvar,
}

#[derive(Default)]
struct Due {
    times_ns: VecDeque<u64>,
    /// No more will come, and what is left is not published.
    is_over: bool,
}

impl Credit {
    fn give(&self, due_ns: u64) {
        self.left.lock().unwrap().times_ns.push_back(due_ns);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.left.lock().unwrap().is_over = true;
        self.changed.notify_all();
    }

    /// Waits for leave to publish once more, and gives the time for which that was; `None`: it is over.
    fn take(&self) -> Option<u64> {
        let left = self.left.lock().unwrap();
        let is_idle = |left: &mut Due| left.times_ns.is_empty() && !left.is_over;
        let mut left = self.changed.wait_while(left, is_idle).unwrap();
        if left.is_over { None } else { left.times_ns.pop_front() }
    }
}

/// Numbers from 0 on, each accepted once: one that is refused is tried again. Each bears the time at which it was due,
/// so that whatever kept it from being published counts as well.
fn publish(publisher: &Publisher, credit: &Credit, payload_bytes: usize) {
    for number in 0.. {
        let Some(due_ns) = credit.take() else { return };
        loop {
            match publisher.publish(feed::TOPIC, feed::payload(number, due_ns, payload_bytes)) {
                Ok(()) => break,
                Err(PublishError::Full) => thread::park_timeout(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

// --- the handler ---

#[derive(Clone, Default)]
struct Tickets(Arc<Mutex<Vec<Ticket<()>>>>);

impl Tickets {
    fn answer_all(&self) -> usize {
        let tickets = std::mem::take(&mut *self.0.lock().unwrap());
        let count = tickets.len();
        tickets.into_iter().for_each(|ticket| ticket.answer(Auth::accept(())));
        count
    }
}

/// Does what messages say: `sub`, `unsub`, `unsub_all`, `echo` (sends the data back), `answer` (as many bytes as the
/// number says), `pub` (publishes on the topic of that name), `close`; ignores all others.
struct App {
    tickets: Tickets,
}

impl Handler for App {
    type Value = ();

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<()> {
        if request.query("later").is_none() {
            return Auth::accept(());
        }
        let (auth, ticket) = Auth::later(request);
        self.tickets.0.lock().unwrap().push(ticket);
        auth
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        let data = message.data();
        let name = || std::str::from_utf8(data).expect("JSON is UTF-8").trim_matches('"');
        // Refusals are the engine's to count.
        match message.topic() {
            "sub" => {
                let _ = session.subscribe(name());
            }
            "unsub" => {
                let _ = session.unsubscribe(name());
            }
            "unsub_all" => {
                let _ = session.unsubscribe_all();
            }
            "echo" => {
                let _ = session.send("echo", data);
            }
            "answer" => {
                let bytes = usize::try_from(number(name())).expect("it fits");
                let _ = session.send("answer", format!("\"{}\"", "a".repeat(bytes)));
            }
            "pub" => {
                let _ = session.publish(name(), "1");
            }
            "close" => session.close(),
            _ => {}
        }
    }
}

// --- words ---

fn options(words: &str) -> Options {
    // Most attackers answer no pings, and on a busy machine a case may take longer than silence is borne.
    let mut options = Options::default().ping_interval(Duration::ZERO).idle_timeout(Duration::ZERO);
    for (name, value) in words.split_whitespace().map(|word| word.split_once('=').expect("name=value")) {
        let bytes32 = || u32::try_from(number(value)).expect("a u32");
        let time = || Duration::from_millis(number(value));
        options = match name {
            "driver" => options.driver(driver(value)),
            "shards" => options.shards(u16::try_from(number(value)).expect("a u16")),
            "overflow" => options.overflow(overflow(value)),
            "queue_size" => options.queue_size(bytes32()),
            "queue_bytes" => options.queue_bytes(bytes32()),
            "read_limit" => options.read_limit(bytes32()),
            "read_budget_bytes" => options.read_budget_bytes(bytes32()),
            "page_share_bytes_min" => options.page_share_bytes_min(bytes32()),
            "send_buffer_bytes" => options.send_buffer_bytes(bytes32()),
            "frame_bytes_max" => options.frame_bytes_max(number(value)),
            "intake_bytes_max" => options.intake_bytes_max(number(value)),
            "assembly_bytes_max" => options.assembly_bytes_max(number(value)),
            "topic_memory_max" => options.topic_memory_max(number(value)),
            "topics_per_session_max" => options.topics_per_session_max(bytes32()),
            "sessions_max" => options.sessions_max(bytes32()),
            "handshakes_max" => options.handshakes_max(bytes32()),
            "handshake_timeout" => options.handshake_timeout(time()),
            "close_timeout" => options.close_timeout(time()),
            "ping_interval" => options.ping_interval(time()),
            "idle_timeout" => options.idle_timeout(time()),
            "descriptors" => {
                let limit = Some(number(value));
                setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })
                    .expect("it is lowered");
                options
            }
            "feed_bytes" => options,
            other => panic!("{other:?} is no option of a case"),
        };
    }
    options
}

fn driver(name: &str) -> DriverChoice {
    match name {
        "uring" => DriverChoice::Uring,
        "epoll" => DriverChoice::Epoll,
        other => panic!("{other:?} is no driver"),
    }
}

fn overflow(name: &str) -> Overflow {
    match name {
        "close" => Overflow::Close,
        "drop_newest" => Overflow::DropNewest,
        "drop_oldest" => Overflow::DropOldest,
        other => panic!("{other:?} is no policy"),
    }
}

fn word<'a>(words: &'a str, name: &str) -> Option<&'a str> {
    words.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn stats(running: &Running<()>) -> String {
    let total = running.stats().total;
    let mut line = "stats".to_owned();
    for (name, value) in total.iter() {
        write!(line, " {name}={value}").expect("a string takes everything");
    }
    for kind in CLOSE_KINDS {
        write!(line, " closed_{kind:?}={}", total.closed(kind)).expect("a string takes everything");
    }
    line
}

const CLOSE_KINDS: [CloseKind; 9] = [
    CloseKind::Peer,
    CloseKind::Server,
    CloseKind::QueueFull,
    CloseKind::Eof,
    CloseKind::Reset,
    CloseKind::Violation,
    CloseKind::Idle,
    CloseKind::Panic,
    CloseKind::Shutdown,
];
