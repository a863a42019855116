//! Lists and what is done to sessions: pages that have everybody once, and the right ones closed.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::{
    File, Server,
    client::{Client, Received},
    message, subscribe, until,
};

const SECRET: &str = "a secret of the tests, which has 32 bytes and more";

/// A server whose sessions have users.
struct Users {
    server: Server,
    _key: File,
}

impl Users {
    fn start(name: &str) -> Self {
        let key = File::new(name, SECRET);
        let server = Server::start(&["--shards", "2", "--auth", "jwt", "--auth-key-file", key.path()]);
        Self { server, _key: key }
    }

    fn client(&self, user: &str, topics: &[&str]) -> Client {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({ "sub": user, "exp": now + 600 });
        let token =
            encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        let authorization = format!("Bearer {token}");
        let connected =
            Client::try_connect(&self.server.process, "/ws", &[], &[("Authorization", &authorization)]);
        let (mut client, _) = connected.map_err(|(_, why)| why).unwrap();
        subscribe(&mut client, topics);
        client
    }
}

/// All entries of a list, and how many pages they took.
fn pages(server: &Server, path: &str, list: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut all, mut after, mut count) = (Vec::new(), String::new(), 0);
    loop {
        let page = server.get(&format!("{path}limit={limit}{after}"));
        let rows = page[list].as_array().unwrap().clone();
        assert!(rows.len() <= limit);
        all.extend(rows);
        count += 1;
        match page["next"].as_str() {
            None => return (all, count),
            Some(next) => after = format!("&after={next}"),
        }
        assert!(count < 100, "it ends");
    }
}

