//! The caller: the one thread that asks the webhook, so that no shard waits for it.
//!
//! In      questions, each with what to do with its answer
//! Out     a ticket's answer, or a session's new pass
//! Bounds  `auth_webhook_requests` at a time, `auth_webhook_queue` waiting; each ends after `auth_webhook_timeout`,
//!         the wait included
//! Source  docs/configuration.md

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use fanwire::{Auth, Request, Ticket};
use tokio::{
    runtime::Builder,
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, Receiver, Sender},
    },
    time::timeout_at,
};

use super::{Decision, Digest, Failure, Question, Refused, Webhook, counts::Counts, names::LOOKUPS_MAX};
use crate::{
    args::Args,
    auth::{Gate, PROTOCOL, Pass, renewal::Renewal},
    visitor::Visitor,
};

/// Asks for all shards. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Shared>);

/// What to do with an answer.
pub(crate) enum Then {
    /// A handshake waits for it.
    Open {
        ticket: Ticket<Visitor>,
        /// Whether the client offers the server's subprotocol.
        is_offered: bool,
        digest: Option<Digest>,
    },
    /// A session goes on meanwhile.
    Renew(Renewal),
}

impl Caller {
    /// One that has not been started: it asks nobody.
    pub(crate) fn new(args: &Args) -> Self {
        let places = Arc::new(Semaphore::new(args.webhook.auth_webhook_requests.into()));
        let waiting_max = usize::max(1, args.webhook.auth_webhook_queue.into());
        let (questions, counts) = (OnceLock::new(), Counts::default());
        Self(Arc::new(Shared { places, in_flight: AtomicU64::new(0), waiting_max, questions, counts }))
    }

    /// Starts the thread if it is needed and does not run yet.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start_for(&self, gate: &Gate) -> Result<(), String> {
        match gate {
            Gate::Webhook(_) => self.start().map_err(|error| format!("cannot start a thread: {error}")),
            Gate::Open | Gate::Tokens(_) => Ok(()),
        }
    }

    /// Starts the thread, unless it runs; it lives as long as the process.
    ///
    /// # Errors
    /// If it cannot be started.
    fn start(&self) -> io::Result<()> {
        if self.0.questions.get().is_some() {
            return Ok(());
        }
        // Names are looked up by threads beside it.
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(LOOKUPS_MAX)
            .build()?;
        let (sender, receiver) = mpsc::channel(self.0.waiting_max);
        let shared = self.0.clone();
        let name = "webhook".to_owned();
        thread::Builder::new().name(name).spawn(move || runtime.block_on(shared.run(receiver)))?;
        // Whoever starts it twice at the same time ends one of the two: its channel closes.
        let _ = self.0.questions.set(sender);
        Ok(())
    }

    /// Decides about a handshake: at once if the answer is known, else by a ticket.
    pub(crate) fn admit(
        &self,
        webhook: &Arc<Webhook>,
        request: &Request<'_>,
        is_offered: bool,
    ) -> Auth<Visitor> {
        let (question, digest, known) = webhook.question(request);
        if let Some(decision) = known {
            self.0.counts.known(&decision);
            return auth_of(decision, is_offered);
        }
        let (auth, ticket) = Auth::later(request);
        self.ask(webhook, question, Then::Open { ticket, is_offered, digest });
        auth
    }

    /// Asks, without waiting.
    pub(crate) fn ask(&self, webhook: &Arc<Webhook>, question: Question, then: Then) {
        let job = Box::new(Job { webhook: webhook.clone(), question, then, asked_at: Instant::now() });
        let job = match self.0.questions.get() {
            Some(questions) => match questions.try_send(job) {
                Ok(()) => return,
                Err(error) => error.into_inner(),
            },
            None => job,
        };
        self.0.counts.failed(&job.webhook.endpoint, &job.question.id, &Failure::Overloaded);
        job.then.fail_now();
    }

    /// What became of all questions since the start, by name; and how many are underway and wait now, which goes
    /// down again.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let waiting = self.0.questions.get().map_or(0, |sender| sender.max_capacity() - sender.capacity());
        self.0.counts.iter().chain([
            ("webhook_in_flight", self.0.in_flight.load(Relaxed)),
            ("webhook_waiting", waiting as u64),
        ])
    }
}

