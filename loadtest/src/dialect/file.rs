//! The file of a dialect, as TOML has it.
//!
//! In      TOML
//! Out     its tables; an unknown name is an error
//! Bounds  none
//! Source  docs/loadtest.md

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) json: bool,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    pub(super) binary: bool,
    #[serde(default = "yes")]
    pub(super) hears_itself: bool,
    #[serde(default)]
    pub(super) connect: Connect,
    pub(super) subscribe: Option<Words>,
    pub(super) unsubscribe: Option<Words>,
    pub(super) publish: Option<Words>,
    pub(super) delivery: Option<Received>,
    pub(super) echo: Option<Words>,
    pub(super) error: Option<Received>,
    #[serde(default)]
    pub(super) reply: Vec<Reply>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    pub(super) send: String,
    pub(super) answer: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Received {
    pub(super) message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    pub(super) to: String,
    pub(super) send: String,
}

/// Where connections of each kind go, and how they begin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connect {
    pub(super) subscriber_path: Option<String>,
    pub(super) publisher_path: Option<String>,
    pub(super) echo_path: Option<String>,
    pub(super) query: Option<String>,
    pub(super) greeting: Option<String>,
    #[serde(default)]
    pub(super) ready_by_pong: bool,
}

fn yes() -> bool {
    true
}
