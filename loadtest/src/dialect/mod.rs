//! Dialects: how a server is spoken to, as a small TOML file says it.
//!
//! In      TOML: where to connect, what subscribes and publishes, what a delivery looks like
//! Out     messages to send; what a received message is
//! Bounds  a delivery of the expected form is compared, not parsed, and allocates nothing
//! Source  the built-in ones stand in `built_in/`, and are examples for others

mod error;
mod file;
mod json;
mod stream;
mod template;
pub mod topic;

use std::{borrow::Cow, fs, path::Path, sync::Arc};

pub use error::DialectError;
pub use stream::Stream;
pub use template::Filling;

use file::{Connect, File, Words};
use json::Pattern;
use template::Template;

/// How a server is spoken to.
#[derive(Debug)]
pub struct Dialect {
    name: String,
    connect: Connect,
    subscribe: Option<Exchange>,
    unsubscribe: Option<Exchange>,
    publish: Option<Template>,
    delivery: Option<Form>,
    echo: Option<Exchange>,
    error: Option<Form>,
    replies: Vec<(Template, Vec<u8>)>,
    is_binary: bool,
    is_stream: bool,
    hears_itself: bool,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It receives.
    Subscriber,
    /// It publishes.
    Publisher,
    /// It sends and gets back.
    Echo,
    /// It only holds its place.
    Idle,
}

/// What a scenario needs of the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Only connections.
    Nothing,
    /// To publish, and to know what was published.
    Publish,
    /// More than one topic.
    Topics,
    /// Connections that publish and are subscribed.
    Chat,
    /// Subscriptions that end before their connection.
    Unsubscribe,
    /// Messages that come back.
    Echo,
}

/// A request, and what answers it.
#[derive(Debug)]
struct Exchange {
    send: Template,
    answer: Option<Form>,
}

