//! The server's handler: topics by message, a page, whether it lives and is ready.
//!
//! In      `subscribe`, `unsubscribe`, `publish`, `ping` and `auth` in the Json envelope; plain requests
//! Out     `subscribed`, `unsubscribed`, `pong`, `auth` and `error` to the sender; what is published, its bytes unchanged
//! Bounds  those of the engine; one answer per request, none per publish that went well
//! Source  docs/protocol.md

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use fanwire::{Auth, CloseReason, Handler, Http, Message, Payload, Request, Session};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::{
    args::Args,
    auth::{Caller, Expiry, Gate, PROTOCOL, Question, Refusal, Renewal, TOKEN_BYTES_MAX, Then, Webhook},
    live::{Live, View},
    page::Page,
    problem::{Limits, Problem},
    refused::Refused,
    reply::{Renewed, error_data, json},
    rules::Rules,
    signals::Ending,
    visitor::Visitor,
};

/// One shard's handler.
#[derive(Clone, Debug)]
pub(crate) struct App {
    rules: View<Rules>,
    /// Whether only this machine reaches the server.
    is_local: bool,
    limits: Limits,
    page: Arc<Page>,
    expiry: Expiry,
    caller: Caller,
    refused: Refused,
    ending: Ending,
}

impl App {
    pub(crate) fn new(
        args: &Args,
        is_local: bool,
        rules: &Live<Rules>,
        expiry: Expiry,
        caller: Caller,
        refused: Refused,
        ending: Ending,
    ) -> Self {
        let page = Arc::new(Page::new(&args.path));
        let (rules, limits) = (View::new(rules.clone()), args.limits());
        Self { rules, is_local, limits, page, expiry, caller, refused, ending }
    }

    fn answer(&mut self, session: &mut Session<'_, Visitor>, message: &Message<'_>) -> Result<(), Problem> {
        match message.topic() {
            "subscribe" => self.subscribe(session, message.data()),
            "unsubscribe" => self.unsubscribe(session, message.data()),
            "publish" => self.publish(session, message.data()),
            "ping" => reply(session, "pong", message.data()),
            "auth" => self.renew(session, message.data()),
            other => Err(Problem::unknown_topic(other)),
        }
    }

    fn subscribe(&mut self, session: &mut Session<'_, Visitor>, data: &[u8]) -> Result<(), Problem> {
        let TopicOnly { topic } = object("subscribe", TOPIC_FORM, data)?;
        self.check_name("subscribe", TOPIC_FORM, &topic)?;
        check_reserved(&topic)?;
        if !session.value_mut().may_subscribe_now(self.rules.now(), &topic) {
            return Err(Problem::forbidden("subscribe to", &topic));
        }
        if let Err(error) = session.subscribe(&topic) {
            session.value().has_left(&topic);
            return Err(Problem::of_subscribe(error, self.limits));
        }
        reply(session, "subscribed", json(&TopicOnly { topic }))
    }

    /// Succeeds also if there was no such subscription: there is none now.
    fn unsubscribe(&self, session: &mut Session<'_, Visitor>, data: &[u8]) -> Result<(), Problem> {
        let TopicOnly { topic } = object("unsubscribe", TOPIC_FORM, data)?;
        self.check_name("unsubscribe", TOPIC_FORM, &topic)?;
        session.unsubscribe(&topic);
        session.value().has_left(&topic);
        reply(session, "unsubscribed", json(&TopicOnly { topic }))
    }

    fn publish(&mut self, session: &mut Session<'_, Visitor>, data: &[u8]) -> Result<(), Problem> {
        if !self.may_publish() {
            return Err(Problem::PublishDisabled);
        }
        let Publish { topic, data } = object("publish", PUBLISH_FORM, data)?;
        self.check_name("publish", PUBLISH_FORM, &topic)?;
        check_reserved(&topic)?;
        if !session.value_mut().may_publish(self.rules.now(), &topic) {
            return Err(Problem::forbidden("publish on", &topic));
        }
        let data = data.map_or("", RawValue::get);
        session.publish(&topic, data).map_err(|error| Problem::of_publish(error, self.limits))
    }

