//! Templates: text with places for a topic and for data, written and read back.
//!
//! In      a pattern such as `PUB {topic} {bytes}\r\n{data}\r\n`
//! Out     messages with the places filled; of a received message, what stands in them
//! Bounds  reading allocates nothing; a place for a topic ends at the next literal
//! Source  none: the places are this file's

use super::DialectError;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Place(Place),
}

/// What a pattern leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The topic as it is.
    Topic,
    /// The topic as a JSON string, with its quotes.
    QuotedTopic,
    /// The data.
    Data,
    /// The data's length in bytes, decimal.
    Bytes,
    /// The number of the subscription on its connection; whatever stands there is read.
    Subscription,
}

/// What fills the places of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling<'f> {
    /// As it is.
    pub topic: &'f str,
    /// As a JSON string.
    pub quoted_topic: &'f str,
    /// The message's data.
    pub data: &'f [u8],
    /// Counts the subscriptions of a connection.
    pub subscription: usize,
}

/// What stood in a message's places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found<'m> {
    /// Empty if the template has no place for one; with quotes where it is a JSON string.
    pub topic: &'m [u8],
    /// Empty if the template has no place for it.
    pub data: &'m [u8],
    /// Length of what was read.
    pub bytes: usize,
}

/// How the start of a message compares with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match<'m> {
    /// It has the template's form.
    Whole(Found<'m>),
    /// It may, once more has come.
    Partial,
    /// It has not.
    None,
}

impl Template {
    /// Reads a pattern. Braces that name no place stand for themselves, as in JSON.
    ///
    /// # Errors
    /// Two places without a literal between them: nothing would say where the first ends.
    pub(super) fn parse(pattern: &str) -> Result<Self, DialectError> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let next = PLACES
                .iter()
                .filter_map(|(name, place)| Some((rest.find(name)?, *name, *place)))
                .min_by_key(|(at, _, _)| *at);
            let Some((at, name, place)) = next else {
                parts.push(Part::Literal(rest.to_owned()));
                break;
            };
            if at > 0 {
                parts.push(Part::Literal(rest[..at].to_owned()));
            } else if matches!(parts.last(), Some(Part::Place(_))) {
                return Err(DialectError::Adjacent { pattern: pattern.to_owned() });
            }
            parts.push(Part::Place(place));
            rest = &rest[at + name.len()..];
        }
        Ok(Self(parts))
    }

    /// Appends the message with its places filled.
    pub(super) fn write(&self, filling: &Filling<'_>, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Place(Place::Topic) => out.extend_from_slice(filling.topic.as_bytes()),
                Part::Place(Place::QuotedTopic) => out.extend_from_slice(filling.quoted_topic.as_bytes()),
                Part::Place(Place::Data) => out.extend_from_slice(filling.data),
                Part::Place(Place::Bytes) => out.extend_from_slice(filling.data.len().to_string().as_bytes()),
                Part::Place(Place::Subscription) => {
                    out.extend_from_slice(filling.subscription.to_string().as_bytes());
                }
            }
        }
    }

    /// Reads a message that has nothing but this form.
    #[must_use]
    pub(super) fn read<'m>(&self, message: &'m [u8]) -> Option<Found<'m>> {
        let found = match self.read_front(message, true) {
            Match::Whole(found) => found,
            Match::Partial | Match::None => return None,
        };
        (found.bytes == message.len()).then_some(found)
    }

    /// Reads the front of a stream, where the data's length must have been announced.
    #[must_use]
    pub(super) fn read_stream<'m>(&self, stream: &'m [u8]) -> Match<'m> {
        self.read_front(stream, false)
    }

    /// Whether a message starts as this does, up to its first place.
    #[must_use]
    pub(super) fn starts(&self, message: &[u8]) -> bool {
        match self.0.first() {
            Some(Part::Literal(text)) => message.starts_with(text.as_bytes()),
            _ => false,
        }
    }

    /// Whether it announces the data's length, so that a stream can be cut into messages.
    #[must_use]
    pub(super) fn has_bytes(&self) -> bool {
        self.0.contains(&Part::Place(Place::Bytes))
    }

    fn read_front<'m>(&self, message: &'m [u8], is_all: bool) -> Match<'m> {
        let (mut rest, mut announced) = (message, None);
        let mut found = Found { topic: &[], data: &[], bytes: 0 };
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(text) => {
                    let text = text.as_bytes();
                    let common = text.len().min(rest.len());
                    if text[..common] != rest[..common] {
                        return Match::None;
                    }
                    if common < text.len() {
                        return Match::Partial;
                    }
                    rest = &rest[common..];
                }
                Part::Place(Place::Data) => {
                    let tail_bytes: usize = parts.clone().map(Part::literal_bytes).sum();
                    let data_bytes = match announced {
                        Some(bytes) => bytes,
                        None if is_all && rest.len() >= tail_bytes => rest.len() - tail_bytes,
                        None => return Match::None,
                    };
                    let Some(data) = rest.get(..data_bytes) else { return Match::Partial };
                    (found.data, rest) = (data, &rest[data_bytes..]);
                }
                Part::Place(place) => {
                    let end = match parts.peek() {
                        Some(Part::Literal(text)) => position(rest, text.as_bytes()),
                        _ => Some(rest.len()),
                    };
                    let Some(end) = end else { return Match::Partial };
                    let (value, behind) = rest.split_at(end);
                    rest = behind;
                    match place {
                        Place::Bytes => {
                            let digits = std::str::from_utf8(value).ok();
                            announced = digits.and_then(|digits| digits.parse().ok());
                            if announced.is_none() {
                                return Match::None;
                            }
                        }
                        Place::Topic | Place::QuotedTopic => found.topic = value,
                        Place::Subscription | Place::Data => {}
                    }
                }
            }
        }
        found.bytes = message.len() - rest.len();
        Match::Whole(found)
    }
}

