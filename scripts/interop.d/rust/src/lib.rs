//! What a Rust peer does, whichever library it is of.
//!
//! In      lines with a behaviour each, on stdin; a [`Client`]
//! Out     lines with an answer each, on stdout
//! Bounds  the one who asks sets the time
//! Source  docs/interoperation.md

use std::{
    error::Error,
    fmt,
    io::{self, BufRead, Write},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};

/// A library's connection.
#[expect(async_fn_in_trait, reason = "peers run on one thread")]
pub trait Client: Sized {
    /// The library's name, as in Cargo.lock.
    const NAME: &str;

    /// Connects. A handshake that is answered with another status than 101 is a [`Refused`].
    async fn open(url: &str, offer: &Offer<'_>) -> Result<Self, Failure>;
    /// The subprotocol that was chosen; empty if none was.
    fn protocol(&self) -> &str;
    /// Sends a text.
    async fn text(&mut self, text: &str) -> Result<(), Failure>;
    /// Sends bytes.
    async fn binary(&mut self, payload: &[u8]) -> Result<(), Failure>;
    /// Sends a text in fragments, with a ping between the second and the third.
    async fn fragments(&mut self, pieces: &[&[u8]]) -> Result<(), Failure>;
    /// Sends a ping.
    async fn ping(&mut self, payload: &[u8]) -> Result<(), Failure>;
    /// Begins the closing handshake.
    async fn close(&mut self, code: u16, reason: &str) -> Result<(), Failure>;
    /// What comes next, pings left out: the library answers them.
    async fn hear(&mut self) -> Result<Heard, Failure>;
}

/// What a handshake offers.
#[derive(Default)]
pub struct Offer<'a> {
    /// `Sec-WebSocket-Protocol`.
    pub protocols: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Authorization: Bearer`.
    pub token: Option<&'a str>,
}

impl Offer<'_> {
    /// The headers that say so.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let protocols = self.protocols.map(|list| ("Sec-WebSocket-Protocol", list.to_owned()));
        let origin = self.origin.map(|origin| ("Origin", origin.to_owned()));
        let token = self.token.map(|token| ("Authorization", format!("Bearer {token}")));
        [protocols, origin, token].into_iter().flatten()
    }
}

/// What a peer hears.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// The answer to a ping.
    Pong(Vec<u8>),
    /// The end, with the server's code and reason.
    Closed(u16, String),
}

/// What is not as it should be, or went wrong.
pub type Failure = Box<dyn Error>;

/// The status with which a handshake was refused.
#[derive(Debug)]
pub struct Refused(pub u16);

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "refused with {}", self.0)
    }
}

impl Error for Refused {}

/// The library has no way to do that.
#[derive(Debug)]
struct Cannot(&'static str);

impl fmt::Display for Cannot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl Error for Cannot {}

/// Answers until stdin ends.
pub fn serve<C: Client>() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    say(&json!({ "peer": format!("{} {}", C::NAME, version_of(C::NAME)) }));
    for line in io::stdin().lock().lines() {
        let asked: Asked = serde_json::from_str(&line?)?;
        say(&match runtime.block_on(answer::<C>(&asked)) {
            Ok(()) => json!({ "passed": true }),
            Err(why) if why.is::<Cannot>() => json!({ "cannot": why.to_string() }),
            Err(why) => json!({ "failed": why.to_string() }),
        });
    }
    Ok(())
}

/// What is asked: each behaviour needs some of these.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Asked {
    behaviour: String,
    url: String,
    topic: String,
    text: String,
    reason: String,
    own: String,
    foreign: String,
    good: String,
    short: String,
    fresh: String,
    count: usize,
    window: usize,
    bytes: usize,
    code: u16,
    status: u16,
    silence_ms: u64,
    lengths: Vec<usize>,
    texts: Vec<String>,
    bad: Vec<String>,
}

async fn answer<C: Client>(asked: &Asked) -> Result<(), Failure> {
    match asked.behaviour.as_str() {
        "subprotocol" => subprotocol::<C>(asked).await,
        "requests" => requests::<C>(asked).await,
        "order" => order::<C>(asked).await,
        "raw" => raw::<C>(asked).await,
        "fragments" => fragments::<C>(asked).await,
        "ping" => ping::<C>(asked).await,
        "keepalive" => keepalive::<C>(asked).await,
        "limit" => limit::<C>(asked).await,
        "close" => close::<C>(asked).await,
        "deflate" => Err(Cannot("it has no compression").into()),
        "origin" => origin::<C>(asked).await,
        "token" => token::<C>(asked).await,
        "expiry" => expiry::<C>(asked).await,
        "drain" => drain::<C>(asked).await,
        other => Err(format!("no such behaviour: {other}").into()),
    }
}

async fn subprotocol<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut offering = C::open(&asked.url, &protocols("other, fanwire")).await?;
    expect("the protocol chosen of other and fanwire", offering.protocol(), "fanwire")?;
    offering.close(1000, "").await?;
    let mut plain = C::open(&asked.url, &Offer::default()).await?;
    expect("the protocol where none was offered", plain.protocol(), "")?;
    plain.close(1000, "").await
}

async fn requests<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut client = C::open(&asked.url, &Offer::default()).await?;
    let topic = json!({ "topic": asked.topic });
    subscribe(&mut client, &asked.topic).await?;
    tell(&mut client, "unsubscribe", &topic).await?;
    hear(&mut client, "unsubscribed", &topic).await?;
    tell(&mut client, "subscribe", &json!({ "topic": "error" })).await?;
    let refusal = heard(&mut client).await?;
    expect("the refusal of a reserved topic", &refusal["data"]["code"], &json!("reserved_topic"))?;
    let mixed = json!(["é", 1, null]);
    tell(&mut client, "ping", &mixed).await?;
    hear(&mut client, "pong", &mixed).await?;
    client.close(1000, "").await
}

async fn order<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut publisher = C::open(&asked.url, &Offer::default()).await?;
    let mut subscriber = C::open(&asked.url, &Offer::default()).await?;
    subscribe(&mut subscriber, &asked.topic).await?;
    let data = |number: usize| json!({ "number": number, "text": asked.texts[number % asked.texts.len()] });
    for first in (0..asked.count).step_by(asked.window) {
        let numbers = first..(first + asked.window).min(asked.count);
        for number in numbers.clone() {
            let publish = json!({ "topic": asked.topic, "data": data(number) });
            tell(&mut publisher, "publish", &publish).await?;
        }
        for number in numbers {
            hear(&mut subscriber, &asked.topic, &data(number)).await?;
        }
    }
    publisher.close(1000, "").await?;
    subscriber.close(1000, "").await
}

async fn raw<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut client = C::open(&asked.url, &Offer::default()).await?;
    for &length in &asked.lengths {
        let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
        client.binary(&payload).await?;
        expect("bytes", client.hear().await?, Heard::Binary(payload))?;
    }
    for text in &asked.texts {
        client.text(text).await?;
        expect("a text", client.hear().await?, Heard::Text(text.clone()))?;
    }
    client.close(1000, "").await
}

async fn fragments<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut client = C::open(&asked.url, &Offer::default()).await?;
    let message = json!({ "topic": "ping", "data": asked.text }).to_string();
    // Five bytes at a time: that cuts characters, too.
    client.fragments(&message.as_bytes().chunks(5).collect::<Vec<_>>()).await?;
    expect("the answer to the ping between", client.hear().await?, Heard::Pong(b"between".to_vec()))?;
    hear(&mut client, "pong", &json!(asked.text)).await?;
    client.close(1000, "").await
}

async fn ping<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut client = C::open(&asked.url, &Offer::default()).await?;
    for payload in [&b""[..], b"are you there?", &[b'x'; 125]] {
        client.ping(payload).await?;
        expect("the answer to a ping", client.hear().await?, Heard::Pong(payload.to_vec()))?;
    }
    client.close(1000, "").await
}

async fn keepalive<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut client = C::open(&asked.url, &Offer::default()).await?;
    let silence = Duration::from_millis(asked.silence_ms);
    if let Ok(came) = tokio::time::timeout(silence, client.hear()).await {
        return Err(format!("in a silence of {silence:?} there came {came:?}").into());
    }
    tell(&mut client, "ping", &json!(1)).await?;
    hear(&mut client, "pong", &json!(1)).await?;
    client.close(1000, "").await
}

async fn limit<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut client = C::open(&asked.url, &Offer::default()).await?;
    client.text(&"x".repeat(asked.bytes)).await?;
    expect("the end after a message over the limit", client.hear().await?, end(asked))
}

async fn close<C: Client>(asked: &Asked) -> Result<(), Failure> {
    for (code, reason) in [(1000, "done"), (4321, "é")] {
        let mut client = C::open(&asked.url, &Offer::default()).await?;
        client.close(code, reason).await?;
        expect_code("the end after a close of our own", &client.hear().await?, code)?;
    }
    Ok(())
}

async fn origin<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let foreign = Offer { origin: Some(&asked.foreign), ..Offer::default() };
    refused::<C>("a foreign origin", asked.status, &asked.url, &foreign).await?;
    let own = Offer { origin: Some(&asked.own), ..Offer::default() };
    C::open(&asked.url, &own).await?.close(1000, "").await
}

async fn token<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let (url, good, status) = (&asked.url, &asked.good, asked.status);
    refused::<C>("no token", status, url, &Offer::default()).await?;
    for bad in &asked.bad {
        refused::<C>("a bad token", status, url, &bearer(bad)).await?;
        let list = format!("fanwire, fanwire.token.{bad}");
        refused::<C>("a bad token as a protocol", status, url, &protocols(&list)).await?;
    }
    let (query, list) = (format!("{url}?token={good}"), format!("fanwire, fanwire.token.{good}"));
    for (url, offer, protocol) in
        [(url, bearer(good), ""), (&query, Offer::default(), ""), (url, protocols(&list), "fanwire")]
    {
        let mut client = C::open(url, &offer).await?;
        expect("the protocol with a token", client.protocol(), protocol)?;
        subscribe(&mut client, "news").await?;
        client.close(1000, "").await?;
    }
    Ok(())
}

async fn expiry<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut staying = C::open(&asked.url, &bearer(&asked.short)).await?;
    let mut going = C::open(&asked.url, &bearer(&asked.short)).await?;
    expect("the warning", &heard(&mut staying).await?["data"]["state"], &json!("expiring"))?;
    tell(&mut staying, "auth", &json!({ "token": asked.fresh })).await?;
    expect("the answer to a fresh token", &heard(&mut staying).await?["data"]["state"], &json!("renewed"))?;
    heard(&mut going).await?;
    expect("the end of a session whose token has expired", going.hear().await?, end(asked))?;
    subscribe(&mut staying, "news").await?;
    staying.close(1000, "").await
}

async fn drain<C: Client>(asked: &Asked) -> Result<(), Failure> {
    let mut client = C::open(&asked.url, &Offer::default()).await?;
    subscribe(&mut client, &asked.topic).await?;
    say(&json!({ "ready": true }));
    expect("the end when the server is told to end", client.hear().await?, end(asked))
}

async fn subscribe<C: Client>(client: &mut C, topic: &str) -> Result<(), Failure> {
    tell(client, "subscribe", &json!({ "topic": topic })).await?;
    hear(client, "subscribed", &json!({ "topic": topic })).await
}

async fn tell<C: Client>(client: &mut C, topic: &str, data: &Value) -> Result<(), Failure> {
    client.text(&json!({ "topic": topic, "data": data }).to_string()).await
}

async fn heard<C: Client>(client: &mut C) -> Result<Value, Failure> {
    match client.hear().await? {
        Heard::Text(text) => Ok(serde_json::from_str(&text)?),
        other => Err(format!("a text was to come, there came {other:.300?}").into()),
    }
}

async fn hear<C: Client>(client: &mut C, topic: &str, data: &Value) -> Result<(), Failure> {
    expect("a message", heard(client).await?, json!({ "topic": topic, "data": data }))
}

async fn refused<C: Client>(what: &str, status: u16, url: &str, offer: &Offer<'_>) -> Result<(), Failure> {
    let Err(why) = C::open(url, offer).await else { return Err(format!("{what}: it is let in").into()) };
    let Some(refused) = why.downcast_ref::<Refused>() else { return Err(why) };
    expect(what, refused.0, status)
}

fn end(asked: &Asked) -> Heard {
    Heard::Closed(asked.code, asked.reason.clone())
}

fn bearer(token: &str) -> Offer<'_> {
    Offer { token: Some(token), ..Offer::default() }
}

fn protocols(list: &str) -> Offer<'_> {
    Offer { protocols: Some(list), ..Offer::default() }
}

fn expect<T: PartialEq + fmt::Debug>(what: &str, found: T, wanted: T) -> Result<(), Failure> {
    if found == wanted {
        return Ok(());
    }
    let short = |value: &T| format!("{value:?}").chars().take(300).collect::<String>();
    Err(format!("{what}: expected {}, found {}", short(&wanted), short(&found)).into())
}

fn expect_code(what: &str, found: &Heard, wanted: u16) -> Result<(), Failure> {
    match found {
        Heard::Closed(code, _) if *code == wanted => Ok(()),
        other => Err(format!("{what}: expected {wanted}, found {other:?}").into()),
    }
}

/// One line, there at once.
fn say(answer: &Value) {
    println!("{answer}");
    io::stdout().flush().ok();
}

/// As the lock file has it.
fn version_of(package: &str) -> &'static str {
    include_str!("../Cargo.lock")
        .split_once(&format!("name = \"{package}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}