    /// Takes a new token for a session that came in with one, of the same user. Topics that it does not open any more
    /// are left, and named in the answer.
    fn renew(&mut self, session: &mut Session<'_, Visitor>, data: &[u8]) -> Result<(), Problem> {
        let Token { token } = object("auth", TOKEN_FORM, data)?;
        let rules = self.rules.now().clone();
        let Some(admission) = &mut session.value_mut().admission else { return Err(Problem::AuthDisabled) };
        admission.settle();
        // Checking costs far more than sending: a client has one token checked in that time.
        if admission.renewal.is_some() || admission.paused_at.is_some_and(|at| at.elapsed() < RENEW_PAUSE) {
            return Err(Problem::TooSoon);
        }
        let tokens = match &rules.gate {
            Gate::Open => return Err(Problem::AuthDisabled),
            Gate::Tokens(tokens) => tokens,
            Gate::Webhook(webhook) => return self.ask_again(session, webhook, &token),
        };
        let checked = tokens.check(&token).map_err(Problem::Unauthorized);
        let pass = checked.and_then(|pass| {
            if pass.user() == admission.pass.user() { Ok(pass) } else { Err(Problem::OtherUser) }
        });
        admission.paused_at = Some(Instant::now());
        admission.pass = pass?;
        let expires_in = admission.pass.seconds_left();
        self.expire(session);
        let topics: Vec<String> = session.topics().into_iter().map(str::to_owned).collect();
        let (_, left): (Vec<_>, Vec<_>) =
            topics.into_iter().partition(|topic| session.value().may_subscribe(&rules, topic));
        left.iter().for_each(|topic| {
            session.unsubscribe(topic);
        });
        reply(session, "auth", json(&Renewed { state: "renewed", expires_in, unsubscribed: &left }))
    }

    /// Has the webhook asked about a new token; what comes of it is told to the client by the caller.
    fn ask_again(
        &self,
        session: &mut Session<'_, Visitor>,
        webhook: &Arc<Webhook>,
        token: &str,
    ) -> Result<(), Problem> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Problem::Unauthorized(Refusal::TooLong));
        }
        let topics = session.topics().into_iter().map(str::to_owned).collect();
        let (handle, peer) = (session.handle(), session.peer());
        let Some(admission) = &mut session.value_mut().admission else { return Err(Problem::AuthDisabled) };
        let user = admission.pass.user().unwrap_or_default().to_owned();
        let question = Question::of_session(peer, &user, token);
        let (watched, expiry) = (admission.watched.take(), self.expiry.clone());
        let (rules, refused) = (self.rules.live().clone(), self.refused.clone());
        let renewal = Renewal::new(handle, user, rules, expiry, refused, topics, watched);
        admission.renewal = Some(renewal.clone());
        self.caller.ask(webhook, question, Then::Renew(renewal));
        Ok(())
    }

    /// Watches over the end of a session's token, in place of the one before.
    fn expire(&self, session: &mut Session<'_, Visitor>) {
        let handle = session.handle();
        if let Some(admission) = &mut session.value_mut().admission {
            let watched = self.expiry.watch(handle, &admission.pass);
            let before = std::mem::replace(&mut admission.watched, watched);
            before.into_iter().for_each(|watched| self.expiry.forget(watched));
        }
    }

    fn may_publish(&mut self) -> bool {
        self.rules.now().client_publish.unwrap_or(self.is_local)
    }

    /// The engine checks the length as well, but not of a topic that is only unsubscribed from, and that name goes
    /// back to the client.
    fn check_name(&self, request: &'static str, form: &'static str, topic: &str) -> Result<(), Problem> {
        let max = self.limits.topic_bytes_max;
        match topic.len() {
            0 => Err(Problem::BadRequest { request, form }),
            bytes if bytes as u64 > u64::from(max) => Err(Problem::TopicTooLong { max }),
            _ => Ok(()),
        }
    }
}

impl Handler for App {
    type Value = Visitor;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<Visitor> {
        let is_offered = request.protocols().any(|protocol| protocol == PROTOCOL);
        let visitor = match &self.rules.now().gate {
            Gate::Open => Visitor::default(),
            Gate::Tokens(tokens) => match tokens.admit(request) {
                Ok(pass) => Visitor::of(pass),
                Err(refusal) => {
                    self.refused.token(refusal);
                    return Auth::reject(401, format!("{refusal}\n"));
                }
            },
            Gate::Webhook(webhook) => return self.caller.admit(webhook, request, is_offered),
        };
        let accepted = Auth::accept(visitor);
        if is_offered { accepted.protocol(PROTOCOL) } else { accepted }
    }

    fn on_open(&mut self, session: &mut Session<'_, Visitor>) {
        self.expire(session);
    }

    fn on_close(&mut self, session: &mut Session<'_, Visitor>, _why: &CloseReason) {
        let Some(admission) = &mut session.value_mut().admission else { return };
        let underway = admission.renewal.take().and_then(|renewal| renewal.abandon());
        admission.watched.take().into_iter().chain(underway).for_each(|watched| self.expiry.forget(watched));
    }

