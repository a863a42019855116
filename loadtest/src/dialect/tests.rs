//! Tests of the built-in dialects, and of files that are none.

use super::{topic::Topics, *};

fn dialect(name: &str) -> Arc<Dialect> {
    Dialect::load(name).unwrap()
}

fn delivery<'m>(topic: &'m str, data: &'m str) -> Incoming<'m> {
    Incoming::Delivery { topic: topic.as_bytes().into(), data: data.as_bytes().into() }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn all_that_is_built_in_can_publish_and_all_but_nats_can_echo() {
    for (name, _) in BUILT_IN {
        let dialect = dialect(name);
        dialect.check(Needs::Publish).unwrap();
        assert_eq!(dialect.check(Needs::Chat).is_ok(), name != "paths", "{name}");
        let has_topics = dialect.check(Needs::Topics).is_ok();
        assert_eq!(
            (has_topics, dialect.check(Needs::Unsubscribe).is_ok()),
            (dialect.has_topics(), has_topics)
        );
        assert_eq!(dialect.check(Needs::Echo).is_ok(), name != "nats", "{name}");
    }
}

#[test]
fn deliveries_are_read_in_any_json_form() {
    let (dialect, topics) = (dialect("fanwire"), Topics::new("a\"b", 1));
    for message in
        [r#"{"topic":"a\"b","data":"x"}"#, r#" { "data" : "x" , "topic" : "a\u0022b", "more":1 } "#]
    {
        let incoming = dialect.read(Role::Subscriber, message.as_bytes());
        assert_eq!(incoming, delivery(r#""a\"b""#, "\"x\""), "{message}");
        let Incoming::Delivery { topic, .. } = incoming else { unreachable!() };
        assert!(topics.at(0).is(&dialect, &topic));
    }
}

#[test]
fn answers_errors_and_strangers_are_told_apart() {
    let dialect = dialect("fanwire");
    let read = |message: &'static str| dialect.read(Role::Subscriber, message.as_bytes());
    assert_eq!(read(r#"{"topic":"subscribed","data":{"topic":"load"}}"#), Incoming::Answer);
    assert_eq!(read(r#"{"topic":"unsubscribed","data":{"topic":"load"}}"#), Incoming::Answer);
    assert_eq!(read(r#"{"topic":"error","data":"no"}"#), Incoming::Error("\"no\"".to_owned()));
    assert_eq!(read(r#"{"topic":7}"#), delivery("7", ""));
    for other in ["{", "\u{1}", "[1]"] {
        assert_eq!(read(other), Incoming::Other, "{other}");
    }
    let other = Topics::new("load", 1);
    assert!(!other.at(0).is(&dialect, b"\"welcome\"") && !other.at(0).is(&dialect, b""));
}

#[test]
fn requests_are_what_the_server_reads() {
    let (dialect, topics) = (dialect("fanwire"), Topics::new("load", 2));
    let filling = topics.at(1).filling(b"[1]");
    let subscribe = written(|out| assert_eq!(dialect.subscribe(&filling, out), Some(true)));
    assert_eq!(subscribe, r#"{"topic":"subscribe","data":{"topic":"load.1"}}"#);
    let publish = written(|out| dialect.publish(&filling, out).unwrap());
    assert_eq!(publish, r#"{"topic":"publish","data":{"topic":"load.1","data":[1]}}"#);
    let echo = written(|out| dialect.echo(&filling, out).unwrap());
    assert_eq!(echo, r#"{"topic":"ping","data":[1]}"#);
    let answer = dialect.read(Role::Echo, br#"{"topic":"pong","data":[1]}"#);
    assert_eq!(answer, Incoming::Echo(b"[1]".into()));
    assert_eq!(dialect.read(Role::Echo, echo.as_bytes()), Incoming::Other);
}

#[test]
fn raw_payloads_have_no_topic_and_no_subscription() {
    let (dialect, topics) = (dialect("paths"), Topics::new("load", 1));
    assert_eq!(dialect.subscribe(&topics.at(0).filling(b""), &mut Vec::new()), None);
    assert_eq!(dialect.read(Role::Subscriber, b"\"x\""), delivery("", "\"x\""));
    assert!(topics.at(0).is(&dialect, b""));
    assert_eq!(dialect.path_and_query(Role::Publisher), ("/pub", None));
}

#[test]
fn a_stream_gives_the_same_messages_in_any_cut() {
    let dialect = dialect("nats");
    let stream =
        b"INFO {}\r\nPONG\r\nMSG load 1 5\r\n\"\r\nx\"\r\nPING\r\n-ERR 'no'\r\nMSG load 2 3\r\n\"y\"\r\n";
    let expected = [
        Incoming::Answer,
        delivery("load", "\"\r\nx\""),
        Incoming::Asks(b"PONG\r\n"),
        Incoming::Error("-ERR 'no'".to_owned()),
        delivery("load", "\"y\""),
    ];
    for cut in 1..stream.len() {
        let (mut whole, mut seen) = (Stream::default(), 0);
        for piece in stream.chunks(cut) {
            assert!(whole.take(&dialect, Role::Subscriber, piece, |incoming| {
                assert_eq!(incoming, expected[seen], "cut to {cut}");
                seen += 1;
            }));
        }
        assert_eq!(seen, expected.len(), "cut to {cut}");
    }
    let topics = Topics::new("load", 1);
    let filling = Filling { subscription: 7, ..topics.at(0).filling(b"\"x\"") };
    assert_eq!(written(|out| dialect.publish(&filling, out).unwrap()), "PUB load 3\r\n\"x\"\r\n");
    let subscribe = written(|out| assert_eq!(dialect.subscribe(&filling, out), Some(true)));
    assert_eq!(subscribe, "SUB load 7\r\nPING\r\n");
}

#[test]
fn files_that_are_none_say_what_is_wrong() {
    let error = |text: &str| Dialect::parse("x", text).unwrap_err().to_string();
    assert!(error("subscribes = 1").contains("subscribes"));
    assert!(error("[delivery]\nmessage = '{topic}{data}'").contains("between them"));
    assert!(error("json = true\n[delivery]\nmessage = '{'").contains("no JSON"));
    assert!(error("stream = true\n[delivery]\nmessage = '{data}'").contains("{bytes}"));
    assert!(Dialect::load("fanwir").unwrap_err().to_string().contains("built in are fanwire, rooms"));
    let nothing = Dialect::parse("x", "").unwrap();
    assert!(nothing.check(Needs::Publish).unwrap_err().to_string().contains("how to publish"));
}

/// Keys that a table of a dialect may have, as the error about another one names them.
fn keys(table: &str) -> Vec<String> {
    let said = toml::from_str::<super::file::File>(&format!("{table}\nno_such_key = 1\n")).err().unwrap();
    let keys: Vec<_> = said.message().split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(said.message().contains("unknown field `no_such_key`") && !keys.is_empty(), "{said}");
    keys
}

#[test]
fn the_page_has_every_key_of_a_dialect() {
    let page = include_str!("../../../docs/loadtest.md");
    let (_, page) = page.split_once("## Dialects").unwrap();
    for table in ["", "[connect]", "[publish]", "[delivery]", "[[reply]]"] {
        for key in keys(table) {
            let forms = [
                format!("`{key}."),
                format!("{key} = "),
                format!(".{key}`"),
                format!("[{key}]"),
                format!("`{key}`"),
            ];
            assert!(forms.iter().any(|form| page.contains(form)), "{table} {key}");
        }
    }
}
