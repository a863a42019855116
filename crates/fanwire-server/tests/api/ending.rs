//! The end of a server, as the API tells it.

use serde_json::json;

use crate::{Server, client::Received, message, process::TERM};

#[test]
fn a_server_that_is_to_end_serves_on_is_not_ready_and_then_publishes_no_more() {
    let mut server = Server::start(&["--drain-delay", "300s"]);
    assert_eq!(server.api.get("/readyz").text, "ready\n");
    let mut ada = server.subscriber(&["news"]);
    server.process.signal(TERM);
    server.process.lines_until(|line| line.contains("/readyz says 503"));
    let answer = server.api.get("/readyz");
    assert_eq!((answer.status, &*answer.text), (503, "draining\n"));
    assert_eq!(server.api.get("/healthz").text, "ok\n");
    assert_eq!(server.get("/api/info")["draining"], json!(true));
    assert!(server.api.get("/metrics").text.contains("\nfanwire_draining 1\n"));
    assert_eq!(
        server.post("/api/publish", json!({ "topic": "news", "data": 1 })),
        json!({ "subscribers": 1 })
    );
    assert_eq!(ada.receive(), message("news", json!(1)));
}

#[test]
fn while_sessions_are_closed_requests_that_change_something_are_refused() {
    let mut server = Server::start(&["--drain-timeout", "300s", "--close-timeout", "200s"]);
    let mut ada = server.subscriber(&["news"]);
    server.process.signal(TERM);
    server.process.lines_until(|line| line.starts_with("draining 1 sessions"));
    // She does not answer the close frame, so the server goes on waiting for her.
    assert!(matches!(ada.receive(), Received::Close(1001, _)));
    for path in ["/api/publish", "/api/broadcast", "/api/disconnect", "/api/unsubscribe"] {
        let answer = server.api.post(path, "{}");
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("5")),
            "{path}: {}",
            answer.text
        );
    }
    assert_eq!(server.api.batch("").status, 503);
    assert_eq!(server.api.get("/api/sessions").status, 503);
    let info = server.get("/api/info");
    assert_eq!((&info["draining"], &info["total"]["counters"]["sessions"]), (&json!(true), &json!(0)));
    ada.answer_close(1001);
    assert_eq!(server.process.exit_code(), 0);
}