/// What a handshake gets.
fn auth_of(decision: Decision, is_offered: bool) -> Auth<Visitor> {
    match decision {
        Decision::Refused(Refused { status, reason }) => Auth::reject(status, format!("{reason}\n")),
        Decision::Admitted(pass) => accepted(pass, is_offered),
    }
}

fn accepted(pass: Pass, is_offered: bool) -> Auth<Visitor> {
    let accepted = Auth::accept(Visitor::of(pass));
    if is_offered { accepted.protocol(PROTOCOL) } else { accepted }
}

#[derive(Debug)]
struct Shared {
    places: Arc<Semaphore>,
    in_flight: AtomicU64,
    waiting_max: usize,
    questions: OnceLock<Sender<Box<Job>>>,
    counts: Counts,
}

struct Job {
    webhook: Arc<Webhook>,
    question: Question,
    then: Then,
    asked_at: Instant,
}

impl Shared {
    async fn run(self: Arc<Self>, mut questions: Receiver<Box<Job>>) {
        // First the place, then the question, so that none is between the two.
        while let Ok(place) = self.places.clone().acquire_owned().await {
            let Some(job) = questions.recv().await else { return };
            let shared = self.clone();
            tokio::spawn(async move {
                let underway = Underway::new(&shared.in_flight);
                shared.settle(job, (underway, place)).await;
            });
        }
    }

    /// Asks, gives the place back, and does what the answer says, for which a session's shard may have to be waited.
    async fn settle(&self, job: Box<Job>, place: (Underway<'_>, OwnedSemaphorePermit)) {
        let Job { webhook, question, then, asked_at } = *job;
        let answer = by(asked_at + webhook.timeout, webhook.ask(&question, then.digest())).await;
        let answer = answer.unwrap_or(Err(Failure::TimedOut(webhook.timeout)));
        match &answer {
            Ok(decision) => self.counts.decided(decision),
            Err(failure) => self.counts.failed(&webhook.endpoint, &question.id, failure),
        }
        drop(place);
        match then {
            Then::Open { ticket, is_offered, .. } => {
                ticket.answer(answer.map_or_else(|_| undecided(), |decision| auth_of(decision, is_offered)));
            }
            Then::Renew(renewal) => renewal.settle(answer.ok()).await,
        }
    }
}

/// What it gives until then. What would begin too late is not begun: it would take a connection from one in time.
async fn by<T>(deadline: Instant, asking: impl Future<Output = T>) -> Option<T> {
    if Instant::now() >= deadline {
        return None;
    }
    timeout_at(deadline.into(), asking).await.ok()
}

/// One that is being asked, as long as it lives.
struct Underway<'a>(&'a AtomicU64);

impl<'a> Underway<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Then {
    fn digest(&self) -> Option<Digest> {
        match self {
            Self::Open { digest, .. } => *digest,
            // Whoever sends a new token wants a new answer.
            Self::Renew(_) => None,
        }
    }

    /// On a shard's thread, in a hook of the very session.
    fn fail_now(self) {
        match self {
            Self::Open { ticket, .. } => ticket.answer(undecided()),
            Self::Renew(renewal) => renewal.fail(),
        }
    }
}

/// The engine adds Retry-After.
fn undecided() -> Auth<Visitor> {
    Auth::reject(503, "who may connect cannot be found out at present: try again later\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_late_is_not_begun() {
        let now = Instant::now();
        assert_eq!(by(now, async { unreachable!("it is late") }).await, None::<()>);
        assert_eq!(by(now + Duration::from_secs(60), async { 1 }).await, Some(1));
        assert_eq!(by(Instant::now() + Duration::from_millis(20), std::future::pending::<()>()).await, None);
    }
}
