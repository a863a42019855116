//! Questions: what the webhook is told of who wants in.
//!
//! In      a handshake's request, or a token that a session sends
//! Out     a JSON object, and what is the same in two questions of one client
//! Bounds  a request's head, and a token of `TOKEN_BYTES_MAX`
//! Source  docs/configuration.md

use std::{collections::BTreeMap, net::SocketAddr};

use fanwire::Request;
use serde::Serialize;

use crate::{auth::token_of, choices::TokenPlace};

/// One question.
#[derive(Serialize)]
pub(crate) struct Question {
    /// For the logs of both sides.
    pub(super) id: String,
    peer: SocketAddr,
    #[serde(flatten)]
    what: What,
}

/// What an answer may depend on, besides the peer's address.
#[derive(Serialize)]
struct What {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    headers: BTreeMap<String, String>,
}

impl Question {
    /// Whether whoever sends this request may open a session.
    pub(super) fn of_request(request: &Request<'_>, places: &[TokenPlace], passed_on: &[String]) -> Self {
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in request.headers() {
            let name = name.to_ascii_lowercase();
            if !passed_on.contains(&name) {
                continue;
            }
            // RFC 9110 s5.3 and RFC 6265bis s5.8.1: how several fields of a name become one.
            let between = if name == "cookie" { "; " } else { ", " };
            let value = String::from_utf8_lossy(value);
            let joined = headers.entry(name).or_default();
            if !joined.is_empty() {
                joined.push_str(between);
            }
            joined.push_str(&value);
        }
        let what = What {
            event: "connect",
            path: Some(request.path().to_owned()),
            query: request.query_string().map(str::to_owned),
            origin: request.header("Origin").map(str::to_owned),
            user: None,
            token: token_of(places, request).map(|token| token.into_owned()),
            headers,
        };
        Self { id: id(), peer: request.peer(), what }
    }

    /// Whether a session of this user may go on with this token.
    pub(crate) fn of_session(peer: SocketAddr, user: &str, token: &str) -> Self {
        let (user, token) = (Some(user.to_owned()), Some(token.to_owned()));
        let headers = BTreeMap::new();
        let what = What { event: "refresh", path: None, query: None, origin: None, user, token, headers };
        Self { id: id(), peer, what }
    }

    pub(super) fn body(&self) -> Vec<u8> {
        written(self)
    }

    /// The same for all questions that must have the same answer. The peer's port is another one each time.
    pub(super) fn sameness(&self) -> Vec<u8> {
        written(&(self.peer.ip(), &self.what))
    }
}

fn written(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts can always be written as JSON")
}

/// 128 random bits. Without any, questions are still questions.
fn id() -> String {
    let mut bits = [0; 16];
    let _ = getrandom::fill(&mut bits);
    format!("{:032x}", u128::from_be_bytes(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_the_same_but_for_id_and_port() {
        let of = |peer: &str, user, token| Question::of_session(peer.parse().unwrap(), user, token);
        let (one, other) = (of("10.0.0.1:1", "ada", "t"), of("10.0.0.1:2", "ada", "t"));
        assert_ne!(one.body(), other.body());
        assert_eq!(one.sameness(), other.sameness());
        for third in
            [of("10.0.0.2:1", "ada", "t"), of("10.0.0.1:1", "bob", "t"), of("10.0.0.1:1", "ada", "u")]
        {
            assert_ne!(one.sameness(), third.sameness());
        }
    }
}
