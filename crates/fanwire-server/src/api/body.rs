//! Bodies: what comes with a request.
//!
//! In      a request
//! Out     its bytes and the fields of its JSON, or what is wrong with them
//! Bounds  `BODY_BYTES_MAX`, within `BODY_TIME_MAX`; `BODIES_BYTES_MAX` for all that are there at a time
//! Source  RFC 8259; RFC 9110 section 8.3

use std::{borrow::Cow, ops::Deref, sync::Arc, time::Duration};

use axum::{
    body::{Bytes, to_bytes},
    extract::Request,
    http::{StatusCode, header},
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::problem::Problem;

/// Room for the bodies of all requests that are under way.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_BYTES_MAX / UNIT_BYTES)))
    }

    async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let units = bytes.div_ceil(UNIT_BYTES);
        let taken = self.0.clone().acquire_many_owned(units.try_into().expect("few units")).await;
        taken.expect("nobody closes it")
    }
}

/// A body, in its room.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body of one of these media types, once there is room for it.
///
/// A page of another origin cannot send these without being asked first, and nobody is told that it may: so no page can
/// publish here behind its user's back.
pub(super) async fn read(
    room: &Room,
    request: Request,
    types: &'static [&'static str],
) -> Result<Body, Problem> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.map(|given| given.split(';').next().unwrap_or_default().trim());
    if !essence.is_some_and(|given| types.iter().any(|known| given.eq_ignore_ascii_case(known))) {
        let error = format!("send it with Content-Type: {}", types[0]);
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    // Who does not say how long it will be may send the longest.
    let length = declared.and_then(|length| length.parse().ok()).unwrap_or(BODY_BYTES_MAX);
    let too_large = || {
        let error = format!("the body has more than {BODY_BYTES_MAX} bytes: split it");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error)
    };
    if length > BODY_BYTES_MAX {
        return Err(too_large());
    }
    let end = Instant::now() + BODY_TIME_MAX;
    let room = timeout_at(end, room.take(length)).await.map_err(|_| Problem::full())?;
    match timeout_at(end, to_bytes(request.into_body(), BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(Body { bytes, _room: room }),
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
    serde_json::from_slice(text).map_err(|error| Problem::bad(misread(&error)))
}

/// What a parser says, and where: of one line, as a batch's are, the column alone.
fn misread(error: &serde_json::Error) -> String {
    let (line, column, said) = (error.line(), error.column(), error.to_string());
    let what = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
    let place = if line > 1 { format!("line {line}, column {column}") } else { format!("column {column}") };
    let kind = if error.is_data() { "give the documented fields" } else { "this is no JSON" };
    format!("{kind}: {what} ({place})")
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

/// Those of more requests wait, in their sockets.
pub(super) const BODIES_BYTES_MAX: usize = 64 << 20;

/// What room is counted in.
const UNIT_BYTES: usize = 1 << 10;

/// For room and body together.
const BODY_TIME_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::{
        body::{self, HttpBody},
        response::IntoResponse as _,
    };
    use hyper::body::Frame;
    use tokio::runtime;

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

    fn request(body: body::Body) -> Request {
        let request = Request::post("/api/publish").header(header::CONTENT_TYPE, "application/json");
        request.body(body).unwrap()
    }

    /// The clock goes on by itself as soon as everybody waits for it.
    fn run<F: Future>(work: F) -> F::Output {
        let builder = &mut runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap().block_on(work)
    }

    #[test]
    fn a_body_that_does_not_come_is_given_up_in_time() {
        run(async {
            let (started, room) = (Instant::now(), Room::new());
            let problem = read(&room, request(body::Body::new(Endless)), JSON).await.unwrap_err();
            let status = problem.into_response().status();
            assert_eq!((status, started.elapsed().as_secs()), (StatusCode::REQUEST_TIMEOUT, 20));
        });
    }

    #[test]
    fn bodies_that_are_there_leave_no_room_for_more_until_they_go() {
        run(async {
            let room = Room::new();
            // Their length is not declared, so each may have the greatest.
            let mut held = Vec::new();
            for _ in 0..BODIES_BYTES_MAX / BODY_BYTES_MAX {
                held.push(read(&room, request(body::Body::from("{}")), JSON).await.unwrap());
            }
            let started = Instant::now();
            let problem = read(&room, request(body::Body::from("{}")), JSON).await.unwrap_err();
            let status = problem.into_response().status();
            assert_eq!((status, started.elapsed().as_secs()), (StatusCode::TOO_MANY_REQUESTS, 20));
            held.pop();
            assert_eq!(&*read(&room, request(body::Body::from("{}")), JSON).await.unwrap(), b"{}");
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