    fn on_message(&mut self, session: &mut Session<'_, Visitor>, message: Message<'_>) {
        if let Err(problem) = self.answer(session, &message) {
            self.refused.problem(&problem);
            // An answer that cannot be queued has closed the session or met its overflow policy, and is counted.
            let _ = session.send("error", error_data(&problem));
        }
    }

    fn on_http(&mut self, request: &Request<'_>) -> Http {
        match (request.path(), request.method()) {
            ("/", "GET" | "HEAD") => {
                let may_publish = self.may_publish();
                self.page.answer(request.header("Host"), may_publish)
            }
            ("/healthz", "GET" | "HEAD") => uncached(Http::text(200, "ok")),
            ("/readyz", "GET" | "HEAD") if self.ending.has_begun() => uncached(Http::text(503, "draining\n")),
            ("/readyz", "GET" | "HEAD") => uncached(Http::text(200, "ready\n")),
            ("/" | "/healthz" | "/readyz", _) => Http::text(405, "use GET\n").header("Allow", "GET, HEAD"),
            _ => Http::text(404, "not found\n"),
        }
    }
}

/// For whoever asks wants to know how it is now.
fn uncached(http: Http) -> Http {
    http.header("Cache-Control", "no-store")
}

/// The data of `subscribe`, `unsubscribe` and of their answers.
#[derive(Serialize, Deserialize)]
struct TopicOnly<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Publish<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

/// `"data":null` is data, not its absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads the data of a request.
fn object<'a, T: Deserialize<'a>>(
    request: &'static str,
    form: &'static str,
    data: &'a [u8],
) -> Result<T, Problem> {
    // serde would take an array for a struct as well.
    let found = if data.first() == Some(&b'{') { serde_json::from_slice(data).ok() } else { None };
    found.ok_or(Problem::BadRequest { request, form })
}

fn reply<'p>(
    session: &mut Session<'_, Visitor>,
    topic: &str,
    data: impl Into<Payload<'p>>,
) -> Result<(), Problem> {
    match session.send(topic, data).map_err(Problem::of_answer) {
        Err(Some(problem)) => Err(problem),
        Ok(()) | Err(None) => Ok(()),
    }
}

/// A subscriber could not tell what was published there from an answer to itself.
fn check_reserved(topic: &str) -> Result<(), Problem> {
    reserved(topic).map_or(Ok(()), |reserved| Err(Problem::ReservedTopic(reserved)))
}

/// The name, if it is one of the server's own messages.
pub(crate) fn reserved(topic: &str) -> Option<&'static str> {
    RESERVED_TOPICS.into_iter().find(|reserved| *reserved == topic)
}

/// What the server itself sends.
const RESERVED_TOPICS: [&str; 5] = ["subscribed", "unsubscribed", "pong", "auth", "error"];

const TOPIC_FORM: &str = r#"{"topic":"NAME"}, NAME not empty"#;
const TOKEN_FORM: &str = r#"{"token":"TOKEN"}"#;

/// Between a token in band that is refused and the next one that is looked at.
const RENEW_PAUSE: Duration = Duration::from_secs(1);

const PUBLISH_FORM: &str = r#"{"topic":"NAME","data":ANY}, NAME not empty"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_a_publish_keeps_its_bytes() {
        let data = br#"{ "data" : {"a" : 1.0e+2,"a":2} , "x":[], "topic":"t\u00e4" }"#;
        let publish: Publish<'_> = object("publish", PUBLISH_FORM, data).unwrap();
        assert_eq!((&*publish.topic, publish.data.unwrap().get()), ("tä", r#"{"a" : 1.0e+2,"a":2}"#));
    }

    #[test]
    fn null_is_data_and_missing_data_is_none() {
        let data = |text: &'static str| {
            let publish: Publish<'_> = object("publish", PUBLISH_FORM, text.as_bytes()).unwrap();
            publish.data.map(RawValue::get)
        };
        assert_eq!(data(r#"{"topic":"t","data":null}"#), Some("null"));
        assert_eq!(data(r#"{"topic":"t"}"#), None);
    }

    #[test]
    fn data_that_is_no_such_object_is_a_bad_request() {
        for data in ["", "null", "1", r#""t""#, "[]", r#"["t"]"#, "{}", r#"{"topic":1}"#, r#"{"topic":null}"#]
        {
            assert!(object::<TopicOnly<'_>>("subscribe", TOPIC_FORM, data.as_bytes()).is_err(), "{data}");
        }
    }
}
