//! Topics: the names that a run publishes to.
//!
//! In      a name, and how many
//! Out     each topic as text and as JSON
//! Bounds  the names of all topics are kept, some 100 bytes each
//! Source  none

use super::{Dialect, Filling};

/// The topics of a run, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    name: String,
    topics: Vec<Topic>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    plain: String,
    quoted: String,
}

impl Topics {
    /// One with this name, or `name.0`, `name.1` and so on.
    #[must_use]
    pub fn new(name: &str, count: usize) -> Self {
        let topics = match count {
            1 => vec![Topic::new(name.to_owned())],
            _ => (0..count).map(|index| Topic::new(format!("{name}.{index}"))).collect(),
        };
        Self { name: name.to_owned(), topics }
    }

    /// Of the only one, or the start of all.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.topics.len()
    }

    /// One by its index.
    ///
    /// # Panics
    /// There are not so many.
    #[must_use]
    pub fn at(&self, index: usize) -> &Topic {
        &self.topics[index]
    }
}

impl Topic {
    fn new(plain: String) -> Self {
        Self { quoted: serde_json::Value::from(plain.as_str()).to_string(), plain }
    }

    /// For a dialect's places.
    #[must_use]
    pub fn filling<'f>(&'f self, data: &'f [u8]) -> Filling<'f> {
        Filling { topic: &self.plain, quoted_topic: &self.quoted, data, subscription: 1 }
    }

    /// Whether a delivery's topic is this one.
    #[must_use]
    pub fn is(&self, dialect: &Dialect, received: &[u8]) -> bool {
        received == self.quoted.as_bytes()
            || received == self.plain.as_bytes()
            // Where nothing is subscribed to, a topic has no name.
            || (received.is_empty() && !dialect.has_topics())
    }
}
