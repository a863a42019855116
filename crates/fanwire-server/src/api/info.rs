//! What a server says of itself: the figures of each shard, for programs and for the console.
//!
//! In      the engine's statistics
//! Out     JSON
//! Bounds  one copy of the counters per request
//! Source  docs/http-api.md

use std::sync::Arc;

use axum::{extract::State as Of, http::StatusCode, response::Response};
use fanwire::{CloseKind, Distribution, Distributions, ShardStats};
use serde_json::{Map, Value, json};

use super::{State, problem::json};

pub(super) async fn info(state: Of<Arc<State>>) -> Response {
    let stats = state.running.stats();
    let shards = stats.shards.iter().zip(&stats.distributions).enumerate();
    let shards: Vec<_> = shards
        .map(|(index, (shard, measured))| {
            let mut one = counts(shard);
            one.insert("shard".to_owned(), index.into());
            one.insert("driver".to_owned(), state.running.drivers().get(index).cloned().into());
            one.insert("distributions".to_owned(), distributions(measured));
            one
        })
        .collect();
    let answer = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": state.started.elapsed().as_secs(),
        "draining": state.ending.has_begun(),
        "address": state.running.address().to_string(),
        "path": state.path,
        "total": counts(&stats.total),
        "shards": shards,
        "memory": state.running.memory().to_string(),
    });
    json(StatusCode::OK, &answer)
}

fn counts(shard: &ShardStats) -> Map<String, Value> {
    let counters: Map<_, _> = shard.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let closed = CloseKind::ALL.iter().map(|kind| (kind.name().to_owned(), shard.closed(*kind).into()));
    let closed: Map<String, Value> = closed.collect();
    Map::from_iter([("counters".to_owned(), counters.into()), ("closed".to_owned(), closed.into())])
}

fn distributions(measured: &Distributions) -> Value {
    measured.iter().map(|(name, one)| (name.to_owned(), distribution(&one))).collect::<Map<_, _>>().into()
}

/// Times in seconds.
fn distribution(one: &Distribution) -> Value {
    let shown =
        |value: u64| -> Value { if one.is_of_times() { json!(value as f64 / 1e9) } else { value.into() } };
    let bound = |value: Option<u64>| value.map_or(Value::Null, shown);
    let classes = one.classes().map(|(class, count)| json!({ "le": bound(class), "count": count }));
    json!({
        "unit": if one.is_of_times() { "seconds" } else { "count" },
        "count": one.count(),
        "sum": shown(one.sum()),
        "p50": bound(one.quantile(0.5)),
        "p99": bound(one.quantile(0.99)),
        "classes": classes.collect::<Vec<_>>(),
    })
}
