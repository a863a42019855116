//! Topic rules: which topics a session may subscribe to and publish on.
//!
//! In      patterns such as `news.*` and `user:{sub}`, and the claims of a token
//! Out     yes or no
//! Bounds  a look at each pattern costs O(topic's length x stars); patterns are as long as who wrote them may write
//! Source  docs/configuration.md

use std::borrow::Cow;

/// Patterns of which one must match; none at all allow every topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patterns(Vec<Pattern>);

impl Patterns {
    /// # Errors
    /// Which pattern is none, and why.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        texts.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Patterns in which braces are just braces: those of a token, which names its user anyway.
    pub(crate) fn of_token(texts: &[String]) -> Self {
        Self(texts.iter().map(|text| Pattern::plain(text)).collect())
    }

    pub(crate) fn allow(&self, topic: &str, claims: &Claims) -> bool {
        self.0.is_empty() || self.match_one(topic, claims)
    }

    /// As [`Patterns::allow`], but none allow nothing.
    pub(crate) fn match_one(&self, topic: &str, claims: &Claims) -> bool {
        self.0.iter().any(|pattern| pattern.matches(topic, claims))
    }
}

/// Claims that patterns may name: texts and whole numbers at the top level of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims(pub(crate) Vec<(String, String)>);

impl Claims {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// Segments with stars between them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(Vec<Vec<Piece>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Claim(String),
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a pattern is empty: give a topic, or * for all".to_owned());
        }
        text.split('*').map(|segment| pieces(segment, text)).collect::<Result<_, _>>().map(Self)
    }

    fn plain(text: &str) -> Self {
        Self(text.split('*').map(|segment| vec![Piece::Text(segment.to_owned())]).collect())
    }

    /// A star stands for one or more characters of any kind. What a claim says is text, stars included.
    fn matches(&self, topic: &str, claims: &Claims) -> bool {
        let segments: Option<Vec<_>> = self.0.iter().map(|segment| resolved(segment, claims)).collect();
        let Some(segments) = segments else { return false };
        let [first, rest @ ..] = &*segments else { return false };
        let Some(left) = topic.strip_prefix(&**first) else { return false };
        let [between @ .., last] = rest else { return left.is_empty() };
        let mut left = left;
        for segment in between {
            let Some(at) = find_behind_one(left, segment) else { return false };
            left = &left[at + segment.len()..];
        }
        left.len() > last.len() && left.ends_with(&**last)
    }
}

/// The first place of `segment` behind at least one character.
fn find_behind_one(text: &str, segment: &str) -> Option<usize> {
    let first = text.chars().next()?.len_utf8();
    text[first..].find(segment).map(|at| first + at)
}

/// `None` if a claim is missing or empty: without it, the pattern is of nobody.
fn resolved<'a>(segment: &'a [Piece], claims: &'a Claims) -> Option<Cow<'a, str>> {
    match segment {
        [] => Some("".into()),
        [Piece::Text(text)] => Some(text.into()),
        pieces => {
            let mut all = String::new();
            for piece in pieces {
                all += match piece {
                    Piece::Text(text) => text,
                    Piece::Claim(name) => claims.get(name).filter(|value| !value.is_empty())?,
                };
            }
            Some(all.into())
        }
    }
}

fn pieces(segment: &str, pattern: &str) -> Result<Vec<Piece>, String> {
    let wrong =
        || format!("{pattern:?} is no pattern: write a claim as {{sub}}, and * for the rest of a topic");
    let mut found = Vec::new();
    let mut rest = segment;
    while let Some((text, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}').ok_or_else(wrong)?;
        let is_name =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:./".contains(&b));
        if !is_name || text.contains('}') {
            return Err(wrong());
        }
        found.push(Piece::Text(text.to_owned()));
        found.push(Piece::Claim(name.to_owned()));
        rest = behind;
    }
    if rest.contains('}') {
        return Err(wrong());
    }
    found.push(Piece::Text(rest.to_owned()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(sub: &str) -> Claims {
        Claims(vec![("sub".to_owned(), sub.to_owned())])
    }

    fn allows(pattern: &str, topic: &str, sub: &str) -> bool {
        Patterns::parse(&[pattern.to_owned()]).unwrap().allow(topic, &claims(sub))
    }

    #[test]
    fn a_star_stands_for_one_or_more_characters() {
        for (pattern, topic) in [
            ("news", "news"),
            ("*", "anything"),
            ("news.*", "news.a"),
            ("news.*", "news.a.b"),
            ("*.end", "a.end"),
            ("a*b*c", "aXbYc"),
            ("a*b*c", "aXbbYcc"),
            ("*ä*", "öäü"),
            ("a**", "abc"),
        ] {
            assert!(allows(pattern, topic, ""), "{pattern} {topic}");
        }
        for (pattern, topic) in [
            ("news", "news2"),
            ("news.*", "news."),
            ("news.*", "newsX"),
            ("news.*", "xnews.a"),
            ("*", ""),
            ("a*b*c", "abc"),
            ("a*b*c", "aXbc"),
            ("a**", "ab"),
            ("ab*ba", "aba"),
        ] {
            assert!(!allows(pattern, topic, ""), "{pattern} {topic}");
        }
    }

    #[test]
    fn claims_are_text_and_nobody_matches_without_them() {
        assert!(allows("user:{sub}", "user:ada", "ada") && allows("{sub}.{sub}.*", "ada.ada.x", "ada"));
        assert!(!allows("user:{sub}", "user:bob", "ada"));
        // A user whose name is a star gets no more than that.
        assert!(!allows("user:{sub}", "user:bob", "*") && allows("user:{sub}", "user:*", "*"));
        assert!(!allows("user:{sub}", "user:", "") && !allows("user:{tenant}", "user:", "ada"));
        assert!(!allows("user:{sub}", "user:{sub}", "ada"));
    }

    #[test]
    fn patterns_that_are_none_are_refused_and_none_allow_all() {
        for bad in ["", "a{", "a}", "{}", "{a b}", "{a{b}}", "a{*}"] {
            assert!(Patterns::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(
            Patterns::default().allow("x", &claims("")) && !Patterns::default().match_one("x", &claims(""))
        );
        let of_token = Patterns::of_token(&["a.*".to_owned(), "{sub}".to_owned()]);
        assert!(of_token.match_one("a.b", &claims("ada")) && of_token.match_one("{sub}", &claims("ada")));
        assert!(!of_token.match_one("ada", &claims("ada")));
    }

    /// Against every split of the topic at the stars.
    #[test]
    fn matching_agrees_with_a_slow_twin() {
        fn slow(pattern: &[u8], topic: &[u8]) -> bool {
            match pattern {
                [] => topic.is_empty(),
                [b'*', rest @ ..] => (1..=topic.len()).any(|at| slow(rest, &topic[at..])),
                [letter, rest @ ..] => topic.first() == Some(letter) && slow(rest, &topic[1..]),
            }
        }
        let words = |letters: &[u8], most: u32| {
            let count = letters.len();
            let all = (0..=most).flat_map(move |length| {
                (0..count.pow(length))
                    .map(move |number| (0..length).map(move |at| number / count.pow(at) % count))
            });
            all.map(|word| word.map(|index| char::from(letters[index])).collect::<String>())
                .collect::<Vec<_>>()
        };
        for pattern in words(b"ab*", 5).iter().filter(|pattern| !pattern.is_empty()) {
            for topic in words(b"ab", 6) {
                let expected = slow(pattern.as_bytes(), topic.as_bytes());
                assert_eq!(allows(pattern, &topic, ""), expected, "{pattern} {topic}");
            }
        }
    }
}
