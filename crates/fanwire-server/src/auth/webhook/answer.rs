//! Answers: what the webhook says, and what is none.
//!
//! In      a status and a body
//! Out     a pass, or a refusal; or what is wrong with the answer
//! Bounds  the body as it was read; a reason of `REASON_CHARACTERS_MAX`
//! Source  docs/configuration.md

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Failure;
use crate::{
    auth::{Pass, now_ms, seconds, text_of},
    topics::{Claims, Patterns},
};

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Admitted(Pass),
    Refused(Refused),
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// 401 or 403.
    pub(crate) status: u16,
    /// In the webhook's words, or in ours.
    pub(crate) reason: String,
}

impl Decision {
    pub(super) fn of_answer(status: u16, body: &[u8], warning_ms: u64) -> Result<Self, Failure> {
        match status {
            200 => admitted(body, warning_ms).map(Self::Admitted).map_err(Failure::Answer),
            401 | 403 => Ok(Self::Refused(Refused { status, reason: reason(status, body) })),
            status => Err(Failure::Status(status)),
        }
    }
}

/// The body of a 200. Other members are left for later versions.
#[derive(Deserialize)]
struct Admission {
    user: Value,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    topics: Topics,
    expires_in: Option<Value>,
    expires_at: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Topics {
    subscribe: Option<OneOrMore>,
    publish: Option<OneOrMore>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn patterns(self) -> Patterns {
        match self {
            Self::One(text) => Patterns::of_token(&[text]),
            Self::More(texts) => Patterns::of_token(&texts),
        }
    }
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
}

fn admitted(body: &[u8], warning_ms: u64) -> Result<Pass, String> {
    // serde would take an array for a struct as well.
    let value: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("is no JSON object: {error}"))?;
    let admission: Admission = serde_json::from_value(Value::Object(value))
        .map_err(|error| format!("is not of the form {FORM}: {error}"))?;
    let user = text_of(&admission.user).filter(|user| !user.is_empty());
    let user = user.ok_or("names no user: give \"user\" as a text or a whole number")?;
    let ends_ms = ends_ms(admission.expires_in.as_ref(), admission.expires_at.as_ref())?;
    let named = admission.claims.iter().filter(|(name, _)| *name != "sub");
    let named = named.filter_map(|(name, value)| Some((name.clone(), text_of(value)?)));
    let warned = |ends_ms: u64| (warning_ms > 0).then(|| ends_ms.saturating_sub(warning_ms));
    Ok(Pass {
        claims: Claims([("sub".to_owned(), user)].into_iter().chain(named).collect()),
        ends_ms,
        warns_ms: ends_ms.and_then(warned),
        subscribe: admission.topics.subscribe.map(OneOrMore::patterns),
        publish: admission.topics.publish.map(OneOrMore::patterns),
    })
}

/// `None`: the session may stay for as long as it likes.
fn ends_ms(expires_in: Option<&Value>, expires_at: Option<&Value>) -> Result<Option<u64>, String> {
    let now_ms = now_ms();
    let ends_ms = match (expires_in, expires_at) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err("has expires_in and expires_at: give one of the two".to_owned()),
        (Some(left), None) => seconds(left).map(|left| now_ms.saturating_add(left.saturating_mul(1_000))),
        (None, Some(at)) => seconds(at).map(|at| at.saturating_mul(1_000)),
    };
    match ends_ms {
        None => Err("says no time in expires_in or expires_at: give a number of seconds".to_owned()),
        Some(ends_ms) if ends_ms <= now_ms => {
            Err("lets somebody in until a time that is over: is a clock wrong?".to_owned())
        }
        Some(ends_ms) => Ok(Some(ends_ms)),
    }
}

