//! The dashboard, the alerts and the documents: each metric that they name is one that a server has.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::{Server, metrics::Scrape};

/// A server that has done a bit of everything that is named.
fn loaded() -> Scrape {
    let server = Server::start(&["--shards", "2"]);
    let mut client = server.subscriber(&["news"]);
    server.post("/api/publish", json!({ "topic": "news", "data": 1 }));
    assert_eq!(client.receive(), crate::message("news", json!(1)));
    Scrape::of(&server)
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// Each name of a metric in a text.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter| !is_name(letter));
    let is_metric = |word: &&str| {
        let mut known = ["fanwire_", "process_"].iter();
        known.any(|start| word.starts_with(start) && word.len() > start.len())
    };
    words.filter(is_metric).map(str::to_owned).collect()
}

/// Labels that a query chooses or groups by.
fn labels_in(expression: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for part in expression.split("by (").skip(1).chain(expression.split("by(").skip(1)) {
        labels.extend(part.split(')').next().unwrap().split(',').map(|label| label.trim().to_owned()));
    }
    for part in expression.split('{').skip(1) {
        let inside = part.split('}').next().unwrap();
        labels.extend(
            inside.split(',').filter_map(|one| one.split(['=', '!']).next()).map(|one| one.trim().to_owned()),
        );
    }
    // Prometheus adds these two to what it scrapes.
    labels.into_iter().filter(|label| !matches!(&**label, "job" | "instance" | "")).collect()
}

/// Labels and the values that a query asks of them, where those are the server's own.
fn values_in(expression: &str) -> Vec<(String, String)> {
    let mut values = Vec::new();
    for part in expression.split('{').skip(1) {
        for one in part.split('}').next().unwrap().split(',') {
            let Some((label, value)) = one.split_once(['=', '!']) else { continue };
            let value = value.trim_start_matches(['=', '~']).trim_matches('"');
            if matches!(label, "reason" | "outcome" | "code" | "path") {
                values.push((label.to_owned(), value.to_owned()));
            }
        }
    }
    values
}

fn check(expression: &str, scrape: &Scrape) {
    let names = names_in(expression);
    assert!(!names.is_empty() || expression.starts_with("up{"), "{expression} asks for nothing");
    let known = scrape.names();
    for name in &names {
        assert!(known.contains(name), "{expression}: there is no {name}");
    }
    let mut had: BTreeSet<String> = names.iter().flat_map(|name| scrape.labels(name)).collect();
    had.insert("le".to_owned());
    let asked = labels_in(expression);
    assert!(asked.is_subset(&had), "{expression}: {asked:?} of {had:?}");
    for (label, value) in values_in(expression) {
        let had: BTreeSet<_> = names.iter().flat_map(|name| scrape.values(name, &label)).collect();
        let is_had = |value: &str| match value.strip_suffix(".*") {
            Some(start) => had.iter().any(|one| one.starts_with(start)),
            None => had.contains(value),
        };
        assert!(value.split('|').all(is_had), "{expression}: {label} is never {value:?}, but one of {had:?}");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let scrape = loaded();
    let dashboard: Value = serde_json::from_str(&read("contrib/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut titles, mut queries) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut taken: Vec<[u64; 4]> = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        assert!(titles.insert(title), "{title}: two panels have this title");
        let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        let [x, y, w, h] = place;
        assert!(x + w <= 24 && w > 0 && h > 0, "{title}: {place:?}");
        let overlaps = |[a, b, c, d]: &[u64; 4]| x < a + c && *a < x + w && y < b + d && *b < y + h;
        assert!(!taken.iter().any(overlaps), "{title} lies on another panel");
        taken.push(place);
        if panel["type"] == "row" {
            continue;
        }
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            check(&expression.replace("$__rate_interval", "1m"), &scrape);
            assert!(expression.contains("$instance"), "{title}: it shows all servers at once");
            assert_eq!(target["datasource"]["uid"], json!("${datasource}"), "{title}");
            queries += 1;
        }
    }
    assert!(queries >= 15, "{queries}");
    let variables: BTreeSet<_> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "instance", "job"].into());
}

#[test]
fn the_alerts_ask_for_metrics_that_there_are() {
    let scrape = loaded();
    let alerts = read("contrib/alerts.yml");
    let expressions: Vec<_> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .map(|expression| expression.trim_matches('\''))
        .collect();
    let count = |what: &str| alerts.lines().filter(|line| line.trim().starts_with(what)).count();
    assert!(expressions.len() >= 8);
    for what in ["- alert: ", "severity: ", "summary: ", "description: "] {
        assert_eq!(count(what), expressions.len(), "{what}");
    }
    expressions.iter().for_each(|expression| check(expression, &scrape));
}

#[test]
fn the_documents_list_each_metric_and_no_other() {
    let scrape = loaded();
    let page = read("docs/http-api.md");
    let (_, section) = page.split_once("\n## Metrics").unwrap();
    let documented = names_in(section);
    let known: BTreeSet<String> = scrape
        .names()
        .into_iter()
        .map(|name| {
            ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.trim_end_matches(end).to_owned())
        })
        .collect();
    let missing: Vec<_> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/http-api.md does not list {missing:?}");
    let parts = scrape.names();
    let gone: Vec<_> = documented.difference(&known).filter(|name| !parts.contains(*name)).collect();
    assert!(gone.is_empty(), "docs/http-api.md lists {gone:?}, which there are not");
}

#[test]
fn the_documents_list_each_path() {
    let page = read("docs/http-api.md");
    let document: Value = serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("`{path}`")) || page.contains(&format!(" {path}`")), "{path}");
    }
}