#[test]
fn sessions_are_listed_once_each_however_long_a_page_is() {
    let users = Users::start("sessions.key");
    let clients: Vec<_> =
        (0..7).map(|n| users.client(&format!("user{}", n % 3), &["a", "b"][..n % 3])).collect();
    let server = &users.server;
    for limit in [1, 2, 1000] {
        let (rows, pages) = pages(server, "/api/sessions?", "sessions", limit);
        let ids: BTreeSet<_> = rows.iter().map(|row| row["session"].as_str().unwrap()).collect();
        assert_eq!((ids.len(), rows.len()), (clients.len(), clients.len()), "{rows:?}");
        assert!(pages >= clients.len() / limit);
        let shards: BTreeSet<_> = rows.iter().map(|row| row["shard"].as_u64().unwrap()).collect();
        assert!(shards.iter().all(|shard| *shard < 2));
    }
    let (rows, _) = pages(server, "/api/sessions?user=user1&", "sessions", 100);
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!((&row["user"], &row["topics"]), (&json!("user1"), &json!(1)));
        assert_eq!(row["queued"], json!({ "messages": 0, "bytes": 0, "dropped": 0, "blocked": false }));
        assert!(row["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(row["topic_names"].is_null());
        let one = server.get(&format!("/api/sessions?session={}", row["session"].as_str().unwrap()));
        assert_eq!((&one["sessions"][0]["topic_names"], &one["next"]), (&json!(["a"]), &Value::Null));
    }
    let (rows, _) = pages(server, "/api/sessions?topic=b&", "sessions", 100);
    assert!(rows.len() == 2 && rows.iter().all(|row| row["user"] == "user2"), "{rows:?}");
    assert_eq!(server.get("/api/sessions?user=nobody"), json!({ "sessions": [], "next": null }));
    drop(clients);
    until("they have gone", || server.get("/api/sessions")["sessions"] == json!([]));
}

#[test]
fn topics_are_listed_by_name_in_pages_or_by_subscribers() {
    let server = Server::start(&["--shards", "2"]);
    let _clients = [
        server.subscriber(&["room:1", "room:2", "a b&c"]),
        server.subscriber(&["room:2", "lobby"]),
        server.subscriber(&["room:2", "lobby"]),
    ];
    let row = |topic: &str, count: u32| json!({ "topic": topic, "subscribers": count });
    let by_name = [row("a b&c", 1), row("lobby", 2), row("room:1", 1), row("room:2", 3)];
    assert_eq!(server.get("/api/topics"), json!({ "topics": by_name, "next": null }));
    let page = server.get("/api/topics?limit=2");
    assert_eq!(page, json!({ "topics": by_name[..2], "next": "lobby" }));
    assert_eq!(
        server.get("/api/topics?limit=2&after=lobby"),
        json!({ "topics": by_name[2..], "next": null })
    );
    assert_eq!(server.get("/api/topics?after=a%20b%26c&limit=1")["topics"], json!(by_name[1..2]));
    let largest = server.get("/api/topics?order=subscribers&prefix=room");
    assert_eq!(largest, json!({ "topics": [row("room:2", 3), row("room:1", 1)], "next": null }));
}

#[test]
fn queries_that_are_wrong_are_refused() {
    let server = Server::start(&[]);
    for (path, says) in [
        ("/api/topics?limit=0", "limit: give 1 to 1000"),
        ("/api/topics?limit=1001", "limit: give 1 to 1000"),
        ("/api/topics?limit=x", "give the documented parameters: limit: invalid digit"),
        ("/api/topics?order=size", "unknown variant `size`, expected `name` or `subscribers`"),
        ("/api/topics?order=subscribers&after=a", "order=name only"),
        ("/api/topics?perfix=a", "unknown field `perfix`"),
        ("/api/sessions?after=zz", "give the `next` of the page before"),
        ("/api/sessions?limit=-1", "invalid digit"),
    ] {
        let answer = server.api.get(path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        assert!(answer.json()["error"].as_str().unwrap().contains(says), "{path}: {}", answer.text);
    }
    // A place that never was is behind the last one.
    assert_eq!(server.get("/api/sessions?after=ffffffffffffffff"), json!({ "sessions": [], "next": null }));
}

#[test]
fn those_who_are_meant_are_disconnected_with_the_code_and_the_reason() {
    let users = Users::start("disconnect.key");
    let server = &users.server;
    let mut ada = [users.client("ada", &[]), users.client("ada", &[])];
    let mut bob = users.client("bob", &["news"]);
    let body = json!({ "user": "ada", "code": 4000, "reason": "signed out" });
    assert_eq!(server.post("/api/disconnect", body.clone()), json!({ "disconnected": 2 }));
    for client in &mut ada {
        assert_eq!(client.receive(), Received::Close(4000, "signed out".to_owned()));
        client.answer_close(4000);
    }
    until("they have gone", || server.post("/api/disconnect", body.clone())["disconnected"] == 0);
    let id = server.get("/api/sessions")["sessions"][0]["session"].clone();
    server.post("/api/publish", json!({ "topic": "news", "data": "before" }));
    assert_eq!(server.post("/api/disconnect", json!({ "session": id })), json!({ "disconnected": 1 }));
    assert_eq!(bob.receive(), message("news", json!("before")));
    assert_eq!(bob.receive(), Received::Close(1000, String::new()));
}

#[test]
fn a_subscription_that_is_ended_from_outside_is_told_to_the_client() {
    let users = Users::start("unsubscribe.key");
    let server = &users.server;
    let mut ada = users.client("ada", &["news", "more"]);
    let mut bob = users.client("bob", &["news"]);
    let body = json!({ "user": "ada", "topic": "news" });
    assert_eq!(server.post("/api/unsubscribe", body.clone()), json!({ "unsubscribed": 1 }));
    assert_eq!(ada.receive(), message("unsubscribed", json!({ "topic": "news" })));
    assert_eq!(server.post("/api/unsubscribe", body), json!({ "unsubscribed": 0 }));
    assert_eq!(
        server.post("/api/publish", json!({ "topic": "news", "data": 1 })),
        json!({ "subscribers": 1 })
    );
    server.post("/api/publish", json!({ "topic": "more", "data": 2 }));
    assert_eq!(bob.receive(), message("news", json!(1)));
    assert_eq!(ada.receive(), message("more", json!(2)));
}
