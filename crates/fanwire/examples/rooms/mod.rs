//! The handler of `rooms`: presence, rooms, direct messages, announcements.
//!
//! In      `GET /ws?token=NAME`, NAME of 1 to 32 of `a-z` and `0-9` (else 401); then messages
//!         `{"topic":T,"data":D}` with the topics of `Rooms::answer`
//! Out     messages of the same form. A request that cannot be done is answered by `error` with a text that says
//!         why: a topic that is not known, a D that is missing or not of the request's form (`subscribe needs
//!         {"topic":T}`), a limit that is passed, a way to a shard that is full. The session stays.
//! Bounds  `FLOOD_*`; everything else by the engine's options. A direct message and the end of a session cost
//!         O(open sessions of that user)

mod forms;
mod late;
mod online;

use std::{io, sync::Arc};

use fanwire::{
    Auth, CloseKind, CloseReason, Handler, Message, Payload, PublishError, Request, SendError, Session,
};

use serde_json::value::RawValue;

use self::{
    forms::{Announced, Chat, Close, Count, Direct, Dm, Event, Flood, Refusal, Room, RoomMessage, Topic},
    late::Late,
    online::Online,
};

/// What the handlers of all shards share.
pub(crate) struct Lobby {
    online: Online,
    late: Late,
}

impl Lobby {
    /// An empty one.
    ///
    /// # Errors
    /// The thread for late leaves could not be started.
    pub(crate) fn open() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { online: Online::default(), late: Late::start()? }))
    }

    #[cfg(test)]
    pub(crate) fn user_count(&self) -> usize {
        self.online.user_count()
    }
}

/// One shard's handler.
pub(crate) struct Rooms {
    lobby: Arc<Lobby>,
}

type User<'a> = Session<'a, String>;
type Answer = Result<(), Refusal>;

impl Rooms {
    pub(crate) fn new(lobby: &Arc<Lobby>) -> Self {
        Self { lobby: lobby.clone() }
    }