/// What a client may read: a line of the webhook's, if it gave one.
fn reason(status: u16, body: &[u8]) -> String {
    let said = serde_json::from_slice::<Reason>(body).map(|said| said.reason).unwrap_or_default();
    let line: String =
        said.chars().filter(|letter| !letter.is_control()).take(REASON_CHARACTERS_MAX).collect();
    match line.trim() {
        "" if status == 401 => {
            "who you are is not known here: a token or other credentials are needed".to_owned()
        }
        "" => "you may not connect here".to_owned(),
        line => line.to_owned(),
    }
}

const FORM: &str = r#"{"user":NAME,"claims":{},"topics":{"subscribe":[],"publish":[]},"expires_in":SECONDS}"#;

/// A close frame's reason would have as many bytes.
const REASON_CHARACTERS_MAX: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Decision, String> {
        Decision::of_answer(status, body.as_bytes(), 60_000).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_full_answer_becomes_a_pass() {
        let body = r#"{"user":"ada","claims":{"tenant":7,"sub":"eve","odd":[]},
                       "topics":{"subscribe":["news.*"],"publish":"chat"},"expires_in":90,"later":{}}"#;
        let Ok(Decision::Admitted(pass)) = read(200, body) else { panic!("a pass") };
        assert_eq!(pass.user(), Some("ada"));
        assert_eq!(pass.claims.0.len(), 2, "{:?}", pass.claims);
        let left = pass.ends_ms.unwrap() - now_ms();
        assert!(
            (89_000..=90_000).contains(&left) && pass.ends_ms.unwrap() - pass.warns_ms.unwrap() == 60_000
        );
        let (subscribe, publish) = (pass.subscribe.unwrap(), pass.publish.unwrap());
        assert!(subscribe.match_one("news.a", &pass.claims) && !subscribe.match_one("chat", &pass.claims));
        assert!(publish.match_one("chat", &pass.claims));
    }

    #[test]
    fn the_least_answer_is_a_user() {
        let Ok(Decision::Admitted(pass)) = read(200, r#"{"user":17}"#) else { panic!("a pass") };
        assert_eq!((pass.user(), pass.ends_ms), (Some("17"), None));
        assert!(pass.subscribe.is_none() && pass.warns_ms.is_none());
    }

    #[test]
    fn answers_that_are_none_say_why_and_admit_nobody() {
        for (body, said) in [
            ("", "is no JSON object"),
            ("[\"ada\"]", "is no JSON object"),
            ("{}", "missing field `user`"),
            (r#"{"user":null}"#, "names no user"),
            (r#"{"user":""}"#, "names no user"),
            (r#"{"user":"a","topics":[]}"#, "is not of the form"),
            (r#"{"user":"a","topics":{"subscribe":7}}"#, "is not of the form"),
            (r#"{"user":"a","topics":{"subscribe":[7]}}"#, "is not of the form"),
            (r#"{"user":"a","expires_in":"soon"}"#, "says no time"),
            (r#"{"user":"a","expires_in":0}"#, "a time that is over"),
            (r#"{"user":"a","expires_at":1000}"#, "a time that is over"),
            (r#"{"user":"a","expires_at":9999999999,"expires_in":1}"#, "give one of the two"),
        ] {
            let wrong = read(200, body).unwrap_err();
            assert!(wrong.contains(said), "{body}: {wrong}");
        }
        for status in [100, 201, 204, 301, 302, 400, 404, 429, 500, 503] {
            assert!(read(status, r#"{"user":"ada"}"#).unwrap_err().contains(&status.to_string()));
        }
    }

    #[test]
    fn refusals_carry_a_reason_of_one_line() {
        let said = |status, body: &str| match read(status, body) {
            Ok(Decision::Refused(refused)) => (refused.status, refused.reason),
            other => panic!("{other:?}"),
        };
        assert_eq!(said(403, r#"{"reason":" ban\nned "}"#), (403, "banned".to_owned()));
        assert!(said(401, "not JSON").1.contains("credentials are needed"));
        assert!(said(403, r#"{"reason":""}"#).1.contains("may not connect"));
        assert_eq!(said(401, &format!(r#"{{"reason":"{}"}}"#, "ä".repeat(500))).1.chars().count(), 123);
    }
}