impl Part {
    fn literal_bytes(&self) -> usize {
        match self {
            Self::Literal(text) => text.len(),
            Self::Place(_) => 0,
        }
    }
}

/// Where `needle` begins. Literals are short and start early, so that looking is cheaper than a searcher.
fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

const PLACES: [(&str, Place); 5] = [
    ("{topic}", Place::Topic),
    ("{quoted_topic}", Place::QuotedTopic),
    ("{data}", Place::Data),
    ("{bytes}", Place::Bytes),
    ("{subscription}", Place::Subscription),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn template(pattern: &str) -> Template {
        Template::parse(pattern).unwrap()
    }

    const FILLING: Filling<'_> =
        Filling { topic: "a", quoted_topic: "\"a\"", data: b"\"x\"", subscription: 1 };

    #[test]
    fn what_is_written_is_read_back() {
        for (pattern, text) in [
            (r#"{"topic":{quoted_topic},"data":{data}}"#, r#"{"topic":"a","data":"x"}"#),
            ("{data}", "\"x\""),
            ("MSG {topic} {subscription} {bytes}\r\n{data}\r\n", "MSG a 1 3\r\n\"x\"\r\n"),
        ] {
            let template = template(pattern);
            let mut out = Vec::new();
            template.write(&FILLING, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
            let found = template.read(&out).unwrap();
            assert_eq!((found.data, found.bytes), (FILLING.data, out.len()), "{pattern}");
            assert!(matches!(found.topic, b"" | b"a" | b"\"a\""), "{pattern}");
            for shorter in 0..out.len() {
                let cut = template.read(&out[..shorter]).is_some_and(|found| found.data == FILLING.data);
                assert!(!cut, "{pattern} cut to {shorter}");
            }
        }
    }

    #[test]
    fn a_stream_is_cut_where_the_announced_length_ends() {
        let template = template("MSG {topic} {subscription} {bytes}\r\n{data}\r\n");
        let stream = b"MSG a 1 4\r\n\r\nMS\r\nMSG";
        let Match::Whole(found) = template.read_stream(stream) else { panic!("it is whole") };
        assert_eq!((found.topic, found.data, found.bytes), (&b"a"[..], &b"\r\nMS"[..], 17));
        for shorter in 0..17 {
            assert_eq!(template.read_stream(&stream[..shorter]), Match::Partial, "{shorter}");
        }
        assert_eq!(template.read_stream(b"PING\r\n"), Match::None);
        assert_eq!(template.read_stream(b"MSG a 1 x\r\n"), Match::None);
    }

    #[test]
    fn data_without_a_length_cannot_be_cut_from_a_stream() {
        assert_eq!(template("{data}\r\n").read_stream(b"x\r\n"), Match::None);
        assert!(!template("{data}").has_bytes() && template("{bytes} {data}").has_bytes());
    }

    #[test]
    fn places_must_stand_apart() {
        assert!(matches!(Template::parse("{topic}{data}"), Err(DialectError::Adjacent { .. })));
        assert!(template("{other}").starts(b"{other}"));
    }
}