    fn answer(&self, session: &mut User<'_>, message: &Message<'_>) -> Answer {
        let data = message.data();
        match message.topic() {
            "init" => init(session),
            "subscribe" => subscribe(session, &forms::object(data, r#"subscribe needs {"topic":T}"#)?),
            "unsubscribe" => unsubscribe(session, &forms::object(data, r#"unsubscribe needs {"topic":T}"#)?),
            "unsubscribe_all" => unsubscribe_all(session),
            "publish" => publish(session, &forms::object(data, r#"publish needs {"topic":T,"data":D}"#)?),
            "chat" => chat(session, forms::value(data, "chat needs data")?),
            "join_room" => join_room(session, &forms::object(data, r#"join_room needs {"room":R}"#)?),
            "leave_room" => leave_room(session, &forms::object(data, r#"leave_room needs {"room":R}"#)?),
            "room_message" => {
                room_message(session, &forms::object(data, r#"room_message needs {"room":R,"text":X}"#)?)
            }
            "dm" => self.dm(session, &forms::object(data, r#"dm needs {"to":U,"text":X}"#)?),
            "announce" => announce(session, forms::value(data, "announce needs data")?),
            "count" => count(session),
            "close" => close(session, &forms::object(data, r#"close needs {"code":C,"reason":R}"#)?),
            "flood" => flood(session, &forms::object(data, r#"flood needs {"count":N,"bytes":B}"#)?),
            _ => Err("unknown topic".into()),
        }
    }

    /// To the user's newest open session. One that ends meanwhile makes way for the next.
    fn dm(&self, session: &mut User<'_>, dm: &Direct<'_>) -> Answer {
        let payload = forms::json(&Dm { from: session.value(), text: &dm.text });
        let online = &self.lobby.online;
        while let Some(newest) = online.newest(&dm.to) {
            match session.send_to(&newest, "dm", payload.clone()) {
                // It has ended, though its `on_close` is still to come; out of the list, it is not found again.
                Err(SendError::Closed | SendError::QueueFull) => online.remove(&dm.to, &newest),
                sent => return Ok(sent?),
            }
        }
        Err("not online".into())
    }
}

impl Handler for Rooms {
    type Value = String;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<String> {
        match request.query("token") {
            Some(name) if is_name(&name) => Auth::accept(name.into_owned()),
            _ => Auth::reject(401, "the token must be 1 to 32 of a-z and 0-9"),
        }
    }

    fn on_open(&mut self, session: &mut User<'_>) {
        self.lobby.online.add(session.value(), session.handle());
    }

    fn on_message(&mut self, session: &mut User<'_>, message: Message<'_>) {
        if let Err(refusal) = self.answer(session, &message) {
            reply(session, "error", forms::json(refusal.text()));
        }
    }

    fn on_close(&mut self, session: &mut User<'_>, why: &CloseReason) {
        self.lobby.online.remove(session.value(), &session.handle());
        let leave = Event { reason: Some(reason_of(why.kind())), ..Event::new("leave", session.value()) };
        let leave = forms::json(&leave);
        if let Err(PublishError::Full) = session.publish(PRESENCE, leave.clone()) {
            self.lobby.late.publish(session.publisher(), PRESENCE, leave);
        }
    }
}

fn init(session: &mut User<'_>) -> Answer {
    let own = format!("user:{}", session.value());
    for topic in [own.as_str(), "global", PRESENCE] {
        session.subscribe(topic)?;
    }
    let user = session.value();
    let welcome = forms::Welcome { status: "connected", session: session.id().to_string(), user };
    let (welcome, join) = (forms::json(&welcome), forms::json(&Event::new("join", user)));
    reply(session, "welcome", welcome);
    Ok(session.publish(PRESENCE, join)?)
}

fn subscribe(session: &mut User<'_>, to: &Topic<'_>) -> Answer {
    if to.topic.strip_prefix("private:").is_some_and(|owner| owner != session.value()) {
        return Err("not allowed".into());
    }
    session.subscribe(&to.topic)?;
    reply(session, "subscribed", forms::json(to));
    Ok(())
}

fn unsubscribe(session: &mut User<'_>, from: &Topic<'_>) -> Answer {
    session.unsubscribe(&from.topic);
    reply(session, "unsubscribed", forms::json(from));
    Ok(())
}

fn unsubscribe_all(session: &mut User<'_>) -> Answer {
    session.unsubscribe_all();
    reply(session, "unsubscribed", r#"{"all":true}"#.into());
    Ok(())
}

fn publish(session: &mut User<'_>, message: &Announced<'_>) -> Answer {
    Ok(session.publish(&message.topic, message.data.get())?)
}

fn chat(session: &mut User<'_>, data: &RawValue) -> Answer {
    let payload = forms::json(&Chat { user: session.value(), data });
    Ok(session.publish("chat:general", payload)?)
}

fn join_room(session: &mut User<'_>, room: &Room<'_>) -> Answer {
    let (topic, join) = (room.topic(), forms::json(&Event::new("join", session.value())));
    session.subscribe(&topic)?;
    Ok(session.publish(&topic, join)?)
}

fn leave_room(session: &mut User<'_>, room: &Room<'_>) -> Answer {
    let (topic, leave) = (room.topic(), forms::json(&Event::new("leave", session.value())));
    let published = session.publish(&topic, leave);
    session.unsubscribe(&topic);
    Ok(published?)
}

fn room_message(session: &mut User<'_>, message: &RoomMessage<'_>) -> Answer {
    let event = Event { text: Some(&message.text), ..Event::new("message", session.value()) };
    let event = forms::json(&event);
    Ok(session.publish(&forms::room_topic(&message.room), event)?)
}

fn announce(session: &mut User<'_>, data: &RawValue) -> Answer {
    Ok(session.broadcast("announcement", data.get())?)
}

fn count(session: &mut User<'_>) -> Answer {
    let sessions = session.session_count();
    reply(session, "count", forms::json(&Count { sessions }));
    Ok(())
}

fn close(session: &mut User<'_>, close: &Close<'_>) -> Answer {
    if !is_close_code(close.code) {
        return Err("this close code must not go over the wire".into());
    }
    if close.reason.len() > CLOSE_REASON_BYTES_MAX {
        return Err("a close reason has at most 123 bytes".into());
    }
    session.close_with(close.code, &close.reason);
    Ok(())
}

fn flood(session: &mut User<'_>, flood: &Flood) -> Answer {
    if flood.count > FLOOD_MESSAGES_MAX || flood.bytes > FLOOD_MESSAGE_BYTES_MAX {
        return Err("a flood has at most 1000000 messages of at most 4194304 bytes".into());
    }
    if u64::from(flood.count) * u64::from(flood.bytes) > FLOOD_BYTES_MAX {
        return Err("a flood has at most 1073741824 bytes".into());
    }
    let payload = forms::json(&"x".repeat(flood.bytes as usize));
    for _ in 0..flood.count {
        match session.send("flood", payload.as_bytes()) {
            // A client that does not read has been closed by this; its `on_close` tells the others.
            Err(SendError::Closed | SendError::QueueFull) => break,
            sent => sent?,
        }
    }
    Ok(())
}

/// Sends an answer. A session that is closed meanwhile needs none; one for whose answer the shard has no memory
/// would wait for it in vain, so it is closed.
fn reply(session: &mut User<'_>, topic: &str, payload: Payload<'_>) {
    match session.send(topic, payload) {
        Ok(()) | Err(SendError::Closed | SendError::QueueFull) => {}
        Err(error) => session.close_with(TRY_AGAIN_LATER, &error.to_string()),
    }
}

/// How others are told of a session's end.
fn reason_of(kind: CloseKind) -> &'static str {
    match kind {
        CloseKind::Peer | CloseKind::Server | CloseKind::Shutdown => "clean",
        CloseKind::QueueFull => "queue_full",
        _ => "error",
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// RFC 6455 s7.4: what a close frame may carry.
fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

const PRESENCE: &str = "presence";

const NAME_BYTES_MAX: usize = 32;

/// RFC 6455 s5.5: 125 bytes of a control frame, less the code.
const CLOSE_REASON_BYTES_MAX: usize = 123;

const TRY_AGAIN_LATER: u16 = 1013;

/// Messages of one flood: seconds of a hook's time at most.
const FLOOD_MESSAGES_MAX: u32 = 1_000_000;

/// Bytes of one message of a flood: as much as the default `--read-limit` lets in.
const FLOOD_MESSAGE_BYTES_MAX: u32 = 4 << 20;

/// Bytes of a whole flood.
const FLOOD_BYTES_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_of_every_kind_of_end() {
        let told = |reason| CloseKind::ALL.into_iter().filter(move |&kind| reason_of(kind) == reason);
        assert!(told("clean").eq([CloseKind::Peer, CloseKind::Server, CloseKind::Shutdown]));
        assert!(told("queue_full").eq([CloseKind::QueueFull]));
        assert_eq!(told("error").count(), CloseKind::ALL.len() - 4);
    }
}