/// What a received message looks like.
#[derive(Debug)]
struct Form {
    template: Template,
    /// Where the server may write its JSON in any way.
    pattern: Option<Pattern>,
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'m> {
    /// Published on a topic.
    Delivery {
        /// As the dialect writes it; empty where it names none.
        topic: Cow<'m, [u8]>,
        /// What was published.
        data: Cow<'m, [u8]>,
    },
    /// The answer to an echo; its data.
    Echo(Cow<'m, [u8]>),
    /// A subscription is in force, or at its end.
    Answer,
    /// The server refused a request; what it said.
    Error(String),
    /// It is to be answered by these bytes.
    Asks(&'m [u8]),
    /// Something that was not asked for.
    Other,
}

impl Dialect {
    /// One that is built in, or the one of a file.
    ///
    /// # Errors
    /// No such name and no such file, or the file is none; what it should be is said.
    pub fn load(name: &str) -> Result<Arc<Self>, DialectError> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text).map(Arc::new);
        }
        let text = fs::read_to_string(Path::new(name)).map_err(|error| DialectError::Unknown {
            name: name.to_owned(),
            known: BUILT_IN.map(|(name, _)| name).join(", "),
            error,
        })?;
        Self::parse(name, &text).map(Arc::new)
    }

    /// Reads one.
    ///
    /// # Errors
    /// Not the form that `docs/loadtest.md` gives.
    pub fn parse(name: &str, text: &str) -> Result<Self, DialectError> {
        let file: File =
            toml::from_str(text).map_err(|error| DialectError::Toml { error: Box::new(error) })?;
        let form = |text: String| Form::parse(&text, file.json);
        let exchange = |words: Words| -> Result<Exchange, DialectError> {
            Ok(Exchange { send: Template::parse(&words.send)?, answer: words.answer.map(form).transpose()? })
        };
        let replies = file
            .reply
            .into_iter()
            .map(|reply| Ok::<_, DialectError>((Template::parse(&reply.to)?, reply.send.into_bytes())));
        let dialect = Self {
            name: name.to_owned(),
            subscribe: file.subscribe.map(exchange).transpose()?,
            unsubscribe: file.unsubscribe.map(exchange).transpose()?,
            publish: file.publish.map(|words| Template::parse(&words.send)).transpose()?,
            delivery: file.delivery.map(|words| form(words.message)).transpose()?,
            echo: file.echo.map(exchange).transpose()?,
            error: file.error.map(|words| form(words.message)).transpose()?,
            replies: replies.collect::<Result<_, _>>()?,
            connect: file.connect,
            is_binary: file.binary,
            is_stream: file.stream,
            hears_itself: file.hears_itself,
        };
        let can_cut = |form: &Form| form.template.has_bytes();
        if dialect.is_stream && !dialect.delivery.as_ref().is_some_and(can_cut) {
            return Err(DialectError::NoBytes);
        }
        Ok(dialect)
    }

    /// As it is asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the URL's path and query are continued by.
    #[must_use]
    pub fn path_and_query(&self, role: Role) -> (&str, Option<&str>) {
        let path = match role {
            Role::Subscriber => &self.connect.subscriber_path,
            Role::Publisher => &self.connect.publisher_path,
            // Where nothing else comes, either.
            Role::Echo | Role::Idle => &self.connect.echo_path,
        };
        (path.as_deref().unwrap_or_default(), self.connect.query.as_deref())
    }

    /// The first message of each connection, if there is one.
    #[must_use]
    pub fn greeting(&self) -> Option<&[u8]> {
        self.connect.greeting.as_deref().map(str::as_bytes)
    }

    /// Whether messages go out as binary.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.is_binary
    }

    /// Whether messages are a stream of bytes, cut anywhere.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// Whether it can be subscribed to more than what a connection hears anyhow.
    #[must_use]
    pub fn has_topics(&self) -> bool {
        self.subscribe.is_some()
    }

    /// Whether who is connected is subscribed once the server has answered a ping.
    #[must_use]
    pub fn is_ready_by_pong(&self) -> bool {
        self.connect.ready_by_pong
    }

    /// Appends the request that subscribes; whether it will be answered. `None`: who is connected is subscribed.
    pub fn subscribe(&self, filling: &Filling<'_>, out: &mut Vec<u8>) -> Option<bool> {
        self.subscribe.as_ref().map(|exchange| exchange.write(filling, out))
    }

    /// Appends the request that unsubscribes; whether it will be answered. `None`: only closing ends it.
    pub fn unsubscribe(&self, filling: &Filling<'_>, out: &mut Vec<u8>) -> Option<bool> {
        self.unsubscribe.as_ref().map(|exchange| exchange.write(filling, out))
    }

    /// Appends the request that publishes.
    ///
    /// # Errors
    /// The dialect cannot.
    pub fn publish(&self, filling: &Filling<'_>, out: &mut Vec<u8>) -> Result<(), DialectError> {
        let template = self.publish.as_ref().ok_or_else(|| self.cannot("publish"))?;
        template.write(filling, out);
        Ok(())
    }

    /// Appends the request that comes back.
    ///
    /// # Errors
    /// The dialect has none.
    pub fn echo(&self, filling: &Filling<'_>, out: &mut Vec<u8>) -> Result<(), DialectError> {
        let exchange = self.echo.as_ref().ok_or_else(|| self.cannot("echo"))?;
        exchange.write(filling, out);
        Ok(())
    }

    /// Whether who publishes and is subscribed gets its own messages.
    #[must_use]
    pub fn hears_itself(&self) -> bool {
        self.hears_itself
    }

    /// Whether it can do what a scenario needs.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self, needs: Needs) -> Result<(), DialectError> {
        let can_publish = self.publish.is_some() && self.delivery.is_some();
        let is_one_path = self.connect.subscriber_path == self.connect.publisher_path;
        let can_echo = self.echo.as_ref().is_some_and(|exchange| exchange.answer.is_some());
        let (can, what) = match needs {
            Needs::Nothing => (true, ""),
            Needs::Publish => (can_publish, "publish"),
            Needs::Topics => (can_publish && self.has_topics(), "subscribe to topics by name"),
            Needs::Chat => (can_publish && is_one_path, "publish on a connection that is subscribed"),
            Needs::Unsubscribe => (can_publish && self.unsubscribe.is_some(), "unsubscribe"),
            Needs::Echo => (can_echo, "echo"),
        };
        if can { Ok(()) } else { Err(self.cannot(what)) }
    }

    /// What a received message is, of a connection with this role.
    #[must_use]
    pub fn read<'m>(&'m self, role: Role, message: &'m [u8]) -> Incoming<'m> {
        // What comes in masses is looked for first.
        let expected = match role {
            Role::Echo => self.echo.as_ref().and_then(|exchange| exchange.answer.as_ref()),
            Role::Subscriber | Role::Publisher | Role::Idle => self.delivery.as_ref(),
        };
        if let Some(found) = expected.and_then(|form| form.template.read(message)) {
            let data = Cow::Borrowed(found.data);
            return match role {
                Role::Echo => Incoming::Echo(data),
                _ if self.is_delivery(found.topic) => {
                    Incoming::Delivery { topic: Cow::Borrowed(found.topic), data }
                }
                _ => self.read_other(role, message),
            };
        }
        self.read_other(role, message)
    }

    /// An answer may have a delivery's form, with a word where the topic stands.
    fn is_delivery(&self, topic: &[u8]) -> bool {
        let words =
            [self.answer_topic(self.subscribe.as_ref()), self.answer_topic(self.unsubscribe.as_ref())];
        let error = self.error.as_ref().and_then(|form| form.pattern.as_ref()).and_then(Pattern::topic);
        !words.into_iter().flatten().chain(error).any(|word| word.as_bytes() == topic)
    }

    fn answer_topic<'d>(&self, exchange: Option<&'d Exchange>) -> Option<&'d str> {
        exchange?.answer.as_ref()?.pattern.as_ref()?.topic()
    }

    fn read_other<'m>(&'m self, role: Role, message: &'m [u8]) -> Incoming<'m> {
        let answers = [self.subscribe.as_ref(), self.unsubscribe.as_ref()];
        let is_answer = |exchange: Option<&Exchange>| {
            exchange.and_then(|exchange| exchange.answer.as_ref()).is_some_and(|form| form.is(message))
        };
        if answers.into_iter().any(is_answer) {
            return Incoming::Answer;
        }
        if self.error.as_ref().is_some_and(|form| form.is(message)) {
            return Incoming::Error(self.error_text(message));
        }
        if let Some((_, reply)) = self.replies.iter().find(|(to, _)| to.starts(message)) {
            return Incoming::Asks(reply);
        }
        let expected = match role {
            Role::Echo => self.echo.as_ref().and_then(|exchange| exchange.answer.as_ref()),
            Role::Subscriber | Role::Publisher | Role::Idle => self.delivery.as_ref(),
        };
        let found = expected.and_then(|form| form.pattern.as_ref()?.read(message));
        match (found, role) {
            (Some((_, data)), Role::Echo) => Incoming::Echo(Cow::Owned(data)),
            (Some((topic, data)), _) => {
                Incoming::Delivery { topic: Cow::Owned(topic), data: Cow::Owned(data) }
            }
            (None, _) => Incoming::Other,
        }
    }

    /// The error's own words if the dialect says where they stand, or else all of it.
    fn error_text(&self, message: &[u8]) -> String {
        let pattern = self.error.as_ref().and_then(|form| form.pattern.as_ref());
        let words = pattern.and_then(|pattern| pattern.read(message)).map(|(_, data)| data);
        String::from_utf8_lossy(words.as_deref().unwrap_or(message)).trim().to_owned()
    }

    fn cannot(&self, what: &'static str) -> DialectError {
        DialectError::Cannot { name: self.name.clone(), what }
    }
}

impl Exchange {
    fn write(&self, filling: &Filling<'_>, out: &mut Vec<u8>) -> bool {
        self.send.write(filling, out);
        self.answer.is_some()
    }
}

impl Form {
    fn parse(text: &str, is_json: bool) -> Result<Self, DialectError> {
        let pattern = is_json.then(|| Pattern::parse(text)).transpose()?;
        Ok(Self { template: Template::parse(text)?, pattern })
    }

    /// Whether a message is one of these: it starts like it, or is JSON with these members.
    fn is(&self, message: &[u8]) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.read(message).is_some(),
            None => self.template.starts(message),
        }
    }
}

const BUILT_IN: [(&str, &str); 5] = [
    ("fanwire", include_str!("built_in/fanwire.toml")),
    ("rooms", include_str!("built_in/rooms.toml")),
    ("paths", include_str!("built_in/paths.toml")),
    ("broadcast", include_str!("built_in/broadcast.toml")),
    ("nats", include_str!("built_in/nats.toml")),
];

#[cfg(test)]
mod tests;
