//! Routes: which path is answered by what, and what holds for all of them.
//!
//! In      requests
//! Out     answers, each counted
//! Bounds  `ANSWER_TIME_MAX` a request
//! Source  openapi.json

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State as Of},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};

use super::{State, info, list, problem::Problem, publish, sessions};
use crate::{console, metrics};

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/api/publish", post(publish::publish))
        .route("/api/broadcast", post(publish::broadcast))
        .route("/api/batch", post(publish::batch))
        .route("/api/disconnect", post(sessions::disconnect))
        .route("/api/unsubscribe", post(sessions::unsubscribe))
        .route("/api/topics", get(list::topics))
        .route("/api/sessions", get(list::sessions))
        .route("/api/info", get(info::info))
        .route("/api/openapi.json", get(openapi))
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(console::router(state.running.address().port()))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(state.clone(), guard))
        .with_state(state)
}

/// What holds for every request.
async fn guard(state: Of<Arc<State>>, path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let route = path.as_ref().map_or("other", MatchedPath::as_str);
    let mut response = match check(&state, route, &request) {
        Err(problem) => problem.into_response(),
        Ok(()) => in_time(next.run(request)).await,
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    state.requests.count(route, response.status().as_u16());
    response
}

/// The answer, or that there is none.
async fn in_time(answer: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
        Ok(response) => response,
        Err(_) => Problem::no_answer().into_response(),
    }
}

fn check(state: &State, route: &str, request: &Request) -> Result<(), Problem> {
    let rules = state.rules.load();
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    if !rules.api.is_guarded() {
        // A page of another name may have that resolve to this machine: only the name gives it away.
        let host = header(header::HOST).and_then(|host| str::from_utf8(host).ok()).unwrap_or_default();
        if !rules.api_hosts.allows(host) {
            let error = "this Host is none of the API's names: ask for localhost, or name it by --host";
            return Err(Problem::new(StatusCode::FORBIDDEN, error));
        }
    }
    if !OPEN_TO_ALL.contains(&route) && !rules.api.allows(header(header::AUTHORIZATION)) {
        let error = "a token of this API is needed: Authorization: Bearer TOKEN";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, error));
    }
    if request.method() == Method::POST && state.ending.is_draining() {
        return Err(Problem::draining());
    }
    Ok(())
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn show_metrics(state: Of<Arc<State>>) -> Response {
    let (stats, is_draining) = (state.running.stats(), state.ending.has_begun());
    let text = metrics::text(&stats, is_draining, &state.requests, &state.caller, &state.refused);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(state: Of<Arc<State>>) -> Response {
    if state.ending.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    "ready\n".into_response()
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "nothing is here: /api/openapi.json lists what there is")
}

async fn not_allowed() -> Problem {
    let error = "this path takes another method: see Allow, and /api/openapi.json";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, error)
}

/// What the API is, whether it lives, and the console's files: no secrets.
const OPEN_TO_ALL: [&str; 5] = ["/healthz", "/readyz", "/api/openapi.json", "/", console::FILE];

const OPENAPI: &str = include_str!("openapi.json");

/// For all of a request, reading its body included. A batch may have to wait for room.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::{runtime::Builder, time::Instant};

    use super::*;

    #[test]
    fn what_finds_no_answer_is_503_in_time() {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let started = Instant::now();
            let response = in_time(pending()).await;
            assert_eq!(
                (response.status(), started.elapsed()),
                (StatusCode::SERVICE_UNAVAILABLE, ANSWER_TIME_MAX)
            );
        });
    }
}
