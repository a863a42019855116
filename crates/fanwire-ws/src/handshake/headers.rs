//! The header fields of a head, and the ways they are looked up.
//!
//! In      fields in the order of the wire
//! Out     values by name, without regard to case; lists and their tokens
//! Bounds  at most 100 fields; look-ups are O(fields)
//! Source  RFC 7230 sections 3.2 and 7

use std::mem::MaybeUninit;

/// Header fields of one head, borrowed from its bytes.
#[derive(Debug, Clone)]
pub(super) struct Headers<'a> {
    fields: Vec<httparse::Header<'a>>,
}

impl<'a> Headers<'a> {
    /// Keeps `fields` in one allocation of just their length.
    pub(super) fn new(fields: &[httparse::Header<'a>]) -> Headers<'a> {
        Headers { fields: fields.to_vec() }
    }

    /// Takes fields that have a place already.
    pub(super) fn of(fields: Vec<httparse::Header<'a>>) -> Headers<'a> {
        Headers { fields }
    }

    /// All fields, in the order of the wire.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The values of all fields with this name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first field with this name.
    pub(super) fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// How many fields have this name.
    pub(super) fn count(&self, name: &str) -> usize {
        self.all(name).count()
    }

    /// The elements of the comma-separated list that all fields with this name make together, without empty ones
    /// and without those that are not UTF-8.
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .filter_map(|element| std::str::from_utf8(element.trim_ascii()).ok())
            .filter(|element| !element.is_empty())
    }

    /// Whether that list contains `token`, without regard to case.
    pub(super) fn contains(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token))
    }
}

/// Most header fields that a head may have.
pub const HEADERS_MAX: usize = 100;

/// Room on the stack to parse a head into.
pub(super) fn room<'a>() -> [MaybeUninit<httparse::Header<'a>>; HEADERS_MAX] {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> Headers<'static> {
        let field = |name, value| httparse::Header { name, value };
        Headers::new(&[
            field("Host", &b"example.org"[..]),
            field("connection", b"keep-alive, Upgrade"),
            field("Connection", b" ,x,"),
        ])
    }

    #[test]
    fn names_are_found_without_regard_to_case() {
        assert_eq!(headers().first("hOST"), Some(&b"example.org"[..]));
        assert_eq!(headers().first("Hos"), None);
        assert_eq!(headers().count("CONNECTION"), 2);
    }

    #[test]
    fn fields_of_one_name_make_one_list() {
        assert_eq!(headers().list("Connection").collect::<Vec<_>>(), ["keep-alive", "Upgrade", "x"]);
        assert!(headers().contains("connection", "upgrade") && headers().contains("connection", "X"));
        assert!(!headers().contains("connection", "keep"));
    }
}
