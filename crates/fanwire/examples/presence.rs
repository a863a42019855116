//! Presence: who is in a room, who comes, who goes and why.
//!
//! In      `GET /ws?room=R&name=N`
//! Out     to who comes `{"topic":"here","data":[{"id":I,"name":N,"is":"here"}]}`, itself included; to the others in
//!         the room `{"topic":"room:R","data":{"id":I,"name":N,"is":W}}`, W one of `here`, `gone`, `lost` (without
//!         a word) and `timed out`
//! Bounds  one entry per open session; a peer that is gone without a word is noticed after `--timeout-seconds`
//!
//! `cargo run --release -p fanwire --example presence`

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clap::Parser;
use fanwire::{Auth, CloseKind, CloseReason, Handler, Http, Message, Payload, Request, Server, Session};
use serde::Serialize;

#[path = "common/local.rs"]
mod local;

/// Who is here.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    local: local::Local,
    /// After so long without a sign of life somebody counts as gone: three pings.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout_seconds: u64,
}

/// Rooms, and the names of their sessions. All shards share it: it is locked when somebody comes or goes, never
/// for a message.
#[derive(Default)]
struct Directory(Mutex<HashMap<String, BTreeMap<String, String>>>);

/// One per shard.
struct Presence {
    directory: Arc<Directory>,
}

struct Person {
    room: String,
    name: String,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    name: &'a str,
    is: &'a str,
}

impl Directory {
    /// Adds a session and gives everybody in its room, it included, as JSON.
    fn add(&self, person: &Person, id: &str) -> Result<Payload<'static>, serde_json::Error> {
        let mut rooms = self.lock();
        let people = rooms.entry(person.room.clone()).or_default();
        people.insert(id.to_owned(), person.name.clone());
        Payload::json(&people.iter().map(|(id, name)| Entry { id, name, is: "here" }).collect::<Vec<_>>())
    }

    fn remove(&self, person: &Person, id: &str) {
        let mut rooms = self.lock();
        let Some(people) = rooms.get_mut(&person.room) else { return };
        people.remove(id);
        if people.is_empty() {
            rooms.remove(&person.room);
        }
    }

    /// A panic under the lock leaves a whole map, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Presence {
    type Value = Person;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<Person> {
        match (request.query("room"), request.query("name")) {
            (Some(room), Some(name)) if is_word(&room) && is_word(&name) => {
                Auth::accept(Person { room: room.into_owned(), name: name.into_owned() })
            }
            _ => Auth::reject(401, "say who you are and where: /ws?room=ROOM&name=NAME\n"),
        }
    }

    fn on_open(&mut self, session: &mut Session<'_, Person>) {
        if self.come(session).is_err() {
            session.close_with(TRY_AGAIN_LATER, "not now, try again later");
        }
    }

    fn on_message(&mut self, _session: &mut Session<'_, Person>, _message: Message<'_>) {}

    fn on_close(&mut self, session: &mut Session<'_, Person>, why: &CloseReason) {
        let id = session.id().to_string();
        self.directory.remove(session.value(), &id);
        let is = match why.kind() {
            CloseKind::Idle => "timed out",
            kind if kind.is_clean() => "gone",
            _ => "lost",
        };
        // Best effort: who misses it sees somebody who has gone, until the next list.
        let _ = tell_others(session, &id, is);
    }

    fn on_http(&mut self, request: &Request<'_>) -> Http {
        local::page(request, include_str!("pages/presence.html"))
    }
}

impl Presence {
    /// Subscribed first, listed then: whoever comes or goes meanwhile is in the list or in a message behind it, for
    /// what others publish reaches this session's queue after the hook.
    fn come(&self, session: &mut Session<'_, Person>) -> Result<(), Box<dyn Error>> {
        let topic = topic_of(session.value());
        session.subscribe(&topic)?;
        let id = session.id().to_string();
        let here = self.directory.add(session.value(), &id)?;
        session.send("here", here)?;
        tell_others(session, &id, "here")
    }
}

fn tell_others(session: &mut Session<'_, Person>, id: &str, is: &str) -> Result<(), Box<dyn Error>> {
    let person = session.value();
    let (topic, entry) = (topic_of(person), Payload::json(&Entry { id, name: &person.name, is })?);
    Ok(session.publish_except_self(&topic, entry)?)
}

fn topic_of(person: &Person) -> String {
    format!("room:{}", person.room)
}

fn is_word(word: &str) -> bool {
    (1..=WORD_CHARACTERS_MAX).contains(&word.chars().count()) && !word.contains(char::is_control)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let timeout = Duration::from_secs(args.timeout_seconds);
    let options = local::Local::options().ping_interval(timeout / 3).idle_timeout(timeout);
    let directory = Arc::new(Directory::default());
    let running = Server::bind_with(&args.local.listen, options)?
        .start(|_| Presence { directory: directory.clone() })?;
    args.local.wait(&running, "in a second window; then close one of them")
}

const WORD_CHARACTERS_MAX: usize = 32;

/// RFC 6455 section 7.4, as registered with IANA.
const TRY_AGAIN_LATER: u16 = 1013;
