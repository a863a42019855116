//! Bodies: what comes with a request.
//!
//! In      a request
//! Out     its bytes and the fields of its JSON, or what is wrong with them
//! Bounds  `BODY_BYTES_MAX`, within `BODY_TIME_MAX`
//! Source  RFC 8259; RFC 9110 section 8.3

use std::{borrow::Cow, time::Duration};

use axum::{
    body::{Bytes, to_bytes},
    extract::Request,
    http::{StatusCode, header},
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::problem::Problem;

/// Reads a body of one of these media types.
///
/// A page of another origin cannot send these without being asked first, and nobody is told that it may: so no page can
/// publish here behind its user's back.
pub(super) async fn read(request: Request, types: &'static [&'static str]) -> Result<Bytes, Problem> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.map(|given| given.split(';').next().unwrap_or_default().trim());
    if !essence.is_some_and(|given| types.iter().any(|known| given.eq_ignore_ascii_case(known))) {
        let error = format!("send it with Content-Type: {}", types[0]);
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let too_large = || {
        let error = format!("the body has more than {BODY_BYTES_MAX} bytes: split it");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error)
    };
    if declared.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > BODY_BYTES_MAX)
    {
        return Err(too_large());
    }
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX);
    match tokio::time::timeout(BODY_TIME_MAX, body).await {
        Ok(Ok(body)) => Ok(body),
        // Whoever has gone does not read what we say of it.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let error =
                format!("the body did not come within {BODY_TIME_MAX:?}: send it faster, or less of it");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, error))
        }
    }
}

/// Takes a JSON object apart. Its fields are `Option<&RawValue>`, so that each can be named if it is wrong.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Problem> {
    // serde would take an array for a struct as well.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad("give a JSON object: {…}"));
    }
    serde_json::from_slice(text).map_err(|error| Problem::bad(error.to_string()))
}

/// The text of a field, if it is there.
pub(super) fn text<'a>(
    field: &'static str,
    raw: Option<&'a RawValue>,
) -> Result<Option<Cow<'a, str>>, Problem> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(None) };
    let Text(text) = serde_json::from_str(raw.get())
        .map_err(|_| Problem::field(field, "give a text in quotation marks"))?;
    Ok(Some(text))
}

/// The whole number of a field, if it is there.
pub(super) fn number(field: &'static str, raw: Option<&RawValue>) -> Result<Option<u64>, Problem> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(None) };
    serde_json::from_str(raw.get()).map(Some).map_err(|_| Problem::field(field, "give a whole number"))
}

/// `null` is a value, not its absence.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A text without escapes is not copied.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

pub(super) const JSON: &[&str] = &["application/json"];

/// All that one request may bring.
pub(super) const BODY_BYTES_MAX: usize = 16 << 20;

const BODY_TIME_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::{
        body::{Body, HttpBody},
        response::IntoResponse as _,
    };
    use hyper::body::Frame;
    use tokio::{runtime, time::Instant};

    use super::*;

    /// A body of which nothing more ever comes.
    struct Endless;

    impl HttpBody for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_body_that_does_not_come_is_given_up_in_time() {
        let runtime =
            runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let started = Instant::now();
            let request = Request::post("/api/publish").header(header::CONTENT_TYPE, "application/json");
            let problem = read(request.body(Body::new(Endless)).unwrap(), JSON).await.unwrap_err();
            let status = problem.into_response().status();
            assert_eq!((status, started.elapsed().as_secs()), (StatusCode::REQUEST_TIMEOUT, 20));
        });
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn texts_are_texts_and_null_is_none() {
        assert_eq!(text("topic", Some(&raw(r#""a\u00e4""#))).unwrap().as_deref(), Some("aä"));
        assert_eq!(text("topic", Some(&raw("null"))).unwrap(), None);
        assert_eq!(text("topic", None).unwrap(), None);
        for wrong in ["1", "{}", "[]", "true"] {
            assert!(text("topic", Some(&raw(wrong))).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_whole() {
        assert_eq!(number("code", Some(&raw("4000"))).unwrap(), Some(4_000));
        for wrong in ["1.5", "-1", "\"1\"", "[]"] {
            assert!(number("code", Some(&raw(wrong))).is_err(), "{wrong}");
        }
    }
}
