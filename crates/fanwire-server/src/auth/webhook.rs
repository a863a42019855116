//! The webhook: a program of the operator's says who may connect.
//!
//! In      requests and tokens
//! Out     what that program decides, or that it could not be asked
//! Bounds  as set: time, length, questions at a time and waiting, connections, answers kept
//! Source  docs/configuration.md

mod answer;
mod args;
mod cache;
mod caller;
mod counts;
mod names;
mod post;
mod question;

use std::time::Duration;

use fanwire::Request;
use thiserror::Error;

use super::{keys, places};
use crate::{args::Args, choices::TokenPlace};

pub(crate) use answer::{Decision, Refused};
pub(crate) use args::WebhookArgs;
pub(crate) use caller::{Caller, Then};
pub(crate) use question::Question;

use cache::{Cache, Digest};
use post::{Endpoint, Way};

/// Whom to ask, and how. A reload makes another, with no answers kept and no connection open.
#[derive(Debug)]
pub(crate) struct Webhook {
    endpoint: Endpoint,
    passed_on: Vec<String>,
    places: Vec<TokenPlace>,
    timeout: Duration,
    warning_ms: u64,
    cache: Cache,
}

impl Webhook {
    /// # Errors
    /// What is wrong with the settings, or with the files that they name.
    pub(super) fn new(args: &Args) -> Result<Self, String> {
        let set = &args.webhook;
        let url = set.auth_webhook_url.as_deref().ok_or("auth = webhook needs auth_webhook_url")?;
        if set.auth_webhook_timeout >= args.handshake_timeout {
            return Err(format!(
                "auth_webhook_timeout: {:?} leaves no time for the handshake: let it be shorter than \
                 handshake_timeout ({:?})",
                set.auth_webhook_timeout, args.handshake_timeout
            ));
        }
        if set.auth_webhook_requests == 0 {
            return Err("auth_webhook_requests: 0 would let nobody in: choose 1 or more".to_owned());
        }
        if set.auth_webhook_cache.max(set.auth_webhook_cache_refused) > CACHE_MAX {
            return Err("auth_webhook_cache and auth_webhook_cache_refused: choose at most 24h".to_owned());
        }
        let secret = set
            .auth_webhook_secret_file
            .as_deref()
            .map(|path| keys::secret(path).map_err(|why| format!("auth_webhook_secret_file: {why}")));
        let endpoint = Endpoint::new(Way {
            url,
            ca_file: set.auth_webhook_ca_file.as_deref(),
            secret: secret.transpose()?,
            answer_bytes_max: set.auth_webhook_answer_bytes as usize,
            connections_max: set.auth_webhook_connections.into(),
        })?;
        let entries_max = set.auth_webhook_cache_entries;
        let cache = Cache::new(set.auth_webhook_cache, set.auth_webhook_cache_refused, entries_max)?;
        let (passed_on, places) = (set.auth_webhook_header.clone(), places(args));
        let warning_ms = u64::try_from(args.auth_warning.as_millis()).unwrap_or(u64::MAX);
        let timeout = set.auth_webhook_timeout;
        Ok(Self { endpoint, passed_on, places, timeout, warning_ms, cache })
    }

    /// What to ask of a request, and the answer if it is known already.
    fn question(&self, request: &Request<'_>) -> (Question, Option<Digest>, Option<Decision>) {
        let question = Question::of_request(request, &self.places, &self.passed_on);
        let digest = self.cache.digest(|| question.sameness());
        let known = digest.as_ref().and_then(|digest| self.cache.find(digest));
        (question, digest, known)
    }

    /// Asks, and keeps the answer if it may be.
    async fn ask(&self, question: &Question, digest: Option<Digest>) -> Result<Decision, Failure> {
        let (status, body) = self.endpoint.post(question.body()).await?;
        let decision = Decision::of_answer(status, &body, self.warning_ms)?;
        if let Some(digest) = digest {
            self.cache.keep(digest, &decision);
        }
        Ok(decision)
    }
}

/// Why nothing was decided. Each refuses with 503.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum Failure {
    #[error("no answer within auth_webhook_timeout ({0:?})")]
    TimedOut(Duration),
    #[error("{0}")]
    Unreachable(String),
    #[error("it answers with status {0}: 200, 401 and 403 decide")]
    Status(u16),
    #[error("its answer {0}")]
    Answer(String),
    #[error("its answer is longer than auth_webhook_answer_bytes ({0})")]
    TooLong(usize),
    #[error("auth_webhook_queue is full: it answers too slowly for so many")]
    Overloaded,
}

/// An answer that is older says nothing any more.
const CACHE_MAX: Duration = Duration::from_secs(24 * 3_600);
