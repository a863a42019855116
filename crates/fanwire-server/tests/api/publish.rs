//! Publishing through the API: what subscribers get, and what is refused.

use serde_json::json;

use crate::{
    Server,
    client::{Client, Received},
    message,
};

fn text(text: &str) -> Received {
    Received::Text(text.to_owned())
}

#[test]
fn published_data_reaches_subscribers_with_its_bytes_unchanged() {
    for driver in ["auto", "epoll"] {
        let server = Server::start(&["--driver", driver, "--shards", "2"]);
        let mut clients = [server.subscriber(&["news"]), server.subscriber(&["news"])];
        for data in [r#"{"a" : 1.0e+2, "a":[ ]}"#, "null", "12345678901234567890", r#""\u00e4""#, "false"] {
            let answer =
                server.api.post("/api/publish", &format!(r#"{{"data": {data} ,"topic":"n\u0065ws"}}"#));
            assert_eq!((answer.status, answer.json()), (200, json!({ "subscribers": 2 })), "{}", answer.text);
            for client in &mut clients {
                assert_eq!(client.receive(), text(&format!(r#"{{"topic":"news","data":{data}}}"#)));
            }
        }
        server.post("/api/publish", json!({ "topic": "news" }));
        assert_eq!(clients[0].receive(), text(r#"{"topic":"news"}"#));
        assert_eq!(
            server.post("/api/publish", json!({ "topic": "nobody", "data": 1 })),
            json!({ "subscribers": 0 })
        );
    }
}

#[test]
fn a_broadcast_reaches_everybody() {
    let server = Server::start(&["--shards", "2"]);
    let mut clients = [server.subscriber(&[]), server.subscriber(&["news"]), server.subscriber(&[])];
    // The answer to a handshake comes before the session is counted by all.
    crate::until("all are counted", || server.get("/api/info")["total"]["counters"]["sessions"] == 3);
    assert_eq!(
        server.post("/api/broadcast", json!({ "topic": "notice", "data": "hi" })),
        json!({ "sessions": 3 })
    );
    clients.iter_mut().for_each(|client| assert_eq!(client.receive(), message("notice", json!("hi"))));
}

#[test]
fn a_batch_is_published_in_order_and_to_each_topic() {
    let server = Server::start(&["--shards", "2"]);
    let mut ada = server.subscriber(&["a", "b"]);
    let mut bob = server.subscriber(&["b"]);
    let lines: String = (0..3_000)
        .map(|number| {
            format!("{{\"topic\":\"{}\",\"data\":{number}}}\n", if number % 3 == 0 { "b" } else { "a" })
        })
        .collect();
    // Blank lines and Windows' line ends are no messages.
    let answer = server.api.batch(&format!("\n{}\r\n\n", lines.replace('\n', "\r\n")));
    assert_eq!((answer.status, answer.json()), (200, json!({ "accepted": 3_000 })), "{}", answer.text);
    let numbers = |client: &mut Client, topic: &str, wanted: &mut dyn Iterator<Item = u32>| {
        for number in wanted {
            let Received::Text(text) = client.receive() else { panic!("a message") };
            assert!(text.ends_with(&format!(r#""data":{number}}}"#)), "{text} for {number} of {topic}");
        }
    };
    numbers(&mut bob, "b", &mut (0..3_000).filter(|number| number % 3 == 0));
    numbers(&mut ada, "a and b", &mut (0..3_000));
    assert_eq!(server.api.batch("").json(), json!({ "accepted": 0 }));
}

#[test]
fn of_a_batch_with_a_wrong_line_nothing_is_published() {
    let server = Server::start(&[]);
    let mut ada = server.subscriber(&["a"]);
    for (line, field, says) in [
        (r#"{"topic":"","data":1}"#, Some("topic"), "line 3: topic: is empty"),
        (r#"{"topic":7}"#, Some("topic"), "line 3: topic: give a text"),
        (r#"{"topic":"a","data":}"#, None, "line 3: this is no JSON: expected value (column 21)"),
        (r#"["a",1]"#, None, "line 3: give a JSON object"),
        (r#"{"topic":"a","date":1}"#, None, "unknown field `date`, expected `topic` or `data`"),
    ] {
        let answer = server.api.batch(&format!("{{\"topic\":\"a\",\"data\":1}}\n\n{line}\n"));
        let said = answer.json();
        assert_eq!(
            (answer.status, said["field"].as_str(), said["line"].as_u64()),
            (400, field, Some(3)),
            "{said}"
        );
        assert!(said["error"].as_str().unwrap().contains(says), "{said}");
    }
    server.post("/api/publish", json!({ "topic": "a", "data": "last" }));
    assert_eq!(ada.receive(), message("a", json!("last")));
}

#[test]
fn a_line_that_is_too_large_is_named_and_those_before_it_are_out() {
    let server = Server::start(&["--queue-bytes", "4KiB"]);
    let mut ada = server.subscriber(&["a"]);
    let large = "x".repeat(5 << 10);
    let lines = format!(
        "{{\"topic\":\"a\",\"data\":1}}\n\n{{\"topic\":\"a\",\"data\":\"{large}\"}}\n{{\"topic\":\"a\"}}\n"
    );
    let answer = server.api.batch(&lines);
    let said = answer.json();
    assert_eq!((answer.status, &said["line"], &said["accepted"]), (413, &json!(3), &json!(1)), "{said}");
    assert_eq!(ada.receive(), message("a", json!(1)));
    server.post("/api/publish", json!({ "topic": "a", "data": 2 }));
    assert_eq!(ada.receive(), message("a", json!(2)), "the line behind it was not published");
}

#[test]
fn refusals_say_which_field_and_what_to_do() {
    let server = Server::start(&["--topic-bytes", "8", "--queue-bytes", "4KiB"]);
    let large = format!(r#"{{"topic":"a","data":"{}"}}"#, "x".repeat(5 << 10));
    let json = &[("Content-Type", "application/json")][..];
    for (path, headers, body, status, field, says) in [
        ("/api/publish", json, "", 400, None, "give a JSON object"),
        ("/api/publish", json, "[]", 400, None, "give a JSON object"),
        (
            "/api/publish",
            json,
            r#"{"topic":"a","data":1"#,
            400,
            None,
            "this is no JSON: EOF while parsing an object (column",
        ),
        ("/api/publish", json, "{\n  topic:1}", 400, None, "key must be a string (line 2, column 3)"),
        ("/api/publish", json, r#"{"data":1}"#, 400, Some("topic"), "topic: is missing"),
        ("/api/publish", json, r#"{"topic":null,"data":1}"#, 400, Some("topic"), "topic: is missing"),
        ("/api/publish", json, r#"{"topic":""}"#, 400, Some("topic"), "topic: is empty"),
        ("/api/publish", json, r#"{"topic":"123456789"}"#, 400, Some("topic"), "at most 8 bytes"),
        ("/api/publish", json, r#"{"topic":"error"}"#, 400, Some("topic"), "the server's own messages"),
        (
            "/api/publish",
            json,
            r#"{"topic":"a","dat":1}"#,
            400,
            None,
            "give the documented fields: unknown field `dat`",
        ),
        ("/api/publish", json, r#"{"topic":"a","topic":"b"}"#, 400, None, "duplicate field `topic`"),
        ("/api/publish", json, &large, 413, Some("data"), "too large"),
        ("/api/broadcast", json, &large, 413, Some("data"), "too large"),
        ("/api/publish", &[], r#"{"topic":"a"}"#, 415, None, "Content-Type: application/json"),
        ("/api/publish", &[("Content-Type", "text/plain")], "{}", 415, None, "application/json"),
        ("/api/batch", json, r#"{"topic":"a"}"#, 415, None, "application/x-ndjson"),
        ("/api/disconnect", json, "{}", 400, Some("session"), "give the id of one, or a user"),
        ("/api/disconnect", json, r#"{"session":"1","user":"a"}"#, 400, Some("user"), "exclude each other"),
        ("/api/disconnect", json, r#"{"session":"1","code":1005}"#, 400, Some("code"), "3000 to 4999"),
        ("/api/disconnect", json, r#"{"session":"1","code":"x"}"#, 400, Some("code"), "a whole number"),
        ("/api/disconnect", json, r#"{"session":"1"}"#, 404, None, "there is none of this id"),
        ("/api/unsubscribe", json, r#"{"session":"1"}"#, 400, Some("topic"), "topic: is missing"),
        ("/api/unsubscribe", json, r#"{"session":"1","topic":"a"}"#, 404, None, "there is none of this id"),
    ] {
        let answer = server.api.request("POST", path, headers, body);
        let said = answer.json();
        assert_eq!((answer.status, said["field"].as_str()), (status, field), "{path} {body}: {said}");
        assert!(said["error"].as_str().unwrap().contains(says), "{path} {body}: {said}");
    }
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let server = Server::start(&[]);
    let length = (17 << 20).to_string();
    let headers = [("Content-Type", "application/json"), ("Content-Length", &*length)];
    let answer = server.api.request("POST", "/api/publish", &headers, "{");
    assert_eq!(answer.status, 413);
    assert!(answer.text.contains("more than 16777216 bytes"), "{}", answer.text);
}
