//! Chat: rooms, and a page to talk in them.
//!
//! In      `GET /ws?name=NAME`, then `{"topic":"enter","data":{"room":R}}` and `{"topic":"say","data":{"text":X}}`
//! Out     to everybody in the room `{"topic":"room:R","data":{"from":NAME,"does":"enters"|"says"|"leaves","text":X}}`;
//!         what cannot be done is answered by `{"topic":"error","data":WHY}`
//! Bounds  names of NAME_CHARACTERS_MAX, texts of TEXT_BYTES_MAX; a session is in one room at a time
//!
//! `cargo run --release -p fanwire --example chat`, then open the address that it prints in two windows.

use std::{borrow::Cow, error::Error};

use clap::Parser;
use fanwire::{Auth, CloseReason, Handler, Http, Message, Payload, Request, Server, Session};
use serde::{Deserialize, Serialize};

#[path = "common/local.rs"]
mod local;

/// A chat with rooms.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    local: local::Local,
}

/// What is known of a session.
struct Guest {
    name: String,
    /// The topic of the room that it is in.
    room: Option<String>,
}

/// One per shard. It keeps nothing: rooms are topics, and a topic exists while somebody is in it.
struct Chat;

#[derive(Deserialize)]
struct Enter<'a> {
    #[serde(borrow)]
    room: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Say<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// What everybody in a room sees.
#[derive(Serialize)]
struct Line<'a> {
    from: &'a str,
    does: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
}

impl Handler for Chat {
    type Value = Guest;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<Guest> {
        match request.query("name") {
            Some(name) if is_name(&name) => Auth::accept(Guest { name: name.into_owned(), room: None }),
            _ => Auth::reject(401, "say who you are: /ws?name=NAME, of 1 to 32 characters\n"),
        }
    }

    fn on_message(&mut self, session: &mut Session<'_, Guest>, message: Message<'_>) {
        let done = match message.topic() {
            "enter" => enter(session, message.data()),
            "say" => say(session, message.data()),
            _ => Err("there is enter and say".into()),
        };
        if let Err(why) = done
            && let Ok(why) = Payload::json(&why.to_string())
            && session.send("error", why).is_err()
        {
            // It takes nothing any more.
            session.close();
        }
    }

    fn on_close(&mut self, session: &mut Session<'_, Guest>, _why: &CloseReason) {
        // Delivery is best effort, of this as of any message: the example `presence` keeps a list.
        let _ = tell_room(session, "leaves", "");
    }

    fn on_http(&mut self, request: &Request<'_>) -> Http {
        local::page(request, include_str!("pages/chat.html"))
    }
}

fn enter(session: &mut Session<'_, Guest>, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let Enter { room } = serde_json::from_slice(data).map_err(|_| r#"enter needs {"room":R}"#)?;
    let room = format!("room:{room}");
    if let Some(old) = session.value_mut().room.take() {
        session.unsubscribe(&old);
        session.publish(&old, line(session.value(), "leaves", "")?)?;
    }
    session.subscribe(&room)?;
    session.value_mut().room = Some(room);
    tell_room(session, "enters", "")
}

fn say(session: &mut Session<'_, Guest>, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let Say { text } = serde_json::from_slice(data).map_err(|_| r#"say needs {"text":X}"#)?;
    if session.value().room.is_none() {
        return Err("enter a room first".into());
    }
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err("a text has 1 to 2000 bytes".into());
    }
    tell_room(session, "says", &text)
}

/// Everybody in it gets the same message: it is encoded once, however many they are.
fn tell_room(session: &mut Session<'_, Guest>, does: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let Some(room) = session.value().room.clone() else { return Ok(()) };
    let payload = line(session.value(), does, text)?;
    Ok(session.publish(&room, payload)?)
}

fn line(guest: &Guest, does: &str, text: &str) -> Result<Payload<'static>, serde_json::Error> {
    Payload::json(&Line { from: &guest.name, does, text })
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARACTERS_MAX).contains(&name.chars().count()) && !name.contains(char::is_control)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let options = local::Local::options().read_limit(READ_LIMIT_BYTES);
    let running = Server::bind_with(&args.local.listen, options)?.start(|_| Chat)?;
    args.local.wait(&running, "enter the same room in two windows")
}

const NAME_CHARACTERS_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 2_000;
/// Beyond what any request of this program needs, a message ends its session with 1009.
const READ_LIMIT_BYTES: u32 = 16 << 10;
