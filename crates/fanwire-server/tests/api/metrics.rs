//! Metrics: their form, line by line, and their values against what clients saw.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    File, Server,
    client::{Client, Received},
    receiver::{Receiver, respond},
    until,
};

/// One scrape, taken apart by the rules of the exposition format.
pub(crate) struct Scrape {
    kinds: BTreeMap<String, String>,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Scrape {
    pub(crate) fn of(server: &Server) -> Self {
        let answer = server.api.get("/metrics");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::parse(&answer.text)
    }

    fn parse(text: &str) -> Self {
        let (mut kinds, mut helped, mut samples) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let mut current = String::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(helped.insert(name.to_owned()), "{name} is explained twice");
                assert!(help.ends_with('.') && help.len() > 10, "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(helped.contains(name), "{name} has no help");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert!(
                    kinds.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "{name} stands in two places"
                );
                name.clone_into(&mut current);
            } else {
                let (name, labels, value) = sample(line);
                let kind = &kinds[&current];
                let suffixes: &[&str] =
                    if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(
                    suffixes.iter().any(|suffix| name == format!("{current}{suffix}")),
                    "{line} in {current}"
                );
                samples.push((name, labels, value));
            }
        }
        let scrape = Self { kinds, samples };
        scrape.check_names();
        scrape.check_histograms();
        scrape
    }

    fn check_names(&self) {
        for (name, kind) in &self.kinds {
            assert!(name.starts_with("fanwire_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        }
        let series = self.samples.iter().map(|(name, labels, _)| (name, labels));
        assert_eq!(series.clone().collect::<BTreeSet<_>>().len(), series.count(), "each series stands once");
        assert!(self.samples.iter().all(|(.., value)| *value >= 0.0));
    }

    fn check_histograms(&self) {
        for name in self.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut by_shard: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
            for (_, labels, value) in self.samples.iter().filter(|(one, ..)| *one == format!("{name}_bucket"))
            {
                let bound =
                    if labels["le"] == "+Inf" { f64::INFINITY } else { labels["le"].parse().unwrap() };
                by_shard.entry(labels["shard"].clone()).or_default().push((bound, *value));
            }
            for (shard, buckets) in by_shard {
                assert!(buckets.is_sorted(), "{name} of shard {shard}: {buckets:?}");
                let (last, count) = *buckets.last().unwrap();
                assert_eq!(last, f64::INFINITY);
                assert_eq!(count, self.value(&format!("{name}_count"), &[("shard", &shard)]));
            }
        }
    }

    /// The sum of all series that have these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |given: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| given.get(*label).is_some_and(|given| given == value))
        };
        let mut found = self.samples.iter().filter(|(one, given, _)| one == name && has(given)).peekable();
        assert!(found.peek().is_some(), "there is no {name} with {labels:?}");
        found.map(|(.., value)| value).sum()
    }

    /// Names as a query uses them.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.samples.iter().map(|(name, ..)| name.clone()).collect()
    }

    /// The values that a label of a name has.
    pub(crate) fn values(&self, name: &str, label: &str) -> BTreeSet<String> {
        let of_name = self.samples.iter().filter(|(one, ..)| one == name);
        of_name.filter_map(|(_, labels, _)| labels.get(label).cloned()).collect()
    }

    /// The labels that a name has.
    pub(crate) fn labels(&self, name: &str) -> BTreeSet<String> {
        self.samples
            .iter()
            .filter(|(one, ..)| one == name)
            .flat_map(|(_, labels, _)| labels.keys().cloned())
            .collect()
    }
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new(), value);
    };
    let labels = labels.strip_suffix('}').unwrap().split("\",").map(|pair| {
        let (label, text) = pair.split_once("=\"").unwrap();
        (label.to_owned(), text.trim_end_matches('"').to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}

#[test]
fn counters_are_what_clients_saw() {
    let server = Server::start(&["--shards", "2"]);
    let before = Scrape::of(&server);
    assert_eq!(before.value("fanwire_sessions", &[]), 0.0);
    let mut clients: Vec<_> = (0..5).map(|_| server.subscriber(&["news"])).collect();
    for number in 0..20 {
        server.post("/api/publish", json!({ "topic": "news", "data": number }));
    }
    for client in &mut clients {
        for number in 0..20 {
            assert_eq!(client.receive(), crate::message("news", json!(number)));
        }
    }
    // Each client got 20 messages, the answer to its subscribe and that of its handshake.
    until("all is counted", || Scrape::of(&server).value("fanwire_frames_sent_total", &[]) == 110.0);
    let after = Scrape::of(&server);
    assert_eq!(after.value("fanwire_sessions", &[]), 5.0);
    assert_eq!(after.value("fanwire_sessions_opened_total", &[]), 5.0);
    assert_eq!(after.value("fanwire_messages_received_total", &[]), 5.0);
    assert_eq!(after.value("fanwire_frames_queued_total", &[]), 110.0);
    assert_eq!(after.value("fanwire_frames_waiting", &[]), 0.0);
    assert_eq!(after.value("fanwire_frames_dropped_total", &[]), 0.0);
    // Shards with subscribers take each publish in once.
    assert_eq!(after.value("fanwire_fan_out_subscribers_sum", &[]), 100.0);
    let publishes = after.value("fanwire_fan_out_subscribers_count", &[]);
    assert!(publishes == 20.0 || publishes == 40.0, "{publishes}");
    assert_eq!(after.value("fanwire_publish_to_flush_seconds_count", &[]), publishes);
    assert_eq!(after.value("fanwire_publishes_total", &[]), publishes);
    let turns =
        after.value("fanwire_ticks_total", &[]) - after.value("fanwire_tick_duration_seconds_count", &[]);
    assert!(
        (0.0..=2.0).contains(&turns),
        "a turn is counted at its beginning and measured at its end: {turns}"
    );
    let busy = after.value("fanwire_tick_duration_seconds_sum", &[]);
    assert!(busy > 0.0 && busy < 20.0, "{busy}");
    assert_eq!(after.value("fanwire_api_requests_total", &[("path", "/api/publish"), ("code", "200")]), 20.0);
    assert!(after.value("process_cpu_seconds_total", &[]) > 0.0);
    assert!(after.value("process_resident_memory_bytes", &[]) > 1e6);
}

#[test]
fn what_the_webhook_answers_is_counted() {
    let receiver = Receiver::start(|asked, stream| match asked.json()["token"].as_str() {
        Some("ada") => respond(stream, 200, r#"{"user":"ada"}"#),
        Some("broken") => respond(stream, 500, "oops"),
        _ => respond(stream, 403, ""),
    });
    let server = Server::start(&["--auth", "webhook", "--auth-webhook-url", &receiver.url()]);
    for (token, status) in [("ada", 101), ("bob", 403), ("broken", 503)] {
        let headers = [("Authorization", &*format!("Bearer {token}"))];
        let refused = Client::try_connect(&server.process, "/ws", &["fanwire"], &headers).err();
        assert_eq!(refused.map_or(101, |(status, _)| status), status);
    }
    let scrape = Scrape::of(&server);
    for (outcome, count) in
        [("admitted", 1.0), ("refused", 1.0), ("failed_status", 1.0), ("failed_timeout", 0.0)]
    {
        assert_eq!(
            scrape.value("fanwire_webhook_questions_total", &[("outcome", outcome)]),
            count,
            "{outcome}"
        );
    }
    assert_eq!(scrape.value("fanwire_webhook_questions_total", &[]), 3.0);
    assert_eq!(scrape.value("fanwire_webhook_in_flight", &[]), 0.0);
    assert_eq!(scrape.value("fanwire_webhook_waiting", &[]), 0.0);
}

#[test]
fn what_clients_are_refused_is_counted_by_why() {
    let server = Server::start(&["--client-publish", "false", "--subscribe-topics", "news.*"]);
    let scrape = Scrape::of(&server);
    let errors = |scrape: &Scrape, code| scrape.value("fanwire_client_errors_total", &[("code", code)]);
    assert_eq!((errors(&scrape, "forbidden"), errors(&scrape, "busy")), (0.0, 0.0));
    let mut client = server.subscriber(&["news.today"]);
    client.send(r#"{"topic":"publish","data":{"topic":"news.today","data":1}}"#);
    client.send(r#"{"topic":"subscribe","data":{"topic":"weather"}}"#);
    until("both are counted", || {
        let scrape = Scrape::of(&server);
        errors(&scrape, "publish_disabled") == 1.0 && errors(&scrape, "forbidden") == 1.0
    });

    let key = File::new("refused.key", "a secret of the tests, which has 32 bytes and more");
    let server = Server::start(&["--auth", "jwt", "--auth-key-file", key.path()]);
    assert_eq!(Client::status(&server.process, None), 401);
    let headers = [("Authorization", "Bearer none")];
    assert!(Client::try_connect(&server.process, "/ws", &["fanwire"], &headers).is_err());
    let scrape = Scrape::of(&server);
    let tokens = |reason| scrape.value("fanwire_tokens_refused_total", &[("reason", reason)]);
    assert_eq!((tokens("missing"), tokens("malformed"), tokens("expired")), (1.0, 1.0, 0.0));
}

#[test]
fn closes_drops_and_refusals_have_their_reasons() {
    let server = Server::start(&["--overflow", "drop-newest", "--queue-size", "16", "--send-buffer", "4KiB"]);
    let mut ada = server.subscriber(&["news"]);
    ada.send("");
    // She reads nothing any more, and what her socket and her queue do not take is dropped.
    let data = "x".repeat(64 << 10);
    until("something is dropped", || {
        server.post("/api/publish", json!({ "topic": "news", "data": data }));
        Scrape::of(&server).value("fanwire_frames_dropped_total", &[("reason", "newest")]) > 0.0
    });
    // Her socket may take a little more for a while.
    let mut row = Value::Null;
    until("both have said the same", || {
        let scrape = Scrape::of(&server);
        row = server.get("/api/sessions")["sessions"][0]["queued"].clone();
        let waiting = scrape.value("fanwire_frames_waiting", &[]);
        let is_blocked = scrape.value("fanwire_sessions_blocked", &[]) == 1.0 && row["blocked"] == true;
        is_blocked && row["messages"].as_f64() == Some(waiting) && (1.0..=16.0).contains(&waiting)
    });
    assert!(row["dropped"].as_u64().unwrap() > 0);
    let mut bob = server.subscriber(&[]);
    bob.answer_close(4_000);
    assert!(matches!(bob.receive(), Received::Close(4_000, _)));
    until("his end is counted", || {
        Scrape::of(&server).value("fanwire_sessions_closed_total", &[("reason", "peer")]) == 1.0
    });
    assert_eq!(Client::status(&server.process, Some("https://evil.example")), 403);
    until("it is counted", || {
        Scrape::of(&server).value("fanwire_requests_refused_total", &[("reason", "origin")]) == 1.0
    });
}

#[test]
fn the_figures_of_info_are_those_of_the_metrics() {
    let server = Server::start(&["--shards", "2"]);
    let _clients = [server.subscriber(&["a", "b"]), server.subscriber(&["a"])];
    server.post("/api/publish", json!({ "topic": "a", "data": 1 }));
    until("both have said the same", || {
        let (info, scrape) = (server.get("/api/info"), Scrape::of(&server));
        let counters = &info["total"]["counters"];
        let sum = |counter: &str| -> u64 {
            let shards = info["shards"].as_array().unwrap().iter();
            shards.map(|shard| shard["counters"][counter].as_u64().unwrap()).sum()
        };
        [
            ("sessions", "fanwire_sessions"),
            ("frames_sent", "fanwire_frames_sent_total"),
            ("topics", "fanwire_topics"),
        ]
        .into_iter()
        .all(|(counter, metric)| {
            assert_eq!(counters[counter].as_u64(), Some(sum(counter)), "the total is the sum");
            counters[counter].as_f64() == Some(scrape.value(metric, &[]))
        })
    });
    let info = server.get("/api/info");
    let shards = info["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 2);
    let deliveries: f64 =
        shards.iter().map(|shard| shard["distributions"]["fan_out"]["sum"].as_f64().unwrap()).sum();
    assert_eq!(deliveries, 2.0);
    for shard in shards {
        let turn = &shard["distributions"]["turn"];
        let classes = turn["classes"].as_array().unwrap();
        let count: u64 = classes.iter().map(|class| class["count"].as_u64().unwrap()).sum();
        assert_eq!(turn["count"].as_u64(), Some(count));
        assert_eq!((&classes[0]["le"], &classes[classes.len() - 1]["le"]), (&json!(0.000001), &Value::Null));
        // A shard that nobody has come to may not have turned yet.
        assert_eq!(turn["p50"].is_null(), count == 0, "{turn}");
        assert!(turn["p50"].as_f64() <= turn["p99"].as_f64(), "{turn}");
    }
    assert_eq!(info["address"], json!(server.process.address.to_string()));
}
